"""The scan: one question at a time, so many a second and no more, over places and device addresses; what it proposes.

Nothing here knows of TCP: a place is any wire (scan_places.py), a serial port at one baud rate as well.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from collectors.blocks import Block
from collectors.device_watch import Identifying
from collectors.recognising import AskedOnce, Grade, Match, answers, recognise, surest
from collectors.register_line import RegisterLine
from collectors.scan_places import ScanPlace
from gateway.errors import LineError, LineRefused
from gateway.profile import Profile

QUESTIONS_OF_A_SILENT_DEVICE = 2


class Pace:
    """So many questions a second, over all places together; `sleep` and `now` [s] are a clock's."""

    def __init__(
        self,
        per_second: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._gap_s = 1 / per_second
        self._sleep = sleep
        self._now = now
        self._next = 0.0
        self.asked = 0

    async def wait(self) -> None:
        """Until the next question may be asked."""
        now = self._now()
        at = max(self._next, now)
        self._next = at + self._gap_s
        self.asked += 1
        if at > now:
            await self._sleep(at - now)


class _Paced:
    """A wire whose questions keep the pace (a RegisterLine, and Identifying)."""

    def __init__(self, wire: RegisterLine, pace: Pace) -> None:
        self._wire = wire
        self._pace = pace

    async def connect(self, timeout_s: float) -> None:
        await self._pace.wait()
        await self._wire.connect(timeout_s)

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        await self._pace.wait()
        return await self._wire.read(device_address, block, timeout_s)

    async def identify(self, device_address: int, timeout_s: float) -> dict[int, bytes]:
        if not isinstance(self._wire, Identifying):
            raise LineRefused("no such question on this wire", code=1)
        await self._pace.wait()
        return await self._wire.identify(device_address, timeout_s)

    def close(self) -> None:
        self._wire.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """A device that answers, with the profiles that fit it, surest first."""

    place: ScanPlace
    device_address: int
    matches: tuple[Match, ...]

    @property
    def proposed(self) -> Match | None:
        """The profile to propose; None where none is surer than all others."""
        return surest(self.matches)


async def scan(
    places: Iterable[ScanPlace],
    device_addresses: Sequence[int],
    profiles: Sequence[Profile],
    *,
    pace: Pace,
    timeout_s: float,
    step: Callable[[str], None] = lambda _label: None,
) -> AsyncIterator[FoundDevice]:
    """Every device that answers, as it is found. A place that cannot be connected has none.

    `step` is called once for every place and device address that is done.
    """
    for place in places:
        wire = AskedOnce(_Paced(place.open(), pace))
        try:
            connected = await _connected(wire, timeout_s)
            for device_address in device_addresses:
                if connected and await answers(wire, device_address, timeout_s):
                    matches = await recognise(wire, device_address, profiles, timeout_s)
                    yield FoundDevice(place=place, device_address=device_address, matches=tuple(matches))
                step(f"{place.label} device {device_address}")
        finally:
            wire.close()


async def _connected(wire: AskedOnce, timeout_s: float) -> bool:
    try:
        await wire.connect(timeout_s)
    except LineError:
        return False
    return True


def longest_s(places: int, devices: int, *, per_second: float, timeout_s: float) -> float:
    """How long [s] it takes when every place can be connected and no device answers."""
    questions = QUESTIONS_OF_A_SILENT_DEVICE * devices
    return places * ((questions + 1) / per_second + questions * timeout_s)


def proposal(found: Sequence[FoundDevice]) -> str:
    """[[line]] and [[meter]] tables for the site file; devices of one place stand behind one line."""
    blocks: list[str] = []
    for place in dict.fromkeys(device.place for device in found):
        devices = [device for device in found if device.place == place]
        line = _name("line", place.label)
        blocks.append("\n".join(["[[line]]", f"id = {json.dumps(line)}", *_keys(place.line)]))
        known: dict[tuple[str, str], int] = {}  # a meter that answers to every address is proposed once
        for device in devices:
            match = device.proposed
            first = known.setdefault((match.profile.name, match.serial), device.device_address) if match else None
            if match and match.serial and first != device.device_address:
                blocks.append(f"# device {device.device_address} of {line} has the serial number of device {first}")
            else:
                blocks.append("\n".join(_meter(device, line)))
    return "\n\n".join(blocks)


def _meter(device: FoundDevice, line: str) -> Iterator[str]:
    match = device.proposed
    others = ", ".join(f"{one.profile.name} ({told(one)})" for one in device.matches if one is not match)
    where = f"device {device.device_address} of {line}"
    if match is None:
        yield f"# {where} answers; {f'it may be: {others}' if others else 'no profile fits it'}"
        return
    yield f"# {match.profile.maker} {match.profile.model}: {told(match)}" + (f"; also {others}" if others else "")
    yield "[[meter]]"
    identifier = _name("meter", f"{line.removeprefix('line-')}-{device.device_address}")
    yield f"id = {json.dumps(identifier)}  # its management number"
    keys: dict[str, str | int] = {"line": line, "profile": match.profile.name, "device_address": device.device_address}
    keys |= {"serial": match.serial} if match.serial else {}
    keys |= {"base_address": match.base_address} if match.base_address else {}
    yield from _keys(keys)
    yield from (f"{key} = {ratio}" for key, ratio in match.ratios.items() if ratio)


def told(match: Match) -> str:
    """How sure a match is, in words."""
    if match.grade is Grade.IDENTIFIED:
        return "identified by what it says of itself"
    return f"{match.grade.name.lower()}, {match.speaking} of its values speak for it"


def _keys(values: dict[str, str | int]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in values.items()]


def _name(kind: str, label: str) -> str:
    return f"{kind}-{re.sub('[^A-Za-z0-9]+', '-', label).strip('-')}"[:64].rstrip("-")
