"""Evidence first: a reading store that is broken or held by somebody stops no acquiring, and fills by itself later."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import gateway.stores.store_file
from collectors.acquire import acquire
from gateway.alarm import STORE, alarm_of
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.entries import EntryKind, readings_body, readings_of
from gateway.journal.inbox import submit, verdict_of
from gateway.journal.reader import entries
from gateway.sinks.delivery_book import DeliveryBook
from gateway.sinks.draining import READING_STORE
from gateway.status import status_main
from gateway.stores.opening import open_reading_store
from tests.collectors.test_acquire_clock import polled_site
from tests.collectors.test_modbus_polling import device, served
from tests.test_killed_acquire import until_true

FILES = '\n[[sink]]\nid = "files"\nkind = "files"\nfolder = "out"\n'
GARBAGE = b"this was a database once\n" * 4000


@asynccontextmanager
async def acquiring(site: Site) -> AsyncGenerator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(acquire(site, SystemClock(), stop))
    try:
        yield
        assert not running.done()
    finally:
        stop.set()
        await running


@pytest.fixture
async def site(tmp_path: Path) -> AsyncGenerator[Site]:
    """Five quantities polled every 0.2 s, copied to files."""
    async with served(device(1)) as port:
        path = polled_site(tmp_path, port)
        path.write_text(path.read_text("utf-8") + FILES, "utf-8")
        loaded = load_site(path)
        loaded.data_dir.mkdir()
        yield loaded


def journaled(site: Site) -> int:
    return sum(len(readings_of(entry)) for entry in entries(site.data_dir / "journal"))


async def keeps_journaling(site: Site) -> bool:
    at_first = journaled(site)
    return await until_true(lambda: journaled(site) >= at_first + 10, 20)


def behind(site: Site) -> int:
    """How many journaled readings the store lacks; -1 while it cannot be read."""
    try:
        with open_reading_store(site, read_only=True) as store:
            return journaled(site) - store.count(EVERYTHING)
    except StoreError:
        return -1


def status(site: Site, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = status_main([str(site.file), "--json"])
    return code, json.loads(capsys.readouterr().out)["store_error"]


async def test_garbage_in_the_store_is_told_and_all_else_goes_on_until_the_file_is_moved_away(site: Site, capsys):
    path = site.data_dir / "readings.db"
    path.write_bytes(GARBAGE)
    async with acquiring(site):
        assert await until_true(lambda: alarm_of(site.data_dir, STORE) is not None, 20)
        assert await keeps_journaling(site)
        proposed = [(EntryKind.READINGS, readings_body("hand", [Reading(next(iter(site.series)), 5, 1)]))]
        handed_in = submit(site.data_dir, proposed, origin="test", author="ann", clock=SystemClock())
        verdict = await asyncio.to_thread(verdict_of, handed_in, 20)
        assert verdict is not None
        copies = site.file.parent / "out"
        assert await until_true(lambda: any(copies.rglob("*.csv")), 20)
        code, error = status(site, capsys)
        assert code == 1
        assert str(path) in error
        assert status_main([str(site.file)]) == 1
        assert "ALARM: the reading store is not there" in capsys.readouterr().out
        with DeliveryBook.open(site.data_dir, read_only=True) as book:
            assert str(path) in book.standing(READING_STORE).error
        assert path.read_bytes() == GARBAGE  # nobody mends what somebody may want to look at
        path.rename(path.with_suffix(".broken"))
        assert await until_true(lambda: alarm_of(site.data_dir, STORE) is None, 40)
        assert await keeps_journaling(site)
        assert status(site, capsys)[1] == ""
    assert 0 <= behind(site) <= 5 * 10  # all but what came in the last moments


async def test_a_store_that_another_process_writes_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(gateway.stores.store_file, "WRITER_WAIT_S", 0.2)
    with open_reading_store(site, read_only=False):
        async with acquiring(site):
            assert await until_true(lambda: alarm_of(site.data_dir, STORE) is not None, 20)
            assert await keeps_journaling(site)
            code, error = status(site, capsys)
            assert code == 1
            assert "is being written by another process" in error
        acquired = journaled(site)
    async with acquiring(site):
        assert await until_true(lambda: alarm_of(site.data_dir, STORE) is None, 20)
        assert await until_true(lambda: 0 <= behind(site) <= journaled(site) - acquired, 20)


async def test_a_lock_that_is_let_go_while_acquiring_lets_the_store_fill(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gateway.stores.store_file, "WRITER_WAIT_S", 0.2)
    held = open_reading_store(site, read_only=False)
    async with acquiring(site):
        assert await until_true(lambda: alarm_of(site.data_dir, STORE) is not None, 20)
        assert behind(site) >= 0
        held.close()
        acquired = journaled(site)
        assert await until_true(lambda: alarm_of(site.data_dir, STORE) is None, 40)
        assert await until_true(lambda: 0 <= behind(site) <= journaled(site) - acquired, 20)


def run_program(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway", "run", str(folder / "site.toml")]
    return subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})


async def ended(found: Callable[[], bool], program: subprocess.Popen[bytes]) -> None:
    try:
        assert await until_true(lambda: found() or program.poll() is not None, 40)
        assert program.poll() is None, program.communicate()[1].decode()
    finally:
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=30)


async def test_the_whole_product_runs_on_beside_a_broken_store(site: Site):
    (site.data_dir / "readings.db").write_bytes(GARBAGE)
    program = run_program(site.file.parent)
    await ended(lambda: alarm_of(site.data_dir, STORE) is not None and journaled(site) > 20, program)
    assert program.returncode == 0
