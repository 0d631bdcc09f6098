"""Compression of closed segments: beside the writer, safe to be killed at any point and to be repeated."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from gateway.errors import JournalError
from gateway.journal.disk import hold_lock, remove_file, replaced, sync_directory, write_all
from gateway.journal.members import MEMBER_BYTES, MemberFile, encode_member
from gateway.journal.segment_files import PlainFile, frames, has_magic, rest_of
from gateway.journal.segments import COMPRESSED, MAGIC, Frame, encode_frame, segments
from gateway.journal.writer import Journal

LOCK_NAME = "rewriting.lock"  # held by who compresses, prunes or retires segments
PACE_S = 60.0
_log = logging.getLogger(__name__)


def compress_segment(path: Path) -> Path:
    """Compress one closed segment; the compressed file, which has taken its place durably when this returns.

    Every checksum and link is looked at on the way, and the new file is read back from the disk and compared before
    the old one goes. A compressed one that is there already is kept when it holds the same. Raises JournalError on
    damage and OSError when the disk fails: the segment is then as it was.
    """
    target = path.with_name(path.name + COMPRESSED)
    if not (target.exists() and _holds_the_same(path, target)):
        with replaced(target) as new:
            with PlainFile(path) as file:
                write_members(new, _checked(file))
            if not _holds_the_same(path, Path(new.name)):
                raise JournalError(f"{new.name}: does not give back the bytes of {path.name}; is the disk in order?")
    sync_directory(path.parent)  # the compressed one's name is on the disk before the old one goes
    remove_file(path)
    return target


def compress_closed(directory: Path, *, stopped: Callable[[], bool] = lambda: False) -> list[Path]:
    """Compress all plain segments but the newest, the oldest first; the new files. Raises as `compress_segment`.

    One that is damaged is passed over and told at the end; before each of them `stopped` is asked. Nothing is done
    while another process is at it, or prunes.
    """
    done: list[Path] = []
    damage = ""
    with hold_lock(directory / LOCK_NAME) as held:
        for segment in segments(directory)[:-1] if held else ():
            if segment.path.suffix == COMPRESSED:
                continue
            if stopped():
                break
            try:
                done.append(compress_segment(segment.path))
            except JournalError as error:
                damage = damage or str(error)
    if damage:
        raise JournalError(damage)
    return done


def write_members(file: BinaryIO, held: Iterator[Frame]) -> None:
    """Write frames as a compressed segment, durably, so that what is read back is the disk. Raises OSError."""
    for first, data in _members(held):
        write_all(file.fileno(), encode_member(data, first))
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _members(held: Iterator[Frame]) -> Iterator[tuple[int, bytes]]:
    """(sequence number of the first frame, bytes) of each member."""
    pieces, size, first = [MAGIC], len(MAGIC), 0
    for frame in held:
        data = encode_frame(frame.sequence, frame.previous, frame.payload)
        if first and size + len(data) > MEMBER_BYTES:
            yield first, b"".join(pieces)
            pieces, size, first = [], 0, 0
        first = first or frame.sequence
        pieces.append(data)
        size += len(data)
    if first:
        yield first, b"".join(pieces)


def _checked(file: PlainFile) -> Iterator[Frame]:
    """All frames of a segment. Raises JournalError when anything in it is not as it should be."""
    last: Frame | None = None
    if has_magic(file):
        for frame in frames(file):
            follows = last is None or frame.sequence > last.sequence + 1 or frame.previous == last.hash
            if not follows or (last is not None and frame.sequence <= last.sequence):
                raise JournalError(f"{file.path}: entry {frame.sequence} does not continue the chain; not compressed")
            yield frame
            last = frame
    if last is None or rest_of(file, last.end):
        raise JournalError(f"{file.path}: damaged behind entry {last.sequence if last else 0}; not compressed")


def _holds_the_same(path: Path, packed: Path) -> bool:
    """True if the compressed file gives the bytes of the plain one."""
    with PlainFile(path) as plain:
        try:
            with MemberFile(packed) as file:
                places = [(member.offset, member.length) for member in file.members]
                return plain.size == sum(places[-1]) and all(file.read_at(*p) == plain.read_at(*p) for p in places)
        except JournalError:
            return False


async def compress_forever(journal: Journal, *, pace_s: float = PACE_S) -> None:
    """Compress what is closed, now and whenever the journal has grown, until cancelled or the journal ends.

    In a thread that no commit waits for. What goes wrong is logged, harms nobody and is tried again: the plain
    segment stays. Cancelled, it finishes the segment that is in work. Raises JournalError when the journal ends.
    """
    stopped = threading.Event()
    try:
        while True:
            durable = journal.durable_sequence
            try:
                await asyncio.to_thread(compress_closed, journal.directory, stopped=stopped.is_set)
            except (JournalError, OSError) as error:
                _log.warning("compression of closed segments failed and will be tried again: %s", error)
            await asyncio.sleep(pace_s)
            await journal.wait_beyond(durable)
    finally:
        stopped.set()
