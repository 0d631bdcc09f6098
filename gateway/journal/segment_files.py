"""Reading a segment's frames, whether its file is plain or compressed, in pieces of bounded size."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from gateway.errors import JournalError
from gateway.journal.members import MemberFile
from gateway.journal.segments import (
    COMPRESSED,
    FRAME_BYTES,
    MAGIC,
    MAX_PAYLOAD,
    PAYLOAD_START,
    Frame,
    parse_frame,
)

_CHUNK = 256 * 1024
_SEQUENCE_AT = 8  # in a frame


class PlainFile:
    """A segment as it was written; it may grow while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        """How many bytes it has now."""
        return os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`: all that there are. Raises OSError."""
        return os.pread(self._descriptor, size, offset)


SegmentFile = PlainFile | MemberFile


def open_segment(path: Path) -> SegmentFile:
    """The segment at `path`, or the compressed one that took its place meanwhile. Raises JournalError."""
    try:
        if path.suffix == COMPRESSED:
            return MemberFile(path)
        try:
            return PlainFile(path)
        except FileNotFoundError:
            packed = path.with_name(path.name + COMPRESSED)
            if not packed.exists():
                raise
            return MemberFile(packed)
    except OSError as error:  # a segment may also have been retired since it was listed
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error


def has_magic(file: SegmentFile) -> bool:
    """True if the segment begins as it must, False if that beginning was not finished.

    Raises JournalError when it is no segment, or one of another version of the format.
    """
    begin = _read(file, 0, len(MAGIC))
    if begin == MAGIC:
        return True
    if MAGIC.startswith(begin.rstrip(b"\0")):
        return False
    raise JournalError(
        f"{file.path}: begins with {begin!r}; expected {MAGIC!r}: not a segment that this version can read. "
        f"`emg journal salvage` saves what is whole behind it"
    )


def frames(file: SegmentFile, start: int = len(MAGIC)) -> Iterator[Frame]:
    """The whole frames of a segment from offset `start`, up to the first place where there is none.

    Reads in bounded pieces, and reads a piece again before it gives up: a writer may be at work.
    Raises JournalError when the file cannot be read, or a compressed one is damaged.
    """
    data, base, at = b"", start, 0
    while True:
        frame = parse_frame(data, at, base)
        if frame is None:
            data, base, at = _piece(file, base + at), base + at, 0
            frame = parse_frame(data, at, base)
        if frame is None:
            return
        yield frame
        at = frame.end - base


def rest_of(file: SegmentFile, offset: int) -> bytes:
    """All bytes of a segment from `offset` on. Raises JournalError."""
    pieces = []
    while piece := _read(file, offset, MAX_PAYLOAD):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def find_frame(file: SegmentFile, sequence: int) -> Frame | None:
    """The frame of one entry; None when it is not there. Raises JournalError."""
    if isinstance(file, MemberFile):
        member = file.member_of(sequence)
        held = frames(file, member.offset or len(MAGIC)) if member else iter(())
        frame = next((frame for frame in held if frame.sequence >= sequence), None)
        return frame if frame is not None and frame.sequence == sequence else None
    return _search_back(file, sequence.to_bytes(8, "big"), _SEQUENCE_AT, sequence)


def last_frame(file: SegmentFile) -> Frame | None:
    """The last whole frame of a segment; None when it has none. Raises JournalError."""
    if isinstance(file, MemberFile):
        last = None
        for frame in frames(file, file.members[-1].offset or len(MAGIC)):
            last = frame
        return last
    return _search_back(file, PAYLOAD_START, FRAME_BYTES, None)


def _read(file: SegmentFile, offset: int, size: int) -> bytes:
    try:
        return file.read_at(offset, size)
    except OSError as error:
        raise JournalError(f"{file.path}: cannot be read: {error.strerror}") from error


def _piece(file: SegmentFile, offset: int) -> bytes:
    """A piece of the file that holds at least the frame at `offset`, if the file does."""
    data = _read(file, offset, _CHUNK)
    if len(data) < FRAME_BYTES:
        return data
    size = FRAME_BYTES + int.from_bytes(data[:4], "big")
    if len(data) < size <= FRAME_BYTES + MAX_PAYLOAD:
        return _read(file, offset, size)
    return data


def _search_back(file: PlainFile, mark: bytes, lead: int, sequence: int | None) -> Frame | None:
    """The last frame with `mark` `lead` bytes behind its beginning, and this sequence number if one is given.

    Read piece by piece, not mapped: a writer that starts may shorten the file meanwhile.
    """
    end = file.size
    while end > len(MAGIC):
        begin = max(0, end - _CHUNK)
        data = _read(file, begin, end - begin + len(mark) - 1)
        at = data.rfind(mark)
        while at >= 0:
            offset = begin + at - lead
            frame = parse_frame(_piece(file, offset), 0, offset) if offset >= len(MAGIC) else None
            if frame is not None and sequence in {None, frame.sequence}:
                return frame
            at = data.rfind(mark, 0, at + len(mark) - 1)
        end = begin
    return None
