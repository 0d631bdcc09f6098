"""Sites that are edited while they are read: their text, a server that counts connections, and the law of their slots."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from collectors.acquire import acquire
from collectors.reloading import Reloading
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from tests.collectors.conftest import SITE
from tests.collectors.modbus_lab import PROFILE
from tests.collectors.modbus_peer import Server


class Bus(NamedTuple):
    """One polled line and the device address of each of its meters (meter m<n> at point <line>-<n>)."""

    port: int
    meters: Mapping[int, int]
    period_s: str = "0.05"
    ct_ratio: str = "1"


LINE = """
[[line]]
id = "{line}"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
period_s = {period_s}
timeout_s = {period_s}
"""
POINT = """
[[meter]]
id = "M-{line}-{n}"
line = "{line}"
profile = "electricity/lab_lm3"
device_address = {address}
ct_ratio = {ct_ratio}

[[point]]
id = "{line}-{n}"
enterprise = "works"
name_zh = "点"
name_en = "point"
carrier = "electricity"
level = "enterprise"
role = "input"
counts = "active_energy_import"
meter = "M-{line}-{n}"
"""


def site_text(lines: Mapping[str, Bus], more: str = "") -> str:
    text = SITE.format(zone="Asia/Shanghai") + more
    for line, bus in lines.items():
        text += LINE.format(line=line, port=bus.port, period_s=bus.period_s)
        for n, address in bus.meters.items():
            text += POINT.format(line=line, n=n, address=address, ct_ratio=bus.ct_ratio)
    return text


def write_site(folder: Path, text: str) -> Path:
    profile = folder / "profiles" / "electricity" / "lab_lm3.toml"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text(PROFILE, "utf-8")
    (folder / "site.toml").write_text(text, "utf-8")
    return folder / "site.toml"


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """A Modbus server whose word at address a of device d is d * 1000 + a."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in server.writers:
            writer.close()
        await listening.wait_closed()


class Looks:
    """The looks at the site's files, one at a time, when the test says so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._idle, self._asked = asyncio.Event(), asyncio.Queue[bool]()

        async def pause(_: Reloading) -> bool:
            self._idle.set()
            return await self._asked.get()

        patch.setattr(Reloading, "_pause", pause)

    async def begun(self) -> None:
        """Returns when the program is running."""
        await asyncio.wait_for(self._idle.wait(), 20)

    async def look(self, *, at_once: bool = False) -> None:
        """One look; returns when what it found is applied or refused."""
        await self._idle.wait()
        self._idle.clear()
        self._asked.put_nowait(at_once)
        await asyncio.wait_for(self._idle.wait(), 20)


@asynccontextmanager
async def acquiring(file: Path, looks: Looks) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(acquire(load_site(file), SystemClock(), stop))
    begun = asyncio.create_task(looks.begun())
    await asyncio.wait({running, begun}, return_when=asyncio.FIRST_COMPLETED)
    begun.cancel()
    try:
        yield
    finally:
        stop.set()
        await running


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def events(folder: Path, name: str) -> list[dict]:
    found = (entry.body for entry in entries(folder / "data" / "journal") if entry.kind is EntryKind.EVENT)
    return [body for body in found if body["event"] == name]


class Span(NamedTuple):
    """What one series was to be read at: the slots of a grid from `begin` on, up to (not with) `end`."""

    begin: int
    end: int | None
    period: int
    phase: int

    def slots(self, last: int) -> set[int]:
        first = self.begin + (self.phase - self.begin) % self.period
        return set(range(first, last + 1 if self.end is None else self.end, self.period))


def law_of_slots(folder: Path) -> dict[str, int]:
    """Holds the journal of one run against its own events: each series has each slot of each of its spans once.

    Knows nothing of the program: a series begins at the `from` of the event whose schedule names it, and ends at the
    `from` of the one that does not any more, or names another grid. Returns the number of slots by series; where no
    end is recorded yet, they are counted up to the last that was told.
    """
    spans: dict[str, list[Span]] = {}
    told: dict[tuple[str, int], Counter[int]] = {}
    for entry in entries(folder / "data" / "journal"):
        body = entry.body
        if "schedule" in body:
            _take(spans, body)
        elif entry.kind is EntryKind.GAP:
            assert len(range(body["first"], body["last"] + 1, body["period_us"])) == body["slots"]
            for series in body["series"]:
                assert spans[series][-1].period == body["period_us"]
                slots = range(body["first"], body["last"] + 1, body["period_us"])
                told.setdefault((series, len(spans[series])), Counter()).update(slots)
        for reading in readings_of(entry):
            span = spans[reading.series][-1]
            assert span.end is None, f"{reading.series} is read after its end"
            slot = reading.instant - (reading.instant - span.phase) % span.period
            told.setdefault((reading.series, len(spans[reading.series])), Counter())[slot] += 1
    counted: Counter[str] = Counter()
    for series, those in spans.items():
        for number, span in enumerate(those, 1):
            found = told.get((series, number), Counter())
            assert set(found.values()) <= {1}, f"{series}: a slot told twice"
            last = max(found, default=span.begin - 1)
            assert set(found) == span.slots(last), f"{series}: {span}: {set(found) ^ span.slots(last)}"
            counted[series] += found.total()
    return dict(counted)


def _take(spans: dict[str, list[Span]], body: dict) -> None:
    grids = {
        series: (told["period_us"], told["phase_us"]) for told in body["schedule"].values() for series in told["series"]
    }
    for series, those in spans.items():
        if those[-1].end is None and grids.get(series) != those[-1][2:]:
            those[-1] = those[-1]._replace(end=body["from"])
    for series, grid in grids.items():
        if series not in spans or spans[series][-1].end is not None:
            spans.setdefault(series, []).append(Span(body["from"], None, *grid))
