"""What a crash leaves at the end of the journal, and how it is cut back without throwing anything away."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gateway.domain.readings import MICROSECONDS
from gateway.errors import JournalError
from gateway.journal.disk import remove_file, sync_directory, write_file
from gateway.journal.entries import decode_entry
from gateway.journal.segment_files import SegmentFile, frames, has_magic, open_segment, rest_of
from gateway.journal.segments import COMPRESSED, GENESIS, MAGIC, Frame, Segment, Tail, judge_tail, segments

Month = tuple[int, int]


class Standing(NamedTuple):
    """Where the journal stands: the segment that takes the next entry (None: a new one does) and the last entry."""

    path: Path | None
    size: int
    month: Month
    sequence: int
    hash: bytes


NOTHING = Standing(None, 0, (0, 0), 0, GENESIS)


def month_of(at: int) -> Month:
    """Year and month (UTC) of an instant [us, UTC]."""
    moment = time.gmtime(at // MICROSECONDS)
    return moment.tm_year, moment.tm_mon


def recover(directory: Path) -> Standing:
    """Where the journal stands after an unfinished end is cut off and put beside it as a .torn file.

    Only the newest segment is read (and the one before, when a crash left the newest without an entry).
    Raises JournalError on damage that no crash leaves: then nothing is touched. Raises OSError when the
    disk fails.
    """
    found = segments(directory)
    sync_directory(directory)
    if not found:
        return NOTHING
    newest = found[-1]
    standing, rest = _walk(newest)
    tail = judge_tail(rest)
    if tail is Tail.FRAMES_FOLLOW or (rest and newest.path.suffix == COMPRESSED):
        raise _damage(newest.path, standing.size, standing.sequence + 1)
    begun_only = standing.sequence < newest.first
    before = _before(found) if begun_only else standing
    if tail is not Tail.CLEAN:
        _keep_torn(directory, standing.sequence + 1, rest)
    if begun_only:
        remove_file(newest.path)
    elif rest:
        _cut(newest.path, standing.size)
    return before


def _before(found: list[Segment]) -> Standing:
    """The standing without the newest segment. Raises JournalError when the two do not join."""
    newest = found[-1]
    if len(found) == 1:
        if newest.first != 1:
            raise JournalError(f"{newest.path}: holds no entry, and the segments before it are missing")
        return NOTHING
    standing, rest = _walk(found[-2])
    if rest or standing.sequence + 1 != newest.first:
        raise _damage(found[-2].path, standing.size, standing.sequence + 1)
    return standing


def _damage(path: Path, offset: int, sequence: int) -> JournalError:
    return JournalError(
        f"{path}: damaged at byte {offset}, where entry {sequence} should be, and the journal goes on behind it: "
        f"no crash leaves that. Nothing was changed; keep a copy of the folder. `emg verify` names all that is known, "
        f"`emg journal salvage` makes a new folder of all that is whole"
    )


def torn_files(directory: Path, sequence: int) -> list[dict[str, Any]]:
    """What was cut off before entry `sequence`: file, bytes and SHA-256 of each, for the event that tells it."""
    told = []
    for path in sorted(directory.glob(f"{sequence:020d}-*.torn")):
        data = path.read_bytes()
        told.append({"bytes": len(data), "file": path.name, "sha256": hashlib.sha256(data).hexdigest()})
    return told


def _walk(segment: Segment) -> tuple[Standing, bytes]:
    """The standing after the last whole entry of a segment, and the bytes behind it."""
    _bring_to_disk(segment.path)
    none_yet = Standing(None, 0, (0, 0), segment.first - 1, GENESIS)
    with open_segment(segment.path) as file:
        if not has_magic(file):
            return none_yet, rest_of(file, 0)
        last: Frame | None = None
        month: Month = (0, 0)
        for frame in _linked(file, segment.first):
            if last is None:
                month = month_of(decode_entry(frame).at)
            last = frame
        if last is None:
            return none_yet._replace(size=len(MAGIC)), rest_of(file, len(MAGIC))
        standing = Standing(segment.path, last.end, month, last.sequence, last.hash)
        if segment.path.suffix == COMPRESSED:  # closed for good: what comes next begins a new segment
            standing = standing._replace(path=None, size=0)
        return standing, rest_of(file, last.end)


def _linked(file: SegmentFile, first: int) -> Iterator[Frame]:
    """The whole frames of a segment. Raises JournalError where one does not continue the one before."""
    expected, previous = first, None
    for frame in frames(file):
        if frame.sequence != expected or previous not in {None, frame.previous}:
            raise JournalError(
                f"{file.path}: entry {frame.sequence} at byte {frame.offset} does not continue the chain; "
                f"expected entry {expected}. Nothing was changed; `emg verify` names all that is known, "
                f"`emg journal salvage` makes a new folder of all that is whole"
            )
        yield frame
        expected, previous = expected + 1, frame.hash


def _bring_to_disk(path: Path) -> None:
    """Make durable what a killed writer left in memory, then forget the memory: what is read next is the disk.

    After a failed write-back the kernel may show bytes that never reached the disk.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _keep_torn(directory: Path, sequence: int, rest: bytes) -> None:
    kept = sorted(directory.glob(f"{sequence:020d}-*.torn"))
    if not any(path.read_bytes() == rest for path in kept):  # kept already, when the cut itself was interrupted
        write_file(directory / f"{sequence:020d}-{len(kept)}.torn", rest)


def _cut(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
