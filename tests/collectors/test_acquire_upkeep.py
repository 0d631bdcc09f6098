"""What leaves by age while the program acquires: nothing that a sink still waits for, nothing by an untrusted clock."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from collectors.acquire_upkeep import retain_daily
from gateway.clock_watch import ClockWatch
from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.sinks.reading_store import ReadingStoreSink
from gateway.stores.embedded import EmbeddedStore

# 2026-03-10T08:00:00Z: date -u -d 2026-03-10T08:00:00Z +%s
START = 1_773_129_600_000_000
DAY = 86_400_000_000
SERIES = "works/main/active_energy_import"
KEEP = '[store]\nkeep_months = 1\n\n[[sink]]\nid = "files"\nkind = "files"\nfolder = "out"\n\n[api]\n'


async def one_day(site: Site, *, trusted: bool = True) -> int:
    """Two readings 100 days apart, one round of upkeep; how many readings the store still holds."""
    clock = ReplayClock(START)
    with (
        Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=clock) as journal,
        closing(ReadingStoreSink(site, clock)) as store,
    ):
        for days in (0, 100):
            journal.append_readings_now("hall", [Reading(SERIES, START + days * DAY, days)])
        drain_once(site.data_dir / "journal", store)
        late = ReplayClock(START + 101 * DAY)
        watch = ClockWatch(late)
        watch.trusted = trusted
        upkeep = asyncio.create_task(retain_daily(lambda: site, journal, store, watch, late))
        before = late.now()
        while late.now() == before:  # the first round has ended when the next day is waited for
            await asyncio.sleep(0)
        upkeep.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upkeep
        assert isinstance(store.store, EmbeddedStore)
        return store.store.count(EVERYTHING)


async def test_nothing_leaves_while_the_reading_store_is_not_open(site_file: Callable[..., Path]) -> None:
    site = load_site(site_file("[api]\n", KEEP))
    site.data_dir.mkdir()
    (site.data_dir / "readings.db").write_bytes(b"no database" * 1000)
    clock = ReplayClock(START)
    with Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=clock) as journal:
        journal.append_readings_now("hall", [Reading(SERIES, START, 1)])
        store = ReadingStoreSink(site, clock)
        with pytest.raises(StoreError, match=r"readings\.db"):
            drain_once(site.data_dir / "journal", store)
        late = ReplayClock(START + 101 * DAY)
        upkeep = asyncio.create_task(retain_daily(lambda: site, journal, store, ClockWatch(late), late))
        await asyncio.sleep(0.05)
        assert not upkeep.done()
        upkeep.cancel()
        await asyncio.wait({upkeep})
    assert [reading.value for one in entries(site.data_dir / "journal") for reading in readings_of(one)] == [1]


async def test_old_readings_leave_the_store_before_any_sink_was_given_anything(
    site_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert await one_day(load_site(site_file("[api]\n", KEEP))) == 1
    assert caplog.records == []


async def test_a_clock_that_is_not_trusted_makes_nothing_old(
    site_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert await one_day(load_site(site_file("[api]\n", KEEP)), trusted=False) == 2
    assert "nothing leaves by age today" in caplog.text
