"""The account of a damaged journal: what is there, what is missing, and which event says so already."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.journal.absences import PRUNED, RETIRED, SALVAGED, lost_in
from gateway.journal.entries import EntryKind, decode_entry
from gateway.journal.segments import GENESIS, Frame, pruned_hash

Ranges = list[tuple[int, int]]
_MARKS = [f'"event":"{name}"'.encode() for name in (SALVAGED, PRUNED, RETIRED)]


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
        self._pruned: list[tuple[int, bytes]] = []  # (sequence, stated hash)

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
        if (digest := pruned_hash(frame.payload)) is not None:
            self._pruned.append((frame.sequence, digest))
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

    def unnamed_stand_ins(self) -> dict[str, Any] | None:
        """The body of an event for stand-ins of pruned entries whose own event is lost; None if there are none."""
        found = [(number, digest) for number, digest in self._pruned if not _in(self._said_pruned, number)]
        if not found:
            return None
        digest = hashlib.sha256(b"".join(digest for _, digest in found)).hexdigest()
        ranges = runs(number for number, _ in found)
        return {"event": PRUNED, "ranges": ranges, "entries": len(found), "digest": digest}

    def _note(self, frame: Frame) -> None:
        entry = decode_entry(frame)
        event = entry.body.get("event") if entry.kind is EntryKind.EVENT else None
        if event == SALVAGED:
            self._said_lost += [pair for pair in lost_in(entry) if pair[1] < frame.sequence]
        elif event == PRUNED:
            self._said_pruned += [(first, last) for first, last in entry.body["ranges"]]
        elif event == RETIRED:
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
