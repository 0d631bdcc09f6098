"""Backups of a running site, restored elsewhere; and the reading store made again from the journal."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.config import load_site
from gateway.contracts import Delivery
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.entries import Entry, readings_of
from gateway.journal.reader import entries
from gateway.journal.verify import verify_journal
from gateway.sinks.drain import drain_once
from gateway.stores.backup import back_up
from gateway.stores.opening import open_reading_store
from gateway.stores.rebuilding import rebuild
from gateway.stores.restoring import check_backup, restore
from gateway.stores.verifying import compare
from tests.stores.stored_site import START, fill, state_of, stored_site, writer


def quiet(_: str) -> None:
    """Nobody looks at the progress of a test."""


def altered(entry: Entry) -> Delivery:
    """An entry as a store got it from which somebody had taken one count away."""
    readings = readings_of(entry)
    if entry.sequence == 10:
        readings[0] = readings[0]._replace(value=1000)
    return Delivery(entry.sequence, readings, entry.hash)


def answers(site: Site) -> list[Any]:
    with open_reading_store(site, read_only=True) as store:
        names = store.series(EVERYTHING)
        return [
            store.cursor(),
            store.witness(),
            names,
            store.latest(EVERYTHING),
            store.touched(EVERYTHING, 0),
            [store.readings(EVERYTHING, name, 0, 2**62) for name in names],
            store.count(EVERYTHING),
            store.duplicates(EVERYTHING),
            store.conflicts(EVERYTHING),
        ]


def test_a_backup_made_beside_a_running_writer_restores_to_the_same_answers(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = stored_site(site_file())
    folder, target = tmp_path / "backup", tmp_path / "restored"
    with writer(site) as journal:
        fill(site, range(60, 70), journal)  # journaled, not yet stored
        assert main(["db", "backup", str(site.file), "--to", str(folder), "--json"]) == 0
        fill(site, range(70, 80), journal)
    made = json.loads(capsys.readouterr().out)
    assert made["sequence"] == 71
    wanted = answers(site)
    assert main(["db", "restore", str(folder), "--to", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    again = load_site(target / "site.toml")
    assert answers(again) == wanted
    with open_reading_store(again, read_only=False) as store:
        drain_once(again.data_dir / "journal", store)  # the store was behind its journal, never ahead of it
        assert store.latest(EVERYTHING)[-1].instant == START + 69 * 60_000_000
    report = verify_journal(again.data_dir / "journal")
    assert (report.ok, report.last_sequence) == (True, 72)  # the 71 of the backup and `journal_restored`


def test_renewing_a_backup_copies_only_what_changed(site_file: Callable[..., Path], tmp_path: Path) -> None:
    site = stored_site(site_file())
    first = back_up(site, tmp_path / "backup", at=START)
    assert first.copied == first.files > 5
    again = back_up(site, tmp_path / "backup", at=START + 1)
    assert (again.files, again.hash) == (first.files, first.hash)
    assert again.copied <= 2  # the database, the newest segment


def test_the_private_key_is_left_out_unless_asked_for(site_file: Callable[..., Path], tmp_path: Path) -> None:
    site = stored_site(site_file(), count=3)
    keys = site.data_dir / "keys"
    keys.mkdir(exist_ok=True)
    for name in ("journal.key", "journal.next.key", ".journal.key.partial", "journal.key~", "journal.pub"):
        (keys / name).write_text("public" if name.endswith("pub") else "secret", encoding="utf-8")
    without, with_it = tmp_path / "a", tmp_path / "b"
    back_up(site, without, at=START)
    back_up(site, with_it, at=START, with_key=True)
    assert [path.name for path in (state_of(without) / "data/keys").iterdir()] == ["journal.pub"]
    assert len(list((state_of(with_it) / "data/keys").iterdir())) == 3
    key = state_of(with_it) / "data/keys/journal.key"
    assert (key.read_text("utf-8"), key.stat().st_mode & 0o777) == ("secret", 0o600)


def test_a_damaged_backup_is_not_restored_and_says_what_is_wrong(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = stored_site(site_file(), count=5)
    folder = tmp_path / "backup"
    back_up(site, folder, at=START)
    database = state_of(folder) / "data/readings.db"
    data = bytearray(database.read_bytes())
    data[5000] ^= 1
    database.write_bytes(data)
    (state_of(folder) / "site.toml").unlink()
    assert check_backup(folder) == [
        "data/readings.db: its SHA-256 is not the one of the manifest",
        "site.toml: missing",
    ]
    with pytest.raises(StoreError, match="nothing was restored"):
        restore(folder, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    assert main(["db", "restore", str(folder), "--to", str(tmp_path / "target"), "--dry-run"]) == 1
    assert "site.toml: missing" in capsys.readouterr().out


def test_a_backup_goes_into_a_folder_of_its_own(site_file: Callable[..., Path], tmp_path: Path) -> None:
    site = stored_site(site_file(), count=3)
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StoreError, match="a folder of its own"):
        back_up(site, full, at=START)
    with pytest.raises(StoreError, match="holds no backup"):
        restore(full, tmp_path / "target")
    back_up(site, tmp_path / "backup", at=START)
    with pytest.raises(StoreError, match="not empty"):
        restore(tmp_path / "backup", full)
    assert (full / "notes.txt").read_text("utf-8") == "mine"


def test_a_rebuilt_store_gives_the_very_same_answers(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = stored_site(site_file())
    wanted = answers(site)
    with open_reading_store(site, read_only=True) as reader:  # a page that is open meanwhile
        made = rebuild(site, quiet)
        assert reader.count(EVERYTHING) == made.readings
    assert answers(site) == wanted
    assert compare(site, quiet).ok
    assert main(["db", "verify", str(site.file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["beyond"], told["series"]) == (True, 0, made.series)
    left = {path.name.removesuffix("-wal").removesuffix("-shm") for path in site.data_dir.iterdir()}
    assert left == {"journal", "readings.db", "readings.db.writer", "rebuilding.lock"}


def test_compacting_changes_no_answer(site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    site = stored_site(site_file(), count=400)
    wanted = answers(site)
    assert main(["db", "compact", str(site.file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["readings"] == 400 * 2 + 58 * 2  # two each time, two more at every seventh
    assert answers(site) == wanted
    assert compare(site, quiet).ok


@pytest.mark.parametrize("damage", ["one value", "no database", "lost"])
def test_a_store_that_was_changed_or_damaged_is_found_and_made_good(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    site = stored_site(site_file())
    wanted = answers(site)
    path = site.data_dir / "readings.db"
    if damage == "one value":
        path.unlink()
        with open_reading_store(site, read_only=False) as store:
            store.deliver([altered(entry) for entry in entries(site.data_dir / "journal")])
        assert main(["db", "verify", str(site.file)]) == 1
        assert "emg db rebuild" in capsys.readouterr().out
    elif damage == "no database":
        path.write_bytes(b"gone" * 4096)
    else:
        path.unlink()
    assert main(["db", "rebuild", str(site.file)]) == 0
    assert answers(site) == wanted


def test_what_only_the_store_holds_is_not_thrown_away_unasked(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = stored_site(site_file())
    wanted = answers(site)
    segment = min((site.data_dir / "journal").glob("*.journal"))
    data = bytearray(segment.read_bytes())
    data[data.index(b'"kind":"readings"') - 40] ^= 1  # entry 2, with four readings
    segment.write_bytes(data)
    salvaged = site.data_dir / "journal-salvaged"
    main(["journal", "salvage", str(site.data_dir / "journal"), "--to", str(salvaged)])
    (site.data_dir / "journal").rename(site.data_dir / "journal-damaged")
    salvaged.rename(site.data_dir / "journal")
    capsys.readouterr()
    assert main(["db", "verify", str(site.file), "--json"]) == 0  # nothing contradicts the journal
    beyond = json.loads(capsys.readouterr().out)["beyond"]
    assert beyond == 3  # of the four one only says that something was missing where another was read
    assert main(["db", "rebuild", str(site.file)]) == 2
    assert f"{beyond} of its readings come from entries that the journal no longer holds" in capsys.readouterr().err
    assert answers(site) == wanted
    assert main(["db", "rebuild", str(site.file), "--lose", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lost"] == beyond
    assert compare(site, quiet).beyond == 0


def test_one_rebuild_at_a_time(site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    site = stored_site(site_file(), count=5)
    wanted = answers(site)
    lock = os.open(site.data_dir / "rebuilding.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert main(["db", "verify", str(site.file)]) == 2
    assert "is at work; let it finish" in capsys.readouterr().err
    os.close(lock)
    with open_reading_store(site, read_only=False), pytest.raises(StoreError, match="being written by another process"):
        rebuild(site, quiet)
    assert answers(site) == wanted


def test_nothing_is_rebuilt_under_a_running_writer(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = stored_site(site_file(), count=3)
    with writer(site):
        assert main(["db", "rebuild", str(site.file)]) == 2
    assert "another writer holds this journal" in capsys.readouterr().err
    shutil.rmtree(site.data_dir / "journal")
