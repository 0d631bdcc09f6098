"""`emg acquire`: reads the lines, keeps the journal, takes in the inbox and fills the reading store."""

import asyncio
import hashlib
import logging
import signal
from contextlib import aclosing, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from collectors.lines import LINES, Opening
from collectors.modbus_tcp import quiet_wire_log
from collectors.mqtt import Rejected
from gateway.clocks import Clock, SystemClock
from gateway.command_line import run_app
from gateway.config import load_site
from gateway.domain.readings import MICROSECONDS
from gateway.domain.sites import Line, Site
from gateway.errors import GatewayError, JournalError
from gateway.journal import inbox
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_forever
from gateway.stores.opening import open_reading_store

LINE_RESTART_S = 5
log = logging.getLogger("emg.acquire")
app = typer.Typer(add_completion=False)


async def acquire(site: Site, clock: Clock, stop: asyncio.Event) -> None:
    """Run every line of the site until `stop` is set. Raises JournalError when evidence cannot be written."""
    journal_dir = site.data_dir / "journal"
    journal = Journal.open(journal_dir, gateway_id=site.gateway_id, clock=clock)
    store = open_reading_store(site, read_only=False)
    try:
        await journal.append(EntryKind.EVENT, started_event(site))
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(drain_forever(journal, journal_dir, store, on_error=log.warning)),
                tasks.create_task(inbox.watch(site.data_dir, journal, clock)),
                *(tasks.create_task(_keep_reading(site, line, journal, clock)) for line in site.lines.values()),
            ]
            await stop.wait()
            for task in running:
                task.cancel()
    finally:
        with suppress(JournalError):
            await journal.append(EntryKind.EVENT, {"event": "acquire_stopped"})
        await journal.close()
        store.close()


def started_event(site: Site) -> dict[str, object]:
    """What the journal says about the software, the site file and the profiles that read the meters."""
    try:
        software = version("energy-metrology-gateway")
    except PackageNotFoundError:
        software = "not installed"
    return {
        "event": "acquire_started",
        "gateway": site.gateway_id,
        "software": software,
        "site_sha256": hashlib.sha256(site.file.read_bytes()).hexdigest(),
        "lines": sorted(site.lines),
        "profiles": sorted({meter.profile for meter in site.meters.values()}),
    }


async def _keep_reading(site: Site, line: Line, journal: Journal, clock: Clock) -> None:
    """One line for ever: what it yields is journaled; if it fails, the failure is an event and it starts again."""
    while True:
        try:
            await _read_line(site, line, journal, clock)
        except JournalError:
            raise
        except Exception as error:  # a line in trouble must not stop its neighbours, whatever the trouble is
            log.exception("line %s failed; it starts again in %d s", line.id, LINE_RESTART_S)
            await journal.append(EntryKind.EVENT, {"event": "line_failed", "line": line.id, "error": repr(error)})
        await clock.sleep_until(clock.now() + LINE_RESTART_S * MICROSECONDS)


async def _read_line(site: Site, line: Line, journal: Journal, clock: Clock) -> None:
    pending: set[asyncio.Task[int]] = set()

    def on_rejected(rejected: Rejected) -> None:
        log.warning("line %s: %s refused: %s", line.id, rejected.topic, rejected.reason)
        body = {"event": "message_refused", "line": line.id, **rejected._asdict()}
        pending.add(task := asyncio.ensure_future(journal.append(EntryKind.EVENT, body)))
        task.add_done_callback(pending.discard)

    collector = LINES[line.kind](Opening(site, line, clock, on_rejected))
    async with aclosing(collector.readings()) as readings:
        async for batch in readings:
            # The next list is asked for, and this one acknowledged, only when all of it is on disk.
            if pending:
                await asyncio.gather(*pending)
            if batch:
                await journal.append(EntryKind.READINGS, readings_body(line.id, batch))


@app.command()
def acquire_command(site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")]) -> None:
    """Read every line of SITE until stopped; what is acknowledged to the field is on disk."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    quiet_wire_log()
    site = load_site(site_file)
    asyncio.run(_until_told_to_stop(site))


async def _until_told_to_stop(site: Site) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await acquire(site, SystemClock(), stop)
    except* GatewayError as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[GatewayError]) -> GatewayError:
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf if isinstance(leaf, GatewayError) else GatewayError(str(leaf))


def acquire_main(argv: list[str]) -> int:
    """`emg acquire`."""
    return run_app(app, argv, "emg acquire")
