"""Meters that are asked: at every slot of a line, each of its devices in turn, each value with its instant.

The sampling instant of a block is the wall time midway between request and answer (half the time is
taken from the monotonic clock, so that a step of the wall clock in between moves nothing). The meter took
the value somewhere in that time: it cannot be wrong by more than half of the exchange. All registers of one
block carry the same instant.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

from collectors.blocks import Span, plan_blocks
from collectors.line_counts import LineCounts
from collectors.polled_blocks import PolledBlock, PolledRegister, readings_in, serve
from collectors.register_line import RegisterLine
from collectors.schedule import RESTED, Backoff, slots
from collectors.wire_time import line_wire
from gateway.clock_watch import STEPPED_BACK, WAITED_FOR_US
from gateway.clocks import Clock
from gateway.domain.readings import MICROSECONDS, Quality, Reading
from gateway.domain.sites import Line, Meter, Site
from gateway.errors import ConfigError, LineError, LineRefused, Problem
from gateway.journal.slots import Grid
from gateway.profile import Profile, site_profiles

# Source: MODBUS Application Protocol Specification V1.1b3 - §7: gateway path unavailable, gateway target
# device failed to respond. The device behind the gateway is as silent as one that does not answer at all.
UNREACHABLE = frozenset({0x0A, 0x0B})


class PolledDevice(NamedTuple):
    """One meter of a line with the requests it takes to read it."""

    meter: str
    device_address: int
    blocks: tuple[PolledBlock, ...]
    declared: Meter | None = None  # what the site file says of it
    profile: Profile | None = None
    phase_us: int = 0  # how long after the line's slots it is asked

    @property
    def series(self) -> list[str]:
        """Every series that it brings."""
        return [series for polled in self.blocks for series in polled.series]


def polled_devices(site: Site, line: Line, profiles: Mapping[str, Profile] | None = None) -> list[PolledDevice]:
    """What is asked of each meter of the line, in the order of the site file; meters that serve no point are left out.

    `profiles` are those of the site's meters by name, where they were read before. Raises ConfigError when a value is
    longer than the line's `max_words`, ProfileError from profiles that are read here.
    """
    meters = [meter for meter in site.meters.values() if meter.line == line.id]
    profiles = site_profiles(site) if profiles is None else profiles
    devices = [_device(site, line, meter, profiles[meter.profile]) for meter in meters]
    return [device for device in devices if device.blocks]


def _device(site: Site, line: Line, meter: Meter, profile: Profile) -> PolledDevice:
    registers = []
    for series in site.series.values():
        found = profile.registers.get(series.register.quantity)
        if series.meter != meter.id or found is None or not found.table:
            continue
        span = _span(found.table, found.reach, meter.base_address)
        pieces = tuple(_span(found.table, piece, meter.base_address) for piece in found.pieces)
        registers.append(
            PolledRegister(series.key, span, pieces, found.encoding, series.register, series.ratio, found.reread)
        )
    spans = [register.span for register in registers]
    max_words = min(line.max_words, profile.max_words, meter.max_words)
    forbidden = profile.forbidden_from(meter.base_address)
    try:
        plan = plan_blocks(spans, max_words=max_words, wire=line_wire(line), forbidden=forbidden)
    except ValueError as error:
        key, expected = f"line {line.id}: max_words", f"enough for every value of meter {meter.id} ({error})"
        raise ConfigError(
            [Problem(file=str(site.file), line=None, key=key, found=str(max_words), expected=expected)]
        ) from None
    blocks = tuple(serve(block, registers) for block in plan)
    return PolledDevice(meter.id, meter.device_address, blocks, meter, profile, phase_us(meter))


def phase_us(meter: Meter) -> int:
    """How long after its line's slots a meter is asked [us]."""
    return int(meter.phase_s * MICROSECONDS)


def _span(table: str, words: range, base: int) -> Span:
    return Span(table, base + words.start, len(words))


# What is asked of a device beside its values, once they are read: its readings at this slot, as they are to be kept.
SecondLook = Callable[[PolledDevice, list[Reading], RegisterLine, int], Awaitable[list[Reading]]]


class Answer(NamedTuple):
    """What one block brought: its words and their sampling instant [us, UTC], or the trouble there was."""

    polled: PolledBlock
    instant: int
    took_us: int
    words: bytes = b""
    trouble: LineError | None = None

    @property
    def reason(self) -> str:
        """Why there are no words; "" when there are."""
        return self.trouble.reason if self.trouble else ""

    @property
    def silent(self) -> bool:
        """True if the device gave no usable answer: asking it for more would only take more time."""
        refused = isinstance(self.trouble, LineRefused) and self.trouble.code not in UNREACHABLE
        return self.trouble is not None and not refused


async def ask(wire: RegisterLine, device: PolledDevice, polled: PolledBlock, clock: Clock, timeout_s: float) -> Answer:
    """Read one block. Trouble is part of the answer; only a cancellation and faults of our own raise."""
    asked_at, started = clock.now(), clock.monotonic_ns()
    words, trouble = b"", None
    try:
        words = await wire.read(device.device_address, polled.block, timeout_s)
    except LineError as error:
        trouble = error
    took_us = (clock.monotonic_ns() - started) // 1000
    return Answer(polled, asked_at + took_us // 2, took_us, words, trouble)


def readings_of(answer: Answer) -> list[Reading]:
    """The readings in the words of one answered block; none when there was trouble."""
    return [] if answer.trouble else readings_in(answer.polled, answer.words, answer.instant)


def missing(blocks: Iterable[PolledBlock], instant: int, reason: str) -> list[Reading]:
    """The gap at a slot, told for every series of these blocks."""
    return [
        Reading(register.series, instant, None, Quality.MISSING, reason)
        for polled in blocks
        for register in polled.registers
    ]


class _Turn:
    """One device of the line with what is remembered of its silences."""

    def __init__(self, device: PolledDevice) -> None:
        self.device = device
        self.patience = RESTED  # with the device as a whole
        self._block_patience: dict[tuple[str, int], Backoff] = {}  # some devices never answer one block

    async def at(
        self, slot: int, wire: RegisterLine, clock: Clock, timeout_s: float, *, pipeline: int = 1
    ) -> list[Reading]:
        """The device's readings at this slot. At most `pipeline` questions are left unanswered: the rest is not asked.

        While the device as a whole is silent, the block to ask is the one that failed least, so that one
        dead block is not taken for a dead device; the first answer wakes the device and all its blocks.
        """
        if not self.patience.due(slot):
            return missing(self.device.blocks, slot, "line.backoff")
        readings: list[Reading] = []
        asleep, alive, silence = self.patience.failures > 0, False, ""
        together = {} if asleep or pipeline == 1 else await self._together(slot, wire, clock, timeout_s, pipeline)
        for polled in sorted(self.device.blocks, key=self._failures):
            answer = together.get(polled.block.place)
            if answer is None and (silence or not (asleep or self._of(polled).due(slot))):
                readings += missing([polled], slot, silence or "line.backoff")
                continue
            if answer is None and clock.now() < slot:  # set back in between: what is read now has no label of its own
                readings += missing([polled], slot, STEPPED_BACK)
                alive = True
                continue
            if answer is None:
                answer = await ask(wire, self.device, polled, clock, timeout_s)
            readings += readings_of(answer) or missing([polled], slot, answer.reason)
            if answer.silent:
                silence = answer.reason
                self._block_patience[polled.block.place] = self._of(polled).after_failure(slot)
            elif answer.trouble is None:
                if asleep:
                    self._block_patience.clear()
                self._block_patience.pop(polled.block.place, None)
                asleep, alive = False, True
        self.patience = RESTED if alive else self.patience.after_failure(slot)
        return readings

    def asleep_at(self, slot: int) -> bool:
        """True if it was silent last time and may be asked again."""
        return self.patience.failures > 0 and self.patience.due(slot)

    def order(self) -> tuple[bool, int, int]:
        """Its place among the devices of its line: those that answer first, then by phase, then who waited longest."""
        return self.patience.failures > 0, self.device.phase_us, self.patience.not_before

    async def _together(
        self, slot: int, wire: RegisterLine, clock: Clock, timeout_s: float, pipeline: int
    ) -> dict[tuple[str, int], Answer]:
        """Answers to the blocks that are due, so many asked at a time as the line declares; up to the first silence."""
        due = [polled for polled in self.device.blocks if self._of(polled).due(slot)]
        found: dict[tuple[str, int], Answer] = {}
        while due and clock.now() >= slot and not any(answer.silent for answer in found.values()):
            some, due = due[:pipeline], due[pipeline:]
            answers = await asyncio.gather(*(ask(wire, self.device, polled, clock, timeout_s) for polled in some))
            found |= {answer.polled.block.place: answer for answer in answers}
        return found

    def _of(self, polled: PolledBlock) -> Backoff:
        return self._block_patience.get(polled.block.place, RESTED)

    def _failures(self, polled: PolledBlock) -> int:
        return self._of(polled).failures


class _Courtesy:
    """Who was silent is asked only before `until` while somebody's next slot counts; one overdue a slot still."""

    def __init__(self, turns: Sequence[_Turn], *, until: int) -> None:
        self._somebody = any(not turn.patience.failures for turn in turns)
        self._until = until
        self._forced = False

    def puts_off(self, turn: _Turn, slot: int, now: int) -> bool:
        """True if the device's question has to wait for another slot."""
        if not (self._somebody and turn.asleep_at(slot) and now > self._until):
            return False
        if self._forced or not turn.patience.overdue(slot):
            return True
        self._forced = True
        return False


async def poll(
    wire: RegisterLine,
    line: Line,
    devices: Iterable[PolledDevice],
    clock: Clock,
    *,
    after: int | None = None,
    look: SecondLook | None = None,
    counts: LineCounts | None = None,
) -> AsyncGenerator[list[Reading], None]:
    """The readings of every device at every slot of the line behind `after`, one list per device, for ever.

    At every slot that is run each series is accounted for: read, doubted, or MISSING with its reason; a slot that
    is passed over is seen by whoever counts. A reading belongs to the slot in which it was taken: that of a device
    whose turn comes late belongs to a later one. A device is asked no sooner than its phase after the slot. Devices
    that were silent last time are asked after all others, the one that has waited longest first, and only while a
    silence ends before the next slot: so they delay nobody's sample. One that has been due for longer than the
    longest patience is asked all the same, one a slot.
    """
    turns = [_Turn(device) for device in devices]
    timeout_s, timeout_us = float(line.timeout_s), int(line.timeout_s * MICROSECONDS)
    patience = RESTED  # with the line itself: no connection, nobody to ask
    newest = 0  # the greatest label given
    grid = line_grid(line)
    async with aclosing(slots(clock, period_us=grid.period_us, phase_us=grid.phase_us, after=after)) as instants:
        async for slot in instants:
            if 0 <= newest - slot <= WAITED_FOR_US:  # the clock was set back behind a reading: labels wait
                continue
            newest = slot
            unreachable = "" if patience.due(slot) else "line.backoff"
            courtesy = _Courtesy(turns, until=slot + grid.period_us - timeout_us)
            for turn in sorted(turns, key=_Turn.order):
                due = slot + turn.device.phase_us
                if due > slot:
                    await clock.sleep_until(due)
                put_off = courtesy.puts_off(turn, slot, clock.now())
                if not unreachable and not put_off and turn.patience.due(slot):
                    try:
                        await wire.connect(timeout_s)
                        patience = RESTED
                    except LineError as error:
                        unreachable, patience = error.reason, patience.after_failure(slot)
                if unreachable or put_off:
                    readings = missing(turn.device.blocks, slot, unreachable or "line.backoff")
                else:
                    readings = await turn.at(slot, wire, clock, timeout_s, pipeline=line.pipeline)
                    if look is not None:
                        readings = await look(turn.device, readings, wire, slot)
                    newest = max(newest, *(reading.instant for reading in readings))
                if counts is not None:
                    counts.slot(due, grid.period_us, readings, turn.patience)
                yield readings


def line_grid(line: Line) -> Grid:
    """When the devices of a line are asked."""
    return Grid(int(line.period_s * MICROSECONDS), int(line.phase_s * MICROSECONDS))
