"""`emg acquire`: reads the lines, keeps the journal, takes in the inbox and fills the reading store."""

import asyncio
import errno
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from collectors.acquire_identity import identity
from collectors.acquire_line import keep_reading
from collectors.acquire_loop import LOOP, keep_pauses_short, loop_factory
from collectors.acquire_opening import open_unless_held, wait
from collectors.acquire_parts import Part, Parts
from collectors.acquire_setup import Setup, read_setup
from collectors.acquire_upkeep import retain_daily
from collectors.counts_server import CountsServer
from collectors.line_counts import AcquireCounts
from collectors.recording import JOURNAL_STOPPED, NOT_RUNNING, Recording
from collectors.reloading import Reloading
from collectors.slot_account import STOPPED, SlotAccount, account_before, begin_account
from gateway.alarm import Alarm, set_alarm
from gateway.clock_watch import ClockWatch
from gateway.clocks import Clock, SystemClock
from gateway.command_line import run_app
from gateway.config import load_site
from gateway.domain.sites import Site
from gateway.errors import GatewayError, JournalError, JournalStopped
from gateway.journal import inbox
from gateway.journal.checkpoints import check_now, keep_checking
from gateway.journal.compressing import compress_forever
from gateway.journal.opening import boot_id
from gateway.journal.slots import STARTED
from gateway.journal.witness import WitnessSender, witness_sender
from gateway.journal.writer import Journal
from gateway.sinks.opening import drain_site
from gateway.sinks.reading_store import ReadingStoreSink

REOPEN_FIRST_S, REOPEN_MOST_S = 1, 5

# What a disk says that may be in order again later, without anybody touching this program.
PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
log = logging.getLogger("emg.acquire")
app = typer.Typer(add_completion=False)


async def acquire(site: Site, clock: Clock, stop: asyncio.Event, reload: asyncio.Event | None = None) -> None:
    """Run every line of the site until `stop` is set; its files are looked at for edits, at once when `reload` is set.

    While the disk refuses the journal, intake is refused and the journal is opened anew until it can be written; what
    was not read meanwhile is a recorded gap. Raises (also in groups) JournalError when the journal may not be written
    at all, ConfigError and ProfileError.
    """
    with ExitStack() as outliving:
        acquisition = Acquisition(site, clock, outliving, reload)
        why = NOT_RUNNING
        while not stop.is_set():
            journal = await acquisition.open_journal(stop, again=why == JOURNAL_STOPPED)
            if journal is None:
                return
            await acquisition.tell_counts()
            try:
                await acquisition.run(journal, stop, why=why)
            except* JournalStopped as group:
                acquisition.alarm(first_error(group))
            why = JOURNAL_STOPPED


class Acquisition:
    """Everything of a site that outlives a journal that has to be opened anew; what it opens, `outliving` closes."""

    def __init__(self, site: Site, clock: Clock, outliving: ExitStack, reload: asyncio.Event | None = None) -> None:
        self.setup = read_setup(site)
        self.clock = clock
        self.watch = ClockWatch(clock)
        self.identity = identity(site)
        self._reloading = Reloading(self.setup, clock, reload or asyncio.Event())
        self.counts = AcquireCounts(since=clock.now())
        self.journal_dir = site.data_dir / "journal"
        self._store = ReadingStoreSink(site, clock)
        outliving.callback(self._store.close)
        self._witness: WitnessSender | None = None
        if (witness := site.journal.witness) is not None:
            sender = witness_sender(witness, gateway_id=site.gateway_id, data_dir=site.data_dir, clock=clock)
            self._witness = sender.start()
            outliving.callback(sender.close)
        self._server = CountsServer(self.counts, self.watch)
        outliving.callback(self._server.close)
        self._trouble = ""  # why nothing is taken in; "" while all is in order
        self._delay_s = REOPEN_FIRST_S

    @property
    def site(self) -> Site:
        """The site as it is read now."""
        return self.setup.site

    async def open_journal(self, stop: asyncio.Event, *, again: bool) -> Journal | None:
        """The journal, as soon as the disk gives it; None when `stop` is set before. Raises JournalError."""
        while not stop.is_set():
            if again:
                await wait(stop, self._delay_s)
                self._delay_s = min(2 * self._delay_s, REOPEN_MOST_S)
            try:
                return await open_unless_held(self.site, self.clock, stop)
            except JournalError as error:
                cause = error.__cause__
                if not isinstance(cause, OSError) or not (again or cause.errno in PASSING):
                    raise
                self.alarm(error)
            again = True
        return None

    async def tell_counts(self) -> None:
        """Answer whoever asks how it fares, from the first journal that is ours to the end."""
        if not self._server.started:
            await self._server.start(self.site.data_dir, self.site.metrics_listen)

    def alarm(self, error: GatewayError) -> None:
        """Tell whoever watches that nothing is taken in, and why."""
        if str(error) != self._trouble:
            log.error("ALARM: nothing is taken in until the journal can be written again: %s", error)
        if not self._trouble:
            set_alarm(self.site.data_dir, Alarm(self.clock.now(), str(error)))
        self._trouble = str(error)

    async def run(self, journal: Journal, stop: asyncio.Event, *, why: str) -> None:
        """Read every line until `stop` is set. Raises an ExceptionGroup of GatewayErrors; the journal is closed.

        `why` is the reason of all slots that passed since the journal was written last.
        """
        try:
            recording = await self._begin(journal, why)
            async with asyncio.TaskGroup() as tasks:
                parts = Parts(tasks)
                parts.start(self._parts(recording, self.setup))
                apply = partial(self._change, recording, parts)
                reloading = tasks.create_task(self._reloading.keep_looking(recording, apply))
                await stop.wait()
                reloading.cancel()
                parts.cancel()
            await recording.note(STOPPED)
            await check_now(journal, self._tell_witness)  # so that this last entry cannot be cut off unseen either
        finally:
            await journal.close()

    async def _begin(self, journal: Journal, why: str) -> Recording:
        """Take up what the journal says, tell what passed since, and say what runs from now on."""
        before = await asyncio.to_thread(account_before, self.journal_dir)
        self.watch.begin(newest=before.newest, known=before.known, boot=boot_id())
        now = self.watch.now()
        account = begin_account(self.setup.schedules, before, since=None if self.watch.broken else now)
        self.counts.waiting = 0  # what waited for a journal that stopped was told as a gap
        recording = Recording(
            self.site,
            journal,
            account,
            watch=self.watch,
            clock=self.clock,
            why=why,
            sequences=before.counts,
            counts=self.counts,
        )
        await recording.tell_clock()
        await recording.close_account(SlotAccount(before.standings), now)
        await recording.begin(STARTED, self.setup.schedules, {**self.identity, **self.setup.rules}, now=now)
        if self._trouble:
            log.warning("the journal is written again; what was not read meanwhile is recorded as a gap")
        set_alarm(self.site.data_dir, None)
        self._trouble, self._delay_s = "", REOPEN_FIRST_S
        return recording

    async def _change(self, recording: Recording, parts: Parts, setup: Setup, told: Mapping[str, object]) -> None:
        """Run by another setup: what it touches ends, with all it has read journaled, and starts anew."""
        wanted = list(self._parts(recording, setup))
        touched = parts.touched(wanted)
        lines = [part for part in touched if part.line]
        await parts.stop(lines)
        await recording.change(setup.site, setup.schedules, {part.line for part in lines}, told)
        self.setup = setup
        parts.start(part for part in wanted if part.line)
        await parts.stop(part for part in touched if not part.line)  # a sink may take its time: lines run already
        parts.start(wanted)

    def _parts(self, recording: Recording, setup: Setup) -> Iterator[Part]:
        """All that runs side by side."""
        site, journal, every_s = setup.site, recording.journal, setup.site.journal.checkpoint_every_s
        check = partial(keep_checking, journal, self.clock, every_s, self._tell_witness)
        yield Part("checkpoints", every_s, check)
        yield Part("clock", None, recording.keep_watching)
        yield Part("notes", every_s, partial(recording.keep_noting, every_s))
        # Copies are named and sorted by what the site says of points and series; the reading store by its names alone.
        copied = (site.sinks, site.series, site.points, site.meters, site.lines, site.enterprises, site.timezone)
        drain = partial(drain_site, site, journal, self._store, self.clock)
        yield Part("sinks", copied if site.sinks else None, drain)
        yield Part("compressing", None, partial(compress_forever, journal))
        yield Part(
            "upkeep", None, partial(retain_daily, lambda: self.site, journal, self._store, self.watch, self.clock)
        )
        yield Part("inbox", None, partial(self._watch_inbox, journal))
        for line in site.lines.values():
            polled = line.id in setup.schedules
            read = partial(keep_reading, site, setup.profiles, line, recording, polled=polled)
            yield Part(f"line {line.id}", setup.made_of[line.id], read, line.id)

    def _tell_witness(self, line: bytes) -> None:
        if self._witness is not None:
            self._witness.offer(line)

    async def _watch_inbox(self, journal: Journal) -> None:
        try:
            await inbox.watch(self.site.data_dir, journal, self.clock)
        except JournalError as error:
            if isinstance(error.__cause__, OSError):  # a verdict cannot be written on a full disk either
                raise JournalStopped(str(error)) from error
            raise


@app.command()
def acquire_command(site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")]) -> None:
    """Read every line of SITE until stopped; what is acknowledged to the field is on disk."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    site = load_site(site_file)
    with asyncio.Runner(loop_factory=loop_factory(os.environ.get(LOOP, ""))) as runner:
        runner.run(_until_told_to_stop(site))


async def _until_told_to_stop(site: Site) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    keep_pauses_short(loop)
    try:
        await acquire(site, SystemClock(), stop, reload)
    except* GatewayError as group:
        raise first_error(group) from None


def first_error(group: BaseExceptionGroup[GatewayError]) -> GatewayError:
    """The first error of a group of groups."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf if isinstance(leaf, GatewayError) else GatewayError(str(leaf))


def acquire_main(argv: list[str]) -> int:
    """`emg acquire`."""
    return run_app(app, argv, "emg acquire")
