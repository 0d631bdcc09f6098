"""The nightly comparison: a sink that lied is found, every time, and mended by sending again what is missing."""

import json
import random
import re
from dataclasses import replace

import pytest

import gateway.sinks.commands as program
from gateway.__main__ import main
from gateway.domain.destinations import SinkKind
from gateway.domain.readings import Quality, Reading
from gateway.sinks.chores import ask
from gateway.sinks.drain import drain_once
from gateway.sinks.opening import open_sinks
from tests.faults.fake_sink import LIES, FakeSink
from tests.sinks.conftest import START, entry, sink_to, totals
from tests.stores.influx_server import VictoriaMetrics, need, running

TOTAL = "steel/main/active_energy_import"
DAY = 86_400_000_000


def mixed(number: int) -> list[Reading]:
    """A batch of every sort of reading, some of it for an instant that had one before."""
    at = START + number * 600_000_000
    return [
        Reading(TOTAL, at, 5 * number),
        Reading("steel/main/active_power", at, number / 3),
        Reading("glass/kiln/active_energy_import", at, None, Quality.MISSING, "line.silent"),
        Reading("glass/kiln/active_energy_import", at - 300_000_000, number),
        Reading("glass/kiln/active_energy_import", at, 7 * number),
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lie", ["nothing", "one"])
def test_a_sink_that_lied_is_found_and_mended(plant, lie, seed):
    lying = True

    def mood(chance: random.Random) -> str:
        return lie if lying and chance.random() < 0.2 else ""

    fake = FakeSink(plant.clock, seed, mood)
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
            for number in range(150):
                journal.append_now(*entry(mixed(number)))
                drain_once(journal.directory, sink)
            assert fake.lies()
            lost = lines_lost(fake, 150)
            assert lost
            lying = False
            plant.clock._now = START + 3 * DAY
            while sink.rest():
                pass
            days = book.days("copy")
            assert sum(day.wrong for day in days) == len({(series, day) for series, day in lost})
            assert sum(day.left for day in days) == 0
            assert sum(day.readings for day in days) == 150 * 5
            assert not lines_lost(fake, 150)
            asked = len(fake.answered)
            assert not sink.rest()  # nothing is due any more, and nothing is sent
            assert len(fake.answered) == asked


def lines_lost(fake: FakeSink, batches: int) -> set[tuple[str, int]]:
    """(series, plant day) of every point whose last word the sink does not hold."""
    last: dict[tuple[str, int], int] = {}
    for number in range(batches):
        for reading in mixed(number):
            last[reading.series, reading.instant] = number + 2
    lost = set()
    for (series, instant), sequence in last.items():
        enterprise, point, quantity = series.split("/")
        lines = fake.kept.get((f"readings,enterprise={enterprise},point={point},quantity={quantity}", instant), [""])
        if f"quality=1i,sequence={sequence}i" not in lines[-1]:
            lost.add((series, (instant + 8 * 3_600_000_000) // DAY))
    return lost


def test_points_that_are_there_twice_are_told_and_not_sent_a_third_time(plant):
    fake = FakeSink(plant.clock, 1, lambda _: "twice")
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
            journal.append_now(*entry(totals(0, 10)))
            drain_once(journal.directory, sink)
            plant.clock._now += 2 * DAY
            while sink.rest():
                pass
            [day] = book.days("copy")
            assert (day.wrong, day.left) == (1, 1)
            assert "10 of 20 points are there again" in day.verdict
    assert len(fake.answered) == 1
    assert set(LIES) == {"nothing", "one", "twice"}


def test_a_day_is_compared_when_it_is_over_and_again_when_late_readings_come(plant):
    fake = FakeSink(plant.clock, 1, lambda _: "")
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
            journal.append_now(*entry(totals(0, 10)))
            drain_once(journal.directory, sink)
            assert not sink.rest()
            plant.clock._now = START + 16 * 3_600_000_000 + 1  # midnight in the plant, but late readings may come
            assert not sink.rest()
            plant.clock._now += 3_600_000_000
            while sink.rest():
                pass
            [day] = book.days("copy")
            assert (day.compared, day.readings, day.wrong) == (2, 10, 0)
            journal.append_now(*entry(totals(10, 1)))
            drain_once(journal.directory, sink)
            plant.clock._now += 120_000_000
            while sink.rest():
                pass
            [day] = book.days("copy")
            assert (day.compared, day.readings, day.wrong) == (3, 11, 0)


def test_a_server_that_does_not_let_itself_be_read_is_told_and_holds_up_no_delivery(plant):
    fake = FakeSink(plant.clock, 1, lambda _: "")
    fake.readable = False
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
            journal.append_now(*entry(totals(0, 10)))
            drain_once(journal.directory, sink)
            plant.clock._now += 2 * DAY
            while sink.rest():
                pass
            [day] = book.days("copy")
            assert (day.compared, day.left) == (0, 1)
            assert "could not be compared" in day.verdict
            assert "HTTP 403" in day.verdict
            fake.readable = True
            plant.clock._now += 600_000_000
            assert not sink.rest()  # not again at once
            plant.clock._now += 3_600_000_000
            while sink.rest():
                pass
            [day] = book.days("copy")
            assert (day.compared, day.left, day.wrong) == (2, 0, 0)


@pytest.mark.servers
def test_influxdb_is_compared_and_mended(plant, influxd):
    site = replace(plant.site(), sinks={"copy": sink_to(influxd.database("compared"))})
    with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
        for number in range(150):
            journal.append_now(*entry(mixed(number)))
        drain_once(journal.directory, sink)
        plant.clock._now += 4 * DAY
        while sink.rest():
            pass
        assert [(day.wrong, day.left) for day in book.days("copy")] == [(0, 0)] * 2
        influxd.query(
            f"DELETE FROM readings WHERE point = 'main' AND time = {(START + 600_000_000) * 1000}", "compared"
        )
        changed = (
            b"readings,enterprise=glass,point=kiln,quantity=active_energy_import count=1i "
            + str((START + 6_000_000_000) * 1000).encode()
        )
        assert influxd.ask("POST", "/write?db=compared", changed)[0] == 204
        ask(site.data_dir, "copy", compare=[day.day for day in book.days("copy")], stamp=1)
        while sink.rest():
            pass
        assert [(day.wrong, day.left) for day in book.days("copy")] == [(3, 0), (0, 0)]
        ask(site.data_dir, "copy", compare=[day.day for day in book.days("copy")], stamp=1)
        while sink.rest():
            pass
        assert [(day.wrong, day.left) for day in book.days("copy")] == [(0, 0), (0, 0)]


@pytest.mark.servers
@pytest.mark.parametrize("mine", [(), ("steel",)])
def test_series_and_days_that_only_influxdb_has_are_told_and_left(plant, influxd, monkeypatch, capsys, mine):
    """One series on a day that has others, one on a day between that has nothing, one of an enterprise not ours."""
    sink = sink_to(influxd.database("strange"), enterprises=mine)
    site = replace(plant.site(), sinks={"copy": sink})
    monkeypatch.setattr(program, "load_site", lambda _: site)
    with plant.journal() as journal, open_sinks(site, plant.clock) as (_, [sink]):
        journal.append_now(*entry(totals(0, 10)))
        journal.append_now(*entry([Reading(TOTAL, START + 3 * DAY, 5000)]))
        drain_once(journal.directory, sink)
    assert main(["sinks", "SITE", "--reconcile"]) == 0
    strange = [
        ("steel", "ghost", "active_power", START + 5, "value=1.5"),
        ("steel", "ghost", "active_power", START + 6, 'note="by hand"'),
        ("steel", "main", "active_energy_import", START + DAY, "count=7i,quality=1i,sequence=2i"),
        ("other", "main", "volume", START + DAY, "count=7i,quality=1i,sequence=2i"),
    ]
    lines = [
        f"readings,enterprise={enterprise},point={point},quantity={quantity} {fields} {instant * 1000}"
        for enterprise, point, quantity, instant, fields in strange
    ]
    assert influxd.ask("POST", "/write?db=strange", "\n".join(lines).encode())[0] == 204
    capsys.readouterr()
    assert main(["sinks", "SITE", "--reconcile", "--json"]) == 1
    [_, row] = json.loads(capsys.readouterr().out)["sinks"]
    other = "" if mine else "other/main/volume on 2026-01-02: no points expected, 1 others found\n"
    ids = re.findall(r" \[([0-9a-f]{12})\]", "".join(row["differing"].values()))
    assert {day: re.sub(r" \[\w+\]", "", said) for day, said in row["differing"].items()} == {
        "2026-01-01": "steel/ghost/active_power on 2026-01-01: no points expected, 1 others found",
        "2026-01-02": f"{other}{TOTAL} on 2026-01-02: no points expected, 1 others found",
    }
    assert len(influxd.query("SELECT * FROM readings", "strange")[0]["values"]) == 15  # nothing is deleted
    assert main(["sinks", "SITE", "--accept", "0123456789ab"]) == 2  # nothing was told so
    assert main(["sinks", "SITE", *(word for one in ids for word in ("--accept", one))]) == 0
    assert main(["sinks", "SITE", "--reconcile"]) == 0  # it is there still, and accepted
    late = f"readings,enterprise=steel,point=ghost,quantity=active_power value=2 {(START + 7) * 1000}"
    assert influxd.ask("POST", "/write?db=strange", late.encode())[0] == 204
    assert main(["sinks", "SITE", "--reconcile"]) == 1  # what came since was accepted by nobody
    influxd.query("DELETE FROM readings WHERE point = 'ghost'", "strange")
    influxd.query(f"DELETE FROM readings WHERE time = {(START + DAY) * 1000}", "strange")
    assert main(["sinks", "SITE", "--reconcile"]) == 0


@pytest.mark.servers
@pytest.mark.parametrize("flag", [True, False])
def test_victoria_metrics_is_compared_and_mended(plant, tmp_path_factory, flag):
    need("victoria-metrics", "victoria-metrics")
    options = ["-dedup.minScrapeInterval=1ms"] if flag else []
    with running(VictoriaMetrics(tmp_path_factory.mktemp("victoria"), *options)) as server:
        site = replace(plant.site(), sinks={"copy": sink_to(server.server(), SinkKind.VICTORIAMETRICS)})
        with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
            for number in range(150):
                journal.append_now(
                    *entry([*mixed(number)[:2], Reading("steel/main/voltage_l1", START + number, 1e9 / 7)])
                )
            drain_once(journal.directory, sink)
            plant.clock._now += 4 * DAY
            while sink.rest():
                pass
            found = [(day.wrong, day.left) for day in book.days("copy")]
            # A hundred and fifty voltages of one millisecond: one sample with the flag, told as doubled without it.
            assert found == ([(0, 0), (0, 0)] if flag else [(1, 1), (0, 0)])
            server.ask("GET", '/api/v1/admin/tsdb/delete_series?match[]={quantity="active_power"}')
            ask(site.data_dir, "copy", compare=[day.day for day in book.days("copy")], stamp=1)
            while sink.rest():
                pass
            wrong = [day.wrong for day in book.days("copy")]
            assert wrong == ([1, 1] if flag else [2, 1])
            assert [day.left for day in book.days("copy")] == [0 if flag else 1, 0]
