"""Differencing: what flowed in every quarter-hour, from the totals that a register showed.

Instants are microseconds UTC; amounts are integer counts of the register's resolution from end to end, so
that the intervals and the unallocated amounts of a span add up to its register difference exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.contracts import StoredReading
from gateway.domain.instruments import Carriage, Register
from gateway.domain.intervals import Interval, Unallocated
from gateway.domain.readings import MICROSECONDS, Quality

Counts = NDArray[np.int64]
HOUR_US = 3600 * MICROSECONDS
_SPLIT_WIDTH = 2_000_000_000  # [us] up to here 2 * width**2 fits into 64 bits
_LONGEST_GAP_US = 100 * 24 * HOUR_US  # a wider one, such as a clock fault makes, is told by its amount alone
_NEAR_THE_TOP = 10  # a register is near its top in the last tenth of its range

REASON_FELL = "register_fell"  # the total fell and no rollover explains it: held for a decision
REASON_GAP = "gap"  # nothing usable was read here
REASON_PARTIAL = "partial"  # readings speak for a part of the interval only
REASON_SUSPECT = "reading_suspect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How one series is differenced: the grid, how far apart readings may be, and what the profile declares.

    `interval_us` and `within_us` [us]; `modulus` [counts]; `max_rate` [counts per hour].
    """

    interval_us: int
    within_us: int
    modulus: int | None = None
    max_rate: float | None = None


class Settled(NamedTuple):
    """The intervals of a span in order of time, and what the register proves but cannot place."""

    intervals: list[Interval]
    unallocated: list[Unallocated]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTotals:
    """The usable totals of one register, strictly ascending by instant [us, UTC]; arrays of one length.

    `steps` [counts] is the smallest move of the total at each reading: 1, or more where a float carries it.
    """

    instants: Counts
    counts: Counts
    sequences: Counts
    qualities: Counts
    steps: Counts


def rules_of(register: Register, *, interval_s: int, interpolate_within_s: int) -> Rules:
    """The rules of a cumulative register on a grid of `interval_s` [s], from what its profile declares."""
    rate = None
    if register.max_rate is not None and register.resolution:
        rate = float(register.max_rate / register.resolution)
    return Rules(
        interval_us=interval_s * MICROSECONDS,
        within_us=interpolate_within_s * MICROSECONDS,
        modulus=register.modulus,
        max_rate=rate,
    )


def shown_totals(readings: Sequence[StoredReading], register: Register) -> ShownTotals:
    """Readings of a cumulative register in any order as arrays; MISSING ones are left out.

    Of two readings of one instant the first journaled one stands.
    """
    usable = [r for r in readings if not r.quality & Quality.MISSING and r.value is not None]
    usable.sort(key=lambda r: (r.instant, r.sequence))
    first = [r for n, r in enumerate(usable) if n == 0 or usable[n - 1].instant != r.instant]
    counts = _array([int(r.value or 0) for r in first])
    return ShownTotals(
        instants=_array([r.instant for r in first]),
        counts=counts,
        sequences=_array([r.sequence for r in first]),
        qualities=_array([int(r.quality) for r in first]),
        steps=_steps(register, counts),
    )


def difference(series: str, shown: ShownTotals, rules: Rules) -> Settled:
    """Intervals and unallocated amounts between the first and the last total shown.

    A boundary that was not read is interpolated between the readings around it when they are at most
    `within_us` apart. Across a wider gap the amount stays unallocated, unless both readings lie in the
    same interval. A fall that no rollover explains is held: unallocated, without an amount.
    """
    if len(shown.instants) < 2:
        return Settled([], [])
    pairs = _pairs(shown, rules)
    return Settled(_intervals(series, shown, pairs, rules.interval_us), _unallocated(series, shown, pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """What lies between each reading and the next; arrays one shorter than the readings."""

    width: Counts
    moved: Counts
    held: NDArray[np.bool_]
    placeable: NDArray[np.bool_]
    qualities: Counts
    steps: Counts


def _pairs(shown: ShownTotals, rules: Rules) -> _Pairs:
    width = np.diff(shown.instants)
    moved = np.diff(shown.counts)
    held = np.zeros(len(moved), dtype=np.bool_)
    for n in np.flatnonzero(moved < 0).tolist():
        increment = _rollover(int(shown.counts[n]), int(shown.counts[n + 1]), int(width[n]), rules)
        held[n] = increment is None
        moved[n] = increment or 0
    same_interval = shown.instants[:-1] // rules.interval_us == (shown.instants[1:] - 1) // rules.interval_us
    return _Pairs(
        width=width,
        moved=moved,
        held=held,
        placeable=~held & ((width <= rules.within_us) | same_interval),
        qualities=shown.qualities[:-1] | shown.qualities[1:],
        steps=np.maximum(shown.steps[:-1], shown.steps[1:]),
    )


def _rollover(old: int, new: int, width: int, rules: Rules) -> int | None:
    """The increment [counts] if a fall is a plausible rollover, else None.

    A declared maximum rate decides as long as it can tell one turn of the register from two; otherwise
    the old total must lie in the top tenth of the range.
    """
    # A float may round the last total before zero up to the modulus itself.
    if rules.modulus is None or not (0 <= new < rules.modulus and 0 <= old <= rules.modulus):
        return None
    increment = (new - old) % rules.modulus
    if rules.max_rate is not None:
        allowed = rules.max_rate * width / HOUR_US + 1
        if allowed < rules.modulus:
            return increment if increment <= allowed else None
    near_the_top = (rules.modulus - old) * _NEAR_THE_TOP <= rules.modulus
    return increment if near_the_top else None


def interpolate(moved: Counts, elapsed: Counts, width: Counts) -> Counts:
    """`moved` x `elapsed` / `width` to the nearest integer, half up, exactly for every 64-bit count."""
    if len(width) and int(width.max()) > _SPLIT_WIDTH:
        big = [
            (2 * m * e + w) // (2 * w) for m, e, w in zip(moved.tolist(), elapsed.tolist(), width.tolist(), strict=True)
        ]
        return _array(big)
    whole, rest = np.divmod(moved, width)
    return np.asarray(whole * elapsed + (2 * rest * elapsed + width) // (2 * width), dtype=np.int64)


def _intervals(series: str, shown: ShownTotals, pairs: _Pairs, step: int) -> list[Interval]:
    instants, grid = shown.instants, _grid(shown.instants, pairs, step)
    boundaries = np.union1d(grid, grid + step)
    inner = boundaries[(boundaries > instants[0]) & (boundaries < instants[-1])]
    cuts = np.union1d(instants, inner)
    pair = np.searchsorted(instants, cuts[:-1], side="right") - 1
    keep = pairs.placeable[pair]  # pieces of time, each within one interval and between two readings
    pair, begins, ends = pair[keep], cuts[:-1][keep], cuts[1:][keep]
    intervals = _missing(series, grid, step, shown, pairs)
    if not len(pair):
        return intervals
    origin, width, moved = instants[pair], pairs.width[pair], pairs.moved[pair]
    amounts = interpolate(moved, ends - origin, width) - interpolate(moved, begins - origin, width)
    place = np.searchsorted(grid, begins, side="right") - 1
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    edge_us, edge_counts = _edges(grid, step, instants, pairs)
    found = zip(
        place[starts].tolist(),
        np.add.reduceat(amounts, starts).tolist(),
        np.add.reduceat(ends - begins, starts).tolist(),
        np.bitwise_or.reduceat(pairs.qualities[pair], starts).tolist(),
        np.maximum.reduceat(pairs.steps[pair], starts).tolist(),
        np.minimum.reduceat(np.minimum(shown.sequences[pair], shown.sequences[pair + 1]), starts).tolist(),
        np.maximum.reduceat(np.maximum(shown.sequences[pair], shown.sequences[pair + 1]), starts).tolist(),
        strict=True,
    )
    for n, counts, covered, qualities, total_step, low, high in found:
        flags = Quality(qualities) & ~Quality.GOOD
        intervals[n] = Interval(
            series=series,
            start=intervals[n].start,
            end=intervals[n].end,
            counts=counts,
            quality=flags or Quality.GOOD,
            reason=(REASON_SUSPECT if flags else "") if covered == step else REASON_PARTIAL,
            covered_us=covered,
            edge_us=edge_us[n],
            edge_counts=edge_counts[n],
            step=total_step,
            first_sequence=low,
            last_sequence=high,
        )
    return intervals


def _grid(instants: Counts, pairs: _Pairs, step: int) -> Counts:
    """The starts of the intervals between the first and the last reading, gaps beyond all measure left out."""
    near = pairs.placeable | (pairs.width <= _LONGEST_GAP_US)
    turns = np.flatnonzero(np.diff(near.astype(np.int8), prepend=0, append=0)).tolist()
    runs = [
        np.arange(instants[first] // step, -(-instants[after] // step), dtype=np.int64)
        for first, after in zip(turns[::2], turns[1::2], strict=True)
    ]
    return np.concatenate([*runs, _array([])]) * step


def _edges(grid: Counts, step: int, instants: Counts, pairs: _Pairs) -> tuple[list[int], list[int]]:
    """Per interval: the longest distance [us] of an interpolated boundary to a reading, and the movement there."""
    sides = [_interpolated(boundaries, instants, pairs) for boundaries in (grid, grid + step)]
    (left_us, left), (right_us, right) = sides
    return np.maximum(left_us, right_us).tolist(), np.maximum(left, right).tolist()


def _interpolated(boundaries: Counts, instants: Counts, pairs: _Pairs) -> tuple[Counts, Counts]:
    """How far each boundary is from a reading [us], and how much moved around it; 0 where it was read."""
    before = np.clip(np.searchsorted(instants, boundaries, side="right") - 1, 0, len(pairs.width) - 1)
    within = (boundaries > instants[0]) & (boundaries < instants[-1]) & (boundaries != instants[before])
    spoken = within & pairs.placeable[before]
    nearest = np.minimum(boundaries - instants[before], instants[before + 1] - boundaries)
    return np.where(spoken, nearest, 0), np.where(spoken, pairs.moved[before], 0)


def _missing(series: str, grid: Counts, step: int, shown: ShownTotals, pairs: _Pairs) -> list[Interval]:
    """An interval without amount for every step of the grid; the reason is that of the pair around its start."""
    pair = np.clip(np.searchsorted(shown.instants, grid, side="right") - 1, 0, len(pairs.held) - 1)
    return [
        Interval(
            series=series,
            start=start,
            end=start + step,
            counts=None,
            quality=Quality.MISSING,
            reason=REASON_FELL if held else REASON_GAP,
        )
        for start, held in zip(grid.tolist(), pairs.held[pair].tolist(), strict=True)
    ]


def _unallocated(series: str, shown: ShownTotals, pairs: _Pairs) -> list[Unallocated]:
    rows = []
    for n in np.flatnonzero(~pairs.placeable).tolist():
        held = bool(pairs.held[n])
        low, high = sorted((int(shown.sequences[n]), int(shown.sequences[n + 1])))
        rows.append(
            Unallocated(
                series=series,
                start=int(shown.instants[n]),
                end=int(shown.instants[n + 1]),
                counts=None if held else int(pairs.moved[n]),
                reason=REASON_FELL if held else REASON_GAP,
                first_sequence=low,
                last_sequence=high,
            )
        )
    return rows


def _steps(register: Register, counts: Counts) -> Counts:
    if register.carriage is Carriage.EXACT or register.resolution is None:
        return np.ones_like(counts)
    resolution = register.resolution
    return _array([max(1, math.ceil(register.quantisation(n * resolution) / resolution)) for n in counts.tolist()])


def _array(values: list[int]) -> Counts:
    return np.array(values, dtype=np.int64)
