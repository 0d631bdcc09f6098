"""The history of other systems: files of line protocol, and a real InfluxDB 1.6.7, into the journal and once only."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from influxdb_client import Point
from influxdb_client.domain.write_precision import WritePrecision

import collectors.history
import collectors.mapping
from collectors.history_mapping import history_targets, load_history_mapping
from collectors.importing_influx import import_influx_main
from collectors.importing_lines import import_lines_main
from gateway.check import SAMPLES
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.errors import ConfigError, StoreError
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.inbox import take_in
from gateway.journal.reader import entries
from gateway.journal.writer import Journal
from gateway.stores.opening import open_reading_store
from tests.stores.influx_server import Influxd, need, running

START = 1_772_380_800_000_000  # 2026-03-02T00:00 in Shanghai
MINUTE = 60_000_000
SERIES = "works/coal-in/mass"
MAPPING = """
precision = "ns"

[[series]]
measurement = "scale"
tags = { name = "the \\"big\\" one" }
may_vary = ["host"]
field = "net kg"
point = "coal-in"
quantity = "mass"
unit = "kg"
kind = "interval"

[[series]]
measurement = "yard"
field = "t"
point = "coal-stock"
quantity = "stock"
unit = "t"
kind = "instantaneous"
"""


def lines(count: int, *, first: int = 0, host: str = "a", **tags: str) -> list[str]:
    """Weights of 20 kg x n, minute by minute, as a foreign writer puts them."""
    found = []
    for n in range(first, first + count):
        point = Point("scale").tag("name", 'the "big" one').tag("host", host)
        for name, text in tags.items():
            point.tag(name, text)
        point.field("net kg", 20.0 * n).field("note", "ok").time((START + n * MINUTE) * 1000, WritePrecision.NS)
        found.append(point.to_line_protocol())
    return found


def expected(count: int) -> list[Reading]:
    return [Reading(SERIES, START + n * MINUTE, n) for n in range(count)]


class Desk:
    """A site, a mapping, and the two commands."""

    def __init__(self, site_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.site_file, self.folder, self.capsys = site_file, site_file.parent, capsys
        self.site = load_site(site_file)
        self.mapping = self.folder / "points.toml"
        self.mapping.write_text(MAPPING, "utf-8")
        self.journal_dir = self.site.data_dir / "journal"

    def run(self, main: Callable[[list[str]], int], *words: str) -> tuple[int, Any, str]:
        code = main([*words, "--map", str(self.mapping), "--site", str(self.site_file), "--json"])
        out, err = self.capsys.readouterr()
        return code, json.loads(out) if out else None, err

    def lines(self, rows: list[str], *options: str, name: str = "history.lp") -> tuple[int, Any, str]:
        path = self.folder / name
        path.write_bytes("\n".join([*rows, ""]).encode("utf-8", "surrogateescape"))
        code, told, err = self.run(import_lines_main, str(path), *options)
        return code, told["files"][0] if told else None, err

    def journaled(self) -> list[Reading]:
        found = entries(self.journal_dir)
        return [r for entry in found if entry.kind is EntryKind.READINGS for r in readings_of(entry)]

    def stored(self) -> list[Reading]:
        with open_reading_store(self.site, read_only=True) as store:
            return [Reading(r.series, r.instant, r.value) for r in store.readings(EVERYTHING, SERIES, 0, 2**62)]


@pytest.fixture
def desk(files_site: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(files_site(), capsys)


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    need("influxd", "influxdb")
    server = Influxd(tmp_path_factory.mktemp("influxd"))
    with running(server):
        yield server


class Source:
    """A database of a real server, filled by a foreign writer."""

    def __init__(self, influxd: Influxd) -> None:
        self.url, self._influxd = influxd.url, influxd
        influxd.database("plant")

    def write(self, rows: list[str]) -> None:
        for start in range(0, len(rows), 5000):
            body = "\n".join(rows[start : start + 5000]).encode()
            assert self._influxd.ask("POST", "/write?db=plant&precision=ns", body)[0] == 204

    def take(self, desk: Desk, *options: str) -> tuple[int, Any, str]:
        return desk.run(import_influx_main, "--url", self.url, "--database", "plant", *options)


@pytest.fixture
def source(influxd: Influxd) -> Source:
    return Source(influxd)


def test_the_shipped_mapping_fits_the_sample_site() -> None:
    mapping = load_history_mapping(Path(collectors.mapping.__file__).parent / "mappings/points/telegraf_modbus.toml")
    assert [series.key for series in history_targets(mapping, load_site(SAMPLES / "site.toml"))] == [
        "works/main/active_energy_import",
        "works/main/active_power",
    ]


def test_lines_of_telegraf_become_readings_and_what_is_no_line_is_told(desk: Desk) -> None:
    rows = ["# written by telegraf", *lines(3), "", "yard t=5230.5 1772380800000000999", "yard t=\udcff 1", "yard t= 1"]
    rows += ['yard t="full" 1772380860000000000', "yard t=1", "cpu usage=3 1772380800000000000"]
    code, told, _ = desk.lines(rows, "--by", "Li Hua")
    assert (code, told["booked"], told["of_other_series"], told["nanoseconds_left_off"]) == (1, 4, 4, 1)
    assert desk.stored() == expected(3)
    assert [r for r in desk.journaled() if "stock" in r.series] == [Reading("works/coal-stock/stock", START, 5230.5)]
    assert [(row["line"], row["column"]) for row in told["refused_rows"]] == [
        (7, "(line)"), (8, "fields"), (9, "t"), (10, "time")
    ]  # fmt: skip
    note = next(entry for entry in entries(desk.journal_dir) if entry.body.get("event") == "history_imported")
    assert (note.body["inbox"]["author"], note.body["mapping"]) == ("Li Hua", MAPPING)
    told_lines = next(e.body["import"]["lines"] for e in entries(desk.journal_dir) if e.kind is EntryKind.READINGS)
    assert told_lines == [2, 3, 4, 6]


def test_a_check_of_lines_books_nothing(desk: Desk) -> None:
    code, told, _ = desk.lines(lines(50), "--check")
    assert (code, told["booked"], told["would_be_booked"], told["first"]) == (0, 0, 50, "2026-03-02T00:00:00+08:00")
    assert not desk.site.data_dir.exists()


def test_an_interrupted_import_of_lines_goes_on_where_it_stopped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectors.history, "BATCH", 100)
    calls = 0
    whole = collectors.history.hand_in

    def breaking(*words: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise StoreError("the cable was pulled")
        return whole(*words, **more)

    monkeypatch.setattr(collectors.history, "hand_in", breaking)
    rows = lines(450)
    code, told, err = desk.lines(rows)
    assert (code, told, "the cable was pulled" in err) == (2, None, True)
    assert len(desk.journaled()) == 200
    code, told, _ = desk.lines(rows)
    assert (code, told["booked_by_an_earlier_run"], told["booked"], told["repeated"]) == (0, 200, 250, 0)
    assert desk.journaled() == desk.stored() == expected(450)
    code, told, _ = desk.lines(rows)
    assert (code, told["booked"], told["booked_by_an_earlier_run"]) == (0, 0, 450)
    code, told, _ = desk.lines(rows[:10], name="other.lp")
    assert (code, told["booked"], told["repeated"]) == (0, 0, 10)
    assert len(desk.journaled()) == 450


def test_one_endless_line_and_binary_noise_cost_themselves_only(desk: Desk) -> None:
    rows = ["x" * 3_000_000, "\x00\x01\x02", *lines(2), "scale," * 10_000]
    code, told, _ = desk.lines(rows)
    assert (code, told["booked"], told["refused"]) == (1, 2, 3)


def test_a_running_process_takes_the_history_in(desk: Desk) -> None:
    stop = threading.Event()
    with Journal.open(desk.journal_dir, gateway_id="gw", clock=SystemClock()) as journal:

        def serve() -> None:
            while not stop.wait(0.02):
                take_in(desk.site.data_dir, journal)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            code, told, _ = desk.lines(lines(100))
        finally:
            stop.set()
            thread.join()
    assert (code, told["booked"], told["stored"]) == (0, 100, None)
    assert desk.journaled() == expected(100)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('precision = "ns"', "", "precision: found nothing; expected ns, us, ms or s"),
        ('precision = "ns"', 'precision = "m"', 'precision: found "m"; expected'),
        ('unit = "kg"', 'unit = "kWh"', "series[1].unit: found kWh, a unit of energy; expected a unit of mass"),
        ('point = "coal-in"', 'point = "coal"', "series[1].point: found 'coal'; expected a point of the site"),
        ('kind = "interval"', 'kind = "cumulative"', "series[1].kind"),
        ('field = "t"', 'field = "t"\nlabel = "end"', 'series[2].label: found "end"; expected nothing, for a register'),
        ('measurement = "yard"', 'measurement = "ya\\nrd"', "expected printable text"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told_with_its_key(desk: Desk, old: str, new: str, sentence: str) -> None:
    desk.mapping.write_text(MAPPING.replace(old, new, 1), "utf-8")
    code, _, err = desk.lines(lines(1))
    assert code == 2
    assert sentence in err


@pytest.mark.parametrize(("label", "before"), [("end", 15), ("start", 0)])
def test_an_interval_is_named_by_its_start(desk: Desk, label: str, before: int) -> None:
    text = MAPPING.replace(
        'point = "coal-in"\nquantity = "mass"\nunit = "kg"',
        'point = "main"\nquantity = "active_energy_import"\nunit = "kWh"\nlabel = "LABEL"\nround = true',
    )
    desk.mapping.write_text(text.replace("LABEL", label), "utf-8")
    assert desk.lines(lines(2)[1:])[0] == 0
    assert desk.journaled() == [Reading("works/main/active_energy_import", START + MINUTE - before * MINUTE, 2000)]


@pytest.mark.servers
def test_the_history_of_an_influxdb_is_booked_exactly_and_goes_on_with_what_came_later(
    desk: Desk, source: Source
) -> None:
    source.write(
        [*lines(12_000), *lines(12_000, first=12_000, host="b"), "scale,name=other net\\ kg=1 5000", "yard t=5230.5"]
    )
    code, told, _ = source.take(desk, "--check")
    assert (code, told["would_be_booked"], desk.site.data_dir.exists()) == (0, 24_001, False)
    code, told, err = source.take(desk)
    assert (code, told["booked"], told["refused"]) == (0, 24_001, 0), err
    assert desk.stored() == expected(24_000)
    assert told["series"] == {SERIES: 24_000, "works/coal-stock/stock": 1}
    source.write(lines(10, first=24_000))
    code, told, _ = source.take(desk, "--measurement", "scale")
    assert (code, told["points"], told["booked"]) == (0, 10, 10)
    code, told, _ = source.take(
        desk, "--measurement", "scale", "--from", "2026-03-02T00:00", "--to", "2026-03-02T01:00"
    )
    assert (code, told["points"], told["repeated"], told["booked"]) == (0, 60, 60, 0)
    assert [r for r in desk.journaled() if r.series == SERIES] == expected(24_010)


@pytest.mark.servers
def test_an_interrupted_history_goes_on_behind_what_it_has_booked(
    desk: Desk, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.write(lines(5000))
    monkeypatch.setattr(collectors.history, "BATCH", 700)
    calls, whole = 0, collectors.history.hand_in

    def breaking(*words: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise StoreError("the power went")
        return whole(*words, **more)

    monkeypatch.setattr(collectors.history, "hand_in", breaking)
    assert source.take(desk, "--measurement", "scale")[0] == 2
    assert desk.journaled() == expected(2100)
    code, told, _ = source.take(desk, "--measurement", "scale")
    assert (code, told["points"], told["booked"]) == (0, 2900, 2900)
    assert desk.journaled() == desk.stored() == expected(5000)


@pytest.mark.servers
def test_two_meters_in_one_answer_are_refused_and_told_apart(desk: Desk, source: Source) -> None:
    source.write([*lines(2, hall="1"), *lines(2, first=5, hall="2")])
    code, _, err = source.take(desk, "--measurement", "scale")
    assert code == 2
    assert "found 2 series, e.g. 'hall=1' and 'hall=2'; expected one. Name the tags that tell them apart" in err
    assert not desk.site.data_dir.exists()
    desk.mapping.write_text(MAPPING.replace("tags = {", 'tags = { hall = "2",', 1), "utf-8")
    code, told, _ = source.take(desk, "--measurement", "scale")
    assert (code, told["booked"]) == (0, 2)


@pytest.mark.servers
def test_a_server_that_is_not_there_or_has_no_such_database_is_told(desk: Desk, source: Source) -> None:
    code, _, err = desk.run(import_influx_main, "--url", "http://127.0.0.1:9", "--database", "plant")
    assert (code, "did not answer" in err) == (2, True)
    code, _, err = desk.run(import_influx_main, "--url", source.url, "--database", "nowhere")
    assert (code, "nowhere" in err) == (2, True)
    code, _, err = desk.run(import_influx_main, "--url", "ftp://u:p@x", "--database", "plant")
    assert (code, "expected an address like http" in err) == (2, True)


def test_a_point_that_a_person_reads_needs_a_file_that_says_who(tmp_path: Path) -> None:
    path = tmp_path / "points.toml"
    path.write_text(
        MAPPING.split("[[series]]", 1)[0]
        + """[[series]]
measurement = "dial"
field = "m3"
point = "boiler-feed"
quantity = "volume"
unit = "m3"
kind = "cumulative"
""",
        "utf-8",
    )
    with pytest.raises(ConfigError, match="a point that no person reads"):
        history_targets(load_history_mapping(path), load_site(SAMPLES / "site.toml"))
