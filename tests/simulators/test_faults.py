"""The fault proxy: each fault really happens on the wire, and a seed repeats a run."""

import asyncio
import itertools
import struct
from datetime import UTC, datetime

import pytest

from gateway.clocks import ReplayClock
from gateway.domain.periods import to_instant
from simulators import faults
from simulators.meter import MeterFromIntervals
from simulators.modbus_server import ModbusServer

EPOCH = to_instant(datetime(2026, 10, 1, tzinfo=UTC))


class Client:
    """One connection through the proxy, spoken by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def ask(self, *transactions):
        for transaction in transactions:
            self.writer.write(struct.pack(">HHHBBHH", transaction, 0, 6, 1, 3, 62, 2))

    async def answer(self):
        return await asyncio.wait_for(self.reader.readexactly(13), 5)

    async def transactions(self, count):
        return [struct.unpack(">H", (await self.answer())[:2])[0] for _ in range(count)]


@pytest.fixture
async def proxy():
    meter = MeterFromIntervals("acrel_adw300", [10**9], start=EPOCH, main="active_energy_import", initial=4711)
    async with (
        ModbusServer({1: meter}, clock=ReplayClock(EPOCH)) as server,
        faults.FaultProxy("127.0.0.1", server.port) as between,
    ):
        yield between


@pytest.fixture
async def client(proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield Client(reader, writer)
    writer.close()


async def test_without_faults_the_truth_passes(proxy, client):
    client.ask(1)
    assert (await client.answer())[9:] == struct.pack(">i", 4711)
    assert proxy.met == ["Pass"]


async def test_a_delay_holds_up_what_is_behind_it(proxy, client):
    proxy.script([faults.Delay(0.05)])
    client.ask(1, 2)
    assert await client.transactions(2) == [1, 2]


async def test_a_late_reply_comes_after_the_next_one(proxy, client):
    proxy.script([faults.LateReply(0.1)])
    client.ask(1, 2)
    assert await client.transactions(2) == [2, 1]


async def test_a_dropped_reply_never_comes(proxy, client):
    proxy.script([faults.Drop()])
    client.ask(1, 2)
    assert await client.transactions(1) == [2]


async def test_a_reset_is_a_reset(proxy, client):
    proxy.script([faults.Reset()])
    client.ask(1)
    with pytest.raises(ConnectionResetError):
        await client.answer()


async def test_after_a_half_close_nothing_more_comes(proxy, client):
    proxy.script([faults.HalfClose()])
    client.ask(1)
    assert await asyncio.wait_for(client.reader.read(), 5) == b""


async def test_a_trickle_arrives_whole(proxy, client):
    proxy.script([faults.Trickle(step=1, pause=0.001)])
    client.ask(1)
    first = await asyncio.wait_for(client.reader.read(100), 5)
    assert len(first) < 13
    rest = await asyncio.wait_for(client.reader.readexactly(13 - len(first)), 5)
    assert (first + rest)[9:] == struct.pack(">i", 4711)


@pytest.mark.parametrize("length", range(13))
async def test_a_cut_leaves_so_many_bytes(proxy, client, length):
    proxy.script([faults.CutAt(length)])
    client.ask(1)
    assert len(await asyncio.wait_for(client.reader.read(), 5)) == length


async def test_swapped_replies_change_places(proxy, client):
    proxy.script([faults.SwapWithNext()])
    client.ask(1, 2)
    assert await client.transactions(2) == [2, 1]


async def test_a_reply_that_comes_twice(proxy, client):
    proxy.script([faults.Twice()])
    client.ask(1, 2)
    assert await client.transactions(3) == [1, 1, 2]


async def test_transaction_ids_are_rewritten(proxy, client):
    proxy.script([faults.ConstantTransaction(2), faults.ShiftedTransaction(-1), faults.ShiftedTransaction(1)])
    client.ask(7, 0, 65535)
    assert await client.transactions(3) == [2, 65535, 0]


async def test_a_meter_that_is_away_resets_the_client():
    async with faults.FaultProxy("127.0.0.1", 1) as between:
        reader, writer = await asyncio.open_connection("127.0.0.1", between.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()


async def test_two_faulty_replies_reach_only_their_own_connection(proxy, client):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    other = Client(reader, writer)
    proxy.script([faults.Drop()])
    client.ask(1)
    while not proxy.met:
        await asyncio.sleep(0)
    other.ask(5)
    assert await other.transactions(1) == [5]
    client.ask(2)
    assert await client.transactions(1) == [2]
    writer.close()


def test_a_seed_repeats_the_same_faults():
    def drawn(seed):
        kinds = [faults.Drop(), faults.Reset(), faults.Twice()]
        return [type(fault).__name__ for fault in itertools.islice(faults.seeded(seed, 0.3, kinds), 500)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 0.2 < 1 - drawn(1).count("Pass") / 500 < 0.4
