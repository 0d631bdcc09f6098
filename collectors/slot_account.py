"""How far the slots of every polled series are accounted for while a run journals, and across its ends."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from collectors.sequences import TAKEN, counts_in
from collectors.sequences import Standing as CountStanding
from gateway.clock_watch import Stamp
from gateway.domain.readings import Reading
from gateway.journal.absences import entries_backwards
from gateway.journal.entries import Entry, EntryKind, readings_of
from gateway.journal.reader import entries, entries_between, newest_sequence
from gateway.journal.slots import NEVER, STARTED, Gap, Grid, Order, Schedule, Standing, schedules_in, standing_of

NOTED, STOPPED, APPLIED = "slots_accounted", "acquire_stopped", "config_applied"

Standings = dict[str, dict[str, Standing]]  # by line and series


class Before(NamedTuple):
    """What the journal says of the runs before: how far each series is accounted for.

    `newest` is the greatest label [us, UTC], `known` a moment with both clocks; None where no run left a word. `counts`
    holds by line how far the counts of its publishers have come.
    """

    standings: Standings
    newest: int = 0
    known: Stamp | None = None
    counts: Mapping[str, Mapping[str, CountStanding]] = {}


class SlotAccount:
    """Which slots of which series are in the journal. What is handed to the journal is booked at the same moment."""

    def __init__(self, standings: Standings) -> None:
        self._standings = standings

    def lines(self) -> list[str]:
        """The lines that have a series."""
        return [line for line, standings in self._standings.items() if standings]

    def newest(self, line: str) -> int | None:
        """The slot of a line that was accounted for last [us, UTC]; None where there is none."""
        standings = self._standings.get(line, {}).values()
        again = [standing.newest for standing in standings if standing.newest == standing.again]
        return max(again or [standing.last for standing in standings if standing.last != NEVER], default=None)

    def passed_over(self, line: str, readings: Iterable[Reading]) -> list[tuple[int, int, list[str]]]:
        """Slots between what is accounted for and these readings, as (first, last, series)."""
        found: dict[tuple[int, int], list[str]] = {}
        for reading in readings:
            standing = self._standings[line][reading.series]
            passed = standing.missing_before(standing.grid.at_or_before(reading.instant))
            if passed is not None:
                found.setdefault(passed, []).append(reading.series)
        return [(first, last, series) for (first, last), series in found.items()]

    def doubles(self, line: str, readings: Iterable[Reading]) -> bool:
        """True if a slot of these readings is accounted for already, and nothing in the journal says why."""
        standings = self._standings[line]
        return any(
            standing.doubles(standing.grid.at_or_before(reading.instant))
            for reading in readings
            for standing in (standings[reading.series],)
        )

    def passed_until(self, line: str, now: int) -> list[tuple[int, int, list[str]]]:
        """Slots of a line that are not accounted for and lie before `now` [us, UTC], as (first, last, series)."""
        found: dict[tuple[int, int], list[str]] = {}
        for series, standing in self._standings.get(line, {}).items():
            due = standing.grid.at_or_after(now)
            passed = standing.missing_before(due) if due > standing.last else None
            if passed is not None:
                found.setdefault(passed, []).append(series)
        return [(first, last, series) for (first, last), series in found.items()]

    def grid(self, line: str) -> Grid:
        """The grid of a polled line."""
        return next(iter(self._standings[line].values())).grid

    def account(self, line: str, readings: Iterable[Reading]) -> None:
        """These readings are handed to the journal."""
        standings = self._standings[line]
        for reading in readings:
            standing = standings[reading.series]
            standing.account(standing.grid.at_or_before(reading.instant))

    def account_gap(self, gap: Gap) -> None:
        """This gap is handed to the journal."""
        for series in gap.series:
            self._standings[gap.line][series].account(gap.last)

    def change(self, schedules: Mapping[str, Schedule], *, since: int | None) -> None:
        """These schedules are polled from `since` [us, UTC] on, None while the order is broken; others end there."""
        self._standings = _standings_of(schedules, self._standings, since)

    def order(self, order: Order, now: int) -> None:
        """An event says this of the clock at `now` [us, UTC]."""
        for standings in self._standings.values():
            for standing in standings.values():
                standing.order(order, now)

    def note(self) -> dict[str, object]:
        """How far all is accounted for: by line its newest slot, and the series that are not that far."""
        return {line: _note(standings) for line, standings in self._standings.items() if standings}


def _note(standings: Mapping[str, Standing]) -> dict[str, object]:
    last = max(standing.last for standing in standings.values())
    behind = {series: standing.last for series, standing in standings.items() if standing.last != last}
    return {"behind": behind, "last": last} if behind else {"last": last}


def begin_account(schedules: Mapping[str, Schedule], before: Before, *, since: int | None) -> SlotAccount:
    """The account of a run that polls these schedules from `since` [us, UTC] on; None while the order is broken."""
    return SlotAccount(_standings_of(schedules, before.standings, since))


def _standings_of(schedules: Mapping[str, Schedule], before: Standings, since: int | None) -> Standings:
    return {
        line: {name: standing_of(before.get(line, {}).get(name), grid, since) for name in series}
        for line, (grid, series) in schedules.items()
    }


def account_before(directory: Path) -> Before:
    """What the journal says of the runs before. Reads from its end to the newest note, a minute or so.

    Raises JournalError when the journal is damaged.
    """
    newest = newest_sequence(directory)
    last = next(iter(entries_between(directory, newest, newest)), None) if newest else None
    noted = _newest_note(directory)
    if last is None or noted is None:
        return Before({}, last.at if last else 0)
    standings = _noted_standings(directory, noted)
    counts = {line: counts_in(told) for line, told in noted.body.get("counts", {}).items()}
    for entry in entries(directory, after=noted.sequence):
        _follow(entry, standings)
        if entry.kind is EntryKind.EVENT and entry.body["event"] == TAKEN and "inbox" not in entry.body:
            counts.setdefault(entry.body["line"], {}).update(counts_in(entry.body["counts"]))
    labels = [standing.last for series in standings.values() for standing in series.values() if standing.last != NEVER]
    newest_label = max(last.at, noted.body["newest"], *labels)
    return Before(standings, newest_label, Stamp(noted.at, noted.monotonic_ns, noted.boot), counts)


def _newest_note(directory: Path) -> Entry | None:
    marks = [f'"event":"{name}"'.encode() for name in (NOTED, STARTED, STOPPED, APPLIED)]
    found = entries_backwards(directory, *marks)
    return next((entry for entry in found if "accounted" in entry.body and "inbox" not in entry.body), None)


def _noted_standings(directory: Path, noted: Entry) -> Standings:
    """The standings that a note tells; which series there are is told by itself or by the entry that it names."""
    told = noted.body
    if "schedule" not in told:
        (found,) = entries_between(directory, told["schedule_at"], told["schedule_at"])
        told = found.body
    standings: Standings = {}
    for line, (grid, series) in schedules_in(told).items():
        far = noted.body["accounted"].get(line, {"last": NEVER})
        behind = far.get("behind", {})
        standings[line] = {name: Standing(grid, behind.get(name, far["last"])) for name in series}
    return standings


def _follow(entry: Entry, standings: Standings) -> None:
    """Book what an entry behind the note says."""
    if entry.kind not in {EntryKind.READINGS, EntryKind.GAP} or "inbox" in entry.body:
        return
    series = standings.get(entry.body["line"], {})
    for name, slot in _slots_in(entry, series) if series else ():
        if name in series and series[name].last < slot:
            series[name].last = slot


def _slots_in(entry: Entry, series: Mapping[str, Standing]) -> Sequence[tuple[str, int]]:
    if entry.kind is EntryKind.GAP:
        return [(name, entry.body["last"]) for name in entry.body["series"]]
    known = [reading for reading in readings_of(entry) if reading.series in series]
    return [(reading.series, series[reading.series].grid.at_or_before(reading.instant)) for reading in known]
