"""One line for as long as the program runs: read, journaled, and started again when it fails."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing

from collectors.lines import LINES, Opening
from collectors.mqtt import Rejected
from collectors.recording import Recording
from collectors.sequences import LATE, TAKEN, Lost
from gateway.contracts import Collector
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.domain.sites import Line, Site
from gateway.errors import JournalError
from gateway.profile import Profile

LINE_RESTART_S = 5
MOST_WAITING = 256  # lists of polled readings that wait for the journal: then the line waits too
log = logging.getLogger("emg.acquire")


async def keep_reading(
    site: Site, profiles: Mapping[str, Profile], line: Line, recording: Recording, *, polled: bool
) -> None:
    """One line for ever: what it yields is journaled; if it fails, the failure is an event and it starts again.

    Raises JournalError.
    """
    clock = recording.watch if polled else recording.clock
    counts = recording.counts.line(line.id)
    while True:
        try:
            if polled:
                after = recording.account.newest(line.id)
                opening = Opening(site, profiles, line, clock, after=after, tell=recording.tell, counts=counts)
                await read_polled(LINES[line.kind](opening), recording)
            else:
                await read_pushed(site, profiles, line, recording)
        except JournalError:
            raise
        except Exception as error:  # a line in trouble must not stop its neighbours, whatever the trouble is
            counts.failed += 1
            log.exception("line %s failed; it starts again in %d s", line.id, LINE_RESTART_S)
            await recording.line_failed(line.id, repr(error))
        await clock.sleep_until(clock.now() + LINE_RESTART_S * MICROSECONDS)


async def read_polled(collector: Collector, recording: Recording) -> None:
    """Journal what a polled line yields. Nothing is acknowledged to meters, so a commit delays nobody's sample.

    Raises JournalError; and what the collector raises, once what it yielded before is journaled.
    """
    waiting = _Waiting(collector.line, recording)
    try:
        async with aclosing(collector.readings()) as readings:
            async for batch in readings:
                await waiting.put(batch)
    finally:
        await waiting.end()


class _Waiting:
    """Lists of readings between a polled line and the journal; as many as have come are journaled at once."""

    def __init__(self, line: str, recording: Recording) -> None:
        self._line = line
        self._recording = recording
        self._lists: list[Sequence[Reading]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, batch: Sequence[Reading]) -> None:
        """Hand over one list; waits only while too many wait. Raises JournalError when an earlier one failed."""
        self._lists.append(batch)
        self._recording.counts.waiting += 1
        while True:
            if self._writing is None or self._writing.done():
                if self._writing is not None:
                    self._writing.result()
                self._writing = asyncio.create_task(self._write())
            if len(self._lists) < MOST_WAITING:
                return
            await asyncio.wait({self._writing})

    async def end(self) -> None:
        """Journal what still waits. Raises JournalError when that failed."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
            self._writing.result()

    async def _write(self) -> None:
        while self._lists:
            lists, self._lists = self._lists, []
            self._recording.counts.waiting -= len(lists)
            await self._recording.record_polled(self._line, lists)


async def read_pushed(site: Site, profiles: Mapping[str, Profile], line: Line, recording: Recording) -> None:
    """Journal what a line brings by itself: readings, what was refused, what was lost before it came here.

    Raises JournalError; and what the collector raises.
    """
    pending: list[Coroutine[object, object, None]] = []
    sequences = recording.sequences[line.id]

    def on_rejected(rejected: Rejected) -> None:
        recording.counts.line(line.id).rejected += 1
        log.warning("line %s: %s refused: %s", line.id, rejected.topic, rejected.reason)
        pending.append(recording.event("message_refused", line=line.id, **rejected._asdict()))

    def on_lost(lost: Lost, series: Sequence[str]) -> None:
        log.warning("line %s: %s messages of %s were lost before they came here", line.id, lost.missing, lost.counter)
        pending.append(recording.record_lost(line.id, lost, series))

    opening = Opening(
        site, profiles, line, recording.clock, on_rejected=on_rejected, on_lost=on_lost, sequences=sequences
    )
    collector = LINES[line.kind](opening)
    async with aclosing(collector.readings()) as readings:
        async for batch in readings:
            # The next list is asked for, and this one acknowledged, only when all of it is on disk. Entries are in the
            # order in which they are handed over; how far a count has come stands behind what it counts.
            if batch:
                pending.append(recording.record(line.id, batch))
            if late := sequences.late():
                pending.append(recording.event(LATE, line=line.id, counts=late))
            if moved := sequences.settle():
                pending.append(recording.event(TAKEN, line=line.id, counts=moved))
            handed, pending[:] = list(pending), []
            await asyncio.gather(*handed)
