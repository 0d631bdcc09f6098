"""`emg acquire` on a disk that fills up or loses its power, with simulated meters: for the tests and for the long runs."""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.domain.scopes import EVERYTHING
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from gateway.sinks.drain import drain_once
from gateway.stores.embedded import EmbeddedStore
from simulators.modbus_server import ModbusServer
from tests.faults.accounting import verify_bare
from tests.faults.loop_disk import LoopDisk

METERS = 5
LINE = """
[[line]]
id = "bus"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
period_s = 0.5
timeout_s = 0.25
"""
METER = """
[[meter]]
id = "E-{n}"
line = "bus"
profile = "electricity/acrel_adw300"
device_address = {n}

[[point]]
id = "p{n}"
enterprise = "works"
name_zh = "计量点"
name_en = "point"
carrier = "electricity"
level = "equipment"
role = "input"
meter = "E-{n}"
counts = "active_energy_import"
"""


class Resting:
    """A meter whose every word is zero: it answers, and counts nothing."""

    def read(self, table: str, address: int, count: int, instant: int) -> bytes | None:
        return bytes(2 * count)


def write_site(folder: Path, port: int) -> Path:
    """A site with five meters on one line, and its data beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "site.toml"
    begin = '[site]\nname = "w"\ntimezone = "Asia/Shanghai"\ndata_dir = "data"\ngateway_id = "gw-full"\n'
    enterprise = '[[enterprise]]\nid = "works"\nname_zh = "工厂"\nname_en = "works"\n'
    meters = "".join(METER.format(n=n) for n in range(1, METERS + 1))
    file.write_text(begin + enterprise + LINE.format(port=port) + meters, "utf-8")
    return file


@dataclass
class Acquiring:
    """A running `emg acquire` and what it says."""

    process: asyncio.subprocess.Process
    said: str = ""
    heard: list[tuple[float, str]] = field(default_factory=list)

    async def listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.heard.append((time.monotonic(), line.decode()))
            self.said += line.decode()

    async def until(self, holds: Callable[[], bool], limit_s: float = 30.0) -> float:
        """How long it took until `holds` [s]. Raises AssertionError when it does not come to that, or the program ends."""
        started = time.monotonic()
        while not holds():
            assert self.process.returncode is None, self.said
            assert time.monotonic() < started + limit_s, self.said
            await asyncio.sleep(0.05)
        return time.monotonic() - started


@asynccontextmanager
async def acquiring(site: Path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "acquire", str(site), stderr=asyncio.subprocess.PIPE
    )
    program = Acquiring(process)
    listening = asyncio.create_task(program.listen())
    try:
        yield program
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)
        await listening


def wrong_with(disk: LoopDisk) -> list[str]:
    """What is not as it must be on the disk: chain, slots, store."""
    journal_dir = journal_of(disk)
    wrong = [f"does not verify: {problem}"] if (problem := verify_bare(journal_dir)) is not None else []
    counts = account_slots(entries(journal_dir))
    wrong += [f"slots of {series}: {count}" for series, count in counts.items() if not count.exact]
    if len(counts) < METERS:
        wrong.append(f"only {len(counts)} series are accounted for")
    with EmbeddedStore.open(journal_dir.with_name("readings.db")) as store:
        drain_once(journal_dir, store)
        journaled = {(r.series, r.instant) for entry in entries(journal_dir) for r in readings_of(entry)}
        names = store.series(EVERYTHING)
        stored = {(r.series, r.instant) for name in names for r in store.readings(EVERYTHING, name, 0, 2**62)}
    if stored != journaled:
        wrong.append(f"the store holds {len(stored)} readings, the journal {len(journaled)}")
    return wrong


@dataclass(frozen=True)
class FullDisk:
    """What a disk that was full for `full_s` did: how soon the alarm came, how soon it went on after [s]."""

    full_s: float
    alarm_after_s: float
    went_on_after_s: float
    returncode: int
    said: str


def journal_of(disk: LoopDisk) -> Path:
    """Where `emg acquire` keeps its journal on a disk."""
    return disk.path / "site" / "data" / "journal"


def size_of(journal: Path) -> int:
    """The bytes of all its segments."""
    return sum(path.stat().st_size for path in journal.glob("*.journal*")) if journal.exists() else 0


async def cut_power_under(disk: LoopDisk, chance: random.Random, cuts: int) -> list[str]:
    """Acquire on the disk, cut its power, and begin again; the last is stopped in order. What each had said."""
    said = []
    devices = {n: Resting() for n in range(1, METERS + 1)}
    async with ModbusServer(devices, clock=SystemClock()) as server:
        for number in range(cuts + 1):
            site = write_site(disk.path / "site", server.port)
            before = size_of(journal_of(disk))
            async with acquiring(site) as program:
                await program.until(lambda before=before: size_of(journal_of(disk)) > before + 4000)
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                if number < cuts:
                    disk.cut_power()
                    program.process.kill()
            said.append(program.said)
            if number < cuts:
                disk.unmount()
                disk.mount()
    return said


async def fill_for(disk: LoopDisk, full_s: float) -> FullDisk:
    """Acquire on the disk, fill it, wait, free it, wait until intake goes on, and stop in order."""

    def size() -> int:
        return size_of(journal_of(disk))

    devices = {n: Resting() for n in range(1, METERS + 1)}
    async with ModbusServer(devices, clock=SystemClock()) as server:
        site = write_site(disk.path / "site", server.port)
        async with acquiring(site) as program:
            await program.until(lambda: size() > 20_000)
            await asyncio.to_thread(disk.fill)
            alarm_after_s = await program.until(lambda: "ALARM" in program.said)
            await asyncio.sleep(full_s)
            before = size()
            disk.free()
            went_on_after_s = await program.until(lambda: size() > before)
            later = size() + 10_000
            await program.until(lambda: size() > later)
        return FullDisk(full_s, alarm_after_s, went_on_after_s, program.process.returncode or 0, program.said)
