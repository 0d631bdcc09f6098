"""Settling looks at what is new, writes what changed, and is the same however the readings arrived."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.domain.readings import Quality
from gateway.domain.scopes import EVERYTHING
from gateway.errors import StoreError
from gateway.stores.opening import open_interval_store, open_reading_store
from tests.analytics.cement_plant import QUARTER, S, at, make_site

GRID = "cement/grid/active_energy_import"


def hourly(day, first, step, number=24):
    """Totals on every quarter-hour: (instant, counts)."""
    start = at(f"{day}T00:00")
    return [(start + n * QUARTER, first + n * step) for n in range(number * 4 + 1)]


def everything(plant):
    rows = plant.intervals.intervals(EVERYTHING, GRID, 0, 2**62)
    return rows, plant.intervals.unallocated(EVERYTHING, GRID, 0, 2**62)


def test_new_readings_become_intervals_and_the_watermark_moves(plant):
    plant.show("grid", ("2026-10-01T00:00", 1000), ("2026-10-01T00:15", 1040), ("2026-10-01T00:30", 1100))
    report = plant.settle()
    assert (report.watermark, report.series, report.changed, report.refused) == (3, 1, 2, ())
    assert plant.amounts("grid", "2026-10-01T00:00", "2026-10-02T00:00") == [40, 60]
    facts = plant.intervals.facts(EVERYTHING, GRID)
    assert (facts.unit, facts.resolution) == ("kWh", Decimal("0.01"))


def test_settling_twice_changes_nothing(plant):
    plant.show("grid", *hourly("2026-10-01", 0, 7))
    plant.settle("2026-11-01T00:00")
    assert plant.settle("2026-11-02T00:00").changed == 0
    assert plant.settle("2026-11-03T00:00", again=True).changed == 0
    assert len(plant.intervals.versions(EVERYTHING, GRID, at("2026-10-01T05:00"))) == 1


def test_only_the_touched_intervals_get_a_new_version(plant):
    shown = hourly("2026-10-01", 0, 10)
    late = shown.pop(20)  # 05:00; its neighbours are 04:45 and 05:15
    plant.show("grid", *shown)
    plant.settle("2026-11-01T00:00")
    plant.show("grid", (late[0], late[1] + 3))
    # 20 counts between 04:45 and 05:15 could not be placed (30 min > 20 min); the late reading makes them 13 + 7:
    # two intervals change, and the unallocated amount is withdrawn
    assert plant.settle("2026-11-02T00:00").changed == 3
    assert plant.amounts("grid", "2026-10-01T04:30", "2026-10-01T05:30") == [10, 13, 7, 10]
    assert plant.amounts("grid", "2026-10-01T04:30", "2026-10-01T05:30", as_of=at("2026-11-01T12:00")) == [
        10,
        None,
        None,
        10,
    ]


def test_a_late_reading_takes_an_unallocated_amount_back(plant):
    plant.show(
        "grid", ("2026-10-01T00:00", 0), ("2026-10-01T00:15", 10), ("2026-10-01T03:05", 500), ("2026-10-01T03:15", 510)
    )
    plant.settle("2026-11-01T00:00")
    _, (row,) = everything(plant)
    assert (row.start, row.end, row.counts) == (at("2026-10-01T00:15"), at("2026-10-01T03:05"), 490)
    plant.show("grid", ("2026-10-01T02:50", 450))
    plant.settle("2026-11-02T00:00")
    intervals, (row,) = everything(plant)
    assert (row.start, row.end, row.counts) == (at("2026-10-01T00:15"), at("2026-10-01T02:50"), 440)
    # 02:50 -> 03:05 shows 50 in 15 minutes: 33 of them (10/15) before 03:00
    assert sum(i.counts or 0 for i in intervals) + row.counts == 510
    assert plant.amounts("grid", "2026-10-01T02:45", "2026-10-01T03:15") == [33, 27]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_arrival_and_the_moments_of_settling_do_not_matter(plant, tmp_path, seed):
    chance = random.Random(seed)
    shown, total, instant = [], 0, at("2026-10-01T00:02")
    for _ in range(120):
        shown.append((instant, total))
        instant += chance.choice([300, 600, 900, 901, 1199, 1800, 7000]) * S
        total += chance.randrange(50)
    straight = type(plant)(make_site(tmp_path / "b"), *_stores(make_site(tmp_path / "b")), plant.ledger)
    straight.show("grid", *shown)
    straight.settle()
    chance.shuffle(shown)
    for first in range(0, len(shown), 17):
        plant.show("grid", *shown[first : first + 17])
        plant.settle()

    def bare(found):
        intervals, amounts = found
        return (
            [replace(i, first_sequence=0, last_sequence=0) for i in intervals],
            [replace(u, first_sequence=0, last_sequence=0) for u in amounts],
        )

    assert bare(everything(plant)) == bare(everything(straight))
    intervals, amounts = everything(plant)
    assert sum(i.counts or 0 for i in intervals) + sum(u.counts for u in amounts) == total_of(shown)
    straight.readings.close()
    straight.intervals.close()


def total_of(shown):
    return max(value for _, value in shown) - min(value for _, value in shown)


def _stores(site):
    return open_reading_store(site, read_only=False), open_interval_store(site, read_only=False)


def test_a_gap_takes_the_reason_that_was_recorded(plant):
    plant.show("grid", ("2026-10-01T00:00", 0))
    plant.show(
        "grid", ("2026-10-01T00:15", None), ("2026-10-01T00:30", None), quality=Quality.MISSING, reason="line.silent"
    )
    plant.show("grid", ("2026-10-01T00:45", 9))
    plant.settle()
    intervals, _ = everything(plant)
    assert [(i.counts, i.reason) for i in intervals] == [(None, "gap"), (None, "line.silent"), (None, "line.silent")]


def test_tickets_are_booked_where_they_fall(plant):
    plant.show("tickets", ("2026-10-01T08:03", 1500), ("2026-10-01T08:14", 1600), ("2026-10-01T09:00", 1400))
    plant.settle()
    found = plant.intervals.intervals(EVERYTHING, "cement/tickets/mass", 0, 2**62)
    assert [(i.start, i.counts) for i in found] == [(at("2026-10-01T08:00"), 3100), (at("2026-10-01T09:00"), 1400)]


def test_a_series_that_is_refused_takes_no_other_with_it_and_is_settled_once_mended(plant):
    plant.show("steam", ("2026-10-01T08:00", 5), ("2026-10-01T09:00", 6))
    plant.show("grid", ("2026-10-01T00:00", 0), ("2026-10-01T00:15", 4))
    report = plant.settle()
    assert report.watermark == 4
    assert plant.amounts("grid", "2026-10-01T00:00", "2026-10-01T01:00") == [4]
    (sentence,) = report.refused
    assert "cement/steam/heat: its values cover 3600 s" in sentence
    hourly_site = replace(plant.site, interval_s=3600)
    plant.settle(site=replace(hourly_site, series={"cement/steam/heat": plant.site.series["cement/steam/heat"]}))
    assert plant.amounts("steam", "2026-10-01T00:00", "2026-10-02T00:00") == [5, 6]


def test_a_stored_series_that_the_site_does_not_name_is_told_and_settled_once_it_is(plant):
    series = dict(plant.site.series)
    without = replace(plant.site, series={key: one for key, one in series.items() if key != GRID})
    plant.show("grid", ("2026-10-01T00:00", 0), ("2026-10-01T00:15", 4))
    assert plant.settle(site=without).unknown == (GRID,)
    assert plant.settle().changed == 1
    assert plant.amounts("grid", "2026-10-01T00:00", "2026-10-01T01:00") == [4]


def test_a_change_of_resolution_holds_the_watermark_until_it_is_mended(plant):
    plant.show("grid", ("2026-10-01T00:00", 0), ("2026-10-01T00:15", 4))
    plant.settle()
    plant.show("grid", ("2026-10-01T00:30", 9))
    coarse = replace(
        plant.site, series=plant.site.series | {GRID: replace(plant.site.series[GRID], resolution=Decimal(1))}
    )
    report = plant.settle(site=coarse)
    assert (report.watermark, report.changed) == (2, 0)
    assert "a count was 0.01 kWh and would now be 1 kWh" in report.refused[0]
    assert plant.settle().watermark == 3
    assert plant.amounts("grid", "2026-10-01T00:00", "2026-10-01T01:00") == [4, 5]


def test_two_settlings_never_run_at_once(plant, monkeypatch):
    monkeypatch.setattr("gateway.stores.store_file.WRITER_WAIT_S", 0.1)
    with pytest.raises(StoreError, match="is being written by another process"):
        open_interval_store(plant.site, read_only=False)
