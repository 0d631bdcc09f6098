"""`emg db verify` finds whatever somebody changed in the file of the reading store, and says of which series and day."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.config import load_site
from gateway.contracts import Delivery
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.journal.correction_bodies import Correction, decision_body, proposal_body
from gateway.journal.entries import EntryKind, readings_body, readings_of
from gateway.journal.reader import entries
from gateway.sinks.drain import drain_once
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.opening import open_reading_store
from gateway.stores.rebuilding import compact
from gateway.stores.verifying import TOLD, compare
from tests.stores.stored_site import SERIES, START, fill, writer

GAS = "works/gas/volume"
FIRST = "2026-03-10"  # the day of START, 08:00 UTC
EPOCH = date(1970, 1, 1).toordinal()


def quiet(_: str) -> None:
    """Nobody looks at the progress of a test."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the data of such a site lie that was made once."""
    return {"data": tmp_path_factory.mktemp("filled") / "data"}


@pytest.fixture
def site(site_file: Callable[..., Path], filled: dict[str, Path]) -> Site:
    """Two days of data of which one lies sealed; late, doubled, corrected and missing ones among them."""
    found = load_site(site_file())
    if not filled["data"].exists():
        make(found)
        shutil.copytree(found.data_dir, filled["data"])
    else:
        shutil.copytree(filled["data"], found.data_dir, dirs_exist_ok=True)
    return found


def make(site: Site) -> None:
    with writer(site) as journal:
        fill(site, range(0, 2000, 15), journal)
    with open_reading_store(site, read_only=False) as store:
        drain_once(site.data_dir / "journal", store)
        while store.seal(now=START + 2 * 86_400_000_000):
            pass
    at = START + 30 * 60_000_000
    with writer(site) as journal:
        proposal = proposal_body(Correction(GAS, (at - 90_000_000,), (151,), "misread"), was=[150], evidence=None)
        decision = decision_body(proposal, 2, approved=True, reason="")
        journal.append_now(EntryKind.CORRECTION, {**decision, "inbox": {"author": "Zhao Min"}})
        contradicting = [Reading(SERIES, at, 7), Reading(GAS, at - 90_000_000, 150)]
        journal.append_now(EntryKind.READINGS, readings_body("hall", contradicting))
        fill(site, range(2000, 2600, 15), journal)
    with open_reading_store(site, read_only=False) as store:
        drain_once(site.data_dir / "journal", store)


def change(site: Site, statement: str) -> int:
    """Do what anybody with sqlite3 can do; how many rows it changed."""
    with closing(sqlite3.connect(site.data_dir / "readings.db")) as connection, connection:
        return connection.execute(statement).rowcount


@pytest.mark.parametrize("sealed", ["partly", "wholly"])
def test_an_untouched_store_is_as_the_journal_says(site: Site, sealed: str) -> None:
    if sealed == "wholly":
        compact(site, quiet)
    found = compare(site, quiet)
    assert (found.ok, found.differences, found.beyond, found.series) == (True, [], 0, 2)
    with open_reading_store(site, read_only=True) as store:
        assert found.readings == store.overview(EVERYTHING).instants


CHANGES = {
    "the latest value": ("UPDATE latest SET value = 1", f"{SERIES} on 2026-03-12", "the latest value is kept as 1 of"),
    "its entry": ("UPDATE latest SET place = 1", GAS, "the latest value is kept as"),
    "its reason": ("UPDATE latest SET reason = 'x'", SERIES, "the latest value"),
    "no latest": ("DELETE FROM latest", f"{GAS} on 2026-03-12", "kept as nothing; its readings say 12925 of entry"),
    "the last of a day": ("UPDATE chunks SET last_value = 99999999 WHERE day = {day}", f"{SERIES} on {FIRST}", "last_value 99999999 instead of"),
    "the first of a day": ("UPDATE chunks SET first_value = 1.0 * first_value WHERE day = {day}", f"{SERIES} on {FIRST}", "first_value 990.0 instead of 990"),
    "the highest": ("UPDATE chunks SET highest = highest + 1 WHERE day = {day}", f"{GAS} on {FIRST}", "highest"),
    "the lowest": ("UPDATE chunks SET lowest = 0 WHERE day = {day}", f"{SERIES} on {FIRST}", "lowest 0 instead of"),
    "usable": ("UPDATE chunks SET usable = 0 WHERE day = {day}", f"{SERIES} on {FIRST}", "usable 0 instead of"),
    "readings": ("UPDATE chunks SET readings = readings + 1", f"{SERIES} on {FIRST}", "readings"),
    "instants": ("UPDATE chunks SET instants = readings", f"{SERIES} on {FIRST}", "instants"),
    "newest": ("UPDATE chunks SET newest = 0", f"{SERIES} on {FIRST}", "newest 0 instead of"),
    "the end": ("UPDATE chunks SET last = 9223372036854775807", f"{SERIES} on {FIRST}", "last 9223372036854775807"),
    "the begin": ("UPDATE chunks SET first = first - 1", f"{SERIES} on {FIRST}", "first"),
    "a chunk": ("DELETE FROM chunks WHERE day = {day}", f"{SERIES} on {FIRST}", "readings of the journal are not there"),
    "a day": ("DELETE FROM days WHERE day = {day}", f"{GAS} on {FIRST}", "readings of the journal are not there"),
    "a body": ("UPDATE bodies SET data = x'00' WHERE body = 1", "on 2026-03-", "cannot be opened"),
    "corrected": ("INSERT INTO corrected VALUES ((SELECT id FROM series WHERE name = '" + SERIES + "'), 1)", f"{SERIES} on 1970-01-01", "it is kept as corrected up to 1; its readings say None"),
    "no correction": ("DELETE FROM corrected", f"{GAS} on {FIRST}", "corrected up to None"),
    "of nobody": ("INSERT INTO latest VALUES (99, 1, 1, 1, 0, '')", "series 99", "kept in 'latest' without a reading"),
    "newest sealed": ("UPDATE sealing SET newest = 0", "the file", "kept as 0 instead of"),
    "an unsealed block": ("UPDATE hot SET last = first", "the file on", "a block of readings is kept as"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_what_somebody_changed_is_told_with_series_and_day(site: Site, what: str) -> None:
    statement, of, words = CHANGES[what]
    assert change(site, statement.format(day=date.fromisoformat(FIRST).toordinal() - EPOCH)) > 0
    found = compare(site, quiet)
    assert not found.ok
    assert any(of in sentence and words in sentence for sentence in found.differences), found.differences


def test_the_command_tells_differences_and_rebuilding_mends_them(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chunk that cannot be opened, too, whose readings nobody can look through before."""
    change(site, "UPDATE latest SET value = 1")
    change(site, "UPDATE bodies SET data = x'00' WHERE body = 1")
    assert main(["db", "verify", str(site.file), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], len(found["differences"])) == (False, 2)
    assert main(["db", "verify", str(site.file)]) == 1
    out = capsys.readouterr().out
    assert all(sentence in out for sentence in found["differences"])
    assert main(["db", "rebuild", str(site.file)]) == 0
    assert main(["db", "verify", str(site.file)]) == 0


def test_a_reading_that_only_stood_in_second_place_is_compared_too(site: Site) -> None:
    """`conflicts` and `versions` tell of it, so the journal must know it; what stands is the same."""
    with open_reading_store(site, read_only=True) as store:
        standing = store.readings(EVERYTHING, SERIES, START, START + 86_400_000_000)
        assert [conflict.other.value for conflict in store.conflicts(EVERYTHING) if conflict.other.value == 7] == [7]
    (site.data_dir / "readings.db").unlink()
    with open_reading_store(site, read_only=False) as store:
        for entry in entries(site.data_dir / "journal"):
            readings = [one._replace(value=8) if one.value == 7 else one for one in readings_of(entry)]
            store.deliver([Delivery(entry.sequence, readings, entry.hash)])
        assert store.readings(EVERYTHING, SERIES, START, START + 86_400_000_000) == standing
    found = compare(site, quiet)
    assert found.differences == [
        f"{SERIES} on {FIRST}: 1 readings of the journal are not there as it has them, 1 others are"
    ]


def test_of_very_many_differences_a_bounded_number_is_told(site: Site) -> None:
    rows = ", ".join(f"({number}, 1)" for number in range(1000, 1000 + TOLD + 7))
    change(site, f"INSERT INTO corrected VALUES {rows}")
    found = compare(site, quiet)
    assert (len(found.differences), found.untold) == (TOLD, 7)


def test_what_left_by_age_is_not_missed_where_the_store_lets_go(site: Site) -> None:
    """Of the day that left, corrections and all, nothing can be compared; where nothing may leave it is missed."""
    with open_reading_store(site, read_only=False) as store:
        assert isinstance(store, EmbeddedStore)
        assert store.retain(START + 86_400_000_000 - START % 86_400_000_000) > 0
    letting_go = replace(site, store=replace(site.store, keep_months=1))
    assert compare(letting_go, quiet).differences == []
    assert compare(site, quiet).differences[:1] != []
    change(site, "UPDATE latest SET value = 1")
    assert len(compare(letting_go, quiet).differences) == 2
