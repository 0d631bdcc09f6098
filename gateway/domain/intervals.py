"""Intervals: what a metering point consumed over [start, end), labelled by the start."""

from dataclasses import dataclass

from gateway.domain.readings import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Consumption of one series over [start, end) [us, UTC], in integer counts of its resolution.

    `counts` is None when MISSING. `covered_us` is how much of the interval lies between readings close
    enough to speak for it; an interval is whole when it equals end - start. `edge_us` is the longest
    distance from a boundary of the interval to the nearest reading used for it: 0 = read on the boundary
    and exact; `edge_counts` is how far the register moved between the readings around such a boundary, the
    most that interpolation can be wrong by. `step` is the largest step of the shown total here [counts]:
    1, or more where a float carries it. `first_sequence..last_sequence` is the journal range of the readings used.
    """

    series: str
    start: int
    end: int
    counts: int | None
    quality: Quality
    reason: str = ""
    covered_us: int = 0
    edge_us: int = 0
    edge_counts: int = 0
    step: int = 1
    first_sequence: int = 0
    last_sequence: int = 0

    @property
    def whole(self) -> bool:
        """True if the readings speak for all of the interval."""
        return self.covered_us == self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Unallocated:
    """Consumption that the register proves between two readings too far apart to be placed in intervals.

    It belongs to any period that holds all of [start, end) [us, UTC], and to no interval.
    """

    series: str
    start: int
    end: int
    counts: int | None  # None: the register fell and nothing declares why; held for a decision
    reason: str
    first_sequence: int = 0
    last_sequence: int = 0
