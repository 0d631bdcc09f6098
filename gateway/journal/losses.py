"""The account of a damaged journal: what is there, what is missing, and which event says so already."""

from collections.abc import Iterable, Sequence

from gateway.journal.absences import PRUNED, RETIRED, SALVAGED, lost_in
from gateway.journal.entries import EntryKind, decode_entry
from gateway.journal.segments import GENESIS, Frame, pruned_digest

Ranges = list[tuple[int, int]]
_KEY_EVENTS = ("key_created", "key_rotated")
_EVENTS = (SALVAGED, PRUNED, RETIRED, "journal_created", *_KEY_EVENTS)
_MARKS = [b'"kind":"checkpoint"', *(f'"event":"{name}"'.encode() for name in _EVENTS)]


class Account:
    """What the whole frames of a journal, taken one after the other, say together."""

    def __init__(self) -> None:
        self.entries = 0
        self.last: Frame | None = None  # the newest that is whole
        self.broken: list[int] = []  # entries that do not carry the hash of the one before, which is there
        self._missing: Ranges = []
        self._said_lost: Ranges = []
        self._said_pruned: Ranges = []
        self._retired: list[int] = []  # last sequence number that left, by event
        self._pruned: list[int] = []
        self.key = ""  # id of the key that the newest checkpoint or change of keys names
        self.gateway = ""

    @property
    def newest(self) -> int:
        """The largest sequence number that was given, to an entry that is there or to one that is lost."""
        return max(self.last.sequence if self.last else 0, *(end for _, end in self._missing), 0)

    def take(self, frame: Frame) -> None:
        """The next whole frame, with a larger sequence number than the one before."""
        expected, previous = (self.last.sequence + 1, self.last.hash) if self.last else (1, GENESIS)
        if frame.sequence > expected:
            self._missing.append((expected, frame.sequence - 1))
        elif frame.previous != previous:
            self.broken.append(frame.sequence)
        if pruned_digest(frame.payload) is not None:
            self._pruned.append(frame.sequence)
        if any(mark in frame.payload for mark in _MARKS):
            self._note(frame)
        self.entries += 1
        self.last = frame

    def miss_end(self, newest: int) -> None:
        """The entries behind the last whole one are lost, up to `newest`."""
        self._missing.append((self.last.sequence + 1 if self.last else 1, newest))

    def lost(self) -> Ranges:
        """The missing entries that no event `salvaged` names, and no event `segments_retired`."""
        begin, end = (self._missing or [(0, 0)])[0]
        retired = [(1, last) for last in self._retired if begin == 1 and last <= end]
        return _without(self._missing, [*self._said_lost, *retired])

    def unnamed_stand_ins(self) -> list[int]:
        """The stand-ins of pruned entries whose own event is lost."""
        return [number for number in self._pruned if not _in(self._said_pruned, number)]

    def _note(self, frame: Frame) -> None:
        entry = decode_entry(frame)
        event = entry.body.get("event") if entry.kind is EntryKind.EVENT else None
        if entry.kind is EntryKind.CHECKPOINT or event in _KEY_EVENTS:
            self.key = str(entry.body["key"])
        if entry.kind is EntryKind.CHECKPOINT or event == "journal_created":
            self.gateway = str(entry.body["gateway"])
        if event == SALVAGED:
            self._said_lost += [pair for pair in lost_in(entry) if pair[1] < frame.sequence]
        elif event == PRUNED:
            self._said_pruned += [(first, last) for first, last in entry.body["ranges"] if last < frame.sequence]
        elif event == RETIRED and entry.body["last"] < frame.sequence:
            self._retired.append(int(entry.body["last"]))


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """[first, last] of each stretch of consecutive numbers; they come in ascending order."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] + 1 == number:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def _without(ranges: Sequence[tuple[int, int]], taken: Sequence[tuple[int, int]]) -> Ranges:
    """What of `ranges` lies in none of `taken`."""
    left = list(ranges)
    for begin, end in taken:
        parts = [[(first, min(last, begin - 1)), (max(first, end + 1), last)] for first, last in left]
        left = [(first, last) for both in parts for first, last in both if first <= last]
    return left


def _in(ranges: Sequence[tuple[int, int]], number: int) -> bool:
    return any(first <= number <= last for first, last in ranges)
