"""Scheduled slots: when each polled series was to be read, and what the journal says became of every slot.

Scheduled slots of a series = its good readings + its flagged readings + the slots of its gaps, exactly. Which series
is polled on which grid, and from when on, is told by the event `acquire_started`, by `config_applied` whenever the
site was edited (what it does not name any more ends there), and again once a day. The slot of a reading is the
instant of the grid at or before its sampling instant.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.domain.readings import Quality
from gateway.journal.entries import Entry, EntryKind, readings_of

STARTED = "acquire_started"
NEVER = 2**62  # of a series that was not read yet by a clock that was set [us]


class Order(StrEnum):
    """What an event about the clock says of the labels behind it."""

    KEPT = "kept"  # they go on growing
    BROKEN = "broken"  # they come again, or belong to no known time: what is read is flagged
    RESTORED = "restored"  # the clock is ahead of all labels again


class Grid(NamedTuple):
    """The sampling grid of a line: instants t with (t - phase) divisible by the period [us, UTC]."""

    period_us: int
    phase_us: int = 0

    def at_or_before(self, instant: int) -> int:
        """The slot that `instant` belongs to."""
        return instant - (instant - self.phase_us) % self.period_us

    def at_or_after(self, instant: int) -> int:
        """The first slot that is not before `instant`."""
        return instant + (self.phase_us - instant) % self.period_us


class Schedule(NamedTuple):
    """What is read at every slot of one line."""

    grid: Grid
    series: tuple[str, ...]


class Gap(NamedTuple):
    """Slots in a row at which some series of a line were not read. `first` and `last` are slots [us, UTC]."""

    line: str
    first: int
    last: int
    grid: Grid
    series: Sequence[str]
    reason: str

    @property
    def slots(self) -> int:
        """How many slots of each series."""
        return (self.last - self.first) // self.grid.period_us + 1

    def body(self) -> dict[str, object]:
        """The body of the entry that records it."""
        return {
            "first": self.first,
            "last": self.last,
            "line": self.line,
            "period_us": self.grid.period_us,
            "reason": self.reason,
            "series": list(self.series),
            "slots": self.slots,
        }


def schedule_body(schedules: Mapping[str, Schedule]) -> dict[str, object]:
    """The schedules of all polled lines, as an event tells them."""
    return {
        line: {"period_us": grid.period_us, "phase_us": grid.phase_us, "series": list(series)}
        for line, (grid, series) in schedules.items()
    }


def schedules_in(body: Mapping[str, Any]) -> dict[str, Schedule]:
    """What `schedule_body` told; nothing where an older version told nothing."""
    return {
        line: Schedule(Grid(told["period_us"], told["phase_us"]), tuple(told["series"]))
        for line, told in body.get("schedule", {}).items()
    }


class SlotCount(NamedTuple):
    """The slots of one series, from its first scheduled one to the last that was accounted for.

    `repeated` are slots that were read again after the clock had been set back (flagged); they are counted apart.
    """

    scheduled: int = 0
    good: int = 0
    flagged: int = 0
    gap: int = 0
    unaccounted: int = 0
    doubled: int = 0
    repeated: int = 0

    @property
    def exact(self) -> bool:
        """True if every scheduled slot is accounted for, and none twice."""
        return not self.unaccounted and not self.doubled and self.scheduled == self.good + self.flagged + self.gap


class Standing:
    """How far the slots of one series are accounted for: on its own line of time, and behind a clock set back."""

    __slots__ = ("again", "broken", "grid", "last", "newest")

    def __init__(self, grid: Grid, last: int) -> None:
        self.grid = grid
        self.last = last  # every slot up to this one is accounted for
        self.again: int | None = None  # the same since the clock was set back to before `last`
        self.newest = last  # the slot that was accounted for just now, on either line of time
        self.broken = False

    def order(self, order: Order, now: int) -> None:
        """Take in what a clock did at `now`: slots up to `last` may come once more, or the clock is set for good."""
        if order is Order.BROKEN:
            self.broken, self.again = True, None
        elif order is Order.RESTORED and self.last == NEVER:
            self.last = self.grid.at_or_after(now) - self.grid.period_us

    def missing_before(self, slot: int) -> tuple[int, int] | None:
        """First and last of the slots that are passed over when `slot` is the next; None when there are none."""
        before = self.last if slot > self.last else self.again
        if before is None or slot <= before + self.grid.period_us:
            return None
        return before + self.grid.period_us, slot - self.grid.period_us

    def repeats(self, slot: int) -> bool:
        """True if `slot` is one that the clock, set back, has brought once more."""
        return self.broken and slot <= self.last and (self.again is None or slot > self.again)

    def doubles(self, slot: int) -> bool:
        """True if `slot` is accounted for already, and no clock explains it."""
        return slot <= self.last and not self.repeats(slot)

    def account(self, slot: int) -> None:
        """Everything up to `slot` is accounted for."""
        self.newest = slot
        if slot > self.last:
            self.last = slot
        elif self.broken:
            self.again = slot if self.again is None else max(slot, self.again)


def account_slots(found: Iterable[Entry]) -> dict[str, SlotCount]:
    """What became of the scheduled slots of every polled series, by series; `found` in the order of the journal.

    Needs as much memory as there are series. Raises JournalError on a malformed entry.
    """
    account = _Account()
    for entry in found:
        account.take(entry)
    return account.counts


class _Account:
    """The counts so far, and how far each series is accounted for."""

    def __init__(self) -> None:
        self.counts: dict[str, SlotCount] = {}
        self._lines: dict[str, dict[str, Standing]] = {}

    def take(self, entry: Entry) -> None:
        if "inbox" in entry.body:
            return  # what somebody handed in
        if entry.kind is EntryKind.EVENT:
            if "schedule" in entry.body:
                self._begin(entry.body)
            elif "order" in entry.body:
                for standing in self._standings():
                    standing.order(Order(entry.body["order"]), entry.body["to"])
        elif entry.kind in {EntryKind.READINGS, EntryKind.GAP}:
            series = self._lines.get(entry.body["line"], {})
            if series and entry.kind is EntryKind.GAP:
                self._take_gap(entry.body, series)
            elif series:
                self._take_readings(entry, series)

    def _standings(self) -> Iterable[Standing]:
        return (standing for series in self._lines.values() for standing in series.values())

    def _begin(self, body: Mapping[str, Any]) -> None:
        before, self._lines = self._lines, {}
        for line, (grid, names) in schedules_in(body).items():
            known = before.get(line, {})
            self._lines[line] = {name: standing_of(known.get(name), grid, body["from"]) for name in names}

    def _take_readings(self, entry: Entry, series: Mapping[str, Standing]) -> None:
        for reading in readings_of(entry):
            if (standing := series.get(reading.series)) is not None:
                slot = standing.grid.at_or_before(reading.instant)
                self._count(reading.series, standing, slot, slot, good=reading.quality is Quality.GOOD)

    def _take_gap(self, body: Mapping[str, Any], series: Mapping[str, Standing]) -> None:
        for name in body["series"]:
            if (standing := series.get(name)) is not None:
                self._count(name, standing, body["first"], body["last"], good=None)

    def _count(self, name: str, standing: Standing, first: int, last: int, *, good: bool | None) -> None:
        """Book the slots `first` to `last`: one good or flagged reading, or (None) a gap."""
        count = self.counts.get(name, SlotCount())
        period = standing.grid.period_us
        slots = (last - first) // period + 1
        passed = standing.missing_before(first)
        unaccounted = 0 if passed is None else (passed[1] - passed[0]) // period + 1
        if standing.repeats(first):
            count = count._replace(repeated=count.repeated + slots, unaccounted=count.unaccounted + unaccounted)
        elif standing.doubles(first):
            count = count._replace(doubled=count.doubled + slots)
        else:
            count = count._replace(
                scheduled=count.scheduled + unaccounted + slots,
                good=count.good + (good is True) * slots,
                flagged=count.flagged + (good is False) * slots,
                gap=count.gap + (good is None) * slots,
                unaccounted=count.unaccounted + unaccounted,
            )
        self.counts[name] = count
        standing.account(last)


def standing_of(known: Standing | None, grid: Grid, since: int | None) -> Standing:
    """The standing of a series that is polled from `since` [us, UTC] on: it goes on where its grid is the same.

    `since` is None while the order of labels is broken: what is read then has no place on the series' line of time.
    """
    if known is not None and known.grid == grid and known.last != NEVER:
        return known
    standing = Standing(grid, NEVER if since is None else grid.at_or_after(since) - grid.period_us)
    standing.broken = since is None
    return standing
