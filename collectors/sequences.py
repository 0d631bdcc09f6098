"""The counts that publishers put into their messages: a number left out is a message that was lost before it came here.

How far each count has come is journaled behind the readings themselves, so that a loss shows over restarts too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from collectors.payloads.said import Numbered

TAKEN = "payloads_taken"  # the event that says how far the counts of a line have come
LATE = "payloads_came_late"  # the event that names messages which were told as lost and came all the same
LOST = "payload.lost"
MOST_RANGES = 100  # of a count, so many losses are kept in mind: what comes later than that is not told as found
MOST_LOST = 1_000_000  # a jump beyond this is not a loss but another count


class Standing(NamedTuple):
    """The newest message of a count: its number, and the instant that it speaks of [us, UTC]."""

    number: int
    instant: int


class Lost(NamedTuple):
    """Messages of a count that never came. `first` and `last` [us, UTC] are the instants of those around them.

    `missing` is 0 where the publisher began to count anew: what was lost then, nobody can say.
    """

    counter: str
    missing: int
    before: Standing
    after: Standing

    def body(self, line: str, series: Iterable[str]) -> dict[str, object]:
        """The body of the entry that records the gap."""
        return {
            "counter": self.counter,
            "first": self.before.instant,
            "last": self.after.instant,
            "line": line,
            "numbers": [self.before.number, self.after.number],
            "reason": LOST,
            "series": sorted(series),
            "slots": self.missing,
        }


class Sequences:
    """How far the counts of one line have come. What was taken counts for good when its list is durable."""

    def __init__(self, durable: Mapping[str, Standing] | None = None) -> None:
        self._durable = dict(durable or {})
        self._new: dict[str, Standing] = {}
        self._missing: dict[str, list[range]] = {}  # by counter, what was told as lost in this run
        self._late: dict[str, list[range]] = {}  # what came all the same, not yet told

    def begin(self) -> None:
        """Forget what was taken and did not become durable: it comes again, or is lost."""
        self._new.clear()

    def take(self, numbered: Numbered) -> Lost | None:
        """A message has come. Returns what is missing before it."""
        counter, number, instant, modulus, anew = numbered
        now = Standing(number, instant)
        before = self._new.get(counter) or self._durable.get(counter)
        if before is None or anew:
            self._new[counter] = now
            return None
        ahead = number - before.number
        if modulus:
            ahead %= modulus
        if ahead == 1:
            self._new[counter] = now
            return None
        if instant <= before.instant and (ahead <= 0 or modulus):
            self._find(counter, number)  # it came before, or the broker has changed the order
            return None
        self._new[counter] = now
        missing = ahead - 1 if 1 < ahead <= MOST_LOST else 0
        if missing and not modulus:
            kept = self._missing.setdefault(counter, [])
            kept.append(range(before.number + 1, number))
            del kept[:-MOST_RANGES]
        return Lost(counter, missing, before, now)

    def _find(self, counter: str, number: int) -> None:
        """One that was told as lost, if it is one, has come."""
        for place, lost in enumerate(kept := self._missing.get(counter, [])):
            if number in lost:
                kept[place : place + 1] = [
                    part for part in (range(lost.start, number), range(number + 1, lost.stop)) if part
                ]
                found = self._late.setdefault(counter, [])
                if found and found[-1].stop == number:
                    found[-1] = range(found[-1].start, number + 1)
                else:
                    found.append(range(number, number + 1))
                return

    def late(self) -> dict[str, list[tuple[int, int]]]:
        """By counter, first and last of the messages that were told as lost and came later; each is told once."""
        told, self._late = self._late, {}
        return {counter: [(found.start, found.stop - 1) for found in ranges] for counter, ranges in told.items()}

    def settle(self) -> dict[str, Standing]:
        """The counts that have moved, to be journaled now; they are settled from here on."""
        moved, self._new = self._new, {}
        self._durable |= moved
        return moved

    def note(self) -> dict[str, Standing]:
        """How far all are settled."""
        return self._durable


OnLost = Callable[[Lost, Sequence[str]], None]  # what is missing, and the series that it would have brought


def counts_in(told: Mapping[str, Any]) -> dict[str, Standing]:
    """The counts as an event tells them."""
    return {counter: Standing(*standing) for counter, standing in told.items()}
