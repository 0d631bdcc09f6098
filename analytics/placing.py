"""Placing: amounts that arrive as amounts, interval by interval or ticket by ticket, put on the grid."""

from collections.abc import Callable, Iterable, Sequence

from analytics.differencing import REASON_PARTIAL, REASON_SUSPECT, Settled
from gateway.contracts import StoredReading
from gateway.domain.intervals import Interval, Unallocated
from gateway.domain.readings import Quality

REASON_OFF_GRID = "off_grid"  # the amount does not start on a multiple of its length and cannot be placed


def place_interval_readings(
    series: str, readings: Sequence[StoredReading], *, length_us: int, interval_us: int
) -> Settled:
    """Readings whose value is the amount of [instant, instant + length) [us] on a grid of `interval_us` [us].

    An amount that does not start on a multiple of its length stays unallocated. Raises ValueError when
    the length does not divide the grid.
    """
    if not 0 < length_us <= interval_us or interval_us % length_us:
        raise ValueError(
            f"{series}: its values cover {length_us // 1_000_000} s, which does not divide the settling interval "
            f"of {interval_us // 1_000_000} s; declare an interval_s of the site that it divides"
        )
    within = [reading for reading in readings if reading.instant % length_us == 0]
    across = [reading for reading in readings if reading.instant % length_us]
    unallocated = [
        Unallocated(
            series=series,
            start=reading.instant,
            end=reading.instant + length_us,
            counts=int(reading.value),
            reason=REASON_OFF_GRID,
            first_sequence=reading.sequence,
            last_sequence=reading.sequence,
        )
        for reading in across
        if _usable(reading) and reading.value is not None
    ]
    return Settled(_booked(series, within, interval_us, lambda used: len(used) * length_us), unallocated)


def place_tickets(series: str, readings: Sequence[StoredReading], *, interval_us: int) -> Settled:
    """Amounts booked at an instant (weighbridge tickets) in the interval that holds the instant.

    A ticket speaks for all of its interval. Where there is no ticket there is no interval: nothing came.
    """
    usable = [reading for reading in readings if _usable(reading)]
    return Settled(_booked(series, usable, interval_us, lambda _: interval_us), [])


def _booked(
    series: str, readings: Iterable[StoredReading], interval_us: int, covered: Callable[[list[StoredReading]], int]
) -> list[Interval]:
    by_start: dict[int, list[StoredReading]] = {}
    for reading in sorted(readings, key=lambda reading: (reading.instant, reading.sequence)):
        by_start.setdefault(reading.instant // interval_us * interval_us, []).append(reading)
    return [
        _interval(series, start, start + interval_us, inside, covered) for start, inside in sorted(by_start.items())
    ]


def _interval(
    series: str, start: int, end: int, inside: list[StoredReading], covered: Callable[[list[StoredReading]], int]
) -> Interval:
    used = [reading for reading in inside if _usable(reading)]
    if not used:
        return Interval(
            series=series,
            start=start,
            end=end,
            counts=None,
            quality=Quality.MISSING,
            reason=inside[0].reason,
            first_sequence=min(reading.sequence for reading in inside),
            last_sequence=max(reading.sequence for reading in inside),
        )
    flags = Quality(0)
    for reading in used:
        flags |= reading.quality & ~Quality.GOOD
    covered_us = covered(used)
    return Interval(
        series=series,
        start=start,
        end=end,
        counts=sum(int(reading.value or 0) for reading in used),
        quality=flags or Quality.GOOD,
        reason=REASON_PARTIAL if covered_us < end - start else REASON_SUSPECT if flags else "",
        covered_us=covered_us,
        first_sequence=min(reading.sequence for reading in used),
        last_sequence=max(reading.sequence for reading in used),
    )


def _usable(reading: StoredReading) -> bool:
    return not reading.quality & Quality.MISSING and reading.value is not None
