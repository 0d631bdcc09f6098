"""Readings that come late, in disorder and more than once, settled as they come, for the tests and the long runs."""

import random
from pathlib import Path

from analytics.rollups import rollup
from gateway.domain.periods import period
from gateway.domain.scopes import EVERYTHING
from gateway.stores.intervals import IntervalStore
from gateway.stores.opening import open_interval_store, open_reading_store
from tests.analytics.cement_plant import QUARTER, ZONE, Plant, S, at, make_site

DAYS = 40
LATE_DAYS = 30
GRID = "cement/grid/active_energy_import"


def shown_by(chance: random.Random) -> list[tuple[int, int]]:
    """(instant, total) of a register read about every two hours for 40 days, with gaps, on and off the grid."""
    shown, total, instant = [], chance.randrange(10**6), at("2026-09-01T00:00")
    end = instant + DAYS * 96 * QUARTER
    while instant < end:
        shown.append((instant, total))
        instant += chance.choice(
            [QUARTER, QUARTER, 1201 * S, 2 * QUARTER, 8 * QUARTER, 9 * QUARTER, 15 * QUARTER, 86_399 * S]
        )
        total += chance.randrange(500)
    return shown


def arrivals(chance: random.Random, shown: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same readings as they arrive: one in ten up to 30 days late, neighbours in disorder, some repeated."""
    ordered = []
    for instant, total in shown:
        for _ in range(2 if chance.random() < 0.05 else 1):
            late_us = (
                chance.randrange(LATE_DAYS * 96 * QUARTER) if chance.random() < 0.1 else chance.randrange(4 * QUARTER)
            )
            ordered.append((instant + late_us, (instant, total)))
    return [reading for _, reading in sorted(ordered)]


def settled_two_ways(folder: Path, seed: int) -> tuple[bytes, bytes, int, int]:
    """Everything that is known after settling bit by bit, and after settling at once from zero; amounts and truth."""
    chance = random.Random(seed)
    site = make_site(folder)
    shown = shown_by(chance)
    arriving = arrivals(chance, shown)
    with (
        open_reading_store(site, read_only=False) as readings,
        open_interval_store(site, read_only=False) as bit_by_bit,
        IntervalStore.open(folder / "from_zero.db") as from_zero,
    ):
        plant = Plant(site, readings, bit_by_bit, None)
        while arriving:
            number = chance.randrange(1, 60)
            plant.show("grid", *arriving[:number])
            arriving = arriving[number:]
            plant.settle()
        fresh = Plant(site, readings, from_zero, None)
        fresh.settle()
        known = tuple(_everything(store) for store in (bit_by_bit, from_zero))
        amounts = sum(i.counts or 0 for i in bit_by_bit.intervals(EVERYTHING, GRID, 0, 2**62))
        amounts += sum(u.counts or 0 for u in bit_by_bit.unallocated(EVERYTHING, GRID, 0, 2**62))
    return (*known, amounts, shown[-1][1] - shown[0][1])


def _everything(store: IntervalStore) -> bytes:
    """Every interval, every amount that no interval holds, every hour, day and month, as bytes."""
    whole = period("2026", ZONE)
    rollups = [rollup(store, EVERYTHING, GRID, whole, by=by) for by in ("day", "month")]
    intervals = store.intervals(EVERYTHING, GRID, 0, 2**62)
    return repr((intervals, store.unallocated(EVERYTHING, GRID, 0, 2**62), rollups)).encode()
