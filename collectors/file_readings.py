"""A file read by its mapping: readings, the rows that gave none, and whether the two belong together at all."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from collectors.amounts import Scale, reading_of, targets
from collectors.labels import Contradiction, Labels
from collectors.mapping import ANYWHERE, Mapping
from collectors.mapping_form import MIDNIGHT
from collectors.rows import NOTHING, Row, read_rows
from collectors.tables import BadRow, quoted
from collectors.tiling import Placed, declared, judge
from gateway.domain.periods import iso, midnight, to_datetime
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.domain.sites import Series, Site
from gateway.errors import ImportRefused

DAY_US = 86400 * MICROSECONDS
# So many strange rows may be slips of the file; more than one in twenty say that the mapping is wrong. An empty
# value is not strange: nothing was read then.
FEW = 3
MOST_VALUES = 1_000_000  # of one file: they are looked at together


class FileRefused(ImportRefused):
    """A file that contradicts its mapping; `rows` are those that could not be read, where that is why."""

    def __init__(self, message: str, rows: Sequence[BadRow] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class Noted(NamedTuple):
    """What is kept of a row beside its values."""

    ticket: str
    person: str


class SeriesReadings(NamedTuple):
    """What a file gives of one series; `lines` are the rows of its readings."""

    series: Series
    readings: list[Reading]
    lines: list[int]


class FileReadings(NamedTuple):
    """What one file gives. `first` and `last_end` [us, UTC]; for instants, `last_end` is the last one.

    `left_out` are readings that are not to be booked, as (series, instant): `repeated` of them were booked before,
    the others contradict what was.
    """

    parts: list[SeriesReadings]
    notes: dict[int, Noted]  # by row; empty where the mapping names neither ticket nor person
    bad: list[BadRow]
    findings: list[str]
    first: int
    last_end: int
    file_sha256: str
    left_out: frozenset[tuple[str, int]] = frozenset()
    repeated: int = 0

    @property
    def readings(self) -> list[Reading]:
        """The readings of all series, those left out included."""
        return [reading for part in self.parts for reading in part.readings]

    def fresh(self) -> list[Reading]:
        """The readings that are to be booked."""
        return [one for one in self.readings if (one.series, one.instant) not in self.left_out]


def read_file(path: Path, mapping: Mapping, site: Site, *, now: int) -> FileReadings:
    """Read `path` by `mapping` into the site's series. `now` [us, UTC]: what lies beyond is told.

    Raises ConfigError when mapping and site do not fit together, ImportRefused when the file cannot be read
    or contradicts the mapping; each sentence says what contradicts what and how to mend it.
    """
    wanted = targets(mapping, site)
    placing = _Placing(mapping, wanted, site.timezone)
    try:
        with path.open("rb") as file:
            before = _state(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            with closing(
                read_rows(path, file, mapping)
            ) as found:  # whatever happens, it ends before the file is closed
                placing.place(_bounded(path, mapping, found))
            if _state(file.fileno()) != before:
                raise ImportRefused(f"{path}: it was written to while it was read; try again.")
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read: {error.strerror}.") from error
    except Contradiction as contradiction:
        raise _refused(path, mapping, [str(contradiction)]) from contradiction
    bad = list(placing.bad.values())
    strange = len({row.line for row in bad if not row.found.startswith(NOTHING)})
    if not any(placing.placed) or (strange > FEW and strange * 20 > placing.count):
        raise _refused(path, mapping, list(_unreadable(placing.count, bad)), bad)
    return _judged(path, mapping, site, wanted, placing, now)._replace(file_sha256=digest)


def _judged(
    path: Path, mapping: Mapping, site: Site, wanted: Sequence[Series], placing: "_Placing", now: int
) -> FileReadings:
    """What the rows of each series say of one another. Raises FileRefused."""
    parts, ends, findings, contradictions = [], [], placing.findings(), []
    span = (mapping.time.interval_s or 0) * MICROSECONDS
    for series, placed, places in zip(wanted, placing.placed, placing.bad_places, strict=True):
        if not placed:
            findings.append(f"no row has a value for {series.key}.")
            continue
        verdict = judge(placed, places, mapping, site.timezone)
        about = f"{series.key}: " if len(wanted) > 1 else ""
        contradictions += [about + sentence for sentence in verdict.contradictions]
        findings += [about + sentence for sentence in verdict.findings]
        readings = [reading_of(series, row.instant, row.value) for row in verdict.rows]
        parts.append(SeriesReadings(series, readings, [row.line for row in verdict.rows]))
        instants = [row.instant for row in verdict.rows]
        ends += [min(instants), max(instants)]
    if contradictions:
        raise _refused(path, mapping, contradictions)
    if max(ends) + span > now + DAY_US:
        findings.append(f"the last row lies at {iso(max(ends), site.timezone)}, in the future.")
    return FileReadings(parts, placing.notes, list(placing.bad.values()), findings, min(ends), max(ends) + span, "")


def _bounded(path: Path, mapping: Mapping, found: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """The rows, as long as what they give can be looked at together."""
    most = MOST_VALUES // len(mapping.columns)
    for count, row in enumerate(found, 1):
        if count > most:
            raise ImportRefused(f"{path}: found more than {most} rows; expected at most that many: split it by time.")
        yield row


class _Placing:
    """Gives each row its instant and each value its scale, in the declared order of time."""

    def __init__(self, mapping: Mapping, wanted: Sequence[Series], plant_zone: str) -> None:
        self._mapping = mapping
        # Series that stand below one another repeat labels: each has an order of time of its own.
        self._apart = any(column.where is not None for column in mapping.columns)
        self._labels = [Labels(mapping) for _ in wanted]
        self._grid = _Grid(mapping, plant_zone)
        self._scales = [Scale(one.says, series) for one, series in zip(mapping.wanted, wanted, strict=True)]
        self._tickets: list[dict[str, Placed]] = [{} for _ in wanted]
        self._of_none: list[int] = []
        self.count = 0  # rows
        self.placed: list[list[Placed]] = [[] for _ in wanted]
        self.bad_places: list[list[int]] = [[] for _ in wanted]
        self.bad: dict[tuple[int, str], BadRow] = {}
        self.notes: dict[int, Noted] = {}

    def place(self, rows: Iterator[Row | BadRow]) -> None:
        """Take all rows of a file. Raises Contradiction."""
        in_order = reversed(list(rows)) if self._mapping.time.order == "newest-first" else rows
        for place, row in enumerate(in_order):
            self.count += 1
            if isinstance(row, BadRow):
                self._refuse(row, place, range(len(self.placed)))
            else:
                self._row(place, row)

    def findings(self) -> list[str]:
        """Rows that the mapping gives to no series."""
        if not self._of_none:
            return []
        return [f"{len(self._of_none)} rows are of no series of the mapping, first line {self._of_none[0]}."]

    def _row(self, place: int, row: Row) -> None:
        own = [index for index, value in enumerate(row.values) if value is not None]
        if not own:
            self._of_none.append(row.line)
            return
        shown = row.label if isinstance(row.label, str) else row.label.isoformat(" ")
        instant = None
        for index in own:
            try:
                if instant is None or self._apart:
                    instant = self._instant(index, row.label, row.ticket)
            except Contradiction as contradiction:
                raise Contradiction(f"line {row.line}: {contradiction}") from contradiction
            except (ValueError, OverflowError) as error:
                bad = BadRow(row.line, str(self._mapping.time.column), quoted(shown), str(error), _LABEL)
                self._refuse(bad, place, own)
                return
            self._value(place, row, index, shown, instant)

    def _instant(self, index: int, label: str | datetime, ticket: str) -> int:
        instant = self._labels[index].instant(label, ticket)
        self._grid.check(instant)
        return instant

    def _value(self, place: int, row: Row, index: int, shown: str, instant: int) -> None:
        value = row.values[index]
        column = str(self._mapping.columns[index].column)
        if isinstance(value, BadRow):
            self._refuse(value, place, [index])
            return
        try:
            placed = Placed(place, row.line, shown, instant, self._scales[index].value(value or Decimal(0)))
        except (ValueError, OverflowError) as error:
            self._refuse(BadRow(row.line, column, quoted(str(value)), str(error), _AMOUNT), place, [index])
            return
        before = self._tickets[index].setdefault(row.ticket, placed) if row.ticket else placed
        if (before.instant, before.value) != (placed.instant, placed.value):
            found = f"number {quoted(row.ticket)} again, with another time or value than in line {before.line}"
            self._refuse(BadRow(row.line, column, found, "each number once", _TWICE), place, [index])
            return
        self.placed[index].append(placed)
        if self._mapping.ticket or self._mapping.person:
            self.notes[row.line] = Noted(row.ticket, row.person)

    def _refuse(self, bad: BadRow, place: int, indexes: Sequence[int]) -> None:
        self.bad.setdefault((bad.line, bad.column), bad)
        for index in indexes:
            self.bad_places[index].append(place)


_LABEL = "Mend the time, or time.formats in the mapping."
_AMOUNT = "Mend the number, or the unit in the mapping."
_TWICE = "The first one is booked. A change of it is a correction (emg correct), not a second row."


class _Grid:
    """Where intervals may begin: whole multiples of their length after midnight, or after the declared first."""

    def __init__(self, mapping: Mapping, plant_zone: str) -> None:
        self._span = (mapping.time.interval_s or 0) * MICROSECONDS
        self._zone = mapping.zone.key if mapping.zone else plant_zone
        self._day = range(0)  # the day looked at last, from midnight to midnight
        self._offset = 0
        if self._span and mapping.time.first not in {MIDNIGHT, ANYWHERE}:
            first = declared(mapping.time.first, self._zone) or 0
            self._offset = self._after_midnight(first) % self._span

    def check(self, instant: int) -> None:
        """Raises ValueError for an instant beside the grid."""
        if self._span and self._after_midnight(instant) % self._span != self._offset:
            seconds = self._span // MICROSECONDS
            raise ValueError(f"a time on the grid of {seconds} s, {self._offset // MICROSECONDS} s after midnight")

    def _after_midnight(self, instant: int) -> int:
        if instant not in self._day:
            day = to_datetime(instant, self._zone).date()
            self._day = range(midnight(day, self._zone), midnight(day + timedelta(days=1), self._zone))
        return instant - self._day.start


def _unreadable(rows: int, bad: Sequence[BadRow]) -> Iterator[str]:
    if not rows:
        yield "there are no rows in the file."
        return
    if not bad:
        yield "no row is of a series of the mapping: mend the column or the text of its where."
        return
    count = len({row.line for row in bad})
    yield f"{count} of {rows} rows cannot be read, so the mapping does not fit the file:"
    for row in bad[:3]:
        yield f"line {row.line}: column {row.column}: found {row.found}; expected {row.expected}."
    if all(row.found == NOTHING for row in bad):
        yield "a formula counts by the result that is stored with it: let the spreadsheet compute and save it once."


def _state(descriptor: int) -> tuple[int, int]:
    stat = os.fstat(descriptor)
    return stat.st_size, stat.st_mtime_ns


def _refused(path: Path, mapping: Mapping, sentences: list[str], rows: Sequence[BadRow] = ()) -> FileRefused:
    head = f"{path}: refused, nothing of it was booked; it and its mapping {mapping.file} contradict each other."
    return FileRefused("\n".join([head, *(f"- {sentence}" for sentence in sentences)]), rows)
