"""What the real InfluxDB refuses as the reading store is kept, shown by both commands, and comes in once it is mended."""

import json
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING, scope_of
from gateway.domain.sites import Site
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store
from tests.sinks.conftest import START, Plant, entry, totals
from tests.stores.influx_server import Influxd

pytestmark = pytest.mark.servers
STORE = '\n[store]\nkind = "influxdb"\nurl = "{url}"\ndatabase = "refusals"\nversion = "1"\n'
ENERGY = "steel/main/active_energy_import"


def powers(first: int, number: int) -> list[Reading]:
    return [Reading("steel/main/active_power", START + n * 1_000_000, n / 8) for n in range(first, first + number)]


def told(capsys: pytest.CaptureFixture[str], command: str, site: Site) -> tuple[int, dict]:
    capsys.readouterr()
    code = main([command, str(site.file), "--json"])
    return code, json.loads(capsys.readouterr().out)


def drain(plant: Plant, site: Site) -> int:
    with open_reading_store(site, read_only=False) as store:
        return drain_once(site.data_dir / "journal", store)


def move_away(site: Site, to: Path) -> None:
    to.mkdir()
    for path in site.data_dir.glob("influx-store.db*"):
        path.rename(to / path.name)


def test_refused_readings_are_shown_with_their_number_and_the_newest_reason(plant: Plant, influxd: Influxd, capsys):
    database = influxd.database("refusals").database
    site = plant.site(STORE.format(url=influxd.url))
    influxd.ask("POST", f"/write?db={database}&precision=u", f"readings,point=x count=1.5 {START}".encode())
    with plant.journal() as journal:
        journal.append_now(*entry([*powers(0, 100), *totals(0, 1)]))
        newest = journal.append_now(*entry([*powers(100, 100), *totals(1, 1)]))
    assert drain(plant, site) == 202
    with open_reading_store(site, read_only=True) as store:  # a new start, and whoever reads beside it
        assert store.cursor() == newest  # it holds up nobody
        assert len(store.readings(EVERYTHING, "steel/main/active_power", START, START + 10**9)) == 200
        total, refusals = store.refused(EVERYTHING)
        assert (total, [(one.series, one.sequence) for one in refusals]) == (
            2,
            [(ENERGY, newest), (ENERGY, newest - 1)],
        )
        assert store.refused(EVERYTHING, most=1).newest == refusals[:1]
        assert store.refused(scope_of("glass")).total == 0

    code, status = told(capsys, "status", site)
    assert code == 1
    assert status["refused"]["total"] == 2
    assert status["refused"]["newest"]["series"] == ENERGY
    assert "field type conflict" in status["refused"]["newest"]["said"]
    main(["status", str(site.file)])
    said = " ".join(capsys.readouterr().out.split())
    assert f"refuses 2 readings for good; the newest is {ENERGY} at 2026-01-01T08:01:00+08:00: HTTP 400" in said

    code, sinks = told(capsys, "sinks", site)
    assert (code, sinks["sinks"][0]["quarantined"], sinks["sinks"][0]["in_order"]) == (1, 2, False)
    assert (sinks["sinks"][0]["entries_behind"], sinks["refused"]["total"]) == (0, 2)
    assert [one["sequence"] for one in sinks["refused"]["newest"]] == [newest, newest - 1]
    assert main(["sinks", str(site.file)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"refused by the reading store: {ENERGY} at 2026-01-01T08:01:00+08:00, entry {newest}: HTTP 400" in said
    assert "move influx-store.db with its -wal and -shm out of the data folder" in said

    influxd.query('DROP MEASUREMENT "readings"', database)  # the cause is mended, and then what was told is done
    move_away(site, plant.folder / "old")
    assert drain(plant, site) == 202
    with open_reading_store(site, read_only=True) as store:
        assert [reading.value for reading in store.readings(EVERYTHING, ENERGY, START, START + 10**9)] == [1000, 1003]
    assert told(capsys, "status", site)[1]["refused"] == {"total": 0, "newest": None}
    code, sinks = told(capsys, "sinks", site)
    assert (code, sinks["refused"], sinks["sinks"][0]["in_order"]) == (0, {"total": 0, "newest": []}, True)


def test_a_reading_refused_twice_counts_once_and_a_later_one_beside_it(plant: Plant, influxd: Influxd):
    """The same delivery after a failure: the quarantine is kept by the place in the journal."""
    database = influxd.database("refusals").database
    site = plant.site(STORE.format(url=influxd.url))
    influxd.ask("POST", f"/write?db={database}&precision=u", f"readings,point=x count=1.5 {START}".encode())
    with plant.journal() as journal:
        journal.append_now(*entry([*powers(0, 100), *totals(0, 1)]))
        drain(plant, site)
        move_away(site, plant.folder / "first")  # as if the cursor had been lost
        drain(plant, site)
        with open_reading_store(site, read_only=True) as store:
            assert store.refused(EVERYTHING).total == 1
        journal.append_now(*entry([*powers(100, 100), *totals(0, 1)]))  # the same reading again, in another entry
        drain(plant, site)
    with open_reading_store(site, read_only=True) as store:
        assert [one.sequence for one in store.refused(EVERYTHING).newest] == [3, 2]
