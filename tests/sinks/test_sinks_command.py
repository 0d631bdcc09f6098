"""`emg sinks`: what it shows before, during and after deliveries; sending again and comparing, with and without a writer."""

import asyncio
import json
from dataclasses import replace

import pytest

import gateway.sinks.commands as program
from gateway.__main__ import main
from gateway.domain.readings import Reading
from gateway.errors import SinkRefuses
from gateway.sinks.drain import drain_once
from gateway.sinks.draining import Drained
from gateway.sinks.opening import drain_site, open_sinks
from gateway.stores.embedded import EmbeddedStore
from tests.faults.fake_sink import FakeSink
from tests.sinks.conftest import START, entry, sink_to, totals

FILES = '\n[[sink]]\nid = "files"\nkind = "files"\nfolder = "out"\n'


def shown(capsys, *words: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = main(["sinks", *words, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


def test_before_anything_was_delivered_everything_is_behind(plant, capsys):
    site = plant.site(FILES)
    with plant.journal() as journal:
        journal.append_all_now([entry(totals(0, 7)), entry(totals(7, 3))])
    code, found = shown(capsys, str(site.file))
    store, files = found["sinks"]
    assert code == 0
    assert (files["sink"], files["kind"], files["state"]) == ("files", "files", "not started")
    assert (files["entries_behind"], files["readings_behind"]) == (3, 10)
    assert (store["sink"], store["entries_behind"]) == ("(reading store)", 3)
    assert main(["sinks", str(site.file)]) == 0
    assert "not started" in capsys.readouterr().out


def test_what_is_delivered_is_shown_and_a_request_is_done_here_when_nobody_writes(plant, capsys):
    site = plant.site(FILES)
    with plant.journal() as journal, open_sinks(site, plant.clock) as (_, [sink]):
        journal.append_all_now([entry(totals(0, 7)), entry(totals(7, 3))])
        drain_once(journal.directory, sink)
    code, found = shown(capsys, str(site.file))
    files = found["sinks"][1]
    assert (code, files["entries_behind"], files["delivered"], files["in_order"]) == (0, 0, 10, True)
    assert files["last_delivered"].startswith("2026-01-01T08:00")
    path = plant.folder / "out" / "steel" / "2026-01-01.csv"
    good = path.read_bytes()
    path.write_bytes(b"somebody else's")
    code, found = shown(capsys, str(site.file), "--reconcile", "--day", "2026-01-01")
    assert code == 0
    assert path.read_bytes() == good
    assert found["sinks"][1]["compared_day"] == "2026-01-01"
    assert main(["sinks", str(site.file)]) == 0
    assert "2026-01-01, 1 wrong, 0 left" in capsys.readouterr().out
    assert main(["sinks", str(site.file), "--reconcile", "--day", "yesterday"]) == 2
    assert main(["sinks", str(site.file), "--retry", "5"]) == 2
    assert "nothing is held back as [5]" in capsys.readouterr().err


async def test_a_held_back_reading_is_a_finding_and_the_acquiring_process_sends_it_again(plant, capsys, monkeypatch):
    fake = FakeSink(plant.clock, 1, lambda _: "")
    fake.poison = "active_power"
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        monkeypatch.setattr(program, "load_site", lambda _: site)
        with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
            draining = asyncio.create_task(drain_site(site, journal, store, plant.clock, pace_s=0))
            await journal.append(*entry([Reading("steel/main/active_power", START, 1.5), *totals(0, 1)]))
            async with asyncio.timeout(20):
                while (found := await asyncio.to_thread(shown, capsys, "SITE"))[0] != 1:
                    await asyncio.sleep(0.05)
            _, told = found
            [held] = told["quarantine"]
            assert held["series"] == "steel/main/active_power"
            assert "400" in held["reason"]
            assert told["sinks"][1]["sequence"] == 2  # it holds up nobody
            assert await asyncio.to_thread(main, ["sinks", "SITE"]) == 1
            assert f"--retry {held['id']}" in capsys.readouterr().out
            code, told = await asyncio.to_thread(shown, capsys, "SITE", "--retry", "all")
            assert (code, [one["id"] for one in told["quarantine"]]) == (1, [held["id"]])  # it is refused still
            fake.poison = ""
            code, told = await asyncio.to_thread(shown, capsys, "SITE", "--retry", "all")
            assert (code, told["quarantine"]) == (0, [])
            draining.cancel()
            await asyncio.wait({draining})
    assert [line.split(" ")[0].rpartition("=")[2] for line in fake.arrived] == ["active_energy_import", "active_power"]


async def test_a_sink_that_refuses_everything_is_in_trouble_and_holds_nothing_back(plant, capsys, monkeypatch):
    fake = FakeSink(plant.clock, 1, lambda _: "400")
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        monkeypatch.setattr(program, "load_site", lambda _: site)
        with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
            journal.append_all_now([entry(totals(0, 300))])
            with pytest.raises(SinkRefuses, match="of 300 lines 0 were taken"):
                drain_once(journal.directory, sink)
            assert (book.standing("copy").sequence, book.quarantine()) == (0, [])
            assert len(fake.answered) < 60
            fake.mood = lambda _: ""
            assert drain_once(journal.directory, sink) == 300


@pytest.mark.parametrize("state", ["denied", "stopped", "busy"])
def test_a_sink_that_somebody_must_look_after_is_a_finding(plant, capsys, state):
    site = plant.site(FILES)
    with plant.journal() as journal, open_sinks(site, plant.clock) as (book, _):
        journal.append_now(*entry(totals(0, 1)))
        book.failed("files", "HTTP 401: who are you", state, at=START, retry_at=START + 60_000_000)
        book.failed("files", "HTTP 401: who are you", state, at=START + 5, retry_at=START + 60_000_000)
    code, found = shown(capsys, str(site.file))
    files = found["sinks"][1]
    assert (code, files["state"], files["error"]) == (1, state, "HTTP 401: who are you")
    assert (files["failing_since"], files["in_order"]) == ("2026-01-01T08:00:00+08:00", False)
    assert main(["sinks", str(site.file)]) == 1


async def test_a_fault_of_the_program_is_a_finding(plant, capsys):
    """The drain of a sink whose delivery ends in an error that nobody foresaw notes it, and `emg sinks` exits 1."""
    site = plant.site(FILES)

    def fault(_: object) -> None:
        raise RuntimeError("not foreseen")

    with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
        await journal.append(*entry(totals(0, 1)))
        sink.deliver = fault
        draining = asyncio.create_task(
            Drained(sink.name, sink, book, clock=plant.clock, pace_s=0).keep_draining(journal, journal.directory)
        )
        async with asyncio.timeout(20):
            while not book.standing("files").error:
                await asyncio.sleep(0.01)
        draining.cancel()
        await asyncio.wait({draining})
    code, found = shown(capsys, str(site.file))
    assert (code, found["sinks"][1]["in_order"]) == (1, False)
    assert found["sinks"][1]["error"] == "a fault of this program: RuntimeError('not foreseen')"
    assert main(["sinks", str(site.file)]) == 1
    assert "a fault of this program" in capsys.readouterr().out


async def test_a_sink_begins_anew_when_nobody_writes_and_not_while_somebody_does(plant, capsys):
    site = plant.site(FILES)
    path = plant.folder / "out" / "steel" / "2026-01-01.csv"
    with plant.journal() as journal:
        with open_sinks(site, plant.clock) as (_, [sink]):
            journal.append_all_now([entry(totals(0, 7)), entry(totals(7, 3))])
            drain_once(journal.directory, sink)
            good = path.read_bytes()
            assert main(["sinks", str(site.file), "--again", "files"]) == 2
            assert "stop it" in capsys.readouterr().err
        assert main(["sinks", str(site.file), "--again", "file"]) == 2
        assert "there is no sink 'file'" in capsys.readouterr().err
        path.write_bytes(b"restored from somewhere\n" * 100)
        code, found = shown(capsys, str(site.file), "--again", "files")
        assert (code, found["sinks"][1]["readings_behind"]) == (0, 10)
        with open_sinks(site, plant.clock) as (_, [sink]):
            assert drain_once(journal.directory, sink) == 10
    assert path.read_bytes() == good
