"""The delivery book in trouble: told with its file and how to mend it, and no reason for the reading store to wait."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.alarm import SINKS, alarm_of
from gateway.errors import StoreError
from gateway.sinks.delivery_book import FILE, DeliveryBook
from gateway.sinks.draining import Drained, keep_draining
from gateway.sinks.opening import drain_site
from gateway.stores.embedded import EmbeddedStore
from tests.sinks.conftest import START, entry, totals
from tests.sinks.test_trouble import until

FILES = '\n[[sink]]\nid = "files"\nkind = "files"\nfolder = "out"\n'


def garbage(path: Path) -> None:
    path.write_bytes(b"this was a database once\n" * 400)


def folder(path: Path) -> None:
    path.mkdir()


def damaged(path: Path) -> None:
    """A page in the middle is overwritten: opening it says nothing, reading it does."""
    with DeliveryBook.open(path.parent) as book:
        for number in range(200):
            book.enrol(f"sink-{number}", "x" * 200)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (garbage, "Move it away with its -wal and -shm: each sink is then sent everything"),
        (damaged, "Move it away with its -wal and -shm: each sink is then sent everything"),
        (folder, "is not a plain file; move it away and `emg run SITE` makes one"),
    ],
)
async def test_a_book_that_cannot_be_used_holds_the_sinks_alone_and_is_told(
    plant, capsys, caplog, spoil: Callable[[Path], None], mend: str
):
    site = plant.site(FILES)
    path = site.data_dir / FILE
    spoil(path)
    with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
        last = await journal.append(*entry(totals(0, 7)))
        draining = asyncio.create_task(drain_site(site, journal, store, plant.clock, pace_s=0))
        await until(lambda: store.cursor() == last, "the reading store does not wait for it")
        await until(lambda: alarm_of(site.data_dir, SINKS) is not None, "an alarm")
        why = alarm_of(site.data_dir, SINKS).why
        assert str(path) in why
        assert mend in why
        assert await asyncio.to_thread(main, ["sinks", str(site.file)]) == 2
        said = capsys.readouterr().err
        assert str(path) in said
        assert mend in said
        assert await asyncio.to_thread(main, ["status", str(site.file), "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["sinks_error"] == why
        path.rename(path.with_name("moved away"))
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).unlink()
        await until(lambda: alarm_of(site.data_dir, SINKS) is None, "the alarm goes")
        copy = plant.folder / "out" / "steel" / "2026-01-01.csv"
        await until(lambda: copy.exists() and copy.read_bytes().count(b"\n") == 8, "heading and seven readings")
        draining.cancel()
        await asyncio.wait({draining})
    assert all(record.exc_info is None for record in caplog.records)


def test_status_tells_a_broken_book_by_itself_while_nothing_runs(plant, capsys):
    site = plant.site(FILES)
    with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db"):
        journal.append_now(*entry(totals(0, 1)))
    assert main(["status", str(site.file), "--json"]) == 1  # the points are late
    assert json.loads(capsys.readouterr().out)["sinks_error"] == ""
    garbage(site.data_dir / FILE)
    assert main(["status", str(site.file)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "ALARM: no sink is given anything." in said
    assert f"{site.data_dir / FILE}: the deliveries store failed" in said


async def test_a_secret_that_cannot_be_read_is_told_by_both_commands_and_used_once_it_can(plant, capsys, monkeypatch):
    secret = plant.folder / "EMG_SINK_COPY_TOKEN"
    secret.write_bytes(b"\xff\xfe")
    monkeypatch.setenv("EMG_SECRETS_DIR", str(plant.folder))
    site = plant.site(
        '\n[[sink]]\nid = "copy"\nkind = "influxdb"\nurl = "http://127.0.0.1:1"\ndatabase = "emg"\nversion = "1"\n'
    )
    with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
        last = await journal.append(*entry(totals(0, 7)))
        draining = asyncio.create_task(drain_site(site, journal, store, plant.clock, pace_s=0))
        await until(lambda: alarm_of(site.data_dir, SINKS) is not None, "an alarm")
        await until(lambda: store.cursor() == last, "the reading store does not wait for it")
        for command in ("sinks", "status"):
            assert await asyncio.to_thread(main, [command, str(site.file)]) == 1
            said = " ".join(capsys.readouterr().out.split())
            assert f"ALARM: no sink is given anything. {secret}" in said
        secret.write_text("s3cret")
        await until(lambda: alarm_of(site.data_dir, SINKS) is None, "the alarm goes")
        draining.cancel()
        await asyncio.wait({draining})


class Moody:
    """A sink that fails as long as it is told to."""

    name = "copy"

    def __init__(self) -> None:
        self.fails, self.tried, self.at = True, 0, 0

    def cursor(self) -> int:
        return self.at

    def witness(self) -> bytes:
        return b""

    def deliver(self, deliveries) -> None:
        self.tried += 1
        if self.fails:
            raise StoreError("no")
        self.at = deliveries[-1].sequence


async def test_a_book_that_cannot_be_written_costs_a_line_each_time_and_no_traceback(plant, caplog):
    """SQLite itself refuses: another program holds the file, as a full disk would refuse it."""
    plant.site()
    sink = Moody()
    with plant.journal() as journal, DeliveryBook.open(plant.folder / "data") as book:
        book.enrol("copy", "somewhere")
        book.file._connection.execute("PRAGMA busy_timeout = 1")
        holder = sqlite3.connect(plant.folder / "data" / FILE, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        await journal.append(*entry(totals(0, 5)))
        one = Drained("copy", sink, book, clock=plant.clock, pace_s=0)
        draining = asyncio.create_task(keep_draining(journal, journal.directory, [one]))
        await until(lambda: "its trouble could not be noted" in caplog.text, "told")
        sink.fails = False
        await until(lambda: sink.at == 2, "delivered all the same")
        await until(lambda: "tried again in 30 s" in caplog.text, "that it answered could not be noted either")
        holder.execute("ROLLBACK")
        await until(lambda: book.standing("copy").succeeded is not None, "noted as soon as it can be")
        holder.close()
        draining.cancel()
        await asyncio.wait({draining})
    assert "database is locked" in caplog.text
    assert all(record.exc_info is None and "\n" not in record.getMessage() for record in caplog.records)
    assert plant.clock.now() > START
