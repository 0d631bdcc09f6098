"""Compressed segments: gzip members of whole frames, each readable without the others. README.md tells the format."""

import os
import struct
import zlib
from bisect import bisect_right
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Self

from gateway.errors import JournalError
from gateway.journal.segments import FRAME_BYTES, MAGIC, MAX_PAYLOAD

MEMBER_BYTES = 256 * 1024  # what a member holds at most, unless one frame is larger
LARGEST_MEMBER = len(MAGIC) + FRAME_BYTES + MAX_PAYLOAD
_LEVEL = 6  # on entries of 1,000 readings: 4.4 times smaller at 47 MB/s; 9 gives 4.7 at 14 MB/s

# Magic, deflate, an extra field; no time, no level; system unknown; 16 bytes of extra, of which 12 are field EG.
MEMBER_BEGIN = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x10\0EG\x0c\0"
_EXTRA = struct.Struct("<IQ")  # compressed size of the whole member, sequence number of its first frame
_TRAILER = struct.Struct("<II")  # checksum and size of what it holds
MEMBER_HEADER_BYTES = len(MEMBER_BEGIN) + _EXTRA.size
_SEQUENCE_AT = 8  # in a frame


class Member(NamedTuple):
    """One gzip member: `size` bytes from `start` in the file hold `length` bytes from `offset` in the segment."""

    first: int  # sequence number of its first frame
    start: int
    size: int
    offset: int
    length: int


def encode_member(data: bytes, first: int) -> bytes:
    """The gzip member that holds `data`: whole frames, of which the first has this sequence number."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflater.compress(data) + deflater.flush()
    size = MEMBER_HEADER_BYTES + len(packed) + _TRAILER.size
    return MEMBER_BEGIN + _EXTRA.pack(size, first) + packed + _TRAILER.pack(zlib.crc32(data), len(data))


def member_at(data: bytes, start: int, size: int, offset: int) -> Member | None:
    """The member whose header and trailer `data` (header bytes, then trailer bytes) holds; None if it is none."""
    if len(data) != MEMBER_HEADER_BYTES + _TRAILER.size or not data.startswith(MEMBER_BEGIN):
        return None
    told, first = _EXTRA.unpack_from(data, len(MEMBER_BEGIN))
    _, length = _TRAILER.unpack_from(data, MEMBER_HEADER_BYTES)
    return Member(first, start, size, offset, length) if told == size and length <= LARGEST_MEMBER else None


class MemberFile:
    """A compressed segment, by the offsets of its uncompressed bytes; one member of it is held at a time.

    Raises OSError, and JournalError on damage.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        self._held: tuple[int, bytes] = (-1, b"")
        try:
            self.members = self._list()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes of the segment from `offset`, at most to the end of a member: frames are whole in one.

        Raises OSError, JournalError.
        """
        number = bisect_right(self.members, offset, key=attrgetter("offset")) - 1
        at = offset - self.members[number].offset
        return self._content(number)[at : at + size] if at < self.members[number].length else b""

    def member_of(self, sequence: int) -> Member | None:
        """The member that holds an entry, if the file does."""
        number = bisect_right(self.members, sequence, key=attrgetter("first"))
        return self.members[number - 1] if number else None

    def _content(self, number: int) -> bytes:
        if self._held[0] != number:
            member = self.members[number]
            try:
                data = decode_member(os.pread(self._descriptor, member.size, member.start), member)
            except ValueError as error:
                raise self._damage(number, str(error)) from error
            self._held = number, data
        return self._held[1]

    def _list(self) -> list[Member]:
        found: list[Member] = []
        start, offset, end = 0, 0, os.fstat(self._descriptor).st_size
        while start < end or not found:
            begin = os.pread(self._descriptor, MEMBER_HEADER_BYTES, start)
            size = int.from_bytes(begin[len(MEMBER_BEGIN) : len(MEMBER_BEGIN) + 4], "little")
            trailer_at = start + size - _TRAILER.size
            trailer = os.pread(self._descriptor, _TRAILER.size, trailer_at) if 0 <= trailer_at < end else b""
            member = member_at(begin + trailer, start, size, offset)
            if member is None or (found and member.first <= found[-1].first):
                raise self._lost(start, found)
            found.append(member)
            start, offset = start + size, offset + member.length
        return found

    def _damage(self, number: int, what: str) -> JournalError:
        member, later = self.members[number], self.members[number + 1 : number + 2]
        last = f"to {later[0].first - 1}" if later else "on"
        return JournalError(
            f"{self.path}: damaged between byte {member.start} and byte {member.start + member.size}, where entries "
            f"{member.first} {last} lie ({what}). `emg journal salvage` saves what is whole"
        )

    def _lost(self, start: int, found: list[Member]) -> JournalError:
        where = f"behind entry {found[-1].first}" if found else "at its beginning"
        return JournalError(
            f"{self.path}: damaged {where}: the compressed part at byte {start} does not begin and end as its header "
            f"says. `emg journal salvage` saves what is whole"
        )


def decode_member(packed: bytes, member: Member) -> bytes:
    """The bytes that a gzip member holds. Raises ValueError when it is damaged."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = inflater.decompress(packed, member.length + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(data) != member.length or not inflater.eof or inflater.unused_data:
        raise ValueError("it does not end where it should")
    at = (len(MAGIC) if member.offset == 0 else 0) + _SEQUENCE_AT
    if int.from_bytes(data[at : at + 8], "big") != member.first:
        raise ValueError(f"its header says that entry {member.first} is its first")
    return data
