"""Files: one per enterprise and plant day, exact, safe to open in a spreadsheet, and never a row twice after a kill."""

import csv
import random
from dataclasses import replace

import pytest

from gateway.contracts import Delivery
from gateway.domain.destinations import SinkKind, SinkSettings
from gateway.domain.readings import Quality, Reading
from gateway.sinks.drain import drain_once
from gateway.sinks.opening import open_sinks
from tests.sinks.conftest import START, entry, totals

TOTAL = "steel/main/active_energy_import"
HOUR = 3_600_000_000


@pytest.fixture(params=["csv", "line-protocol"])
def site(request, plant):
    settings = SinkSettings(id="files", kind=SinkKind.FILES, folder=plant.folder / "out", format=request.param)
    return replace(plant.site(), sinks={"files": settings})


def csv_site(plant):
    settings = SinkSettings(id="files", kind=SinkKind.FILES, folder=plant.folder / "out")
    return replace(plant.site(), sinks={"files": settings})


def rows_of(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_has_the_value_in_the_registers_unit_its_plant_time_and_its_proof(plant):
    site = csv_site(plant)
    resolution = site.series[TOTAL].resolution
    late = START + 16 * HOUR  # midnight in Shanghai
    missing = Reading(TOTAL, late, None, Quality.MISSING, "=cmd|' /C calc'!A0")
    power = Reading("glass/kiln/active_power", START, -5.25, Quality.SUSPECT, "-looks low")
    with plant.journal() as journal, open_sinks(site, plant.clock) as (_, [sink]):
        journal.append_all_now([entry([Reading(TOTAL, START, 123), missing]), entry([power])])
        drain_once(journal.directory, sink)
    [row] = rows_of(plant.folder / "out" / "steel" / "2026-01-01.csv")
    assert row == {
        "enterprise": "steel",
        "point": "main",
        "quantity": "active_energy_import",
        "unit": "kWh",
        "instant": "2026-01-01T08:00:00+08:00",
        "value": str(123 * resolution),
        "quality": "GOOD",
        "reason": "",
        "sequence": "2",
        "place": "0",
    }
    [row] = rows_of(plant.folder / "out" / "steel" / "2026-01-02.csv")
    assert (row["value"], row["quality"], row["reason"]) == ("", "MISSING", "'=cmd|' /C calc'!A0")
    [row] = rows_of(plant.folder / "out" / "glass" / "2026-01-01.csv")
    assert (row["value"], row["reason"], row["sequence"]) == ("-5.25", "'-looks low", "3")


def test_a_kill_at_any_moment_doubles_and_loses_no_row(plant, site):
    """The file is ahead of the book by any number of bytes, whole rows or parts of one: it is cut back."""
    chance = random.Random(4)
    suffix = "csv" if site.sinks["files"].format == "csv" else "lp"
    path = plant.folder / "out" / "steel" / f"2026-01-01.{suffix}"
    with plant.journal() as journal:
        for number in range(12):
            journal.append_all_now([entry(totals(number * 10, 10))])
            with open_sinks(site, plant.clock) as (_, [sink]):
                drain_once(journal.directory, sink)
                before = path.read_bytes()
                more = [Delivery(sink.cursor() + 1, totals(number * 10 + 10, 10), b"")]
                sink.outlet.send(sink.items(more))  # written, and then the power went: the book does not know
            path.write_bytes(path.read_bytes()[: len(before) + chance.randrange(600)])
        with open_sinks(site, plant.clock) as (_, [sink]):
            journal.append_all_now([entry(totals(120, 1))])
            drain_once(journal.directory, sink)
    text = path.read_text("utf-8-sig").splitlines()
    rows = text[1:] if suffix == "csv" else text
    assert len(rows) == len(set(rows)) == 121
    if suffix == "lp":
        assert [int(row.rsplit(" ", 1)[1]) for row in rows] == [reading.instant for reading in totals(0, 121)]
        assert (
            rows[0]
            == f"readings,enterprise=steel,point=main,quantity=active_energy_import count=1000i,quality=1i,sequence=2i {START}"
        )


@pytest.mark.parametrize("damage", ["cut", "edited", "gone", "longer"])
def test_a_file_that_somebody_changed_is_found_and_made_anew(plant, site, damage):
    with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
        journal.append_all_now([entry(totals(0, 30)), entry(totals(0, 5, series="glass/kiln/active_energy_import"))])
        drain_once(journal.directory, sink)
        files = sorted((plant.folder / "out").glob("*/*"))
        good = [path.read_bytes() for path in files]
        data = good[1]
        files[1].write_bytes(
            {"cut": data[:-7], "edited": data.replace(b"10", b"11", 1), "gone": b"", "longer": data + b"more\n"}[damage]
        )
        if damage == "gone":
            files[1].unlink()
        plant.clock._now += 26 * HOUR
        while sink.rest():
            pass
        assert [path.read_bytes() for path in files] == good
        [day] = book.days("files")
        assert (day.wrong, day.left, day.readings) == (1, 0, 35)
        assert "steel" in day.verdict
        journal.append_now(*entry(totals(30, 1)))
        drain_once(journal.directory, sink)
    assert files[1].read_bytes().startswith(good[1])
    assert len(files[1].read_bytes().splitlines()) == len(good[1].splitlines()) + 1


def test_a_crash_while_a_file_is_made_anew_leaves_the_old_or_the_new_one(plant, monkeypatch):
    site = csv_site(plant)
    path = plant.folder / "out" / "steel" / "2026-01-01.csv"
    with plant.journal() as journal, open_sinks(site, plant.clock) as (_, [sink]):
        journal.append_all_now([entry(totals(0, 30))])
        drain_once(journal.directory, sink)
        good = path.read_bytes()
        path.write_bytes(good[:-40])
        plant.clock._now += 26 * HOUR
        monkeypatch.setattr(sink.outlet, "_finish", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            while sink.rest():
                pass
        assert path.read_bytes() == good[:-40]
    with open_sinks(site, plant.clock) as (book, [_]):
        assert path.read_bytes() == good
        assert book.mark_of("files", "steel/2026-01-01.csv") == len(good)
        assert list(path.parent.iterdir()) == [path]
