"""Opening the journal for acquiring: a command that holds it just then, an import say, is waited for."""

import asyncio
import logging
from contextlib import suppress

from gateway.clocks import Clock
from gateway.domain.sites import Site
from gateway.errors import JournalHeld
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal

HELD_S, EVERY_S = 10, 0.25  # so long it is waited for, and so often looked
log = logging.getLogger("emg.acquire")


async def open_unless_held(site: Site, clock: Clock, stop: asyncio.Event) -> Journal | None:
    """The site's journal, as soon as no other writer holds it; None when `stop` is set before.

    Raises JournalHeld when one holds it longer than 10 s, and JournalError.
    """
    until = asyncio.get_running_loop().time() + HELD_S
    told = False
    while not stop.is_set():
        try:
            key = site_key(site.data_dir)
            return Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=clock, key=key)
        except JournalHeld as error:
            if asyncio.get_running_loop().time() >= until:
                raise
            if not told:
                log.warning("it is waited for up to %g s: %s", HELD_S, error)
            told = True
        await wait(stop, EVERY_S)
    return None


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait for so long [s], or until `stop` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
