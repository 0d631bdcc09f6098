"""Which meter model answers at a device address: by its identity, or by values that only the right words give.

Only what the profiles state is asked, each question once. A profile is dropped when the device refuses what the model
has, says to be another one, or when a value is none that a meter shows: a frequency outside of 45 to 65 Hz, a voltage
of 10^-19 V.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

from collectors.blocks import Block, Span, plan_blocks
from collectors.device_watch import Identifying, identified, said_by
from collectors.polled_blocks import PolledRegister, readings_in, serve
from collectors.polling import UNREACHABLE
from collectors.register_line import RegisterLine
from gateway.device_facts import printable
from gateway.domain.quantities import QUANTITIES
from gateway.domain.readings import Quality, Reading
from gateway.domain.units import UNITS
from gateway.encoding import ONE
from gateway.errors import LineError, LineRefused
from gateway.profile import Profile

# What a meter in a plant shows, by dimension [coherent unit]: a value outside is none, one inside speaks for a profile.
_RANGES = {
    "frequency": (45.0, 65.0),
    "voltage": (20.0, 600e3),
    "temperature": (200.0, 1000.0),  # kelvin
    "pressure": (1e3, 1e8),
}
_MAY_BE_ZERO = {"voltage", "pressure", "temperature"}  # a phase that is off, a sensor that is not there
# Source: SunSpec Device Information Model Specification V1.1: the marker, the places where it may be, the common model
_SUNSPEC_MARKER, _SUNSPEC_PLACES, _SUNSPEC_END, _MOST_MODELS = b"SunS", (40000, 50000, 0), 0xFFFF, 64
_COMMON_MODEL, _COMMON_SERIAL = 1, Span("holding", 50, 16)


class Grade(IntEnum):
    """How sure it is."""

    POSSIBLE = 1  # nothing contradicts it, little speaks for it
    PLAUSIBLE = 2  # at least two values are such as only the right words give
    IDENTIFIED = 3  # the device says so itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A profile that fits a device. `speaking` is how many of its values speak for it."""

    profile: Profile
    grade: Grade
    speaking: int
    serial: str = ""
    base_address: int = 0
    ratios: Mapping[str, str] = field(default_factory=dict)


class _Sunspec(NamedTuple):
    """Where the models of a SunSpec device begin, and the serial number in its common model."""

    bases: tuple[int, ...] = ()
    serial: str = ""


class AskedOnce:
    """A device whose answers are remembered, so that no question is put twice (a RegisterLine, and Identifying)."""

    def __init__(self, wire: RegisterLine) -> None:
        self._wire = wire
        self._words: dict[tuple[int, str, int, int], bytes | LineError] = {}
        self._objects: dict[int, dict[int, bytes] | LineError] = {}

    async def connect(self, timeout_s: float) -> None:
        """Open the connection. Raises LineSilent."""
        await self._wire.connect(timeout_s)

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        """The words of a block. Raises LineError, also the one of the first time."""
        key = (device_address, *block.place, block.words)
        if key not in self._words:
            try:
                self._words[key] = await self._wire.read(device_address, block, timeout_s)
            except LineError as error:
                self._words[key] = error
        said = self._words[key]
        if isinstance(said, LineError):
            raise said
        return said

    async def identify(self, device_address: int, timeout_s: float) -> dict[int, bytes]:
        """Its device identification. Raises LineError; LineRefused where the wire has no such question."""
        if not isinstance(self._wire, Identifying):
            raise LineRefused("no such question on this wire", code=1)
        if device_address not in self._objects:
            try:
                self._objects[device_address] = await self._wire.identify(device_address, timeout_s)
            except LineError as error:
                self._objects[device_address] = error
        said = self._objects[device_address]
        if isinstance(said, LineError):
            raise said
        return said

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()


def is_there(error: LineError) -> bool:
    """True if the trouble was a device's answer: a refusal that is not a converter's."""
    return isinstance(error, LineRefused) and error.code not in UNREACHABLE


async def answers(wire: RegisterLine, device_address: int, timeout_s: float) -> bool:
    """True if a device answers at this address, with whatever. Some are silent to a table they do not have."""
    for table in ("holding", "input"):
        span = Span(table, 0, 1)
        try:
            await wire.read(device_address, Block(*span, spans=(span,)), timeout_s)
        except LineError as error:
            if not is_there(error):
                continue
        return True
    return False


async def recognise(wire: AskedOnce, device_address: int, profiles: Iterable[Profile], timeout_s: float) -> list[Match]:
    """The profiles that fit, surest first. Those without an identity are tried only where no identity fits."""
    with_identity = [one for one in profiles if one.identity is not None and one.identity.decisive]
    sunspec = (
        await _sunspec(wire, device_address, timeout_s) if any(one.relative for one in with_identity) else _Sunspec()
    )
    found: list[Match] = []
    for profile in with_identity:
        for base in sunspec.bases if profile.relative else (0,):
            match = await _by_identity(wire, device_address, profile, base, timeout_s)
            if match is not None:
                found.append(replace(match, serial=match.serial or sunspec.serial))
    if not found:
        for profile in profiles:
            if profile not in with_identity and not profile.relative:
                match = await _by_values(wire, device_address, profile, timeout_s)
                found += [] if match is None else [match]
    return sorted(found, key=lambda match: (-match.grade, -match.speaking, match.profile.name))


async def _by_identity(
    wire: AskedOnce, device_address: int, profile: Profile, base: int, timeout_s: float
) -> Match | None:
    if profile.identity is None:
        return None
    found = await identified(wire, device_address, base, profile.identity, timeout_s)
    if found.expected or found.undecided:
        return None
    values = await _values(wire, device_address, profile, base, timeout_s)
    return Match(
        profile=profile,
        grade=Grade.IDENTIFIED,
        speaking=sum(map(_speaks_for_it, values or [])),
        serial=found.serial,
        base_address=base,
        ratios=await _ratios(wire, device_address, profile, base, timeout_s),
    )


async def _by_values(wire: AskedOnce, device_address: int, profile: Profile, timeout_s: float) -> Match | None:
    values = await _values(wire, device_address, profile, 0, timeout_s)
    if values is None or any(_contradicts(value) for value in values):
        return None
    speaking = sum(map(_speaks_for_it, values))
    if not any(value.reading.value for value in values):
        return None  # zeros everywhere fit every profile
    serial = profile.identity and (await identified(wire, device_address, 0, profile.identity, timeout_s)).serial
    return Match(
        profile=profile,
        grade=Grade.PLAUSIBLE if speaking > 1 else Grade.POSSIBLE,
        speaking=speaking,
        serial=serial or "",
        ratios=await _ratios(wire, device_address, profile, 0, timeout_s),
    )


class _Value(NamedTuple):
    register: PolledRegister
    reading: Reading


async def _values(
    wire: AskedOnce, device_address: int, profile: Profile, base: int, timeout_s: float
) -> list[_Value] | None:
    """Every register of the profile as the device shows it now; None where it refuses one or does not answer."""
    registers = []
    for quantity, found in profile.registers.items():
        reach = found.reach
        span = Span(found.table, base + reach.start, len(reach))
        pieces = tuple(Span(found.table, base + piece.start, len(piece)) for piece in found.pieces)
        registers.append(PolledRegister(quantity, span, pieces, found.encoding, found.register, ONE))
    if any(register.span.end > 0x10000 for register in registers):
        return None
    values: list[_Value] = []
    by_name = {register.series: register for register in registers}
    forbidden = profile.forbidden_from(base)
    for block in plan_blocks((r.span for r in registers), max_words=profile.max_words, forbidden=forbidden):
        try:
            words = await wire.read(device_address, block, timeout_s)
        except LineError:
            return None
        values += [_Value(by_name[one.series], one) for one in readings_in(serve(block, registers), words, 0)]
    return values


def _contradicts(value: _Value) -> bool:
    """True if no meter shows such a value: these words are something else."""
    register, reading = value
    if reading.reason in {"absent", "not_accumulated"}:
        return False
    if reading.quality is not Quality.GOOD or reading.value is None:
        return True
    return bool(reading.value or _dimension(register) not in _MAY_BE_ZERO) and _in_range(value) is False


def _speaks_for_it(value: _Value) -> bool:
    return value.reading.quality is Quality.GOOD and bool(value.reading.value) and _in_range(value) is True


def _in_range(value: _Value) -> bool | None:
    """Whether the value is one that a meter shows; None where it could be any."""
    found, shown = _RANGES.get(_dimension(value.register)), value.reading.value
    if value.register.register.quantity == "power_factor" and shown is not None:
        return abs(shown) <= 1 if shown else None
    if found is None or shown is None:
        return None
    unit = UNITS[value.register.register.unit]
    return found[0] <= shown * float(unit.factor) + float(unit.offset) <= found[1]


def _dimension(register: PolledRegister) -> str:
    return QUANTITIES[register.register.quantity].dimension


async def _ratios(
    wire: AskedOnce, device_address: int, profile: Profile, base: int, timeout_s: float
) -> dict[str, str]:
    said: dict[str, str] = {}
    for key, fact in profile.ratios.facts.items() if profile.side == "secondary" else ():
        try:
            said[key] = await said_by(wire, device_address, base, fact, timeout_s)
        except LineError:
            continue
    return said


async def _sunspec(wire: AskedOnce, device_address: int, timeout_s: float) -> _Sunspec:
    """The chain of models behind the marker; nothing where there is none."""
    for place in _SUNSPEC_PLACES:
        if await _words(wire, device_address, Span("holding", place, 2), timeout_s) == _SUNSPEC_MARKER:
            return await _chain(wire, device_address, place + 2, timeout_s)
    return _Sunspec()


async def _chain(wire: AskedOnce, device_address: int, first: int, timeout_s: float) -> _Sunspec:
    bases: list[int] = []
    serial, at = "", first
    while at < 0xFFFE and len(bases) < _MOST_MODELS:
        head = await _words(wire, device_address, Span("holding", at, 2), timeout_s)
        model, length = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:], "big")
        if not head or model == _SUNSPEC_END:
            break
        if model == _COMMON_MODEL:
            place = _COMMON_SERIAL._replace(address=at + _COMMON_SERIAL.address)
            serial = printable(await _words(wire, device_address, place, timeout_s))
        bases.append(at)
        at += 2 + length
    return _Sunspec(tuple(bases), serial)


async def _words(wire: AskedOnce, device_address: int, span: Span, timeout_s: float) -> bytes:
    """The words there; b"" where the device does not give them."""
    if span.end > 0x10000:
        return b""
    try:
        return await wire.read(device_address, Block(*span, spans=(span,)), timeout_s)
    except LineError:
        return b""


def surest(matches: Sequence[Match]) -> Match | None:
    """The match to propose: the first, where it is surer than all others."""
    if not matches:
        return None
    first, others = matches[0], matches[1:]
    alone = all((other.grade, other.speaking) < (first.grade, first.speaking) for other in others)
    return first if alone and first.grade > Grade.POSSIBLE else None
