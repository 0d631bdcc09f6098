"""What is exported, series by series: readings or intervals of one enterprise and period, column by column."""

from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.contracts import ReadingStore
from gateway.domain.periods import Period
from gateway.domain.scopes import Scope
from gateway.domain.sites import Series, Site
from gateway.stores.intervals import IntervalStore

MODE = 0o666  # of the files, less what the umask takes: they are made for others


class Kind(StrEnum):
    """What can be exported."""

    READINGS = "readings"
    INTERVALS = "intervals"


class SeriesBlock(NamedTuple):
    """One series' rows of an export. Every list has one entry per row; instants are [us, UTC].

    `columns` holds the rest of the kind's columns by name: whole numbers, None, or text.
    """

    series: Series
    unit: str
    resolution: Decimal | None  # one count is this much [unit]; None where readings carry floats
    instants: list[int]
    counts: list[int | None]
    values: list[float | None]  # of instantaneous registers [unit]; None elsewhere
    quality: list[int]
    reason: list[str]
    columns: dict[str, list[Any]]


def reading_blocks(
    site: Site, store: ReadingStore, scope: Scope, enterprise: str, period: Period
) -> Iterator[SeriesBlock]:
    """The standing readings of every series of the enterprise, by point and quantity, one per instant."""
    for series in _series(site, enterprise):
        found = store.readings(scope, series.key, period.start, period.end)
        if not found:
            continue
        counted = series.resolution is not None
        values = [reading.value for reading in found]
        nothing = [None] * len(found)
        yield SeriesBlock(
            series,
            series.register.unit,
            series.resolution,
            [reading.instant for reading in found],
            [None if value is None else int(value) for value in values] if counted else list(nothing),
            list(nothing) if counted else [None if value is None else float(value) for value in values],
            [int(reading.quality) for reading in found],
            [reading.reason for reading in found],
            {"sequence": [reading.sequence for reading in found]},
        )


def interval_blocks(
    site: Site, store: IntervalStore, scope: Scope, enterprise: str, period: Period
) -> Iterator[SeriesBlock]:
    """The settled intervals of every series of the enterprise, by point and quantity, in their newest version."""
    described = set(store.series(scope))
    for series in _series(site, enterprise):
        if series.key not in described:
            continue
        found = store.columns(scope, series.key, period.start, period.end)
        if not found.start:
            continue
        facts = store.facts(scope, series.key)
        names = ("end", "covered_us", "edge_us", "edge_counts", "step", "first_sequence", "last_sequence")
        columns = {name: getattr(found, name) for name in names}
        values: list[float | None] = [None] * len(found.start)
        yield SeriesBlock(
            series,
            facts.unit,
            facts.resolution,
            found.start,
            found.counts,
            values,
            found.quality,
            found.reason,
            columns,
        )


def _series(site: Site, enterprise: str) -> list[Series]:
    found = (series for series in site.series.values() if series.enterprise == enterprise)
    return sorted(found, key=lambda series: (series.point, series.register.quantity))
