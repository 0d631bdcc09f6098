"""Reading the journal: entries in their order, checked as they are read, while a writer may be at work."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from gateway.errors import JournalError
from gateway.journal.entries import Entry, decode_entry
from gateway.journal.segments import (
    GENESIS,
    MAGIC,
    Frame,
    Segment,
    Tail,
    find_frame,
    frames,
    has_magic,
    judge_tail,
    last_frame,
    parse_frame,
    rest_of,
    segments,
)


def entries(directory: Path, *, after: int = 0) -> Iterator[Entry]:
    """The entries behind sequence number `after`, as many as are whole; ends quietly at an unfinished one.

    Starts in the right segment and holds a bounded piece of it. Checks checksum, sequence and the hash that
    links an entry to the one before. The newest entries may be written and not yet durable: who passes them on
    stops at `Journal.durable_sequence`. Raises JournalError naming file, sequence and byte offset on damage.
    """
    place = _place(directory, after)
    while place is not None:
        if has_magic(place.segment.path):
            for frame in frames(place.segment.path, place.offset):
                entry = place.take(frame)
                if entry.sequence > after:
                    yield entry
        place = _go_on(directory, place)


def entries_between(directory: Path, first: int, last: int) -> Iterator[Entry]:
    """The entries with sequence numbers `first` to `last`, both included. Raises JournalError on damage."""
    return takewhile(lambda entry: entry.sequence <= last, entries(directory, after=first - 1))


def newest_sequence(directory: Path) -> int:
    """The sequence number of the last whole entry; 0 for an empty journal. Raises JournalError."""
    for segment in reversed(segments(directory)):
        frame = last_frame(segment.path)
        if frame is not None:
            return frame.sequence
    return 0


class _Place:
    """Where reading stands: the segment, the offset in it, and what the next entry must carry."""

    def __init__(self, found: list[Segment], segment: Segment, last: Frame | None, previous: bytes | None) -> None:
        self.found = found  # as last listed
        self.segment = segment
        self.offset = len(MAGIC) if last is None else last.end
        self.expected = segment.first if last is None else last.sequence + 1
        self.previous = previous if last is None else last.hash

    def take(self, frame: Frame) -> Entry:
        """The entry in the frame found here; moves on behind it."""
        if frame.sequence != self.expected:
            raise self.damage(f"entry {frame.sequence} lies")
        if self.previous is not None and frame.previous != self.previous:
            raise self.damage("an entry that does not carry the hash of the one before it lies")
        try:
            entry = decode_entry(frame)
        except JournalError as error:
            raise self.damage(f"{error}; it lies") from error
        self.offset, self.expected, self.previous = frame.end, frame.sequence + 1, entry.hash
        return entry

    def damage(self, what: str) -> JournalError:
        return JournalError(
            f"{self.segment.path}: {what} at byte {self.offset}, where entry {self.expected} is expected. "
            f"Keep a copy of the folder before anything else; `emg verify` names all that is known"
        )


def _place(directory: Path, after: int) -> _Place | None:
    found = segments(directory)
    if not found:
        return None
    holding = [segment for segment in found if segment.first <= after + 1]
    if not holding:
        raise JournalError(f"{found[0].path}: the first segment; the one that holds entry {after + 1} is missing")
    segment = holding[-1]
    if segment.first == after + 1:
        return _Place(found, segment, None, GENESIS if after == 0 else None)
    return _Place(found, segment, find_frame(segment.path, after), None)


def _go_on(directory: Path, place: _Place) -> _Place | None:
    """Where reading goes on when a segment has no further whole entry; None at the end of the journal."""
    if place.segment == place.found[-1]:
        place.found = segments(directory)
    # Known before the rest is read: where another segment follows, this one will not grow any more.
    following = place.found[bisect_right(place.found, place.segment) :][:1]
    rest = rest_of(place.segment.path, place.offset)
    if parse_frame(rest, 0, place.offset) is not None:
        return place  # it grew meanwhile
    if not following:
        if judge_tail(rest) in {Tail.CLEAN, Tail.TORN}:
            return None
        raise place.damage("damage lies")
    (segment,) = following
    if rest or segment.first != place.expected:
        raise place.damage("damage lies" if rest else f"the segment ends and the next one begins with {segment.first},")
    place.segment, place.offset = segment, len(MAGIC)
    return place
