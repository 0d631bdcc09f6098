"""Rollups: what a series amounted to in an hour, day, month or year of plant time, and how much of it is proven.

A period's amount is the sum of its intervals and of the unallocated amounts that lie wholly inside it. What
lies across an edge of the period cannot be divided: it makes the period incomplete, with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd

from gateway.domain.intervals import Interval, Unallocated
from gateway.domain.periods import Period, iso, midnight, to_datetime
from gateway.domain.readings import MICROSECONDS, Quality
from gateway.domain.scopes import Scope
from gateway.stores.intervals import IntervalStore

HOUR_US = 3600 * MICROSECONDS
REASON_UNREAD = "not all of the period was read"
_MAX = 2**63 - 1
_ESTIMATED = int(Quality.ESTIMATED | Quality.SUBSTITUTED)


class By(StrEnum):
    """The periods that a series is rolled up to."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    YEAR = "year"


class Span(NamedTuple):
    """A period of plant time, [start, end) [us, UTC], with its label: the plant's time at its start."""

    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """The amount of one series over one span, in counts of its resolution.

    `counts` is None when nothing was measured. `placed_us` is the time that intervals speak for, `unplaced_us`
    that of the unallocated amounts inside the span; both together are the measured time. `straddling` counts
    unallocated amounts across an edge, `held` those without an amount. `first_edge`, `last_edge` [counts] are
    how far interpolation can be wrong at either edge, `step` the largest step of the total.
    """

    label: str
    start: int
    end: int
    counts: int | None
    amounts: int = 0  # number of intervals with an amount
    placed_us: int = 0
    unplaced_us: int = 0
    estimated_counts: int = 0
    straddling: int = 0
    held: int = 0
    step: int = 1
    first_edge: int = 0
    last_edge: int = 0
    suspect: bool = False
    first_sequence: int = 0
    last_sequence: int = 0
    reason: str = ""

    @property
    def time_coverage(self) -> Decimal:
        """The share of the span [1] that intervals speak for."""
        return Decimal(self.placed_us) / Decimal(self.end - self.start)

    @property
    def coverage(self) -> Decimal:
        """The share of the span [1] whose amount is proven, placed in intervals or not."""
        return Decimal(self.placed_us + self.unplaced_us) / Decimal(self.end - self.start)


def spans(by: By, first: int, last: int, timezone: str) -> list[Span]:
    """The periods of plant time that touch [first, last) [us, UTC], in order and whole.

    A day has 23, 24 or 25 hours where the zone changes its offset.
    """
    day, end = to_datetime(first, timezone).date(), to_datetime(max(first, last - 1), timezone).date()
    frequency = {By.HOUR: "D", By.DAY: "D", By.MONTH: "M", By.YEAR: "Y"}[by]
    found = []
    for each in pd.period_range(str(day), str(end), freq=frequency):
        begins = midnight(each.start_time.date(), timezone)
        ends = midnight((each + 1).start_time.date(), timezone)
        if by is By.HOUR:
            found += _hours(begins, ends, timezone)
        else:
            found.append(Span(str(each), begins, ends))
    return [span for span in found if span.start < last and first < span.end]


def _hours(begins: int, ends: int, timezone: str) -> list[Span]:
    starts = range(begins, ends, HOUR_US)
    return [Span(iso(start, timezone), start, min(start + HOUR_US, ends)) for start in starts]


def roll_up(intervals: Sequence[Interval], unallocated: Sequence[Unallocated], over: Sequence[Span]) -> list[Rollup]:
    """One rollup per span; the spans are in order and do not overlap. Sums are exact integers."""
    frame = _frame(intervals, over)
    kept = frame[frame["span"] >= 0]
    grouped = kept.groupby("span").agg(
        amounts=("has", "sum"),
        counts=("counts", "sum"),
        placed=("covered_us", "sum"),
        estimated=("estimated", "sum"),
        step=("step", "max"),
        suspect=("suspect", "max"),
        low=("first_sequence", "min"),
        high=("last_sequence", "max"),
    )
    table = grouped.reindex(range(len(over)), fill_value=0)
    lines = [{str(column): int(value) for column, value in line.items()} for line in table.to_dict("records")]
    first_edges = dict(zip(kept["start"], kept["edge_counts"], strict=True))
    last_edges = dict(zip(kept["end"], kept["edge_counts"], strict=True))
    crossing = set(frame[frame["crosses"]]["crossed"])
    return [
        _rollup(
            span,
            lines[n],
            [row for row in unallocated if row.start < span.end and span.start < row.end],
            edges=(int(first_edges.get(span.start, 0)), int(last_edges.get(span.end, 0))),
            crossed=n in crossing,
        )
        for n, span in enumerate(over)
    ]


def rollup(store: IntervalStore, scope: Scope, series: str, whole: Period, *, by: By | str) -> list[Rollup]:
    """One series over a period of plant time, by "hour", "day", "month" or "year", as settled now."""
    over = spans(By(by), whole.start, whole.end, whole.timezone)
    start, end = over[0].start, over[-1].end
    return roll_up(store.intervals(scope, series, start, end), store.unallocated(scope, series, start, end), over)


def total_over(intervals: Sequence[Interval], unallocated: Sequence[Unallocated], start: int, end: int) -> Rollup:
    """The rollup over one span [start, end) [us, UTC]."""
    return roll_up(intervals, unallocated, [Span("", start, end)])[0]


def _frame(intervals: Sequence[Interval], over: Sequence[Span]) -> pd.DataFrame:
    """One line per interval with the number of the span that holds it (-1: none)."""
    frame = pd.DataFrame(
        {
            "start": np.array([i.start for i in intervals], dtype=np.int64),
            "end": np.array([i.end for i in intervals], dtype=np.int64),
            "has": np.array([i.counts is not None for i in intervals], dtype=np.int64),
            "counts": np.array([i.counts or 0 for i in intervals], dtype=np.int64),
            "covered_us": np.array([i.covered_us for i in intervals], dtype=np.int64),
            "quality": np.array([int(i.quality) for i in intervals], dtype=np.int64),
            "edge_counts": np.array([i.edge_counts for i in intervals], dtype=np.int64),
            "step": np.array([i.step for i in intervals], dtype=np.int64),
            # What has no amount proves nothing: it must not widen the range of the journal.
            "first_sequence": np.array(
                [_MAX if i.counts is None else i.first_sequence for i in intervals], dtype=np.int64
            ),
            "last_sequence": np.array([0 if i.counts is None else i.last_sequence for i in intervals], dtype=np.int64),
        }
    )
    frame["estimated"] = frame["counts"].where((frame["quality"] & _ESTIMATED) != 0, 0)
    frame["suspect"] = frame["quality"] & int(Quality.SUSPECT)
    starts = np.array([span.start for span in over], dtype=np.int64)
    ends = np.array([span.end for span in over], dtype=np.int64)
    number = np.searchsorted(starts, frame["start"].to_numpy(), side="right") - 1
    held_by = np.clip(number, 0, None)
    begins_inside = (number >= 0) & (frame["start"].to_numpy() < ends[held_by])
    ends_inside = frame["end"].to_numpy() <= ends[held_by]
    frame["span"] = np.where(begins_inside & ends_inside, number, -1)
    frame["crosses"] = begins_inside & ~ends_inside
    frame["crossed"] = held_by
    return frame


def _rollup(
    span: Span, found: dict[str, int], unallocated: list[Unallocated], *, edges: tuple[int, int], crossed: bool
) -> Rollup:
    inside = [row for row in unallocated if span.start <= row.start and row.end <= span.end and row.counts is not None]
    held = [row for row in unallocated if row.counts is None]
    straddling = [row for row in unallocated if row.counts is not None and row not in inside]
    measured = found["amounts"] or inside
    unplaced = sum(row.counts or 0 for row in inside)
    sequences = [row.first_sequence for row in inside] + ([found["low"]] if found["amounts"] else [])
    placed_us, unplaced_us = found["placed"], sum(row.end - row.start for row in inside)
    return Rollup(
        label=span.label,
        start=span.start,
        end=span.end,
        counts=found["counts"] + unplaced if measured else None,
        amounts=found["amounts"],
        placed_us=placed_us,
        unplaced_us=unplaced_us,
        estimated_counts=found["estimated"],
        straddling=len(straddling),
        held=len(held),
        step=max(1, found["step"]),
        first_edge=edges[0],
        last_edge=edges[1],
        suspect=bool(found["suspect"]),
        first_sequence=min(sequences, default=0),
        last_sequence=max([found["high"], *(row.last_sequence for row in inside)]),
        reason=_reason(straddling, held, crossed=crossed, short=span.end - span.start - placed_us - unplaced_us),
    )


def _reason(straddling: list[Unallocated], held: list[Unallocated], *, crossed: bool, short: int) -> str:
    """Why the amount is not the whole of the span's, in one line; "" when it is."""
    reasons = [f"an amount of {row.counts} counts lies across an edge ({_when(row)})" for row in straddling]
    reasons += [f"the register fell and nothing says why ({_when(row)})" for row in held]
    if crossed:
        reasons.append("the settling intervals do not meet the edges of the period")
    if short and not reasons:
        reasons.append(REASON_UNREAD)
    return "; ".join(reasons)


def _when(row: Unallocated) -> str:
    return f"{iso(row.start)} to {iso(row.end)}"
