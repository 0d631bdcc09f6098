"""What leaves by age, once a day, while the program acquires: from the journal, and from the embedded store."""

import asyncio
import logging
from collections.abc import Callable

from gateway.clock_watch import ClockWatch
from gateway.clocks import Clock
from gateway.domain.readings import MICROSECONDS
from gateway.domain.sites import Site
from gateway.errors import JournalError, JournalStopped, StoreError
from gateway.journal.retention import apply_retention, months_before
from gateway.journal.writer import Journal
from gateway.sinks.overview import least_cursor
from gateway.sinks.reading_store import ReadingStoreSink
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.opening import OpenedStore

EVERY_S = 86_400
LOOK_S = 60  # while the reading store is not open: it knows how far it has got
log = logging.getLogger("emg.acquire")


async def retain_daily(
    current: Callable[[], Site], journal: Journal, reading_store: ReadingStoreSink, watch: ClockWatch, clock: Clock
) -> None:
    """Let leave what the `current` site says may leave, now and every day, for ever. Raises JournalStopped.

    Not while the clock is not to be trusted: a clock that is set to another year makes nothing old. And not while the
    reading store is not open: it may still wait for the oldest entry.
    """
    while True:
        store = reading_store.store
        if store is None:
            await clock.sleep_until(clock.now() + LOOK_S * MICROSECONDS)
            continue
        if watch.trusted:
            await asyncio.to_thread(_retain, current(), journal, store, clock.now())
        else:
            log.warning("nothing leaves by age today: the clock was set, or is not set yet")
        await clock.sleep_until(clock.now() + EVERY_S * MICROSECONDS)


def _retain(site: Site, journal: Journal, store: OpenedStore, now: int) -> None:
    try:
        apply_retention(journal, site.journal, keep_from=least_cursor(site, store), now=now)
        if isinstance(store, EmbeddedStore) and site.store.keep_months:
            store.retain(months_before(now, site.store.keep_months))
    except JournalStopped:
        raise
    except (JournalError, StoreError, OSError) as error:
        log.warning("what is old does not leave today, and is looked at again tomorrow: %s", error)
