"""Copies of settled amounts on real servers: they equal the interval store, in their unit, and are never forgotten."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

import pytest

from analytics.commands import settle_main
from analytics.copies import copy_settled, destinations, note_settled
from analytics.copy_book import CopyBook
from analytics.copy_lines import copy_unit, length_name
from analytics.rollups import By, roll_up, spans
from gateway.__main__ import main
from gateway.config import load_site
from gateway.contracts import Delivery
from gateway.domain.destinations import InfluxServer, SinkKind, SinkSettings, StoreKind, StoreSettings
from gateway.domain.periods import to_instant
from gateway.domain.readings import Quality, Reading, split_series
from gateway.domain.scopes import EVERYTHING
from gateway.stores.opening import open_interval_store, open_reading_store
from tests.analytics.cement_plant import QUARTER, ZONE, S, at
from tests.analytics.test_analytics_commands import SITE
from tests.stores.influx_server import Influxd, VictoriaMetrics, free_port, need, running

pytestmark = pytest.mark.servers
DAY = 86_400 * S
# series -> (measurement without its length, field, unit of the field per unit of the register)
FIELDS = {
    "cement/grid/active_energy_import": ("electricity", "active_energy_import_kwh", 1),
    "cement/tickets/mass": ("coal", "mass_kg", 1),
}


@pytest.fixture(scope="module")
def influxd(tmp_path_factory) -> Iterator[Influxd]:
    need("influxd", "influxdb")
    with running(Influxd(tmp_path_factory.mktemp("influxd"))) as server:
        yield server


@pytest.fixture(scope="module")
def victoria_metrics(tmp_path_factory) -> Iterator[VictoriaMetrics]:
    need("victoria-metrics", "victoria-metrics")
    with running(VictoriaMetrics(tmp_path_factory.mktemp("vm"), "-dedup.minScrapeInterval=1ms")) as server:
        yield server


class Copying:
    """Settles a plant and copies to the servers of its site."""

    def __init__(self, plant, site) -> None:
        self.plant, self.site = plant, site
        self.book = CopyBook.open(site.data_dir / "copies.db")

    def settle(self, **options) -> int:
        """Returns how many servers could not be served."""
        to = destinations(self.site)
        report = self.plant.settle(
            note=lambda spans: note_settled(self.site, self.book, to, self.plant.readings, spans), **options
        )
        assert report.refused == ()
        return copy_settled(self.site, self.book, to, self.plant.intervals)

    def pending(self) -> list[list]:
        return [self.book.pending(one.key) for one in destinations(self.site)]


def with_store(site, server: InfluxServer):
    return replace(site, store=StoreSettings(kind=StoreKind.INFLUXDB, influx=server))


@pytest.fixture
def copying(plant, influxd):
    made = Copying(plant, with_store(plant.site, influxd.database("copies")))
    with made.book:
        yield made


def run(plant, days: int = 3, *, gap: bool = True) -> None:
    """Totals and tickets over some days, with a night that was not read and an estimated reading."""
    start = at("2026-10-01T00:10")
    shown = [(start + n * QUARTER, 1000 + 37 * n + n % 5) for n in range(96 * days)]
    plant.show("grid", *(one for n, one in enumerate(shown) if not (gap and 30 < n < 60)))
    plant.show("tickets", (at("2026-10-01T08:03"), 1500), (at("2026-10-02T08:14"), 1600))
    plant.show("tickets", (at("2026-10-03T09:00"), 1400), quality=Quality.SUBSTITUTED, reason="by hand")


def copied(influxd: Influxd, measurement: str, database: str = "copies") -> dict[int, dict]:
    """instant -> fields of the only point of a measurement."""
    found = influxd.query(f'SELECT * FROM "{measurement}"', database)
    rows = [dict(zip(one["columns"], row, strict=True)) for one in found for row in one["values"]]
    return {row["time"]: row for row in rows}


def expected(plant, series: str, length: str) -> dict[int, tuple[float | None, int]]:
    """instant -> (amount, counts missing or not), from the interval store by exact fractions."""
    facts = plant.intervals.facts(EVERYTHING, series)
    one = Fraction(facts.resolution) * FIELDS[series][2]
    rows = plant.intervals.intervals(EVERYTHING, series, 0, 2**62)
    if length != "15m":
        by = {"1h": By.HOUR, "1d": By.DAY}[length]
        over = spans(by, rows[0].start, rows[-1].end, ZONE)
        rows = roll_up(rows, plant.intervals.unallocated(EVERYTHING, series, 0, 2**62), over)
    return {row.start: None if row.counts is None else float(row.counts * one) for row in rows}


@pytest.mark.parametrize("series", FIELDS)
@pytest.mark.parametrize("length", ["15m", "1h", "1d"])
def test_copies_equal_the_interval_store(copying, influxd, series, length):
    run(copying.plant)
    assert copying.settle() == 0
    carrier, field, _ = FIELDS[series]
    found = copied(influxd, f"{carrier}_{length}")
    wanted = expected(copying.plant, series, length)
    assert {instant: row.get(field) for instant, row in found.items()} == wanted
    enterprise, point, quantity = split_series(series)
    assert {(row["enterprise"], row["point"]) for row in found.values()} == {(enterprise, point)}
    for instant, row in found.items():
        assert bool(row[f"{quantity}_quality"] & Quality.MISSING) == (wanted[instant] is None)
        assert 0 <= row[f"{quantity}_coverage"] <= 1
    assert copying.pending() == [[]]


def test_shares_tell_what_was_estimated_and_how_much_of_the_time_was_read(copying, influxd):
    run(copying.plant)
    copying.settle()
    tickets = copied(influxd, "coal_1d")
    assert [row["mass_estimated"] for _, row in sorted(tickets.items())] == [0.0, 0.0, 1.0]
    first_day = copied(influxd, "electricity_1d")[at("2026-10-01T00:00")]
    # 00:10 to 24:00 was read or lies between two totals of the same day: 23 h 50 min of 24 h, in whole quarter-hours
    assert 0.98 < first_day["active_energy_import_coverage"] < 1
    assert first_day["active_energy_import_quality"] & Quality.GOOD


def test_only_what_was_settled_again_is_copied_again(copying, influxd):
    run(copying.plant, gap=False)
    copying.settle()
    before = copied(influxd, "electricity_15m")
    influxd.query("DROP MEASUREMENT electricity_15m", "copies")
    copying.plant.show("grid", (at("2026-10-02T11:50"), 6400))
    copying.settle()
    again = copied(influxd, "electricity_15m")
    assert 1 <= len(again) <= 4
    assert set(again) < set(before)
    assert {at: row["active_energy_import_kwh"] for at, row in again.items()} == {
        start: amount
        for start, amount in expected(copying.plant, "cement/grid/active_energy_import", "15m").items()
        if start in again
    }


def test_a_server_that_is_down_gets_everything_later(copying, influxd, caplog):
    down = InfluxServer(url=f"http://127.0.0.1:{free_port()}", database="late", version="1")
    sinks = {"late": SinkSettings(id="late", kind=SinkKind.INFLUXDB, influx=down)}
    copying.site = replace(copying.site, sinks=sinks)
    run(copying.plant, 1)
    with caplog.at_level(logging.WARNING, "emg.settle"):
        assert copying.settle() == 1
    assert "copies for sink late are late" in caplog.text
    assert [bool(pending) for pending in copying.pending()] == [False, True]
    assert len(copied(influxd, "electricity_15m")) > 60  # the other one got its own
    copying.plant.show("grid", (at("2026-10-02T00:15"), 9000))
    # The same server at the same address, up now; our book knows it by name, address and database.
    keys = [one.key for one in destinations(copying.site)]
    server = influxd.database("late")
    up = [one._replace(server=server) if one.name == "sink late" else one for one in destinations(copying.site)]
    for one, key in zip(up, keys, strict=True):
        with copying.book._file.write() as connection:
            connection.execute("UPDATE pending SET destination = ? WHERE destination = ?", (one.key, key))
            connection.execute("UPDATE destination SET name = ? WHERE name = ?", (one.key, key))
    report = copying.plant.settle(
        note=lambda spans: note_settled(copying.site, copying.book, up, copying.plant.readings, spans)
    )
    assert report.changed > 0
    assert copy_settled(copying.site, copying.book, up, copying.plant.intervals) == 0
    assert copied(influxd, "electricity_15m", "late").keys() == copied(influxd, "electricity_15m").keys()


def test_a_server_that_comes_later_gets_all_that_was_settled_before(copying, influxd):
    run(copying.plant)
    copying.settle()
    sinks = {"new": SinkSettings(id="new", kind=SinkKind.INFLUXDB, influx=influxd.database("new"))}
    copying.site = replace(copying.site, sinks=sinks)
    assert copying.settle() == 0
    for measurement in ("electricity_15m", "electricity_1h", "electricity_1d", "coal_15m"):
        assert copied(influxd, measurement, "new") == copied(influxd, measurement)


def test_a_sink_gets_only_its_enterprises(copying, influxd):
    sinks = {
        "other": SinkSettings(
            id="other", kind=SinkKind.INFLUXDB, influx=influxd.database("other"), enterprises=("glass",)
        )
    }
    copying.site = replace(copying.site, sinks=sinks)
    run(copying.plant, 1)
    assert copying.settle() == 0
    assert influxd.query("SHOW MEASUREMENTS", "other") == []


def test_victoria_metrics_gets_the_same_amounts(copying, victoria_metrics):
    server = victoria_metrics.server("plant")
    sinks = {"vm": SinkSettings(id="vm", kind=SinkKind.VICTORIAMETRICS, influx=server)}
    copying.site = replace(copying.site, sinks=sinks)
    run(copying.plant, 1)
    assert copying.settle() == 0
    (found,) = victoria_metrics.export('electricity_15m_active_energy_import_kwh{db="plant"}')
    samples = dict(zip(found["timestamps"], found["values"], strict=True))
    wanted = expected(copying.plant, "cement/grid/active_energy_import", "15m")
    assert samples.keys() == {instant // 1000 for instant, amount in wanted.items() if amount is not None}
    assert all(
        samples[instant // 1000] == pytest.approx(amount) for instant, amount in wanted.items() if amount is not None
    )


def test_settle_itself_copies_from_and_to_the_store(influxd, tmp_path, capsys):
    """The whole way with InfluxDB as the reading store: readings in, settled from there, copies beside them."""
    influxd.query('DROP DATABASE "whole"')
    path = tmp_path / "site.toml"
    store = f'[store]\nkind = "influxdb"\nurl = "{influxd.url}"\ndatabase = "whole"\nversion = "1"\n'
    path.write_text(SITE + store, encoding="utf-8")
    assert main(["db", "init", str(path)]) == 0
    rows = [f"2026-10-15T{n // 4:02}:{n % 4 * 15:02}:00+08:00,{n * 10}" for n in range(24 * 4)]
    deliver(path, rows)
    capsys.readouterr()
    assert settle_main([str(path), "--json"]) == 0
    with open_interval_store(load_site(path), read_only=True) as intervals:
        settled = intervals.intervals(EVERYTHING, "works/gas-in/volume", 0, 2**62)
        one = Fraction(intervals.facts(EVERYTHING, "works/gas-in/volume").resolution)
    found = copied(influxd, "gas_15m", "whole")
    assert {at: row["volume_m3"] for at, row in found.items()} == {
        row.start: float(row.counts * one) for row in settled
    }
    assert len(found) == 95


def test_a_store_that_does_not_answer_is_one_sentence_and_settled_later(tmp_path, capsys):
    need("influxd", "influxdb")
    path = tmp_path / "site.toml"
    with running(Influxd(tmp_path)) as own:
        own.database("whole")
        store = f'[store]\nkind = "influxdb"\nurl = "{own.url}"\ndatabase = "whole"\nversion = "1"\n'
        path.write_text(SITE + store, encoding="utf-8")
        deliver(path, [f"2026-10-15T{n:02}:00:00+08:00,{n * 10}" for n in range(24)])
        own.stop()
        assert settle_main([str(path)]) == 2
        said = capsys.readouterr().err
        assert said.count("did not answer") == 1
        assert "Traceback" not in said
        own.start()
        assert settle_main([str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["changed"] > 0


def deliver(path, rows) -> None:
    readings = [
        Reading("works/gas-in/volume", to_instant(datetime.fromisoformat(row.split(",")[0])), int(row.split(",")[1]))
        for row in rows
    ]
    with open_reading_store(load_site(path), read_only=False) as store:
        store.deliver([Delivery(1, readings)])


def test_names_of_lengths_and_units():
    assert [length_name(seconds) for seconds in (900, 60, 3600, 86_400, 5400, 90)] == [
        "15m",
        "1m",
        "1h",
        "1d",
        "90m",
        "90s",
    ]
    assert [copy_unit(unit) for unit in ("Wh", "MWh", "GJ", "L", "t", "kvarh", "W")] == [
        "kWh", "kWh", "kWh", "m3", "kg", "kvarh", "W",
    ]  # fmt: skip
