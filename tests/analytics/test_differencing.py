"""Differencing keeps what the register proves, places what can be placed, and never invents energy."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.differencing import (
    REASON_FELL,
    REASON_GAP,
    REASON_PARTIAL,
    Rules,
    difference,
    interpolate,
    rules_of,
    shown_totals,
)
from analytics.placing import REASON_OFF_GRID, place_interval_readings, place_tickets
from gateway.contracts import StoredReading
from gateway.domain.instruments import Carriage, Register, RegisterKind
from gateway.domain.readings import Quality

S = 1_000_000
QUARTER = 900 * S
RULES = Rules(interval_us=QUARTER, within_us=1200 * S, modulus=10_000_000)
KWH = Register(
    quantity="active_energy_import",
    unit="kWh",
    kind=RegisterKind.CUMULATIVE,
    resolution=Decimal("0.01"),
    modulus=10_000_000,
)


def reading(at_s, counts, sequence=1, quality=Quality.GOOD, reason=""):
    return StoredReading("e/p/active_energy_import", at_s * S, counts, quality, reason, sequence)


def settled(readings, rules=RULES, register=KWH):
    return difference("e/p/active_energy_import", shown_totals(readings, register), rules)


def test_an_interval_read_on_its_boundaries_is_exact():
    result = settled([reading(0, 1000, 1), reading(900, 1250, 2), reading(1800, 1300, 3)])
    assert [i.counts for i in result.intervals] == [250, 50]
    assert all(i.whole and i.edge_us == 0 and i.edge_counts == 0 and i.reason == "" for i in result.intervals)
    assert [(i.first_sequence, i.last_sequence) for i in result.intervals] == [(1, 2), (2, 3)]
    assert result.unallocated == []


def test_a_boundary_between_two_readings_is_interpolated_in_integers():
    # 600 s -> 1200 s shows 100 -> 107: at 900 s half way, 3.5 counts, half up = 4.
    result = settled([reading(0, 0), reading(600, 100), reading(1200, 107), reading(1800, 207)])
    assert [i.counts for i in result.intervals] == [104, 103]
    assert [i.edge_us for i in result.intervals] == [300 * S, 300 * S]
    assert [i.edge_counts for i in result.intervals] == [7, 7]


def test_the_first_and_the_last_interval_say_how_little_they_cover():
    result = settled([reading(300, 10), reading(900, 20), reading(1300, 24)])
    assert [(i.counts, i.covered_us // S, i.reason) for i in result.intervals] == [
        (10, 600, REASON_PARTIAL),
        (4, 400, REASON_PARTIAL),
    ]


def test_a_gap_stays_missing_and_its_energy_stays_known():
    result = settled(
        [reading(0, 0, 1), reading(900, 10, 2), reading(1000, 11, 3), reading(4000, 71, 4), reading(4500, 80, 5)]
    )
    assert [i.counts for i in result.intervals] == [10, 1, None, None, 9]
    missing = result.intervals[2]
    assert (missing.quality, missing.reason, missing.covered_us) == (Quality.MISSING, REASON_GAP, 0)
    assert [i.covered_us // S for i in result.intervals] == [900, 100, 0, 0, 500]
    (row,) = result.unallocated
    assert (row.start // S, row.end // S, row.counts, row.first_sequence, row.last_sequence) == (1000, 4000, 60, 3, 4)


def test_two_readings_within_one_interval_need_no_interpolation_however_far_apart():
    rules = Rules(interval_us=QUARTER, within_us=60 * S, modulus=None)
    result = settled([reading(0, 0), reading(900, 30), reading(1800, 50)], rules)
    assert [i.counts for i in result.intervals] == [30, 20]
    assert result.unallocated == []


def test_a_rollover_adds_no_energy():
    result = settled([reading(0, 9_999_990), reading(900, 15)])  # 10 counts to the top, then 15
    assert [i.counts for i in result.intervals] == [25]


def test_a_fall_from_the_middle_of_the_range_is_held_and_never_booked():
    result = settled([reading(0, 5_000_000), reading(900, 15), reading(1800, 25)])
    assert [(i.counts, i.reason) for i in result.intervals] == [(None, REASON_FELL), (10, "")]
    assert [(u.counts, u.reason, u.end // S) for u in result.unallocated] == [(None, REASON_FELL, 900)]


def test_a_declared_maximum_rate_decides_between_rollover_and_fall():
    rules = Rules(interval_us=QUARTER, within_us=1200 * S, modulus=10_000_000, max_rate=400.0)  # 100 counts per quarter
    assert settled([reading(0, 9_999_990), reading(900, 15)], rules).intervals[0].counts == 25
    # near its top, but 1 000 010 counts in a quarter of an hour: the meter was replaced, not full
    assert settled([reading(0, 9_000_000), reading(900, 10)], rules).intervals[0].counts is None


def test_a_register_without_modulus_never_rolls_over():
    rules = Rules(interval_us=QUARTER, within_us=1200 * S)
    assert settled([reading(0, 9_999_990), reading(900, 15)], rules).unallocated[0].counts is None


def test_missing_readings_are_not_used_and_suspect_ones_mark_their_interval():
    result = settled(
        [
            reading(0, 0),
            reading(450, None, quality=Quality.MISSING, reason="line.silent"),
            reading(900, 10, quality=Quality.SUSPECT),
            reading(1800, 20),
            reading(2700, 30),
        ]
    )
    assert [i.quality for i in result.intervals] == [Quality.SUSPECT, Quality.SUSPECT, Quality.GOOD]
    assert [i.counts for i in result.intervals] == [10, 10, 10]


def test_a_float32_total_says_how_coarse_it_is():
    register = Register(
        quantity="active_energy_import",
        unit="kWh",
        kind=RegisterKind.CUMULATIVE,
        resolution=Decimal("0.01"),
        carriage=Carriage.FLOAT32,
    )
    # 1 000 000 kWh lies in [2^19, 2^20): one ulp of a 24-bit significand is 2^-4 = 0.0625 kWh = 6.25 counts -> 7
    result = settled([reading(0, 100_000_000), reading(900, 100_000_100)], register=register)
    assert result.intervals[0].step == 7
    # 100 kWh: one ulp is 2^-17 kWh, far below the resolution
    assert settled([reading(0, 10_000), reading(900, 10_010)], register=register).intervals[0].step == 1


def test_rules_take_the_rate_in_counts_per_hour():
    register = Register(
        quantity="mass", unit="t", kind=RegisterKind.CUMULATIVE, resolution=Decimal("0.1"), max_rate=Decimal(500)
    )
    rules = rules_of(register, interval_s=900, interpolate_within_s=1200)
    assert (rules.interval_us, rules.within_us, rules.max_rate) == (QUARTER, 1200 * S, 5000.0)


@given(
    moved=st.integers(0, 2**62),
    width=st.integers(1, 2**40),
    part=st.fractions(0, 1),
)
def test_interpolation_is_exact_for_every_64_bit_count(moved, width, part):
    elapsed = int(width * part)
    array = np.array
    got = int(interpolate(array([moved]), array([elapsed]), array([width]))[0])
    assert got == (2 * moved * elapsed + width) // (2 * width)  # plain integers of any size


histories = st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 400)), min_size=2, max_size=40)


def story(steps, modulus=None, start=0):
    """Readings of a register that moved by the given amounts after the given seconds."""
    at, total, readings = 17, start, []
    for sequence, (seconds, amount) in enumerate(steps, start=1):
        at, total = at + seconds, total + amount
        readings.append(reading(at, total if modulus is None else total % modulus, sequence))
    return readings


@given(histories)
def test_the_sum_is_the_register_difference_exactly(steps):
    readings = story(steps)
    result = settled(readings)
    known = sum(i.counts or 0 for i in result.intervals) + sum(u.counts or 0 for u in result.unallocated)
    assert known == readings[-1].value - readings[0].value
    covered = sum(i.covered_us for i in result.intervals) + sum(u.end - u.start for u in result.unallocated)
    assert covered == readings[-1].instant - readings[0].instant  # every moment is spoken for once


@given(histories, st.integers(9_999_000, 9_999_999))
def test_rollovers_do_not_change_what_was_consumed(steps, start):
    straight, rolled = settled(story(steps, start=start)), settled(story(steps, modulus=10_000_000, start=start))
    assert [(i.start, i.counts) for i in straight.intervals] == [(i.start, i.counts) for i in rolled.intervals]
    assert [u.counts for u in straight.unallocated] == [u.counts for u in rolled.unallocated]


@given(histories, st.randoms())
def test_the_order_of_arrival_does_not_matter(steps, chance):
    readings = story(steps)
    shuffled = list(readings)
    chance.shuffle(shuffled)
    assert settled(shuffled) == settled(readings)


@given(histories, st.data())
def test_a_late_reading_changes_only_the_intervals_between_its_neighbours(steps, data):
    readings = story(steps)
    late = data.draw(st.integers(0, len(readings) - 1))
    before = settled(readings[:late] + readings[late + 1 :])
    after = settled(readings)
    low = readings[late - 1].instant if late else None
    high = readings[late + 1].instant if late + 1 < len(readings) else None

    def outside(interval):
        return (low is not None and interval.end <= low) or (high is not None and interval.start >= high)

    def amounts(result):
        return {(i.start, i.counts, i.covered_us) for i in result.intervals if outside(i)}

    assert amounts(before) == amounts(after)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 1199), min_size=4, max_size=60), st.data())
def test_interpolation_is_never_wrong_by_more_than_maximum_power_times_distance(gaps, data):
    # A load that changes every second between 0 and P counts/s, read at irregular instants: the truth is known
    # at every boundary, and the promise of `edge_us` is checked against it.
    top = data.draw(st.integers(1, 50))
    length = sum(gaps) + 1
    levels = data.draw(st.lists(st.integers(0, top), min_size=5, max_size=5))
    power = np.array([levels[(second // 700) % 5] for second in range(length)], dtype=np.int64)
    register = np.concatenate([[0], np.cumsum(power)])
    instants = [0, *np.cumsum(gaps).tolist()]
    result = settled(
        [reading(at, int(register[at]), n) for n, at in enumerate(instants, 1)],
        Rules(interval_us=QUARTER, within_us=1200 * S),
    )
    for interval in result.intervals:
        if interval.whole:
            truth = register[interval.end // S] - register[interval.start // S]
            assert abs(interval.counts - truth) <= 2 * top * interval.edge_us / S + 1
            assert abs(interval.counts - truth) <= 2 * interval.edge_counts
            if interval.edge_us == 0:
                assert interval.counts == truth


def test_interval_readings_add_up_on_the_grid_and_say_what_is_missing():
    five = [
        reading(0, 5, 1),
        reading(300, 6, 2),
        reading(600, 7, 3),
        reading(900, 8, 4),
        reading(1800, None, 5, Quality.MISSING, "line.silent"),
    ]
    result = place_interval_readings("s", five, length_us=300 * S, interval_us=QUARTER)
    assert [(i.counts, i.covered_us // S, i.reason) for i in result.intervals] == [
        (18, 900, ""),
        (8, 300, REASON_PARTIAL),
        (None, 0, "line.silent"),
    ]


def test_interval_readings_off_their_own_grid_are_not_placed():
    result = place_interval_readings("s", [reading(700, 5, 9)], length_us=900 * S, interval_us=QUARTER)
    assert result.intervals == []
    assert [(u.start // S, u.end // S, u.counts, u.reason) for u in result.unallocated] == [
        (700, 1600, 5, REASON_OFF_GRID)
    ]


def test_hourly_amounts_are_refused_on_a_quarter_hour_grid():
    with pytest.raises(ValueError, match="3600 s, which does not divide the settling interval of 900 s"):
        place_interval_readings("s", [reading(0, 5)], length_us=3600 * S, interval_us=QUARTER)


def test_tickets_are_booked_in_the_quarter_hour_of_their_instant():
    result = place_tickets("s", [reading(899, 30), reading(0, 12), reading(900, 1)], interval_us=QUARTER)
    assert [(i.start // S, i.counts, i.whole) for i in result.intervals] == [(0, 42, True), (900, 1, True)]


def test_intervals_lie_side_by_side_on_the_grid():
    result = settled([reading(100, 0), reading(90_000, 5), reading(90_100, 6)])
    assert all(a.end == b.start and a.start % QUARTER == 0 for a, b in pairwise(result.intervals))


def test_a_reading_of_a_clock_gone_wrong_makes_no_century_of_missing_intervals():
    year_1970, now = reading(10, 5, 1), 1_790_000_000
    result = settled([year_1970, reading(now, 100, 2), reading(now + 900, 130, 3)])
    assert len(result.intervals) == 2  # the two that the readings of today touch
    assert sum(i.counts for i in result.intervals) == 30
    assert [(u.start // S, u.end // S, u.counts) for u in result.unallocated] == [(10, now, 95)]
