"""A sink in trouble costs nothing but time: nothing lost, nothing doubled, order kept, patience as it was asked for."""

import asyncio
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.contracts import Delivery
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.errors import SinkBusy, SinkDenied, StoreError
from gateway.sinks.delivery_book import DeliveryBook, Standing
from gateway.sinks.opening import drain_site, open_sinks
from gateway.sinks.patience import DENIED_S, Patience
from gateway.stores.embedded import EmbeddedStore
from tests.faults.fake_sink import FakeSink, down_for
from tests.sinks.conftest import START, entry, sink_to

SERIES = [f"steel/p{number}/active_power" for number in range(10)]


async def until(done, what: str) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.002)
    assert done(), what


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_an_hour_down_and_then_three_writes_of_ten_failing_loses_and_doubles_nothing(plant, seed):
    clock = plant.clock
    fake = FakeSink(clock, seed, down_for(3600, clock, 0.3))
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared(timeout_s=0.05))})
        expected: dict[tuple[str, int], float] = {}
        with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:

            async def acquire() -> int:
                last = 0
                for number in range(420):  # three hours and a half, every half minute
                    at = START + number * 30 * MICROSECONDS
                    await clock.sleep_until(at)
                    readings = [Reading(name, at, number + index / 8) for index, name in enumerate(SERIES)]
                    expected.update({(reading.series, reading.instant): reading.value for reading in readings})
                    answered = len(fake.answered)
                    last = await journal.append(*entry(readings))
                    if number > 120:  # the hour is over: one write at least for each
                        await until(lambda answered=answered: len(fake.answered) > answered, "another write")
                return last

            draining = asyncio.create_task(
                drain_site(site, journal, store, clock, chance=random.Random(seed), pace_s=0), name="drain"
            )
            last = await acquire()
            await until(lambda: standing(site)[0] >= last, "caught up")
            draining.cancel()
            await asyncio.wait({draining})
    kept = {(series_of(head), instant): value_of(lines) for (head, instant), lines in fake.kept.items()}
    assert kept == expected
    assert standing(site)[1] == len(expected)
    for before, after in pairwise(fake.answered):  # whoever asked for patience got it
        assert after.at - before.at >= before.retry_after_s * MICROSECONDS
    first_times: dict[str, list[int]] = {}
    for line in dict.fromkeys(fake.arrived):
        head, _, instant = line.split(" ")
        first_times.setdefault(head, []).append(int(instant))
    assert all(instants == sorted(instants) for instants in first_times.values())
    assert {answer.how for answer in fake.answered} >= {"429", "503", "500", "reset", "hang", "lost", ""}


def standing(site) -> tuple[int, int]:
    found = book_of(site)
    return found.sequence, found.delivered


def series_of(head: str) -> str:
    return "/".join(pair.split("=")[1] for pair in head.split(",")[1:])


def value_of(lines: list[str]) -> float:
    (line,) = lines
    return float(line.split("value=")[1].split(",")[0])


def test_patience_doubles_with_chance_and_never_undercuts_the_server():
    patience = Patience(random.Random(5))
    waits = [patience.after(StoreError("no")) for _ in range(12)]
    for wait, full in zip(waits, [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30], strict=True):
        assert full / 2 <= wait <= full
    assert len(set(waits[-6:])) == 6
    assert patience.after(SinkBusy("later", retry_after_s=120)) == 120
    assert patience.after(SinkDenied("who are you")) == DENIED_S
    patience.restore()
    assert patience.after(StoreError("no")) <= 0.5


async def test_a_token_that_is_not_accepted_holds_everything_until_it_is_mended(plant, caplog):
    denied = True

    def mood(_: random.Random) -> str:
        return "401" if denied else ""

    fake = FakeSink(plant.clock, 1, mood)
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
            last = await journal.append(*entry([Reading(SERIES[0], START, 1.5)]))
            draining = asyncio.create_task(drain_site(site, journal, store, plant.clock, pace_s=0))
            await until(lambda: len(fake.answered) >= 3, "tried three times")
            state = book_of(site)
            assert (state.sequence, state.state) == (0, "denied")
            assert "HTTP 401" in state.error
            assert "ERROR" in {record.levelname for record in caplog.records}
            denied = False
            await until(lambda: standing(site)[0] >= last, "caught up")
            assert book_of(site).error == ""
            assert store.cursor() == last  # the others never noticed
            draining.cancel()
            await asyncio.wait({draining})
    for before, after in pairwise(fake.answered[:3]):
        assert after.at - before.at >= DENIED_S * MICROSECONDS


def book_of(site) -> Standing:
    with DeliveryBook.open(site.data_dir, read_only=True) as book:
        return book.standing("copy")


async def test_a_sink_with_a_foreign_journal_stops_alone_and_tells(plant):
    fake = FakeSink(plant.clock, 1, lambda _: "")
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        with open_sinks(site, plant.clock) as (_, [sink]):
            sink.deliver([Delivery(1000, [], b"another chain")])
        with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
            last = await journal.append(*entry([Reading(SERIES[0], START, 1.5)]))
            draining = asyncio.create_task(drain_site(site, journal, store, plant.clock, pace_s=0))
            await until(lambda: book_of(site).state == "stopped", "stopped")
            await until(lambda: store.cursor() == last, "the store goes on")
            assert "ends before entry 1000" in book_of(site).error
            assert not draining.done()
            draining.cancel()
            await asyncio.wait({draining})
