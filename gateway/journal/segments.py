"""Segments: the journal's files as they lie on the disk, frame by frame. The format is told in README.md."""

import hashlib
import os
import re
import struct
import zlib
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from gateway.errors import JournalError

MAGIC = b"emg-journal 1\n"  # first bytes of every segment; the number is the version of the format
GENESIS = bytes(32)  # "previous hash" of entry 1
SEGMENT_BYTES = 16 * 1024 * 1024
MAX_PAYLOAD = 16 * 1024 * 1024
_NAME = re.compile(r"[0-9]{20}\.journal")

_HEADER = struct.Struct(">IIQ32s")  # payload length, crc32, sequence, previous hash
_SEQUENCE = struct.Struct(">Q")
_CRC_FROM = 8  # the checksum covers the frame from its sequence number on
_CHUNK = 256 * 1024
# Every payload begins so (its keys are sorted), and JSON holds no zero byte: a frame is found by either mark.
_PAYLOAD_START = b'{"at":'


class Segment(NamedTuple):
    """One file of the journal, and the sequence number of its first entry, which its name carries."""

    first: int
    path: Path


class Frame(NamedTuple):
    """One whole entry as it lies in a segment; its checksum fits."""

    offset: int
    sequence: int
    previous: bytes
    payload: bytes

    @property
    def end(self) -> int:
        """The offset behind the frame."""
        return self.offset + _HEADER.size + len(self.payload)

    @property
    def hash(self) -> bytes:
        """The entry's hash, which the next entry carries as its previous hash."""
        return entry_hash(self.sequence, self.previous, self.payload)


class Tail(Enum):
    """What lies behind the last whole frame of a segment."""

    CLEAN = auto()  # nothing
    TORN = auto()  # an entry that was begun and not finished
    DAMAGED = auto()  # an entry that has all its bytes, and they do not fit its checksum
    FRAMES_FOLLOW = auto()  # damage with whole entries behind it: nothing that a crash leaves


def entry_hash(sequence: int, previous: bytes, payload: bytes) -> bytes:
    """SHA-256 over sequence number (8 bytes, big-endian), previous hash and payload."""
    return hashlib.sha256(_SEQUENCE.pack(sequence) + previous + payload).digest()


def encode_frame(sequence: int, previous: bytes, payload: bytes) -> bytes:
    """The frame of one entry."""
    checked = _SEQUENCE.pack(sequence) + previous + payload
    return struct.pack(">II", len(payload), zlib.crc32(checked)) + checked


def parse_frame(data: bytes, at: int, base: int) -> Frame | None:
    """The frame that begins at `at` in `data`, which was read from offset `base`; None if there is no whole one."""
    if len(data) - at < _HEADER.size:
        return None
    length, crc, sequence, previous = _HEADER.unpack_from(data, at)
    end = at + _HEADER.size + length
    if not 0 < length <= MAX_PAYLOAD or end > len(data):
        return None
    if zlib.crc32(memoryview(data)[at + _CRC_FROM : end]) != crc:
        return None
    return Frame(base + at, sequence, previous, data[at + _HEADER.size : end])


def segment_name(first: int) -> str:
    """The file name of the segment whose first entry has this sequence number."""
    return f"{first:020d}.journal"


def segments(directory: Path) -> list[Segment]:
    """The segments of a journal in their order; empty when there are none. Raises JournalError."""
    try:
        names = sorted(filter(_NAME.fullmatch, os.listdir(directory)))  # noqa: PTH208 - no path for every other file
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"{directory}: cannot be listed: {error.strerror}") from error
    return [Segment(int(name[:20]), directory / name) for name in names]


def has_magic(path: Path) -> bool:
    """True if the segment begins as it must, False if that beginning was not finished.

    Raises JournalError when it is no segment, or one of another version of the format.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(MAGIC))
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error
    if begin == MAGIC:
        return True
    if MAGIC.startswith(begin.rstrip(b"\0")):
        return False
    raise JournalError(f"{path}: begins with {begin!r}; expected {MAGIC!r}: not a segment that this version can read")


def frames(path: Path, start: int) -> Iterator[Frame]:
    """The whole frames of a segment from offset `start`, up to the first place where there is none.

    Reads in bounded pieces, and reads a piece again before it gives up: a writer may be at work.
    Raises JournalError when the file cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            data, base, at = b"", start, 0
            while True:
                frame = parse_frame(data, at, base)
                if frame is None:
                    data, base, at = _piece(file.fileno(), base + at), base + at, 0
                    frame = parse_frame(data, at, base)
                if frame is None:
                    return
                yield frame
                at = frame.end - base
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error


def _piece(descriptor: int, offset: int) -> bytes:
    """A piece of the file that holds at least the frame at `offset`, if the file does."""
    data = os.pread(descriptor, _CHUNK, offset)
    if len(data) < _HEADER.size:
        return data
    size = _HEADER.size + int(_HEADER.unpack_from(data)[0])
    if len(data) < size <= _HEADER.size + MAX_PAYLOAD:
        return os.pread(descriptor, size, offset)
    return data


def rest_of(path: Path, offset: int) -> bytes:
    """All bytes of a file from `offset` on. Raises JournalError."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error


def judge_tail(rest: bytes) -> Tail:
    """What the bytes behind the last whole frame are."""
    if not rest:
        return Tail.CLEAN
    if _frame_within(rest):
        return Tail.FRAMES_FOLLOW
    # A payload ends with a brace; a zero there is a block that the disk had reserved and not yet written.
    if len(rest) < _HEADER.size or rest[-1] == 0:
        return Tail.TORN
    length, crc, _, _ = _HEADER.unpack_from(rest)
    if _HEADER.size + length <= len(rest):
        return Tail.DAMAGED
    # More bytes announced than there are: torn, unless the checksum says that only the length is wrong.
    return Tail.DAMAGED if zlib.crc32(memoryview(rest)[_CRC_FROM:]) == crc else Tail.TORN


def _frame_within(rest: bytes) -> bool:
    at = rest.find(_PAYLOAD_START, _HEADER.size + 1)
    while at >= 0:
        if parse_frame(rest, at - _HEADER.size, 0) is not None:
            return True
        at = rest.find(_PAYLOAD_START, at + 1)
    return False


def find_frame(path: Path, sequence: int) -> Frame | None:
    """The frame of one entry, searched from the end of the segment; None when it is not there."""
    return _search_back(path, _SEQUENCE.pack(sequence), _CRC_FROM, sequence)


def last_frame(path: Path) -> Frame | None:
    """The last whole frame of a segment; None when it has none."""
    return _search_back(path, _PAYLOAD_START, _HEADER.size, None)


def _search_back(path: Path, mark: bytes, lead: int, sequence: int | None) -> Frame | None:
    """The last frame with `mark` `lead` bytes behind its beginning, and this sequence number if one is given.

    Read piece by piece, not mapped: a writer that starts may shorten the file meanwhile.
    """
    try:
        with path.open("rb", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size
            while end > len(MAGIC):
                begin = max(0, end - _CHUNK)
                data = os.pread(file.fileno(), end - begin + len(mark) - 1, begin)
                at = data.rfind(mark)
                while at >= 0:
                    offset = begin + at - lead
                    frame = parse_frame(_piece(file.fileno(), offset), 0, offset) if offset >= len(MAGIC) else None
                    if frame is not None and sequence in {None, frame.sequence}:
                        return frame
                    at = data.rfind(mark, 0, at + len(mark) - 1)
                end = begin
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error
    return None
