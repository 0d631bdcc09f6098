"""15 of 100 devices are sick in every way that devices are: the other 85 keep their slots."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from collectors.acquire import acquire
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Quality, Reading
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from gateway.line_status import acquire_status
from simulators.faults import ByDevice, Drop, FaultProxy, Garbage, HalfClose, LateReply
from simulators.modbus_server import ModbusServer
from tests.collectors.fleet import fleet_site
from tests.collectors.test_modbus_polling import WORDS

SECOND = 1_000_000
LINES, ADDRESSES = 10, range(1, 11)
SLOTS = 13
# line: (device address: what is wrong with it); three of each kind, five lines with two sick devices
SICK = {
    "L0": {3: "silent", 7: "garbage"},
    "L1": {1: "slow", 10: "exceptions"},
    "L2": {2: "half-open", 5: "silent"},
    "L3": {4: "exceptions", 6: "slow"},
    "L4": {9: "garbage", 8: "half-open"},
    "L5": {1: "silent"},
    "L6": {10: "slow"},
    "L7": {5: "exceptions"},
    "L8": {5: "garbage"},
    "L9": {2: "half-open"},
}
FAULTS = {"silent": Drop(), "slow": LateReply(0.3), "garbage": Garbage(), "half-open": HalfClose()}


class Meter:
    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses

    def read(self, table: str, address: int, count: int, instant: int) -> bytes | None:
        return None if self.refuses else WORDS[address]


async def line_port(stack: AsyncExitStack, sick: dict[int, str]) -> int:
    """A converter with ten devices behind it, and a bad line before it."""
    meters = {address: Meter(refuses=sick.get(address) == "exceptions") for address in ADDRESSES}
    server = await stack.enter_async_context(ModbusServer(meters, clock=SystemClock()))
    fault = ByDevice({address: FAULTS[kind] for address, kind in sick.items() if kind in FAULTS})
    proxy = FaultProxy("127.0.0.1", server.port, iter(lambda: fault, None))
    return (await stack.enter_async_context(proxy)).port


async def test_15_sick_devices_of_100_take_no_slots_of_the_other_85(tmp_path: Path):
    assert sorted(kind for sick in SICK.values() for kind in sick.values()) == sorted(
        ["silent", "slow", "exceptions", "garbage", "half-open"] * 3
    )
    async with AsyncExitStack() as stack:
        ports = {line: await line_port(stack, sick) for line, sick in SICK.items()}
        site = load_site(fleet_site(tmp_path, ports, ADDRESSES))
        stop = asyncio.Event()
        running = asyncio.create_task(acquire(site, SystemClock(), stop))

        def newest() -> int:
            status = acquire_status(site.data_dir)
            lines = status.lines.values() if status else ()
            turns = [
                device["slots_on_time"] + device["slots_late"] + device["slots_empty"]
                for line in lines
                for device in line["devices"].values()
            ]
            return min(turns) if len(turns) == 100 else 0

        async with asyncio.timeout(60):
            while await asyncio.to_thread(newest) < SLOTS:
                await asyncio.sleep(0.2)
        status = await asyncio.to_thread(acquire_status, site.data_dir)
        stop.set()
        await running
    found: dict[str, list[Reading]] = {}
    for entry in entries(site.data_dir / "journal"):
        for reading in readings_of(entry):
            found.setdefault(reading.series.split("/")[1], []).append(reading)
    sick = {f"{line}-{address}": kind for line, those in SICK.items() for address, kind in those.items()}
    # by the journal alone: between the first and the last slot of any device every healthy one has a value in each
    slots = {reading.instant // SECOND for readings in found.values() for reading in readings}
    whole = set(range(min(slots) + 1, max(slots)))
    assert len(whole) >= SLOTS - 2
    kept = {
        point: whole & {reading.instant // SECOND for reading in readings if reading.quality is Quality.GOOD}
        for point, readings in found.items()
    }
    healthy = [point for point in found if point not in sick]
    assert len(healthy) == 85
    assert sum(len(kept[point]) for point in healthy) >= 0.999 * 85 * len(whole)
    # nothing that a sick one sent was taken for a value, and each is named with what it has
    for point, kind in sick.items():
        assert not kept[point], f"{point}, {kind}"
        assert all(reading.value is None for reading in found[point])
        line, _, _ = point.partition("-")
        device = status.lines[line]["devices"][point]
        assert device["answered"] == 0
        assert device["failures_in_a_row"] > 0
        seen = {"exceptions": device["refused"].get("2", 0), "garbage": device["garbled"]}
        assert seen.get(kind, device["silent"]) > 0, f"{point}, {kind}: {device}"
    assert sum(status.lines[line]["late_answers"] for line in ("L1", "L3", "L6")) > 0
    for series, count in account_slots(entries(site.data_dir / "journal")).items():
        assert count.exact, f"{series}: {count}"
