"""Whole entries among damaged bytes: searched for, and believed only when their checksum fits."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.journal.members import LARGEST_MEMBER, MEMBER_BEGIN, MEMBER_HEADER_BYTES
from gateway.journal.segments import COMPRESSED, FRAME_BYTES, MAGIC, PAYLOAD_START, Frame, parse_frame

_TRAILER_BYTES = 8
_SEQUENCE_AT = 8  # in a frame
_SMALLEST_FRAME = FRAME_BYTES + len(b'{"at":0,"body":{},"boot":"","kind":"gap","monotonic_ns":0}')
_PIECE = 1024  # what is inflated before a damaged place is kept


class Searched(NamedTuple):
    """What one file of a journal gives: its whole frames in order, and what cannot be read as such."""

    frames: list[Frame]
    orderly: bool  # beginning and frames are as they should be, up to the rest
    rest: bytes  # what lies behind the last whole frame
    ends: bool  # nothing more was in the file; False too where it cannot be told
    newest_named: int  # the largest sequence number that a frame tells, whole or damaged

    @property
    def intact(self) -> bool:
        """True if every byte of the file is as it should be."""
        return self.orderly and self.ends and bool(self.frames)


def search_file(path: Path, first: int, last: int | None) -> Searched:
    """The frames of one segment file, of which only those with sequence numbers `first` to `last` can be.

    Raises OSError when the file cannot be read.
    """
    data = path.read_bytes()
    contents = list(_inflated(data)) if path.suffix == COMPRESSED else [(data, True)]
    frames: list[Frame] = []
    orderly, rest, newest = True, b"", first - 1
    for number, (content, sound) in enumerate(contents):
        orderly = orderly and sound and not rest
        at = len(MAGIC) if number == 0 else 0
        if content[:at] != MAGIC[:at]:
            begun = MAGIC.startswith(content[:at].rstrip(b"\0"))  # by a crash, before the first entry
            orderly, at = begun, 0 if begun else at
        for frame in _whole_frames(content, at):
            expected = newest < frame.sequence and (last is None or frame.sequence <= last)
            orderly = orderly and frame.offset == at and expected and (bool(frames) or frame.sequence == first)
            at = frame.end
            if expected:
                frames.append(frame)
                newest = frame.sequence
        rest = content[at:]
    ends = not rest and all(sound for _, sound in contents[-1:])
    return Searched(frames, orderly, rest, ends, _newest_in(rest, newest))


def _whole_frames(data: bytes, start: int) -> Iterator[Frame]:
    """The whole frames in `data` in their order, wherever they begin behind `start`."""
    at = start
    while at >= start:
        frame = parse_frame(data, at, 0)
        if frame is None:
            at = data.find(PAYLOAD_START, at + FRAME_BYTES + 1) - FRAME_BYTES
        else:
            yield frame
            at = frame.end


def _newest_in(rest: bytes, newest: int) -> int:
    """The largest sequence number that damaged frames behind entry `newest` can have.

    Their lengths tell how many they are, if they lead to the very end; otherwise their numbers, from the next one on;
    and where neither can be read, as many are meant as there is room for: no number may be given twice.
    """
    at, count = 0, 0
    while at + FRAME_BYTES < len(rest):
        at += FRAME_BYTES + int.from_bytes(rest[at : at + 4], "big")
        count += 1
    if at == len(rest):
        return newest + count
    told, mark = [newest], rest.find(PAYLOAD_START, FRAME_BYTES)
    while mark >= 0:
        at = mark - FRAME_BYTES + _SEQUENCE_AT
        told.append(int.from_bytes(rest[at : at + 8], "big"))
        mark = rest.find(PAYLOAD_START, mark + 1)
    if newest + 1 in told:
        return max(number for number in told if number <= newest + len(told))
    return newest + max(1, len(rest) // _SMALLEST_FRAME)


def _inflated(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """(content, whether the member is sound) of each gzip member, damaged ones as far as they can be inflated."""
    start = 0
    while start < len(data):
        content, end = _inflate(data, start + MEMBER_HEADER_BYTES)
        told, trailer = data[start : start + MEMBER_HEADER_BYTES], data[end - _TRAILER_BYTES : end]
        first = content[_SEQUENCE_AT + (len(MAGIC) if start == 0 else 0) :][:8]
        sound = told == MEMBER_BEGIN + (end - start).to_bytes(4, "little") + first[::-1] and trailer == zlib.crc32(
            content
        ).to_bytes(4, "little") + len(content).to_bytes(4, "little")
        yield content, sound
        following = data.find(MEMBER_BEGIN, start + 1)
        start = end if sound else following if following > 0 else len(data)


def _inflate(data: bytes, start: int) -> tuple[bytes, int]:
    """What the deflate stream at `start` holds, as far as it goes, and where its member ends."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = bytearray()
    for at in range(start, len(data), _PIECE):
        piece = data[at : at + _PIECE]
        try:
            content += inflater.decompress(piece)
        except zlib.error:
            return bytes(content), len(data)
        if inflater.eof:
            return bytes(content), at + len(piece) - len(inflater.unused_data) + _TRAILER_BYTES
        if len(content) > LARGEST_MEMBER:
            return bytes(content), len(data)
    return bytes(content), len(data)
