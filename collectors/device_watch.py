"""Whether the device that answers is the one that the site file means, and which transformer ratios are set in it.

Looked at beside the values, once they are read: a device that is silent is asked nothing more. Who it is, at the first
answer, at the first one after a silence, and every quarter of an hour; its ratios at every slot.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Protocol, runtime_checkable

from collectors.blocks import Block, Span
from collectors.polled_blocks import PolledRegister
from collectors.polling import UNREACHABLE, PolledDevice
from collectors.register_line import RegisterLine
from collectors.schedule import RESTED, Backoff
from collectors.torn_totals import whole_totals
from gateway.clocks import Clock
from gateway.decoding import COUNTED, Doubt, decoder
from gateway.device_facts import OBJECTS, Fact, Identity, matches, printable, ratio_of
from gateway.domain.quantities import QUANTITIES
from gateway.domain.readings import MICROSECONDS, Quality, Reading
from gateway.domain.sites import Line, Meter
from gateway.errors import LineError, LineRefused
from gateway.profile import Profile

LOOK_EVERY_US = 900 * MICROSECONDS
# Events in the journal, and the reasons of readings that are SUSPECT for them.
IDENTITY, SERIAL, RATIO = "device.identity", "device.serial", "device.ratio"
SEEN = "device.seen"  # an event alone: what a device says that is in order
UNIDENTIFIED = "device.unidentified"  # it gives values, and no answer to the question who it is
RATIO_CHANGED, RATIO_UNREAD = "device.ratio_changed", "device.ratio_unread"

_RATED = Meter(id="", line="", profile="", ct_ratio=Decimal(2), pt_ratio=Decimal(3))  # tells what depends on ratios
Tell = Callable[[str, Mapping[str, object]], None]


def keep_to_oneself(_name: str, _told: Mapping[str, object]) -> None:
    """Where nobody keeps a journal."""


@runtime_checkable
class Identifying(Protocol):
    """A wire on which a device can be asked for its Modbus device identification (function 43/14)."""

    async def identify(self, device_address: int, timeout_s: float) -> dict[int, bytes]:
        """Its basic objects by number. Raises LineSilent, LineGarbled, LineRefused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a device said of itself, by what was asked; `expected` holds what it should have said and did not."""

    said: dict[str, str]
    expected: dict[str, str]
    serial: str = ""
    undecided: bool = False  # no answer to a part of the question


@dataclass(slots=True)
class _Known:
    """What is remembered of one device."""

    registers: dict[str, PolledRegister]
    rereads: bool  # some of its totals are read twice
    doubt: str = ""
    expected: dict[str, str] | None = None  # None: not looked at yet
    serial: str = ""
    look_at: int = 0  # the slot from which on it is asked again who it is
    patience: Backoff = RESTED
    ratios: dict[str, Decimal] = field(default_factory=dict)  # as read last
    ratio_doubt: str = ""

    def due(self, slot: int) -> bool:
        """True if it is to be asked who it is; a wait beyond a quarter of an hour comes from a clock set back."""
        waits = 0 < self.look_at - slot <= LOOK_EVERY_US
        return not waits and self.patience.due(slot)


async def said_by(wire: RegisterLine, device_address: int, base: int, fact: Fact, timeout_s: float) -> str:
    """What a device says in the words of `fact`, counted from `base`. Raises LineError."""
    span = Span(fact.table, base + fact.at, fact.words)
    raw = await wire.read(device_address, Block(*span, spans=(span,)), timeout_s)
    return fact.said(raw)


async def identified(wire: RegisterLine, device_address: int, base: int, identity: Identity, timeout_s: float) -> Found:
    """What the device at this address says, against what its model says. A refusal is an answer, a silence is none."""
    said: dict[str, str] = {}
    expected: dict[str, str] = {}
    undecided = False
    for mark in identity.marks:
        try:
            said[mark.what] = await said_by(wire, device_address, base, mark.fact, timeout_s)
        except LineError as error:
            undecided |= not _is_answer(error)
            said[mark.what] = error.reason
        if not mark.agrees(said[mark.what]):
            expected[mark.what] = mark.expected
    if identity.objects and isinstance(wire, Identifying):
        try:
            objects = {
                number: printable(raw) for number, raw in (await wire.identify(device_address, timeout_s)).items()
            }
        except LineError as error:
            undecided |= not _is_answer(error)
            objects = dict.fromkeys(identity.objects, error.reason)
        names = {number: name for name, number in OBJECTS.items()}
        said |= {names.get(number, f"object {number}"): text for number, text in objects.items()}
        for number, patterns in identity.objects.items():
            if not matches(objects.get(number, ""), patterns):
                expected[names[number]] = " or ".join(patterns)
    serial = ""
    if identity.serial is not None and not undecided:
        try:
            serial = await said_by(wire, device_address, base, identity.serial, timeout_s)
        except LineError as error:
            undecided |= not _is_answer(error)
    return Found(said=said, expected=expected, serial=serial, undecided=undecided)


def _is_answer(error: LineError) -> bool:
    return isinstance(error, LineRefused) and error.code not in UNREACHABLE


class DeviceWatch:
    """Looks at the devices of one line beside their values: `after` is a SecondLook, `tell` takes its events.

    Readings of a device that is another one are kept, SUSPECT with the reason `device.identity` or `device.serial`.
    Momentary values on the secondary side are scaled by the ratios that the device has; a total keeps its count and is
    SUSPECT (`device.ratio`) while they differ from those of the site file, by which its count is valued.
    """

    def __init__(self, line: Line, clock: Clock, tell: Tell = keep_to_oneself) -> None:
        self._line = line
        self._clock = clock
        self._tell = tell
        self._timeout_s = float(line.timeout_s)
        self._devices: dict[str, _Known] = {}

    async def after(
        self, device: PolledDevice, readings: list[Reading], wire: RegisterLine, slot: int
    ) -> list[Reading]:
        """The readings of one device at this slot, doubted and scaled by what the device says of itself."""
        profile, stated = device.profile, device.declared
        if profile is None or stated is None:
            return readings
        known = self._devices.get(device.meter)
        if known is None:
            registers = {one.series: one for polled in device.blocks for one in polled.registers}
            rereads = any(one.reread for one in registers.values())
            known = self._devices[device.meter] = _Known(registers, rereads)
        if all(reading.value is None for reading in readings):
            known.look_at = 0  # what comes back may be another device
            return readings
        if known.rereads:
            readings = await whole_totals(device, readings, wire, self._clock, self._timeout_s)
        if profile.identity is not None and known.due(slot):
            await self._identify(device, stated, profile.identity, known, wire, slot)
        meter = stated
        if profile.ratios.facts and known.doubt != IDENTITY:
            meter = await self._ratios(device, profile, stated, known, wire)
        if not (known.doubt or known.ratio_doubt) and meter == stated:
            return readings
        scaled_by = meter if profile.side == "secondary" else None
        return [_judged(reading, known, stated, scaled_by) for reading in readings]

    async def _identify(
        self, device: PolledDevice, meter: Meter, identity: Identity, known: _Known, wire: RegisterLine, slot: int
    ) -> None:
        found = await identified(wire, device.device_address, meter.base_address, identity, self._timeout_s)
        if found.undecided:
            known.patience = known.patience.after_failure(slot)
            known.doubt = known.doubt or UNIDENTIFIED
            return
        known.patience, known.look_at = RESTED, slot + LOOK_EVERY_US
        place = self._place(device)
        if found.expected or known.expected:
            if found.expected != known.expected:
                self._tell(
                    IDENTITY, {**place, "agrees": not found.expected, "expected": found.expected, "found": found.said}
                )
        elif known.expected is None:
            self._tell(SEEN, {**place, "found": found.said, "serial": found.serial})
        before = known.serial or meter.serial
        if found.serial and before and not _same_serial(before, found.serial) and found.serial != known.serial:
            self._tell(SERIAL, {**place, "expected": before, "found": found.serial})
        other_serial = bool(found.serial and meter.serial) and not _same_serial(meter.serial, found.serial)
        known.expected, known.serial = found.expected, found.serial or known.serial
        known.doubt = IDENTITY if found.expected else SERIAL if other_serial else ""

    async def _ratios(
        self, device: PolledDevice, profile: Profile, meter: Meter, known: _Known, wire: RegisterLine
    ) -> Meter:
        """The meter with the ratios that are set in the device; those last read where it does not tell them."""
        known.ratio_doubt, secondary = "", profile.side == "secondary"
        for key, fact in profile.ratios.facts.items():
            try:
                said = await said_by(wire, device.device_address, meter.base_address, fact, self._timeout_s)
            except LineError:
                said = ""
            ratio, stated = ratio_of(said), getattr(meter, key)
            if ratio is None:
                known.ratio_doubt = known.ratio_doubt if key in known.ratios else RATIO_UNREAD
                continue
            before = known.ratios.get(key, stated if secondary else None)
            if ratio != before:
                told = {"ratio": key, "before": before and str(before), "found": str(ratio), "site": str(stated)}
                self._tell(RATIO, {**self._place(device), **told})
                known.ratio_doubt = RATIO_CHANGED if key in known.ratios else known.ratio_doubt
            known.ratios[key] = ratio
        ct, pt = (known.ratios.get(key, getattr(meter, key)) for key in ("ct_ratio", "pt_ratio"))
        return replace(meter, ct_ratio=ct, pt_ratio=pt)

    def _place(self, device: PolledDevice) -> dict[str, object]:
        return {"line": self._line.id, "meter": device.meter, "device_address": device.device_address}


def _judged(reading: Reading, known: _Known, stated: Meter, meter: Meter | None) -> Reading:
    """A reading as it is to be journaled; `meter` has the ratios of the device where its values are secondary ones."""
    if reading.value is None:
        return reading
    doubt = known.doubt
    one = known.registers[reading.series]
    dimension = QUANTITIES[one.register.quantity].dimension
    if meter is not None and (ratio := meter.ratio(dimension)) != stated.ratio(dimension):
        if one.register.kind in COUNTED:
            doubt = doubt or RATIO
        else:
            reading = _scaled(reading, one, ratio)
    if meter is not None and known.ratio_doubt and _RATED.ratio(dimension) != 1:
        doubt = doubt or known.ratio_doubt
    if not doubt or reading.quality is not Quality.GOOD:
        return reading
    return reading._replace(quality=Quality.SUSPECT, reason=doubt)


def _scaled(reading: Reading, one: PolledRegister, ratio: Decimal) -> Reading:
    """A momentary value as its words say it under another ratio."""
    found = decoder(one.encoding, one.register, ratio=ratio)(reading.words)
    if isinstance(found, Doubt):
        return reading._replace(value=found.value, quality=found.quality, reason=found.reason)
    return reading._replace(value=found)


def _same_serial(one: str, other: str) -> bool:
    """Serial numbers are written with and without leading zeros."""
    return one.strip().lstrip("0").casefold() == other.strip().lstrip("0").casefold()
