"""Rows of intervals and unallocated amounts as the interval store keeps them, and which change makes a new version."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from gateway.domain.intervals import Interval, Unallocated
from gateway.domain.readings import Quality
from gateway.errors import StoreError
from gateway.stores.exact_numbers import is_count

# What a version says, from its finish on, and a whole row: (start, version, *said, gone).
Said = tuple[Any, ...]
Row = tuple[Any, ...]
START, VERSION, FINISH = 0, 1, 2
GONE = -1


class IntervalVersion(NamedTuple):
    """One version of an interval; `interval` is None where settle withdrew it."""

    version: int
    settled_at: int  # [us, UTC]
    watermark: int  # journal sequence up to which settle had looked
    interval: Interval | None


class IntervalColumns(NamedTuple):
    """Intervals of one series by start, column by column."""

    start: list[int]  # [us, UTC]
    end: list[int]  # [us, UTC]
    counts: list[int | None]  # None where MISSING
    quality: list[int]  # flags of Quality
    reason: list[str]
    covered_us: list[int]
    edge_us: list[int]
    edge_counts: list[int]
    step: list[int]  # [counts]
    first_sequence: list[int]
    last_sequence: list[int]


def newest(rows: Iterable[Row]) -> dict[int, Row]:
    """The newest version of each start, of rows by start and version."""
    return {row[START]: row for row in rows}


def standing(rows: Iterable[Row]) -> list[Row]:
    """The newest versions that were not withdrawn."""
    return [row for row in newest(rows).values() if not row[GONE]]


def changes(current: Mapping[int, Row], wanted: Mapping[int, Said], replaced: Collection[int]) -> Iterator[Row]:
    """The new versions that make `wanted` stand, and withdraw what else stands at the starts in `replaced`."""
    for start, said in wanted.items():
        row = current.get(start)
        if row is None:
            yield (start, 1, *said, 0)
        elif row[FINISH:] != (*said, 0):
            yield (start, row[VERSION] + 1, *said, 0)
    for start in replaced:
        row = current[start]
        if start not in wanted and not row[GONE]:
            yield (start, row[VERSION] + 1, *row[FINISH:GONE], 1)


def intervals_said(series: str, intervals: Iterable[Interval], span: tuple[int, int]) -> dict[int, Said]:
    """What these intervals say, by start. Raises StoreError unless they lie side by side within the span."""
    ordered = sorted(intervals, key=lambda interval: interval.start)
    for interval in ordered:
        _check_one(series, interval)
        if not span[0] <= interval.start < interval.end <= span[1]:
            raise StoreError(f"{series}: interval [{interval.start}, {interval.end}) is not within the span {span}.")
    for earlier, later in pairwise(ordered):
        if later.start < earlier.end:
            raise StoreError(f"{series}: intervals [{earlier.start}, {earlier.end}) and {later.start} overlap.")
    return {interval.start: _said_by(interval) for interval in ordered}


def unallocated_said(series: str, amounts: Iterable[Unallocated]) -> dict[int, Said]:
    """What these amounts say, by start. Raises StoreError when two have the same start."""
    said: dict[int, Said] = {}
    for amount in amounts:
        _check_one(series, amount)
        if amount.start in said:
            raise StoreError(f"{series}: two unallocated amounts begin at {amount.start}.")
        said[amount.start] = (
            amount.end,
            amount.counts,
            amount.reason,
            amount.first_sequence,
            amount.last_sequence,
        )
    return said


def interval_of(series: str, row: Row) -> Interval:
    """A row as a caller gets it."""
    start, _, end, counts, quality, reason, covered, edge, edge_counts, step, first, last, _ = row
    return Interval(
        series=series,
        start=start,
        end=end,
        counts=counts,
        quality=_QUALITIES[quality],
        reason=reason,
        covered_us=covered,
        edge_us=edge,
        edge_counts=edge_counts,
        step=step,
        first_sequence=first,
        last_sequence=last,
    )


def unallocated_of(series: str, row: Row) -> Unallocated:
    """A row as a caller gets it."""
    start, _, end, counts, reason, first, last, _ = row
    return Unallocated(
        series=series, start=start, end=end, counts=counts, reason=reason, first_sequence=first, last_sequence=last
    )


def columns_of(rows: Iterable[Row]) -> IntervalColumns:
    """Rows turned into columns."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(13)]
    return IntervalColumns(columns[START], *columns[FINISH:GONE])


_QUALITIES = tuple(Quality(bits) for bits in range(64))


def _said_by(interval: Interval) -> Said:
    return (
        interval.end,
        interval.counts,
        int(interval.quality),
        interval.reason,
        interval.covered_us,
        interval.edge_us,
        interval.edge_counts,
        interval.step,
        interval.first_sequence,
        interval.last_sequence,
    )


def _check_one(series: str, found: Interval | Unallocated) -> None:
    if found.series != series:
        raise StoreError(f"{series}: found an entry of {found.series}; each series is written by itself.")
    if found.counts is not None and not is_count(found.counts):
        raise StoreError(
            f"{series} from {found.start}: found {found.counts!r} of type {type(found.counts).__name__}; "
            "expected counts as an integer of 64 bits, or None."
        )
