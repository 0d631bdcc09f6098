"""A file read by its mapping: readings, the rows that gave none, and whether the two belong together at all."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from collectors.labels import Contradiction, Labels
from collectors.mapping import ANYWHERE, MIDNIGHT, Mapping
from collectors.rows import NOTHING, BadRow, Row, quoted, read_rows
from collectors.tiling import Placed, declared, judge
from gateway.decoding import COUNTED
from gateway.domain.instruments import RegisterKind
from gateway.domain.periods import iso, midnight, to_datetime
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.domain.sites import Series, Site
from gateway.domain.units import convert
from gateway.errors import ConfigError, ImportRefused

_INT64 = range(-(2**63), 2**63)
DAY_US = 86400 * MICROSECONDS
# So many strange rows may be slips of the file; more than one in twenty say that the mapping is wrong. An empty
# value is not strange: nothing was read then.
FEW = 3


class FileReadings(NamedTuple):
    """What one file gives. `first` and `last_end` [us, UTC]; for instants, `last_end` is the last one."""

    series: Series
    readings: list[Reading]
    bad: list[BadRow]
    findings: list[str]
    first: int
    last_end: int
    file_sha256: str


def read_file(path: Path, mapping: Mapping, site: Site, *, now: int) -> FileReadings:
    """Read `path` by `mapping` into the site's series. `now` [us, UTC]: what lies beyond is told.

    Raises ConfigError when mapping and site do not fit together, ImportRefused when the file cannot be read
    or contradicts the mapping; each sentence says what contradicts what and how to mend it.
    """
    series = target(mapping, site)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read: {error.strerror}.") from error
    rows = list(read_rows(path, content, mapping))
    placed, bad = _place_rows(path, rows, mapping, series, site.timezone)
    verdict = judge(placed, [place for place, _ in bad], mapping, site.timezone)
    if verdict.contradictions:
        raise _refused(path, mapping, verdict.contradictions)
    span = (mapping.time.interval_s or 0) * MICROSECONDS
    instants = [row.instant for row in verdict.rows]
    first, last_end = min(instants), max(instants) + span
    findings = list(verdict.findings)
    if last_end > now + DAY_US:
        findings.append(f"the last row lies at {iso(last_end - span, site.timezone)}, in the future.")
    readings = [Reading(series.key, row.instant, row.value) for row in verdict.rows]
    digest = hashlib.sha256(content).hexdigest()
    return FileReadings(series, readings, [row for _, row in bad], findings, first, last_end, digest)


def target(mapping: Mapping, site: Site) -> Series:
    """The series that the mapping books into. Raises ConfigError when the site has none that fits."""
    lines, point = mapping.lines, site.points.get(mapping.into.point)
    if point is None:
        known = ", ".join(sorted(site.points))
        raise ConfigError([lines.problem(("into", "point"), repr(mapping.into.point), f"a point of the site: {known}")])
    series = next((s for s in site.series_of(point) if s.register.quantity == mapping.into.quantity), None)
    if series is None:
        known = ", ".join(s.register.quantity for s in site.series_of(point)) or "none, since it has no meter"
        expected = f"a quantity of point {point.id}: {known}"
        raise ConfigError([lines.problem(("into", "quantity"), repr(mapping.into.quantity), expected)])
    register, problems = series.register, []
    if register.kind is not mapping.value.kind:
        expected = f'"{register.kind.value}", as profile {series.profile} declares the register'
        problems.append(lines.problem(("value", "kind"), f'"{mapping.value.kind.value}"', expected))
    elif register.kind is RegisterKind.INTERVAL and register.interval_s != (mapping.time.interval_s or 0):
        expected = f"{register.interval_s} s, as profile {series.profile} declares it (0 = booked at an instant)"
        problems.append(lines.problem(("time", "interval_s"), f"{mapping.time.interval_s or 0} s", expected))
    if series.ratio != 1 and mapping.value.side is None:
        expected = f"primary or secondary, since meter {series.meter} has the ratio {series.ratio}"
        problems.append(lines.problem(("value", "side"), "nothing", expected))
    if problems:
        raise ConfigError(problems)
    return series


def _place_rows(
    path: Path, rows: list[Row | BadRow], mapping: Mapping, series: Series, plant_zone: str
) -> tuple[list[Placed], list[tuple[int, BadRow]]]:
    """(rows with instant and value, places of the rows that have none), in the declared order of time."""
    in_order = reversed(rows) if mapping.time.order == "newest-first" else rows
    labels, grid, scale = Labels(mapping), _Grid(mapping, plant_zone), _Scale(mapping, series)
    placed: list[Placed] = []
    bad: list[tuple[int, BadRow]] = []
    for place, row in enumerate(in_order):
        if isinstance(row, BadRow):
            bad.append((place, row))
            continue
        try:
            instant = labels.instant(row.label, row.ticket)
            grid.check(instant)
        except Contradiction as contradiction:
            raise _refused(path, mapping, [f"line {row.line}: {contradiction}"]) from contradiction
        except (ValueError, OverflowError) as error:
            bad.append((place, BadRow(row.line, str(mapping.time.column), quoted(row.label), str(error))))
            continue
        try:
            placed.append(Placed(place, row.line, row.label, instant, scale.value(row.value)))
        except (ValueError, OverflowError) as error:
            bad.append((place, BadRow(row.line, str(mapping.value.column), quoted(str(row.value)), str(error))))
    strange = sum(1 for _, row in bad if row.found != NOTHING)
    if not placed or (strange > FEW and strange * 20 > len(rows)):
        raise _refused(path, mapping, list(_unreadable(rows, bad)))
    return placed, bad


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


class _Scale:
    """From a number in the mapping's unit to the register's value, exactly."""

    def __init__(self, mapping: Mapping, series: Series) -> None:
        register = series.register
        secondary = mapping.value.side == "secondary"
        self._counted = register.kind in COUNTED
        self._step = (register.resolution if secondary else series.resolution) or Decimal(1)
        zero, one = (convert(number, mapping.value.unit, register.unit) for number in (0, 1))
        unit = Fraction(self._step) if self._counted else 1 / Fraction(series.ratio if secondary else 1)
        self._slope, self._zero = (one - zero) / unit, zero / unit
        self._unit = register.unit

    def value(self, number: Decimal) -> int | float:
        """Counts of the resolution, or a float. Raises ValueError with what was expected, OverflowError."""
        exact = self._slope * Fraction(number) + self._zero
        if not self._counted:
            return float(exact)
        if exact.denominator != 1:
            step = f"{self._step} {self._unit}"
            raise ValueError(f"a multiple of the register's resolution, {step}: nothing is rounded away")
        if exact < 0:
            raise ValueError("no negative amount; a reversal is booked as a correction, with its reason")
        if exact.numerator not in _INT64:
            raise ValueError("a number that an instrument can show")
        return exact.numerator


def _unreadable(rows: list[Row | BadRow], bad: list[tuple[int, BadRow]]) -> Iterator[str]:
    if not rows:
        yield "there are no rows in the file."
        return
    yield f"{len(bad)} of {len(rows)} rows cannot be read, so the mapping does not fit the file:"
    for _, row in bad[:3]:
        yield f"line {row.line}: column {row.column}: found {row.found}; expected {row.expected}."


def _refused(path: Path, mapping: Mapping, sentences: list[str]) -> ImportRefused:
    head = f"{path}: refused, nothing of it was booked; it and its mapping {mapping.file} contradict each other."
    return ImportRefused("\n".join([head, *(f"- {sentence}" for sentence in sentences)]))
