"""Segments: the journal's files as they lie on the disk, frame by frame. The format is told in README.md."""

import hashlib
import os
import re
import struct
import zlib
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from gateway.errors import JournalError

MAGIC = b"emg-journal 1\n"  # first bytes of every segment; the number is the version of the format
GENESIS = bytes(32)  # "previous hash" of entry 1
SEGMENT_BYTES = 16 * 1024 * 1024
MAX_PAYLOAD = 16 * 1024 * 1024
COMPRESSED = ".gz"  # what the name of a compressed segment has behind it
_NAME = re.compile(r"[0-9]{20}\.journal(\.gz)?")

_HEADER = struct.Struct(">IIQ32s")  # payload length, crc32, sequence, previous hash
FRAME_BYTES = _HEADER.size  # of a frame without its payload
_SEQUENCE = struct.Struct(">Q")
_CRC_FROM = 8  # the checksum covers the frame from its sequence number on
# Every payload begins so (its keys are sorted), and JSON holds no zero byte: a frame is found by either mark.
PAYLOAD_START = b'{"at":'
_PRUNED = re.compile(
    rb'\{"at":-?\d+,"body":\{"payload":"([0-9a-f]{64})","readings":\d+\},'
    rb'"boot":"(?:[^"\\]|\\.)*","kind":"pruned","monotonic_ns":-?\d+\}\Z'
)


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
    """SHA-256 over sequence number (8 bytes, big-endian), previous hash, and SHA-256 of the payload as written."""
    told = pruned_digest(payload) or hashlib.sha256(payload).digest()
    return hashlib.sha256(_SEQUENCE.pack(sequence) + previous + told).digest()


def pruned_digest(payload: bytes) -> bytes | None:
    """SHA-256 of the payload that was there, as the stand-in of a pruned entry states it; None for any other."""
    pruned = _PRUNED.match(payload)
    return bytes.fromhex(pruned[1].decode()) if pruned else None


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
    """The segments of a journal in their order; of one that is there plain and compressed, the plain one.

    Empty when there are none. Raises JournalError.
    """
    try:
        names = sorted(filter(_NAME.fullmatch, os.listdir(directory)), reverse=True)  # noqa: PTH208 - no path for every other file
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"{directory}: cannot be listed: {error.strerror}") from error
    found = {int(name[:20]): directory / name for name in names}  # the plain name comes last, and counts
    return [Segment(first, found[first]) for first in sorted(found)]


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
    at = rest.find(PAYLOAD_START, _HEADER.size + 1)
    while at >= 0:
        if parse_frame(rest, at - _HEADER.size, 0) is not None:
            return True
        at = rest.find(PAYLOAD_START, at + 1)
    return False
