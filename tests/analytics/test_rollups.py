"""Rollups add up exactly, follow the plant's calendar, and say what they lack."""

from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.rollups import By, Span, roll_up, spans, total_over
from gateway.domain.intervals import Interval, Unallocated
from gateway.domain.periods import period, to_instant
from gateway.domain.readings import Quality

S = 1_000_000
QUARTER = 900 * S
BERLIN, SHANGHAI = "Europe/Berlin", "Asia/Shanghai"


def interval(start, counts, covered=QUARTER, quality=Quality.GOOD, edge=0, sequence=5):
    missing = counts is None
    return Interval(
        series="s", start=start, end=start + QUARTER, counts=counts, quality=Quality.MISSING if missing else quality,
        covered_us=0 if missing else covered, edge_counts=edge, first_sequence=sequence, last_sequence=sequence + 1,
    )  # fmt: skip


def quarters(start, end, counts=1):
    return [interval(at, counts) for at in range(start, end, QUARTER)]


@pytest.mark.parametrize(
    ("zone", "day", "number"),
    [(BERLIN, "2026-03-29", 92), (BERLIN, "2026-10-25", 100), (BERLIN, "2026-10-26", 96), (SHANGHAI, "2026-03-29", 96)],
)
def test_a_day_has_as_many_quarter_hours_as_its_zone_says(zone, day, number):
    whole = period(day, zone)
    around = quarters(whole.start - 10 * QUARTER, whole.end + 10 * QUARTER)
    (found,) = roll_up(around, [], spans(By.DAY, whole.start, whole.end, zone))
    assert (found.label, found.counts, found.coverage, found.reason) == (day, number, 1, "")
    hours = roll_up(around, [], spans(By.HOUR, whole.start, whole.end, zone))
    assert [hour.counts for hour in hours] == [4] * (number // 4)


def test_hours_days_and_months_of_a_year_add_up_to_it():
    year = period("2025", SHANGHAI)
    intervals = [interval(at, n % 97) for n, at in enumerate(range(year.start, year.end, QUARTER))]
    expected = sum(n % 97 for n in range(365 * 96))
    for by, number in ((By.HOUR, 8760), (By.DAY, 365), (By.MONTH, 12), (By.YEAR, 1)):
        found = roll_up(intervals, [], spans(by, year.start, year.end, SHANGHAI))
        assert (len(found), sum(one.counts for one in found)) == (number, expected)
        assert all(one.time_coverage == 1 for one in found)


def test_labels_are_the_plants_time_at_the_start():
    month = period("2026-10", SHANGHAI)
    assert [s.label for s in spans(By.MONTH, month.start, month.end + 1, SHANGHAI)] == ["2026-10", "2026-11"]
    first = spans(By.HOUR, month.start, month.start + 1, SHANGHAI)
    assert [s.label for s in first] == ["2026-10-01T00:00:00+08:00"]
    assert first[0].start == to_instant(datetime.fromisoformat("2026-09-30T16:00:00Z"))


def test_what_lies_inside_counts_and_what_lies_across_an_edge_does_not():
    day = period("2026-10-31", SHANGHAI)
    noon = day.start + 48 * QUARTER
    intervals = [
        *quarters(day.start, noon),
        interval(noon, None),
        interval(noon + QUARTER, None),
        *quarters(noon + 2 * QUARTER, day.end),
    ]
    inside = Unallocated(
        series="s", start=noon, end=noon + 2 * QUARTER, counts=70, reason="gap", first_sequence=2, last_sequence=9
    )
    found = total_over(intervals, [inside], day.start, day.end)
    # 94 quarter-hours of one count and the 70 that the register proves
    assert (found.counts, found.amounts, found.coverage) == (164, 94, 1)
    assert found.time_coverage == Decimal(94) / 96
    assert (found.first_sequence, found.last_sequence, found.reason) == (2, 9, "")
    half = total_over(intervals, [inside], day.start, noon + QUARTER)
    assert (half.counts, half.straddling) == (48, 1)
    assert half.reason.startswith("an amount of 70 counts lies across an edge (2026-10-31T04:00:00+00:00 to ")
    assert half.coverage == Decimal(48) / 49


def test_a_held_fall_makes_the_period_incomplete():
    held = Unallocated(series="s", start=0, end=QUARTER, counts=None, reason="register_fell")
    found = total_over([interval(0, None), interval(QUARTER, 7)], [held], 0, 2 * QUARTER)
    assert (found.counts, found.held) == (7, 1)
    assert found.reason.startswith("the register fell and nothing says why")


def test_nothing_measured_is_not_zero():
    found = total_over([], [], 0, QUARTER)
    assert (found.counts, found.coverage, found.reason) == (None, 0, "not all of the period was read")
    assert total_over([interval(0, None)], [], 0, QUARTER).counts is None
    assert total_over([interval(0, 0)], [], 0, QUARTER).counts == 0


def test_the_edges_of_a_period_say_how_far_interpolation_can_be_wrong():
    intervals = [interval(0, 5, edge=3), interval(QUARTER, 5, edge=9), interval(2 * QUARTER, 5, edge=4)]
    found = total_over(intervals, [], 0, 3 * QUARTER)
    assert (found.first_edge, found.last_edge) == (3, 4)


def test_estimated_and_suspect_parts_are_told():
    found = total_over(
        [interval(0, 5, quality=Quality.ESTIMATED), interval(QUARTER, 7, quality=Quality.SUSPECT)], [], 0, 2 * QUARTER
    )
    assert (found.estimated_counts, found.suspect, found.counts) == (5, True, 12)


def test_an_interval_across_an_edge_is_not_divided():
    found = total_over([interval(0, 5)], [], 0, QUARTER // 2)
    assert (found.counts, found.reason) == (None, "the settling intervals do not meet the edges of the period")


def test_sums_are_exact_beyond_what_a_float_holds():
    big = 2**53 + 1
    assert total_over([interval(0, big), interval(QUARTER, 1)], [], 0, 2 * QUARTER).counts == big + 1


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 10**9)), max_size=50),
    st.lists(st.integers(0, 49), max_size=6, unique=True),
)
def test_rollups_agree_with_plain_addition(amounts, cuts):
    intervals = [interval(n * QUARTER, counts) for n, counts in enumerate(amounts)]
    edges = sorted({0, *cuts, 50})
    over = [Span(str(a), a * QUARTER, b * QUARTER) for a, b in pairwise(edges)]
    found = roll_up(intervals, [], over)
    for span, one in zip(over, found, strict=True):
        known = [c for c in amounts[span.start // QUARTER : span.end // QUARTER] if c is not None]
        assert one.counts == (sum(known) if known else None)
        assert one.placed_us == len(known) * QUARTER
