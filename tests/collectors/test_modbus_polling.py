"""What polling promises: every slot of every series accounted for, and trouble that stays where it is."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from collectors.blocks import Block
from collectors.polling import poll, polled_devices
from collectors.polling_collector import PollingCollector
from gateway.clocks import ReplayClock, SystemClock
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Site
from gateway.errors import ConfigError, LineRefused, LineSilent
from tests.collectors.modbus_lab import (
    FREQUENCY_BLOCK,
    POWER_BLOCK,
    QUANTITIES,
    SECOND,
    TEMPERATURE_BLOCK,
    lab_site,
)

T0 = 1_790_000_400 * SECOND  # on a full minute
WORDS = {  # what the profile's example shows, by block
    POWER_BLOCK: bytes.fromhex("0001 E240 0000 0000 42C8 0000"),
    FREQUENCY_BLOCK: bytes.fromhex("1388"),
    TEMPERATURE_BLOCK: bytes.fromhex("41A4 0000"),
}


def device(address: int, *, power: float = 100.0, hertz: int = 5000, temperature: bool = True) -> SimDevice:
    data = [
        SimData(10, values=[123456, 0], datatype=DataType.UINT32),
        SimData(14, values=[power], datatype=DataType.FLOAT32),
        SimData(40, values=[hertz], datatype=DataType.UINT16),
    ]
    data += [SimData(60, values=[20.5], datatype=DataType.FLOAT32)] if temperature else []
    return SimDevice(address, simdata=data)


@asynccontextmanager
async def served(*devices: SimDevice) -> AsyncIterator[int]:
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    server = ModbusTcpServer(list(devices), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


async def first_lists(site: Site, clock, count: int) -> list[list[Reading]]:
    line = site.lines["bus"]
    collector = PollingCollector(line, polled_devices(site, line), clock)
    lists = []
    async with aclosing(collector.readings()) as readings:
        async for some in readings:
            lists.append(some)
            if len(lists) == count:
                break
    return lists


def of(readings: list[Reading]) -> dict[str, Reading]:
    return {reading.series.split("/")[2]: reading for reading in readings}


async def test_a_device_is_read_in_three_requests_and_every_value_is_what_the_meter_shows(tmp_path: Path):
    async with served(device(1)) as port:
        site = lab_site(tmp_path, [1], port=port, period_s="0.05", ct_ratio="40")
        blocks = polled_devices(site, site.lines["bus"])[0].blocks
        assert [(p.block.table, p.block.address, p.block.words) for p in blocks] == [
            ("input", 10, 6),
            ("input", 40, 1),
            ("input", 60, 2),
        ]
        before = SystemClock().now()
        (readings,) = await first_lists(site, SystemClock(), 1)
        after = SystemClock().now()
    read = of(readings)
    assert read["active_energy_import"].value == 123456  # counts as read: the CT ratio is in the series' resolution
    assert read["active_energy_export"].value == 0
    assert read["active_power"].value == 4000.0  # 100 kW on the secondary side x 40
    assert read["frequency"].value == 50.0
    assert read["temperature"].value == 20.5
    assert read["active_power"].words == bytes.fromhex("42C8 0000")
    assert all(reading.quality is Quality.GOOD for reading in readings)
    assert len({read[quantity].instant for quantity in QUANTITIES[:3]}) == 1  # one block, one instant
    assert all(before <= reading.instant <= after for reading in readings)


async def test_a_refused_block_and_a_missing_device_cost_nobody_else_a_value(tmp_path: Path):
    async with served(device(1, temperature=False), device(3)) as port:
        site = lab_site(tmp_path, [1, 2, 3], port=port, period_s="0.05")
        one, two, three = await first_lists(site, SystemClock(), 3)
    assert of(one)["temperature"][2:5] == (None, Quality.MISSING, "line.refused.2")
    assert [reading.value for reading in one[:4]] == [123456, 0, 100.0, 50.0]
    assert {reading.reason for reading in two} == {"line.refused.4"}
    assert len(two) == len(QUANTITIES)
    assert all(reading.quality is Quality.GOOD for reading in three)


@pytest.mark.parametrize(
    ("power", "quality", "reason"),
    [(200.0, Quality.GOOD, ""), (200.5, Quality.SUSPECT, "over_limit"), (-200.5, Quality.SUSPECT, "over_limit")],
)
async def test_a_value_above_the_physical_limit_is_kept_and_doubted(tmp_path: Path, power: float, quality, reason: str):
    async with served(device(1, power=power)) as port:
        site = lab_site(tmp_path, [1], port=port, period_s="0.05", ct_ratio="40")
        (readings,) = await first_lists(site, SystemClock(), 1)
    # the profile's limit is what the meter itself can show: 200 kW on its side, 8000 kW in the plant
    assert of(readings)["active_power"][2:5] == (power * 40, quality, reason)


@pytest.mark.parametrize(("power", "why"), [(float("nan"), "not_a_number"), (float("inf"), "infinite")])
async def test_no_value_is_missing_and_never_zero(tmp_path: Path, power: float, why: str):
    async with served(device(1, power=power, hertz=0xFFFF)) as port:
        site = lab_site(tmp_path, [1], port=port, period_s="0.05")
        (readings,) = await first_lists(site, SystemClock(), 1)
    for quantity, reason in (("active_power", why), ("frequency", "absent")):
        assert of(readings)[quantity][2:5] == (None, Quality.MISSING, reason)
    assert of(readings)["frequency"].words == b"\xff\xff"  # what was read is kept all the same


async def test_two_points_at_one_meter_share_its_requests(tmp_path: Path):
    site = lab_site(tmp_path, [1, 2])
    for key, series in list(site.series.items()):
        if series.point == "p2":
            object.__setattr__(series, "meter", "m1")
            assert key.startswith("e/p2/")
    (only,) = polled_devices(site, site.lines["bus"])
    assert [polled.block.address for polled in only.blocks] == [10, 40, 60]
    assert sum(len(polled.registers) for polled in only.blocks) == 2 * len(QUANTITIES)


async def test_a_line_that_brings_too_few_words_for_a_value_is_told_with_line_and_meter(tmp_path: Path):
    site = lab_site(tmp_path, [1], max_words=1)
    with pytest.raises(ConfigError, match=r"site\.toml: line bus: max_words: found 1; expected enough .* meter m1"):
        polled_devices(site, site.lines["bus"])


class TimedLine:
    """A line whose answers take 10 ms of replayed time, and whose silences the time allowed."""

    def __init__(
        self, clock: ReplayClock, dead: set[int] = frozenset(), dead_blocks: set[tuple[int, int]] = frozenset()
    ):
        self.clock = clock
        self.dead = dead
        self.dead_blocks = dead_blocks
        self.refused: dict[int, int] = {}
        self.cut = False
        self.connects: list[int] = []
        self.asked: list[tuple[int, int, int]] = []  # instant, device, block
        self.unanswered: list[tuple[int, int, int]] = []

    async def connect(self, timeout_s: float) -> None:
        self.connects.append(self.clock.now())
        if self.cut:
            await self.clock.sleep_until(self.clock.now() + int(timeout_s * SECOND))
            raise LineSilent("no connection")

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        asked = (self.clock.now(), device_address, block.address)
        self.asked.append(asked)
        if device_address in self.dead or (device_address, block.address) in self.dead_blocks:
            await self.clock.sleep_until(self.clock.now() + int(timeout_s * SECOND))
            self.unanswered.append(asked)
            raise LineSilent("no answer")
        await self.clock.sleep_until(self.clock.now() + 10_000)
        if device_address in self.refused:
            raise LineRefused("refused", code=self.refused[device_address])
        return WORDS[block.address]

    def close(self) -> None:
        pass


async def polled(site: Site, wire: TimedLine, lists: int) -> list[list[Reading]]:
    line = site.lines["bus"]
    taken = []
    async with aclosing(poll(wire, line, polled_devices(site, line), wire.clock)) as readings:
        async for some in readings:
            taken.append(some)
            if len(taken) == lists:
                break
    return taken


def slot_of(instant: int, period_s: int) -> int:
    return instant // (period_s * SECOND)


LIVING = [1, 2, 3, 4, 5, 6]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    dead=st.sets(st.sampled_from(LIVING), max_size=3), period_s=st.sampled_from([5, 10, 60]), slots=st.integers(1, 60)
)
def test_a_dead_device_costs_at_most_one_timeout_per_back_off_and_its_neighbours_nothing(
    dead, period_s: int, slots: int
):
    wire = TimedLine(ReplayClock(T0), dead=dead)
    with TemporaryDirectory() as folder:
        site = lab_site(Path(folder), LIVING, period_s=str(period_s))
        lists = asyncio.run(polled(site, wire, slots * len(LIVING)))
    for address in dead:
        silences = [instant for instant, device, _ in wire.unanswered if device == address]
        for n, (one, next_one) in enumerate(pairwise(silences), start=1):
            # the n-th wait is 2 s x n, at most 300 s, counted between slots of the grid
            assert (slot_of(next_one, period_s) - slot_of(one, period_s)) * period_s >= min(2 * n, 300)
    # every slot of every series is told exactly once, in no list but its device's
    told = [(slot_of(r.instant, period_s), r.series) for readings in lists for r in readings]
    assert len(told) == len(set(told)) == slots * len(LIVING) * len(QUANTITIES)
    for address in LIVING:
        values = [r for readings in lists for r in readings if r.series.startswith(f"e/p{address}/")]
        assert all((r.quality is Quality.MISSING) == (address in dead) for r in values)
    # from the second slot on the living are asked first: their samples lie where they would lie without the dead
    place = {address: n for n, address in enumerate(a for a in LIVING if a not in dead)}
    for instant, address, block in wire.asked:
        if address not in dead and slot_of(instant, period_s) > slot_of(T0, period_s):
            position = place[address] * 3 + list(WORDS).index(block)
            assert instant % (period_s * SECOND) == position * 10_000


@pytest.mark.parametrize("dead_block", [POWER_BLOCK, FREQUENCY_BLOCK, TEMPERATURE_BLOCK])
async def test_a_block_that_alone_is_never_answered_does_not_take_the_others_with_it(tmp_path: Path, dead_block: int):
    site = lab_site(tmp_path, [1, 2], period_s="5")
    wire = TimedLine(ReplayClock(T0), dead_blocks={(1, dead_block)})
    lists = await polled(site, wire, 2 * 40)
    block_of = dict(zip(QUANTITIES, [POWER_BLOCK] * 3 + [FREQUENCY_BLOCK, TEMPERATURE_BLOCK], strict=True))
    for readings in lists[2:]:  # at the first slot nobody knows yet which of its blocks is the dead one
        dead_device = readings[0].series.startswith("e/p1/")
        for quantity, reading in of(readings).items():
            dead = dead_device and block_of[quantity] == dead_block
            assert (reading.reason in {"line.silent", "line.backoff"}) == dead
    # Waits of 2, 4, 6 ... s on slots 5 s apart: asked in vain at slots 0 1 2 4 6 8 11 14 18 22 26 31 36, and
    # once more where the dead block is the first one and is taken for a dead device at first.
    assert len(wire.unanswered) <= 14


async def test_a_device_that_comes_back_is_read_whole_at_once(tmp_path: Path):
    site = lab_site(tmp_path, [1], period_s="10")
    wire = TimedLine(ReplayClock(T0), dead={1})
    line = site.lines["bus"]
    async with aclosing(poll(wire, line, polled_devices(site, line), wire.clock)) as lists:
        for _ in range(100):
            await anext(lists)
        wire.dead = set()
        back = [await anext(lists) for _ in range(30)]
    values = [[reading.value is not None for reading in readings] for readings in back]
    first = values.index([True] * 5)
    assert values == [[False] * 5] * first + [[True] * 5] * (30 - first)


@pytest.mark.parametrize("code", [10, 11])
async def test_a_device_that_its_gateway_cannot_reach_is_as_silent_as_any_other(tmp_path: Path, code: int):
    site = lab_site(tmp_path, [1], period_s="1")
    wire = TimedLine(ReplayClock(T0))
    wire.refused = {1: code}
    lists = await polled(site, wire, 3)
    assert (
        len(wire.asked) == 2
    )  # one question at the first slot, none at the second (2 s of patience), one at the third
    assert [{reading.reason for reading in readings} for readings in lists] == [
        {f"line.refused.{code}"},
        {"line.backoff"},
        {f"line.refused.{code}"},
    ]


async def test_a_line_without_connection_is_tried_once_a_slot_and_comes_back(tmp_path: Path):
    site = lab_site(tmp_path, [1, 2, 3], period_s="10")
    wire = TimedLine(ReplayClock(T0))
    wire.cut = True
    lists = await polled(site, wire, 6)
    assert len(wire.connects) == 2
    assert {r.reason for readings in lists for r in readings} == {"line.silent"}
    wire.cut = False
    (readings,) = await polled(site, wire, 1)
    assert of(readings)["frequency"].value == 50.0


async def test_slots_that_passed_are_not_read_late(tmp_path: Path):
    site = lab_site(tmp_path, [1], period_s="10")
    clock = ReplayClock(T0)
    line = site.lines["bus"]
    async with aclosing(poll(TimedLine(clock), line, polled_devices(site, line), clock)) as lists:
        await anext(lists)
        await clock.sleep_until(T0 + 50 * SECOND + 1)  # a journal that took so long
        after = await anext(lists)
    assert of(after)["frequency"].value == 50.0
    assert slot_of(of(after)["frequency"].instant, 10) == slot_of(T0 + 60 * SECOND, 10)


async def test_a_device_whose_turn_comes_late_is_read_in_a_later_slot_and_never_twice_in_one(tmp_path: Path):
    site = lab_site(tmp_path, [1, 2, 3, 4], period_s="0.05")  # 3 answers of 10 ms each: a round takes 2.4 slots
    lists = await polled(site, TimedLine(ReplayClock(T0)), 40)
    for series in {reading.series for readings in lists for reading in readings}:
        slots = [r.instant // 50_000 for readings in lists for r in readings if r.series == series]
        assert len(slots) == len(set(slots)) == 10
        assert slots == sorted(slots)


async def test_a_cancelled_collector_hangs_up_and_another_reads_on(tmp_path: Path):
    async with served(device(1)) as port:
        site = lab_site(tmp_path, [1], port=port, period_s="0.05")
        got_one = asyncio.Event()

        async def consume() -> None:
            line = site.lines["bus"]
            collector = PollingCollector(line, polled_devices(site, line), SystemClock())
            async with aclosing(collector.readings()) as readings:
                async for _ in readings:
                    got_one.set()

        task = asyncio.create_task(consume())
        await got_one.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (readings,) = await first_lists(site, SystemClock(), 1)
    assert of(readings)["frequency"].value == 50.0
