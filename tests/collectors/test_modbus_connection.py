"""Several questions on their way, transaction ids, silences and turns: to each question its own answer, or none."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from collectors.modbus_connection import Connection
from collectors.modbus_tcp import _STRIDE, ModbusTcpLine, _Turns
from gateway.errors import LineError, LineGarbled, LineSilent
from tests.collectors.modbus_peer import Server, against, block, truth
from tests.collectors.test_modbus_conformance import test_a_device_tells_who_it_is_in_one_part_and_in_two as identified

LONG_S, SHORT_S = 5.0, 0.05


async def collect(count: int, each: Callable[[list[bytes]], list[bytes]], server: Server) -> None:
    """The server waits for `count` requests and then sends what `each` makes of the right answers, in one piece."""
    waiting: list[bytes] = []

    async def misbehave(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        waiting.append(right)
        if len(waiting) == count:
            writer.write(b"".join(each(waiting)))
            waiting.clear()

    server.misbehave = misbehave


async def read_all(line: ModbusTcpLine, count: int, timeout_s: float) -> list[bytes | BaseException]:
    reads = (line.read(7, block(10 * number, 2), timeout_s) for number in range(count))
    return await asyncio.gather(*reads, return_exceptions=True)


@pytest.mark.parametrize("order", [lambda sent: sent, lambda sent: sent[::-1], lambda sent: sent[3:] + sent[:3]])
async def test_answers_merged_and_out_of_order_go_to_their_own_questions(order):
    server = Server()
    await collect(8, order, server)
    async with against(server, pipeline=8) as line:
        assert await read_all(line, 8, LONG_S) == [truth(7, 10 * number, 2) for number in range(8)]
        assert await read_all(line, 8, LONG_S) == [truth(7, 10 * number, 2) for number in range(8)]
    assert server.connections == 1


async def test_one_question_at_a_time_unless_more_are_declared():
    server = Server()
    most = now = 0

    async def count(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        writer.write(right)

    async def side_by_side(request: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(count(request, right, writer))
        tasks.add(task)

    tasks: set[asyncio.Task[None]] = set()
    server.misbehave = side_by_side
    for pipeline in (1, 3):
        most = 0
        async with against(server, pipeline=pipeline) as line:
            assert await read_all(line, 10, LONG_S) == [truth(7, 10 * number, 2) for number in range(10)]
        assert most == pipeline


async def test_of_several_on_their_way_the_one_that_is_not_answered_costs_no_other_its_answer():
    server = Server()
    await collect(4, lambda sent: [sent[0], sent[1], sent[3]], server)
    async with against(server, pipeline=4) as line:
        first, second, third, fourth = await read_all(line, 4, 10 * SHORT_S)
    assert [first, second, fourth] == [truth(7, 0, 2), truth(7, 10, 2), truth(7, 30, 2)]
    assert isinstance(third, LineSilent)


async def test_an_answer_doubled_among_several_is_given_to_nobody():
    server = Server()
    await collect(4, lambda sent: [sent[0], sent[0], *sent[1:]], server)
    async with against(server, pipeline=4) as line:
        got = await read_all(line, 4, LONG_S)
        assert all(isinstance(error, LineGarbled) for error in got)
        server.misbehave = None
        assert await line.read(7, block(50, 2), LONG_S) == truth(7, 50, 2)


async def test_who_waits_for_a_turn_is_served_when_the_one_before_is_cancelled():
    server = Server()
    server.misbehave = nothing
    async with against(server) as line:
        first, second, third = (asyncio.create_task(line.read(7, block(at, 2), LONG_S)) for at in (0, 10, 20))
        while not server.asked:
            await asyncio.sleep(0.001)
        server.misbehave = None
        second.cancel()
        first.cancel()
        assert await third == truth(7, 20, 2)
        for cancelled in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await cancelled


async def test_a_place_given_in_the_moment_of_a_cancellation_is_handed_on_and_none_is_made_up():
    turns = _Turns(1)
    assert turns.take()
    waiting = asyncio.create_task(turns.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not turns.take()  # it is still with the first
    waiting = asyncio.create_task(turns.wait())
    await asyncio.sleep(0)
    turns.go()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert turns.take()
    assert not turns.take()


async def nothing(_request: bytes, _right: bytes, _writer: asyncio.StreamWriter) -> None:
    """No answer."""


async def test_two_silences_in_a_row_close_the_connection_and_one_does_not():
    server = Server()
    async with against(server) as line:
        server.misbehave = nothing
        for _ in range(2):
            with pytest.raises(LineSilent):
                await line.read(7, block(20, 2), SHORT_S)
        assert server.connections == 1
        server.misbehave = None
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)
        assert server.connections == 2
        for _ in range(3):  # single ones, with answers in between
            server.misbehave = nothing
            with pytest.raises(LineSilent):
                await line.read(7, block(20, 2), SHORT_S)
            server.misbehave = None
            assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)
        assert server.connections == 2


def asked(server: Server) -> list[int]:
    return [int.from_bytes(sent[:2], "big") for sent in server.asked]


def constant(transaction: int):
    async def misbehave(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(transaction.to_bytes(2, "big") + right[2:])

    return misbehave


async def test_a_converter_with_one_transaction_id_for_all_is_found_out_and_told_how_to_mend():
    server = Server()
    async with against(server) as line:
        server.misbehave = constant(2)
        for _ in range(2):
            with pytest.raises(LineGarbled, match="transaction 2 answered where"):
                await line.read(7, block(20, 2), LONG_S)
        for _ in range(3):
            with pytest.raises(
                LineGarbled, match=r'transaction id 2, .* say transaction_ids = "ignored" for this line'
            ):
                await line.read(7, block(20, 2), LONG_S)
        server.misbehave = None
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)


async def test_a_converter_with_one_transaction_id_is_never_asked_with_that_one():
    server = Server()
    async with against(server) as line:
        await line.connect(LONG_S)
        server.misbehave = constant((line._transaction + 4 * _STRIDE) % 65536)
        for _ in range(6):
            with pytest.raises(LineGarbled):
                await line.read(7, block(20, 2), LONG_S)
    assert asked(server) == [(asked(server)[0] + n * _STRIDE) % 65536 for n in (0, 1, 2, 4, 5, 6)]


async def test_declared_so_any_transaction_id_is_taken_and_a_question_given_up_costs_the_connection():
    server = Server()
    async with against(server, echoes_transactions=False) as line:
        server.misbehave = constant(2)
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)
        assert await line.read(7, block(30, 2), LONG_S) == truth(7, 30, 2)
        assert server.connections == 1
        server.misbehave = nothing
        with pytest.raises(LineSilent):
            await line.read(7, block(40, 2), SHORT_S)
        server.misbehave = constant(2)
        assert await line.read(7, block(50, 2), LONG_S) == truth(7, 50, 2)
        assert server.connections == 2

        async def of_another_device(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(right[:6] + b"\x09" + right[7:])

        server.misbehave = of_another_device
        with pytest.raises(LineGarbled, match="device 9 answered where 7 was asked"):
            await line.read(7, block(20, 2), LONG_S)


def test_without_transaction_ids_only_one_question_can_be_on_its_way():
    with pytest.raises(ValueError, match="pipeline must be 1"):
        ModbusTcpLine("127.0.0.1", 502, pipeline=2, echoes_transactions=False)


async def test_a_transaction_id_is_not_used_again_while_its_late_answer_may_come():
    server = Server()
    async with against(server) as line:
        server.misbehave = nothing
        with pytest.raises(LineSilent):
            await line.read(7, block(20, 2), SHORT_S)
        server.misbehave = None
        (given_up,) = asked(server)
        line._transaction = (given_up - 2 * _STRIDE) % 65536
        for at in (30, 40, 50):
            assert await line.read(7, block(at, 2), LONG_S) == truth(7, at, 2)
    assert asked(server)[1:] == [(given_up + n * _STRIDE) % 65536 for n in (-1, 1, 2)]


async def test_transaction_ids_go_through_all_and_never_near_the_ones_before():
    server = Server()
    async with against(server) as line:
        await line.connect(LONG_S)
        ids = [line._next_transaction(line._connection) for _ in range(65536)]
    assert sorted(ids) == list(range(65536))
    near = [abs(one - other) for n, one in enumerate(ids[:1000]) for other in ids[n + 1 : n + 17]]
    assert min(near) > 1000


async def test_where_a_strange_number_was_seen_a_question_given_up_costs_the_connection():
    server = Server()
    async with against(server) as line:
        server.misbehave = constant(2)
        with pytest.raises(LineGarbled):
            await line.read(7, block(20, 2), LONG_S)
        server.misbehave = nothing
        with pytest.raises(LineSilent):
            await line.read(7, block(20, 2), SHORT_S)
        server.misbehave = None
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)
    assert server.connections == 3


async def test_a_line_closed_under_its_questions_tells_them():
    server = Server()
    server.misbehave = nothing
    async with against(server, pipeline=2) as line:
        reads = [asyncio.create_task(line.read(7, block(at, 2), LONG_S)) for at in (0, 10)]
        while len(server.asked) < 2:
            await asyncio.sleep(0.001)
        line.close()
        for read in reads:
            with pytest.raises(LineError, match="the line was closed"):
                await read


@pytest.mark.parametrize("host", ["", "no name can be this..", "256.256.256.256"])
async def test_a_host_that_cannot_be_is_silence(host: str):
    with pytest.raises(LineSilent, match="no connection to"):
        await ModbusTcpLine(host, 1).connect(LONG_S)


async def test_a_connection_sends_at_once_and_notices_a_peer_that_vanished():
    async with against(Server()) as line:
        await line.connect(LONG_S)
        there = line._connection._transport.get_extra_info("socket")
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize(
    "manners",
    [
        identified,
        test_one_question_at_a_time_unless_more_are_declared,
        test_an_answer_doubled_among_several_is_given_to_nobody,
        test_who_waits_for_a_turn_is_served_when_the_one_before_is_cancelled,
        test_two_silences_in_a_row_close_the_connection_and_one_does_not,
        test_a_converter_with_one_transaction_id_for_all_is_found_out_and_told_how_to_mend,
        test_declared_so_any_transaction_id_is_taken_and_a_question_given_up_costs_the_connection,
        test_a_line_closed_under_its_questions_tells_them,
        test_a_connection_sends_at_once_and_notices_a_peer_that_vanished,
    ],
)
def test_on_the_faster_event_loop_it_is_all_the_same(manners: Callable[[], Awaitable[None]]):
    uvloop = pytest.importorskip("uvloop", reason="the extra [fast] is not installed")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(manners())


async def test_the_time_that_connecting_took_is_not_allowed_once_more(monkeypatch: pytest.MonkeyPatch):
    instants, allowed, ask = iter((100.0, 103.0)), [], Connection.ask

    def noted(self, *question, left_s: float, allowed_s: float):
        allowed.append((left_s, allowed_s))
        return ask(self, *question, left_s=left_s, allowed_s=allowed_s)

    monkeypatch.setattr(Connection, "ask", noted)
    monkeypatch.setattr("collectors.modbus_tcp.time", SimpleNamespace(monotonic=lambda: next(instants)))
    async with against(Server()) as line:
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)
        assert await line.read(7, block(30, 2), LONG_S) == truth(7, 30, 2)
    assert allowed == [(LONG_S - 3, LONG_S), (LONG_S, LONG_S)]
