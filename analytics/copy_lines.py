"""What was settled, as lines for dashboards: amounts in their unit, by quarter-hour, hour and day.

Measurement `<carrier>_<length>`, tags `enterprise` and `point`. Of each quantity four fields: `<quantity>_<unit>`
(float; absent where nothing was measured), `<quantity>_quality` (integer, flags of Quality), `<quantity>_estimated` and
`<quantity>_coverage` (floats, shares of the amount and of the time [1]). The timestamp is the start [us, UTC].
A server keeps fields that a later point leaves out: where the flag MISSING (16) is set, an amount beside it is old.
"""

from collections.abc import Iterator
from fractions import Fraction

from analytics.rollups import By, Rollup, roll_up, spans
from gateway.domain.intervals import Interval
from gateway.domain.readings import Quality
from gateway.domain.scopes import Scope
from gateway.domain.sites import Series, Site
from gateway.domain.units import UNITS
from gateway.stores.intervals import IntervalStore, SeriesFacts
from gateway.stores.line_protocol import point_prefix

# One unit per dimension, whatever the meters show: a field has one meaning for all points of a carrier.
_UNITS = {"energy": "kWh", "reactive_energy": "kvarh", "volume": "m3", "mass": "kg"}
_ROLLUPS = {By.HOUR: "1h", By.DAY: "1d"}
_ESTIMATED = int(Quality.ESTIMATED | Quality.SUBSTITUTED)


def copy_lines(
    site: Site, intervals: IntervalStore, scope: Scope, series: Series, first: int, last: int
) -> Iterator[str]:
    """The lines of one series for everything settled from `first` to `last` inclusive [us, UTC].

    Hours and days (of plant time) that the span touches come whole. Raises StoreError.
    """
    lines = _SeriesLines(site, intervals.facts(scope, series.key), series)
    days = spans(By.DAY, first, last + 1, site.timezone)
    found = intervals.intervals(scope, series.key, days[0].start, days[-1].end)
    unplaced = intervals.unallocated(scope, series.key, days[0].start, days[-1].end)
    changed = [interval for interval in found if first <= interval.start <= last]
    yield from map(lines.interval, changed)
    for by, length in _ROLLUPS.items() if changed else ():
        over = spans(by, changed[0].start, changed[-1].end, site.timezone)
        for rollup in roll_up(found, unplaced, over):
            yield lines.rollup(rollup, length)


def length_name(seconds: int) -> str:
    """The length of an interval as it stands in the name of a measurement: 15m, 1h."""
    for size, letter in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def copy_unit(unit: str) -> str:
    """The unit in which a quantity shown in `unit` is copied."""
    return _UNITS.get(UNITS[unit].dimension, unit)


class _SeriesLines:
    """Turns what was settled of one series into lines."""

    def __init__(self, site: Site, facts: SeriesFacts, series: Series) -> None:
        carrier, tags = site.points[series.point].carrier, {"enterprise": series.enterprise, "point": series.point}
        self._base = length_name(site.interval_s)
        lengths = {self._base, *_ROLLUPS.values()}
        self._prefixes = {length: point_prefix(f"{carrier.value}_{length}", tags) for length in lengths}
        self._quantity = series.register.quantity
        unit = copy_unit(facts.unit)
        self._field = f"{self._quantity}_{unit.lower().replace('/', '_per_')}"
        self._one = Fraction(facts.resolution) * UNITS[facts.unit].factor / UNITS[unit].factor  # one count [unit]

    def interval(self, interval: Interval) -> str:
        """The line of one settled interval."""
        quality = int(interval.quality)  # once: arithmetic on flags is slow, and these are many
        estimated = 1.0 if quality & _ESTIMATED else 0.0
        coverage = interval.covered_us / (interval.end - interval.start)
        return self._line(self._base, interval.start, interval.counts, quality, estimated, coverage)

    def rollup(self, rollup: Rollup, length: str) -> str:
        """The line of one hour or day."""
        quality = int(Quality.MISSING if rollup.counts is None else Quality.GOOD)
        if rollup.suspect:
            quality |= int(Quality.SUSPECT)
        if rollup.estimated_counts:
            quality |= int(Quality.ESTIMATED)
        estimated = rollup.estimated_counts / rollup.counts if rollup.counts else float(bool(rollup.estimated_counts))
        return self._line(length, rollup.start, rollup.counts, quality, estimated, float(rollup.coverage))

    def _line(self, length: str, at: int, counts: int | None, quality: int, estimated: float, coverage: float) -> str:
        amount = "" if counts is None else f"{self._field}={float(counts * self._one)!r},"
        name = self._quantity
        return (
            f"{self._prefixes[length]} {amount}{name}_quality={quality}i,{name}_estimated={estimated!r},"
            f"{name}_coverage={coverage!r} {at}"
        )
