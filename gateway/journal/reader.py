"""Reading the journal: entries in their order, checked as they are read, while a writer may be at work."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import takewhile
from operator import attrgetter
from pathlib import Path

from gateway.errors import JournalError
from gateway.journal.absences import are_lost, hash_before
from gateway.journal.entries import Entry, decode_entry
from gateway.journal.segment_files import (
    SegmentFile,
    find_frame,
    frames,
    has_magic,
    last_frame,
    open_segment,
    rest_of,
)
from gateway.journal.segments import GENESIS, MAGIC, Frame, Segment, Tail, judge_tail, parse_frame, segments


def entries(directory: Path, *, after: int = 0) -> Iterator[Entry]:
    """The entries behind sequence number `after`, as many as are whole; ends quietly at an unfinished one.

    Starts in the right segment and holds a bounded piece of it. Checks checksum, sequence and the hash that
    links an entry to the one before. The newest entries may be written and not yet durable: who passes them on
    stops at `Journal.durable_sequence`. `after=0` begins with the oldest entry that is kept; entries that a salvage
    names as lost are passed over. Raises JournalError naming file, sequence and byte offset on damage, and when
    entry `after + 1` was retired.
    """
    return entries_of(directory, after=after)


def entries_of(directory: Path, *marks: bytes, after: int = 0) -> Iterator[Entry]:
    """As `entries`, only those whose payload contains all `marks`, e.g. `b'"kind":"correction"'`.

    Only these are decoded: a journal is searched for what is rare many times faster than it is read. A mark is
    found wherever it stands in the payload: whoever asks looks at the body again.
    """
    place = _Place(directory, after)
    while (segment := place.segment) is not None:
        with open_segment(segment.path) as file:
            place.enter(file, after)
            while place.segment is segment:
                begun = place.offset > len(MAGIC) or has_magic(file)
                for frame in frames(file, place.offset) if begun else ():
                    place.take(frame)
                    if frame.sequence > after and all(mark in frame.payload for mark in marks):
                        yield _decoded(frame, segment.path)
                place.go_on(file)


def entries_between(directory: Path, first: int, last: int) -> Iterator[Entry]:
    """The entries with sequence numbers `first` to `last`, both included. Raises JournalError on damage."""
    return takewhile(lambda entry: entry.sequence <= last, entries(directory, after=first - 1))


def newest_sequence(directory: Path) -> int:
    """The sequence number of the last whole entry; 0 for an empty journal. Raises JournalError."""
    for segment in reversed(segments(directory)):
        with open_segment(segment.path) as file:
            frame = last_frame(file)
        if frame is not None:
            return frame.sequence
    return 0


class _Place:
    """Where reading stands: the segment (None at the journal's end), the offset in it, what the next entry carries."""

    def __init__(self, directory: Path, after: int) -> None:
        self._directory = directory
        self._found = segments(directory)  # as last listed
        self._previous = GENESIS if after == 0 else None
        self.segment = self._found[max(0, self._number(after + 1) - 1)] if self._found else None
        self._begin = 1 if self.segment is None else self.segment.first
        self.offset, self._expected = len(MAGIC), self._begin
        if after == 0 and self._expected > 1:
            self._previous = hash_before(directory, self._expected)
        elif self.segment is not None and self._expected > after + 1:
            raise JournalError(f"{self.segment.path}: the first segment; entry {after + 1} was retired or is missing")

    def enter(self, file: SegmentFile, after: int) -> None:
        """Begin to read the segment, behind entry `after` if it lies there."""
        last = find_frame(file, after) if self._expected <= after else None
        if last is not None:
            self.offset, self._expected, self._previous = last.end, last.sequence + 1, last.hash

    def take(self, frame: Frame) -> None:
        """Go on behind a frame found here. Raises JournalError when it does not continue the chain."""
        if frame.sequence > self._expected and are_lost(self._directory, self._expected, frame.sequence - 1):
            self._expected, self._previous = frame.sequence, None
        if frame.sequence != self._expected:
            raise self._damage(f"entry {frame.sequence} lies")
        if self._previous is not None and frame.previous != self._previous:
            raise self._damage("an entry that does not carry the hash of the one before it lies")
        self.offset, self._expected, self._previous = frame.end, frame.sequence + 1, frame.hash

    def go_on(self, file: SegmentFile) -> None:
        """Where reading goes on when the segment has no further whole entry. Raises JournalError on damage."""
        if self.segment == self._found[-1]:
            self._found = segments(self._directory)
        # Known before the rest is read: where another segment follows, this one will not grow any more.
        following = self._following()
        rest = rest_of(file, self.offset)
        if parse_frame(rest, 0, self.offset) is not None:
            return  # it grew meanwhile
        if rest and (following is not None or judge_tail(rest) is not Tail.TORN):
            raise self._damage("damage lies")
        if following is not None and following.first != self._expected:
            following = self._behind_a_gap(following)
        self.segment, self.offset = following, len(MAGIC)
        self._begin = 0 if following is None else following.first

    def _behind_a_gap(self, following: Segment) -> Segment:
        """The segment to go on with where the names leave entries out, as long as it is known why."""
        self._found = segments(self._directory)  # one that is being compressed may have hidden between its two names
        again = self._following()
        if again is not None and again != following:
            return again
        if not are_lost(self._directory, self._expected, following.first - 1):
            raise self._damage(f"the segment ends and the next one begins with {following.first},")
        self._expected, self._previous = following.first, None
        return following

    def _following(self) -> Segment | None:
        number = self._number(self._begin)
        return self._found[number] if number < len(self._found) else None

    def _number(self, sequence: int) -> int:
        """How many of the segments begin at or before this entry."""
        return bisect_right(self._found, sequence, key=attrgetter("first"))

    def _damage(self, what: str) -> JournalError:
        path = self._directory if self.segment is None else self.segment.path
        return JournalError(
            f"{path}: {what} at byte {self.offset}, where entry {self._expected} is expected. Keep a copy of the "
            f"folder before anything else; `emg verify` names what is known, `emg journal salvage` saves what is whole"
        )


def _decoded(frame: Frame, path: Path) -> Entry:
    try:
        return decode_entry(frame)
    except JournalError as error:
        raise JournalError(f"{path}: {error}; it lies at byte {frame.offset}") from error
