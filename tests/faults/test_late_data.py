"""Late, disordered and repeated readings: what was settled bit by bit equals what is settled at once from zero."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from analytics.rollups import rollup
from gateway.domain.periods import period, to_instant
from gateway.domain.scopes import EVERYTHING
from gateway.stores.opening import open_interval_store, open_reading_store
from tests.analytics.cement_plant import QUARTER, Plant, make_site
from tests.faults.late_data import GRID, settled_two_ways

SEED = int(os.environ.get("EMG_SEED", "2026"))


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_bit_by_bit_and_from_zero_are_the_same_bytes(tmp_path: Path, seed: int) -> None:
    bit_by_bit, from_zero, amounts, truth = settled_two_ways(tmp_path, seed)
    assert bit_by_bit == from_zero
    assert amounts == truth


# Quarter-hours of the day: from the published dates of the change, one hour (in Lord Howe half an hour) back or forth.
CHANGES = [
    ("Europe/Berlin", "2026-03-29", 92),
    ("Europe/Berlin", "2026-10-25", 100),
    ("America/New_York", "2026-03-08", 92),
    ("America/New_York", "2026-11-01", 100),
    ("Australia/Lord_Howe", "2026-04-05", 98),
    ("Australia/Lord_Howe", "2026-10-04", 94),
    ("America/Santiago", "2026-04-04", 100),
    ("America/Santiago", "2026-09-06", 92),
    ("Asia/Shanghai", "2026-03-29", 96),
    ("Asia/Shanghai", "2016-12-31", 96),  # the last leap second: 23:59:60 UTC, 07:59:60 here the next morning
    ("Pacific/Auckland", "2026-12-31", 96),
]


@pytest.mark.parametrize(("zone", "day", "quarters"), CHANGES)
def test_a_change_of_the_clocks_neither_makes_nor_loses_energy(
    tmp_path: Path, zone: str, day: str, quarters: int
) -> None:
    site = make_site(tmp_path, timezone=zone)
    noon = to_instant(datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(zone)))
    first = noon - 3 * 96 * QUARTER
    shown = [(first + n * QUARTER, 5000 + 20 * n + n * n % 13) for n in range(6 * 96)]
    with open_reading_store(site, read_only=False) as readings, open_interval_store(site, read_only=False) as intervals:
        plant = Plant(site, readings, intervals, None)
        plant.show("grid", *shown)
        plant.settle()
        start = datetime.fromisoformat(day)
        around = f"{start - timedelta(days=4):%Y-%m-%d}..{start + timedelta(days=4):%Y-%m-%d}"
        days = rollup(intervals, EVERYTHING, GRID, period(around, zone), by="day")
        (whole,) = rollup(intervals, EVERYTHING, GRID, period(day, zone), by="day")
        found = intervals.intervals(EVERYTHING, GRID, whole.start, whole.end)
    assert sum(one.counts or 0 for one in days) == shown[-1][1] - shown[0][1]
    assert [interval.start for interval in found] == [whole.start + n * QUARTER for n in range(quarters)]
    assert whole.end - whole.start == quarters * QUARTER
    assert whole.time_coverage == 1
