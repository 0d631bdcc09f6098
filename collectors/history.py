"""The history of another system on its way into the journal: in batches of a bounded size, each booked once.

A batch is one file of the inbox, so that it is journaled whole or not at all; what stopped half-way goes on where
it stopped. Readings that were booked before, by whatever way, are left out and counted.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from collectors.amounts import Scale, reading_of
from collectors.file_readings import FileReadings, SeriesReadings
from collectors.history_mapping import HistoryMapping, SourceForm, history_targets, shift_us
from collectors.known_rows import KnownRows
from collectors.line_parsing import Value
from collectors.tables import BadRow, quoted
from gateway.clocks import Clock
from gateway.command_line import console
from gateway.domain.periods import iso
from gateway.domain.readings import INSTANTS, Reading, is_instant
from gateway.domain.sites import Series, Site
from gateway.handing_in import Item, hand_in
from gateway.journal.entries import EntryKind, canonical_json, readings_body
from gateway.journal.reader import entries_of

BATCH = 20_000  # readings journaled at a time
READINGS_AN_ENTRY = 2000
TOLD_ROWS = 1000  # refused points that are told one by one
TOLD_IN_NOTE = 100  # and that a note in the journal names


@dataclass(slots=True)
class Tally:
    """What became of a history so far."""

    read: int = 0  # points of the mapping's series
    others: int = 0  # points of no series of the mapping
    before: int = 0  # that an earlier run of the same import has booked
    repeated: int = 0  # booked before one by one
    booked: int = 0
    refused: int = 0
    below_us: int = 0  # whose time had nanoseconds, which were left off
    stored: int | None = 0
    series: Counter[str] = field(default_factory=Counter)
    rows: list[BadRow] = field(default_factory=list)  # the first TOLD_ROWS of the refused
    findings: list[str] = field(default_factory=list)
    first: int | None = None
    last: int | None = None

    def refuse(self, row: BadRow) -> None:
        """Count a point that was not taken."""
        self.refused += 1
        if len(self.rows) < TOLD_ROWS:
            self.rows.append(row)


class History:
    """Takes the points of one source, in its order."""

    def __init__(
        self,
        site: Site,
        mapping: HistoryMapping,
        source: Mapping[str, object],
        *,
        origin: str,
        author: str,
        clock: Clock,
    ) -> None:
        """`source` names what is read; it stands in each entry. Raises ConfigError."""
        self.tally = Tally()
        self.sources = list(zip(mapping.sources, history_targets(mapping, site), strict=True))
        self._scales = [Scale(one, series) for one, series in self.sources]
        self._shifts = [shift_us(one, series) for one, series in self.sources]
        self._site, self._mapping, self._source = site, mapping, source
        self._origin, self._author, self._clock = origin, author, clock
        self._known = KnownRows(site)
        self._held: dict[tuple[str, int], tuple[Series, Reading, int]] = {}
        self._noted = False

    def take(self, number: int, value: Value, instant: int, line: int) -> None:
        """One point of source `number` of the mapping; `line` is where it was found. Keeps it for the next batch."""
        form, series = self.sources[number]
        self.tally.read += 1
        if isinstance(value, str):
            expected = f"a number in {form.unit}"
            self.tally.refuse(BadRow(line, form.field, quoted(value), expected, "Map a field that holds numbers."))
            return
        try:
            exact = self._scales[number].value(Decimal(value))
        except (ValueError, OverflowError) as error:
            self.tally.refuse(BadRow(line, form.field, str(value), str(error), "Mend unit or round in the mapping."))
            return
        reading = reading_of(series, instant + self._shifts[number], exact)
        if not is_instant(reading.instant):
            self.tally.refuse(BadRow(line, form.field, iso(reading.instant), INSTANTS, "Leave it out of the import."))
            return
        before = self._held.setdefault((reading.series, reading.instant), (series, reading, line))[1]
        if before is reading:
            return
        if before.value == reading.value:
            self.tally.repeated += 1
        else:
            found = f"{value} at {iso(reading.instant, self._site.timezone)}, where another value stands already"
            self.tally.refuse(
                BadRow(line, form.field, found, "one value an instant", "Name the tags that tell them apart.")
            )

    @property
    def full(self) -> bool:
        """True if the next batch is complete."""
        return len(self._held) >= BATCH

    def book(self, number: int, upto: int, *, check: bool) -> None:
        """Journal the next batch, whole or not at all; with `check` only look at it.

        `upto` says in it how far the source's series `number` is booked now: what `booked_to` finds again.

        Raises JournalError, StoreError, ImportRefused; what was booked before stays booked.
        """
        if not self._held:
            return
        found = self._known.sift(self._batch())
        tally = self.tally
        tally.repeated += found.repeated
        for row in found.bad:
            tally.refuse(row)
        tally.findings += [text for text in found.findings if text not in tally.findings]
        fresh = [(r, line) for _, r, line in self._held.values() if (r.series, r.instant) not in found.left_out]
        for reading, _ in fresh:
            tally.series[reading.series] += 1
            tally.first = reading.instant if tally.first is None else min(tally.first, reading.instant)
            tally.last = reading.instant if tally.last is None else max(tally.last, reading.instant)
        self._held.clear()
        if fresh and not check:
            self._hand_in(fresh, {"number": number, "upto": upto})
        tally.booked += len(fresh)

    def _hand_in(self, fresh: list[tuple[Reading, int]], mark: Mapping[str, object]) -> None:
        items: list[Item] = []
        if not self._noted:
            note = {"event": "history_imported", **self._source, "mapping": self._mapping.text}
            items.append((EntryKind.EVENT, note))
            self._noted = True
        for start in range(0, len(fresh), READINGS_AN_ENTRY):
            some = fresh[start : start + READINGS_AN_ENTRY]
            told = {**self._source, **mark, "lines": [line for _, line in some]}
            items.append((EntryKind.READINGS, {**readings_body("import", [r for r, _ in some]), "import": told}))
        handed = hand_in(self._site, items, origin=self._origin, author=self._author, clock=self._clock)
        if handed.stored is None or self.tally.stored is None:
            self.tally.stored = None
        else:
            self.tally.stored += handed.stored

    def _batch(self) -> FileReadings:
        parts: dict[str, SeriesReadings] = {}
        for series, reading, line in self._held.values():
            part = parts.setdefault(series.key, SeriesReadings(series, [], []))
            part.readings.append(reading)
            part.lines.append(line)
        return FileReadings(list(parts.values()), {}, [], [], 0, 0, "")


def booked_to(site: Site, source: Mapping[str, object], number: int) -> int | None:
    """How far an earlier run has booked the series `number` of this very source, by this very mapping."""
    journal = site.data_dir / "journal"
    if not journal.is_dir():
        return None
    marks = [canonical_json({key: value})[1:-1] for key, value in source.items()]
    found = (entry.body.get("import") for entry in entries_of(journal, *marks) if entry.kind is EntryKind.READINGS)
    keys = {**source, "number": number}
    told = (one for one in found if isinstance(one, dict) and keys.items() <= one.items())
    return max((one["upto"] for one in told if type(one.get("upto")) is int), default=None)


def find_source(sources: list[tuple[SourceForm, Series]]) -> dict[tuple[str, str], list[int]]:
    """The numbers of the sources by measurement and field."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, (source, _) in enumerate(sources):
        found.setdefault((source.measurement, source.field), []).append(number)
    return found


@contextmanager
def shown_progress(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, with the rate: called with (how far, points so far). Nothing where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda _far, _points: None
        return
    rate = TextColumn("{task.fields[points]:,} points, {task.fields[rate]:,.0f}/s")
    begun = time.monotonic()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        rate,
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(what, total=max(total, 1), points=0, rate=0.0)

        def show(far: int, points: int) -> None:
            bar.update(task, completed=far, points=points, rate=points / max(time.monotonic() - begun, 0.001))

        yield show


def as_document(what: str, tally: Tally, site: Site, *, seconds: float, checked_only: bool) -> dict[str, object]:
    """What is told of an import, as JSON."""
    return {
        "source": what,
        "checked_only": checked_only,
        "points": tally.read,
        "of_other_series": tally.others,
        "booked": 0 if checked_only else tally.booked,
        "would_be_booked": tally.booked if checked_only else None,
        "booked_by_an_earlier_run": tally.before,
        "repeated": tally.repeated,
        "refused": tally.refused,
        "refused_rows": [row._asdict() for row in tally.rows],
        "nanoseconds_left_off": tally.below_us,
        "findings": tally.findings,
        "first": None if tally.first is None else iso(tally.first, site.timezone),
        "last": None if tally.last is None else iso(tally.last, site.timezone),
        "series": dict(sorted(tally.series.items())),
        "stored": tally.stored,
        "points_per_s": round(tally.read / seconds) if seconds > 0 else None,
    }


def print_tally(what: str, tally: Tally, site: Site, *, seconds: float, checked_only: bool) -> None:
    """The same for people."""
    out = console()
    rate = f", {tally.read / seconds:,.0f}/s" if seconds > 0 else ""
    out.print(f"{what}: {tally.read:,} points of the mapping's series{rate}", markup=False, highlight=False)
    for series, count in sorted(tally.series.items()):
        out.print(f"  {series}: {count:,} readings", markup=False, highlight=False)
    if tally.first is not None and tally.last is not None:
        out.print(f"  from {iso(tally.first, site.timezone)} to {iso(tally.last, site.timezone)}", highlight=False)
    for count, text in (
        (tally.others, "points are of no series of the mapping"),
        (tally.before, "lines were booked by an earlier run of this import"),
        (tally.repeated, "were booked before and are left out"),
        (tally.below_us, "had nanoseconds in their time, which are left off"),
    ):
        if count:
            out.print(f"  {count:,} {text}", highlight=False)
    for row in tally.rows[:20]:
        out.print(f"refused: {row.sentence(what)}", markup=False, highlight=False)
    if tally.refused > 20:
        out.print(f"... {tally.refused:,} points were refused; --json lists the first {TOLD_ROWS}", highlight=False)
    for finding in tally.findings:
        out.print(f"finding: {finding}", markup=False, highlight=False)
    fate = (
        f"checked only: {tally.booked:,} readings would be booked"
        if checked_only
        else f"booked: {tally.booked:,} readings"
    )
    out.print(
        fate if tally.stored is not None or checked_only else f"{fate}; the acquiring process stores them",
        highlight=False,
    )
