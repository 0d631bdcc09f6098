"""What the lines of one run hand to the journal: readings with their doubts, and every slot that was passed over."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from collectors.line_counts import AcquireCounts
from collectors.sequences import Lost, Sequences
from collectors.sequences import Standing as CountStanding
from collectors.slot_account import APPLIED, NOTED, SlotAccount
from gateway.clock_watch import STEPPED_FORWARD, ClockWatch
from gateway.clocks import Clock
from gateway.domain.instruments import RecordClass
from gateway.domain.readings import MICROSECONDS, Quality, Reading
from gateway.domain.sites import Site
from gateway.journal.entries import EntryKind
from gateway.journal.slots import Gap, Order, Schedule, schedule_body
from gateway.journal.writer import Journal

NOT_RUNNING, JOURNAL_STOPPED = "acquire.not_running", "journal.stopped"
LINE_FAILED, LINE_CHANGED, PASSED_OVER = "line.failed", "line.changed", "slot.missed"
DAY_US = 86_400 * MICROSECONDS
LOOK_EVERY_US = MICROSECONDS


class Recording:
    """The way of one run into the journal, shared by its lines.

    `why` is the reason of slots that were passed over before a line's first reading. Scheduled slots = readings +
    slots of gaps: each line's entries are in the order of its slots, and a gap precedes what comes behind it.
    """

    def __init__(
        self,
        site: Site,
        journal: Journal,
        account: SlotAccount,
        *,
        watch: ClockWatch,
        clock: Clock,
        why: str,
        sequences: Mapping[str, Mapping[str, CountStanding]],
        counts: AcquireCounts | None = None,
    ) -> None:
        self.journal = journal
        self.account = account
        self.watch = watch  # gives polled readings their labels
        self.clock = clock
        self.counts = counts or AcquireCounts(since=clock.now())
        self._telemetry = _telemetry(site)
        self._reason_before = why
        self._why = dict.fromkeys(site.lines, why)
        self._begun: dict[str, int] = {}  # the first instant that a line has read since it began
        self.sequences = {line: Sequences(sequences.get(line)) for line in site.lines}
        self._turns = {line: asyncio.Lock() for line in site.lines}  # held while a line's entries are written
        self._all_turns = asyncio.Lock()  # held by whoever wants all of them
        self._telling = asyncio.Lock()
        self._untold: list[dict[str, object]] = []  # what lines have seen of their devices
        self._schedules: Mapping[str, Schedule] = {}
        self._schedule_at = 0  # the entry that told the schedules last, and when [us, UTC]
        self._schedule_told = 0

    async def event(self, name: str, **told: object) -> None:
        """Journal an event. Raises JournalError."""
        await self.journal.append(EntryKind.EVENT, {"event": name, **told})

    def tell(self, name: str, told: Mapping[str, object]) -> None:
        """Have an event journaled before the polled readings that are handed over next."""
        self._untold.append({"event": name, **told})

    async def begin(
        self, name: str, schedules: Mapping[str, Schedule], told: Mapping[str, object], *, now: int
    ) -> None:
        """Journal the event that says what is polled from `now` [us, UTC] on. Raises JournalError."""
        self._schedules = schedules
        await self._tell_schedules(name, told, now)

    async def change(
        self, site: Site, schedules: Mapping[str, Schedule], stopped: Collection[str], told: Mapping[str, object]
    ) -> None:
        """Journal the event that says what is polled instead from this moment on; lines in `stopped` are not running.

        The slots of stopped lines before that moment are accounted for first, so that each series ends or goes on at
        it without a slot left open or told twice; lines that run wait with their entries only. Raises JournalError.
        """
        async with self._every_turn():
            for line in stopped:
                self._why[line] = LINE_CHANGED
                self._begun.pop(line, None)
            await self.tell_clock()
            now = self.watch.now() + 1  # behind every label that was given
            for line in stopped:
                await self._record_gaps(line, self.account.passed_until(line, now))
            # Nothing is waited for between this and the event's place in the journal: both know the same standings.
            self.account.change(schedules, since=None if self.watch.broken else now)
            self._schedules, self._telemetry = schedules, _telemetry(site)
            self._why = {line: self._why.get(line, LINE_CHANGED) for line in site.lines}
            self._turns = {line: self._turns.get(line) or asyncio.Lock() for line in site.lines}
            self.sequences = {line: self.sequences.get(line) or Sequences(None) for line in site.lines}
            await self._tell_schedules(APPLIED, told, now)

    async def record(self, line: str, readings: Sequence[Reading]) -> None:
        """Journal what was pushed; durable when this returns. Raises JournalError."""
        begun = self.clock.monotonic_ns()
        await self.journal.append_readings(line, readings, telemetry=self._telemetry)
        self.counts.commit.add((self.clock.monotonic_ns() - begun) // 1000)
        self.counts.line(line).store(readings)

    async def record_lost(self, line: str, lost: Lost, series: Sequence[str]) -> None:
        """Journal that messages were lost on their way, or that their publisher began to count anew.

        Raises JournalError.
        """
        if lost.missing:
            await self.journal.append(EntryKind.GAP, lost.body(line, series))
        else:
            told = {"counter": lost.counter, "numbers": [lost.before.number, lost.after.number]}
            await self.event("payload_count_began_anew", line=line, **told)

    async def record_polled(self, line: str, lists: Iterable[Sequence[Reading]]) -> None:
        """Journal what was polled, each list one device at one slot, as few entries; durable when this returns.

        Raises JournalError.
        """
        await self.tell_clock()
        while self._untold:
            await self.journal.append(EntryKind.EVENT, self._untold.pop(0))
        async with self._turns[line]:
            waiting: list[Reading] = []
            for readings in lists:
                again = self.account.doubles(line, readings)
                passed = self.account.passed_over(line, readings)
                if waiting and (passed or again):
                    await self.record(line, waiting)
                    waiting = []
                if again:  # lists read before and behind a step have crossed on their way
                    await self._tell({"event": "labels_again", "order": Order.BROKEN.value, "to": readings[0].instant})
                    passed = self.account.passed_over(line, readings)
                await self._record_gaps(line, passed)
                self.account.account(line, readings)
                self._begun.setdefault(line, readings[0].instant)
                waiting += [self._doubted(reading) for reading in readings]
            if waiting:
                await self.record(line, waiting)

    async def line_failed(self, line: str, error: str) -> None:
        """Journal that a line failed, and what it did not read since. Raises JournalError."""
        await self.event("line_failed", line=line, error=error)
        self._why[line] = LINE_FAILED
        self._begun.pop(line, None)
        async with self._turns[line]:
            await self._record_gaps(line, self.account.passed_until(line, self.watch.now()))

    async def close_account(self, before: SlotAccount, now: int) -> None:
        """Journal the slots before `now` [us, UTC] that runs before were to read and did not. Raises JournalError."""
        for line in before.lines():
            for first, last, series in before.passed_until(line, now):
                reason = STEPPED_FORWARD if self.watch.skipped(first, last) else self._reason_before
                await self._record_gap(before, Gap(line, first, last, before.grid(line), series, reason))

    async def tell_clock(self) -> None:
        """Journal what the clock watch has noticed, before anything that was read behind it. Raises JournalError."""
        if self.watch.untold:
            async with self._telling:
                while self.watch.untold:
                    await self._tell(self.watch.untold[0])
                    self.watch.untold.pop(0)

    async def keep_watching(self) -> None:
        """Look at the clock every second, and journal its steps. Raises JournalError."""
        while True:
            self.watch.now()
            await self.tell_clock()
            await self.watch.sleep_until(self.watch.now() + LOOK_EVERY_US)

    async def keep_noting(self, every_s: int) -> None:
        """Note every `every_s` [s] how far all is accounted for, so that the next start need not read far.

        Raises JournalError.
        """
        while True:
            await self.watch.sleep_until(self.watch.now() + every_s * MICROSECONDS)
            await self.note(NOTED)

    async def note(self, name: str) -> None:
        """Journal an event that says how far all is accounted for. Raises JournalError."""
        async with self._every_turn():
            if (now := self.watch.now()) // DAY_US != self._schedule_told // DAY_US:
                await self._tell_schedules(name, {}, now)
            else:
                await self.event(name, **self._standing(), schedule_at=self._schedule_at)

    @asynccontextmanager
    async def _every_turn(self) -> AsyncIterator[None]:
        """While this is held, no entry of a line is on its way."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._all_turns)
            for turn in self._turns.values():
                await stack.enter_async_context(turn)
            yield

    def _standing(self) -> dict[str, object]:
        counts = {line: counted.note() for line, counted in self.sequences.items() if counted.note()}
        told = {"accounted": self.account.note(), "newest": self.watch.newest}
        return told | {"counts": counts} if counts else told

    async def _tell_schedules(self, name: str, told: Mapping[str, object], now: int) -> None:
        """Every day again: the entry that told them first may leave the journal by age."""
        since = None if self.watch.broken else now
        body = {"event": name, "schedule": schedule_body(self._schedules), "from": since, **self._standing(), **told}
        self._schedule_told = 0  # should this be cancelled, the next note tells them again
        self._schedule_at, self._schedule_told = await self.journal.append(EntryKind.EVENT, body), now

    async def _tell(self, told: Mapping[str, Any]) -> None:
        """An event about the clock; all that is journaled behind it is accounted for by what it says."""
        self.account.order(Order(told["order"]), told["to"])
        await self.journal.append(EntryKind.EVENT, told)

    async def _record_gaps(self, line: str, passed: Iterable[tuple[int, int, list[str]]]) -> None:
        for first, last, series in passed:
            gap = Gap(line, first, last, self.account.grid(line), series, self._reason(line, first, last))
            await self._record_gap(self.account, gap)
            self.counts.line(line).pass_over(gap.slots, series)

    async def _record_gap(self, account: SlotAccount, gap: Gap) -> None:
        account.account_gap(gap)
        await self.journal.append(EntryKind.GAP, gap.body())

    def _reason(self, line: str, first: int, last: int) -> str:
        if self.watch.skipped(first, last):
            return STEPPED_FORWARD
        begun = self._begun.get(line)
        return self._why[line] if begun is None or last < begun else PASSED_OVER

    def _doubted(self, reading: Reading) -> Reading:
        doubt = self.watch.doubt(reading.instant)
        if not doubt or reading.quality is not Quality.GOOD:
            return reading
        return reading._replace(quality=Quality.SUSPECT, reason=doubt)


def _telemetry(site: Site) -> set[str]:
    return {key for key, series in site.series.items() if series.register.record is RecordClass.TELEMETRY}
