"""Copies for the real InfluxDB 1.6.7 and VictoriaMetrics: only poison is held back, and a kill of the server loses nothing."""

import asyncio
import random
from dataclasses import replace

import pytest

from gateway.clocks import SystemClock
from gateway.contracts import Delivery
from gateway.domain.destinations import SinkKind
from gateway.domain.readings import Quality, Reading
from gateway.sinks.delivery_book import DeliveryBook
from gateway.sinks.drain import drain_once
from gateway.sinks.opening import drain_site, open_sinks
from gateway.stores.embedded import EmbeddedStore
from tests.sinks.conftest import START, entry, sink_to, totals
from tests.stores.influx_server import VictoriaMetrics, need, running

pytestmark = pytest.mark.servers
TOTAL = "steel/main/active_energy_import"


def with_sink(plant, settings):
    return replace(plant.site(), sinks={settings.id: settings})


def counts_of(influxd, database: str, field: str = "count", series: str = TOTAL) -> dict[int, float]:
    enterprise, point, quantity = series.split("/")
    where = f"enterprise = '{enterprise}' AND point = '{point}' AND quantity = '{quantity}'"
    found = influxd.query(f'SELECT "{field}" FROM readings WHERE {where}', database)
    return {instant: value for series in found for instant, value in series["values"]}


def test_one_poison_in_a_thousand_is_held_back_alone_and_can_be_sent_again(plant, influxd):
    database = influxd.database("poison")
    site = with_sink(plant, sink_to(database))
    # Somebody else fixed the type of the field in the shard of that week: a float, where counts are whole numbers.
    body = b"readings,enterprise=steel,point=main,quantity=active_energy_import count=1.5 1000000000000000000"
    assert influxd.ask("POST", "/write?db=poison", body)[0] == 204
    week = 1_000_000_000_000_000
    readings = totals(0, 1000)
    readings[617] = Reading(TOTAL, week, 42)
    with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
        journal.append_all_now([entry(readings[:500]), entry(readings[500:])])
        assert drain_once(journal.directory, sink) == 1000
        assert counts_of(influxd, "poison") == {
            week: 1.5,
            **{reading.instant: reading.value for reading in readings if reading.instant != week},
        }
        [held] = book.quarantine()
        assert (held.series, held.instant, held.place) == (TOTAL, week, 117)
        assert "count=42i" in held.content
        assert "type conflict" in held.reason
        assert book.standing("copy").delivered == 999
        assert sink.retry([held.id]) == []  # it is refused still
        assert [again.id for again in book.quarantine()] == [held.id]
        influxd.query("DROP MEASUREMENT readings", "poison")
        assert sink.retry([held.id]) == [held.id]
        assert book.quarantine() == []
    assert counts_of(influxd, "poison") == {week: 42}


def test_a_reading_without_the_name_of_a_series_is_held_back_alone(plant, influxd):
    site = with_sink(plant, sink_to(influxd.database("nameless")))
    with open_sinks(site, plant.clock) as (book, [sink]):  # no journal of today takes such a name
        sink.deliver([Delivery(2, [*totals(0, 3), Reading("no name", START, 5), *totals(3, 2)], b"digest")])
        assert [(held.place, held.content) for held in book.quarantine()] == [(3, "no name")]
    assert list(counts_of(influxd, "nameless").values()) == [1000, 1003, 1006, 1009, 1012]


def test_what_was_delivered_twice_is_there_once_and_only_the_enterprises_asked_for(plant, influxd):
    site = with_sink(plant, sink_to(influxd.database("twice"), enterprises=("steel",)))
    glass = totals(0, 5, series="glass/kiln/active_energy_import")
    with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
        journal.append_all_now([entry(totals(0, 5)), entry(glass)])
        drain_once(journal.directory, sink)
        book.file._connection.execute("UPDATE sink SET sequence = 0")  # as after a crash before the cursor was kept
    with open_sinks(site, plant.clock) as (book, [sink]):
        drain_once(plant.folder / "data" / "journal", sink)
        assert book.standing("copy").sequence == 3
    assert len(counts_of(influxd, "twice")) == 5
    assert counts_of(influxd, "twice", series="glass/kiln/active_energy_import") == {}


def test_a_sink_that_leads_elsewhere_begins_anew(plant, influxd):
    site = with_sink(plant, sink_to(influxd.database("old-place")))
    with plant.journal() as journal:
        journal.append_all_now([entry(totals(0, 5))])
        with open_sinks(site, plant.clock) as (_, [sink]):
            drain_once(journal.directory, sink)
        site = with_sink(plant, sink_to(influxd.database("new-place")))
        with open_sinks(site, plant.clock) as (_, [sink]):
            assert drain_once(journal.directory, sink) == 5
    assert len(counts_of(influxd, "new-place")) == 5


@pytest.fixture
def victoria(tmp_path_factory):
    need("victoria-metrics", "victoria-metrics")
    server = VictoriaMetrics(tmp_path_factory.mktemp("victoria"), "-dedup.minScrapeInterval=1ms")
    with running(server):
        yield server


def samples_of(server, name: str, labels: str = "") -> dict[str, dict[int, float]]:
    """Every sample by (corrected label) and millisecond; a doubled one fails."""
    found = {}
    for series in server.export(f'{name}{{enterprise="steel"{labels}}}'):
        samples = list(zip(series["timestamps"], series["values"], strict=True))
        assert len(samples) == len(set(samples))
        found[series["metric"].get("corrected", "")] = dict(samples)
    return found


def test_victoria_metrics_gets_counts_values_qualities_and_corrections_beside_what_they_correct(plant, victoria):
    site = with_sink(plant, sink_to(victoria.server(), SinkKind.VICTORIAMETRICS, ack_lag_s=0))
    corrected = Reading(TOTAL, START, 990, Quality.GOOD | Quality.CORRECTED, "dial misread")
    missing = Reading(TOTAL, START + 120_000_000, None, Quality.MISSING, "line.silent")
    power = Reading("steel/main/active_power", START, 12.25)
    with open_sinks(site, plant.clock) as (_, [sink]):
        sink.deliver([Delivery(2, [*totals(0, 2), missing, power]), Delivery(3, [corrected])])
    ms = START // 1000
    assert samples_of(victoria, "readings_count", ',db="emg"') == {
        "": {ms: 1000, ms + 60_000: 1003},
        "3": {ms: 990},
    }
    assert samples_of(victoria, "readings_value") == {"": {ms: 12.25}}
    quality = ',quantity="active_energy_import"'
    assert samples_of(victoria, "readings_quality", quality) == {
        "": {ms: 1, ms + 60_000: 1, ms + 120_000: 16},
        "3": {ms: 33},
    }


async def test_victoria_metrics_killed_while_draining_misses_nothing_after_it_has_caught_up(plant, victoria):
    """It has acknowledged what it had in memory: the cursor in the book waits, and goes back when it was killed."""
    site = with_sink(plant, sink_to(victoria.server(), SinkKind.VICTORIAMETRICS, ack_lag_s=6))
    chance = random.Random(11)
    expected: dict[int, int] = {}
    with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
        draining = asyncio.create_task(drain_site(site, journal, store, SystemClock(), pace_s=0))
        for number in range(0, 2500, 25):
            readings = totals(number, 25, step_s=1)
            expected |= {reading.instant // 1000: reading.value for reading in readings}
            last = await journal.append(*entry(readings))
            await asyncio.sleep(0.02)
            if number in {600, 1500, 2100}:
                await asyncio.sleep(chance.uniform(0.05, 0.4))
                victoria.kill()
                await asyncio.to_thread(victoria.start)
        async with asyncio.timeout(60):
            while book_sequence(site) < last:
                await asyncio.sleep(0.1)
        draining.cancel()
        await asyncio.wait({draining})
    victoria.kill()  # what the cursor has passed is durable
    victoria.start()
    assert samples_of(victoria, "readings_count") == {"": expected}


def book_sequence(site) -> int:
    with DeliveryBook.open(site.data_dir, read_only=True) as book:
        return book.standing("copy").sequence
