"""What is bounded, and what is refused so that nothing is lost by it: quarantine, overview, a sink that begins anew."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import gateway.sinks.overview as overview_module
from gateway.__main__ import main
from gateway.domain.destinations import JournalSettings
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.errors import SinkRefuses
from gateway.journal.compressing import compress_closed
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.retention import Retention, apply_retention
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.sinks.opening import open_sinks
from gateway.sinks.outlet import Item, Refused, Sent
from gateway.sinks.overview import least_cursor
from gateway.stores.embedded import EmbeddedStore
from tests.faults.fake_sink import FakeSink
from tests.sinks.conftest import START, entry, sink_to, totals

FILES = '\n[[sink]]\nid = "files"\nkind = "files"\nfolder = "out"\n'
DAY = 86_400 * MICROSECONDS


# The quarantine


def hold(book, count: int) -> None:
    """As if so many readings had been refused one by one in earlier entries."""
    reading = Reading("steel/main/active_power", START, 1.0)
    refused = [Refused(Item(10**9 + n, 0, reading), "a line", "HTTP 400: no") for n in range(count)]
    book.delivered("copy", [], Sent(refused), at=START)


def test_a_sink_holds_back_ten_thousand_readings_and_not_one_more(plant):
    fake = FakeSink(plant.clock, 1, lambda _: "")
    fake.poison = "active_power"
    with fake.serving():
        site = replace(plant.site(), sinks={"copy": sink_to(fake.declared())})
        with plant.journal() as journal, open_sinks(site, plant.clock) as (book, [sink]):
            hold(book, 9_999)
            first = journal.append_now(*entry([*totals(0, 30), Reading("steel/main/active_power", START, 1.5)]))
            assert drain_once(journal.directory, sink) == 31  # the ten-thousandth
            assert (book.held("copy"), book.standing("copy").sequence) == (10_000, first)
            journal.append_now(*entry([*totals(30, 30), Reading("steel/main/active_power", START + 1, 1.5)]))
            with pytest.raises(SinkRefuses, match="10000 readings are held back already and 1 more are refused"):
                drain_once(journal.directory, sink)
            assert (book.held("copy"), book.standing("copy").sequence) == (10_000, first)  # it waits, nothing is lost
            book.release([book.quarantine("copy")[0].id])
            assert drain_once(journal.directory, sink) == 31
            assert book.held("copy") == 10_000


def test_a_sink_that_leads_elsewhere_gets_there_what_the_old_place_refused(plant, caplog):
    old, new = (FakeSink(plant.clock, seed, lambda _: "") for seed in (1, 2))
    old.poison = "active_power"
    readings = [*totals(0, 30), Reading("steel/main/active_power", START, 1.5)]
    with old.serving(), new.serving(), plant.journal() as journal:
        journal.append_now(*entry(readings))
        site = replace(plant.site(), sinks={"copy": sink_to(old.declared())})
        with open_sinks(site, plant.clock) as (book, [sink]):
            drain_once(journal.directory, sink)
            assert [held.series for held in book.quarantine("copy")] == ["steel/main/active_power"]
        with open_sinks(site, plant.clock) as (book, _):
            assert book.held("copy") == 1  # the same place again: it stays
        moved = replace(site, sinks={"copy": sink_to(new.declared())})
        with open_sinks(moved, plant.clock) as (book, [sink]):
            assert (book.held("copy"), book.standing("copy").sequence) == (0, 0)
            drain_once(journal.directory, sink)
            assert book.quarantine() == []
    assert len(new.arrived) == len(readings)
    assert "1 readings that the old place refused are sent to the new one" in caplog.text


# The overview


def test_the_overview_counts_no_further_than_its_bound(plant, capsys, monkeypatch):
    site = plant.site(FILES)
    monkeypatch.setattr(overview_module, "MOST_ENTRIES", 5)
    with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
        journal.append_all_now([entry(totals(n, 1)) for n in range(4)])
        drain_once(journal.directory, store)
        journal.append_all_now([entry(totals(n, 3)) for n in range(4, 8)])
    assert main(["sinks", str(site.file), "--json"]) == 0
    near, far = json.loads(capsys.readouterr().out)["sinks"]
    assert (near["entries_behind"], near["readings_behind"]) == (4, 12)
    assert (far["entries_behind"], far["readings_behind"]) == (9, None)
    assert far["oldest_age_s"] > 0
    assert main(["sinks", str(site.file)]) == 0
    assert "very many" in capsys.readouterr().out


def test_the_overview_counts_no_longer_than_its_time(plant, capsys, monkeypatch):
    site = plant.site(FILES)
    monkeypatch.setattr(overview_module, "LONGEST_S", -1.0)
    with plant.journal() as journal:
        journal.append_all_now([entry(totals(n, 1)) for n in range(4)])
    assert main(["sinks", str(site.file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sinks"]
    assert [(row["entries_behind"], row["readings_behind"]) for row in found] == [(5, None), (5, None)]


def test_what_may_leave_the_journal_waits_for_the_last_of_store_and_sinks(plant):
    site = plant.site(FILES)
    with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
        journal.append_now(*entry(totals(0, 1)))
        newest = journal.append_now(*entry(totals(1, 1)))
        drain_once(journal.directory, store)
        assert least_cursor(replace(site, sinks={}), store) == newest
        assert least_cursor(site, store) == 0  # no sink has been given anything yet
        with open_sinks(site, plant.clock) as (_, [sink]):
            assert least_cursor(site, store) == 0
            drain_once(journal.directory, sink)
        assert least_cursor(site, store) == newest
        journal.append_now(*entry(totals(2, 1)))
        drain_once(journal.directory, store)
        assert least_cursor(site, store) == newest


# A sink that begins anew


def retained(site, plant, *, record_class: str) -> Retention:
    """Four months, two of them long ago, are journaled and given to files; what is 24 months old then leaves the journal."""
    key = site_key(site.data_dir)
    settings = JournalSettings(keep_evidence_months=24 * (not record_class), keep_telemetry_months=24)
    with Journal.open(site.data_dir / "journal", gateway_id="gw-1", clock=plant.clock, key=key) as journal:
        for day in (0, 40, 860, 920):
            plant.clock._now = START + day * DAY
            readings = [reading._replace(instant=reading.instant + day * DAY) for reading in totals(0, 40)]
            body = readings_body("bus", readings)
            journal.append_now(EntryKind.READINGS, body | ({"class": record_class} if record_class else {}))
            journal.append_checkpoint_now()
        compress_closed(journal.directory)
        with open_sinks(site, plant.clock) as (_, [sink]):
            drain_once(journal.directory, sink)
        done = apply_retention(journal, settings, keep_from=journal.durable_sequence, now=plant.clock.now())
        journal.append_checkpoint_now()
    return done


@pytest.mark.parametrize("record_class", ["", "telemetry"])
def test_a_sink_of_files_does_not_begin_anew_over_readings_that_left_the_journal(plant, capsys, record_class):
    site = plant.site(FILES)
    done = retained(site, plant, record_class=record_class)
    assert bool(done.pruned if record_class else done.retired)
    out = plant.folder / "out" / "steel"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(before) == 4
    assert main(["sinks", str(site.file), "--again", "files"]) == 2
    said = capsys.readouterr().err
    assert str(out / "2026-01-01.csv") in said
    assert "have left the journal" in said
    assert "Move the files of 2026-01-01" in said
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    kept = (out / "2026-01-01.csv").rename(Path(plant.folder / "kept.csv"))
    assert main(["sinks", str(site.file), "--again", "files"]) == 0
    with plant.journal() as journal, open_sinks(site, plant.clock) as (_, [sink]):
        drain_once(journal.directory, sink)
    after = {path.name: path.read_bytes() for path in out.iterdir()} | {"2026-01-01.csv": kept.read_bytes()}
    assert after == before
