"""What the Modbus TCP line promises about answers: the right one, or none, from a server that misbehaves."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from collectors.modbus_tcp import ModbusTcpLine
from gateway.errors import LineGarbled, LineRefused, LineSilent
from tests.collectors.modbus_peer import Server, block, truth

LONG_S = 5.0  # far longer than any answer on the loopback takes
SHORT_S = 0.03
FIRST, SECOND = 0xB735, 0x216A  # the transaction ids of the first two questions of a line: far apart


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, ModbusTcpLine]]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    line = ModbusTcpLine("127.0.0.1", server.port)
    try:
        yield server, line
    finally:
        line.close()
        listener.close()
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)


def sends(change: Callable[[bytes], bytes]) -> Callable[[bytes, bytes, asyncio.StreamWriter], Awaitable[None]]:
    async def misbehave(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(change(right))

    return misbehave


async def test_words_come_as_they_were_on_the_wire_by_functions_3_and_4_alone():
    async with served() as (server, line):
        assert await line.read(7, block(20, 125), LONG_S) == truth(7, 20, 125)
        assert await line.read(8, block(1, 2, "input"), LONG_S) == truth(8, 1, 2)
        assert [request[7] for request in server.asked] == [3, 4]
        assert server.connections == 1


async def test_an_answer_in_single_bytes_is_still_the_answer():
    async def trickle(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in right:
            writer.write(bytes([byte]))
            await writer.drain()

    async with served() as (server, line):
        server.misbehave = trickle
        assert await line.read(7, block(20, 4), LONG_S) == truth(7, 20, 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda right: bytes([right[0] ^ 1]) + right[1:],
            f"transaction {FIRST ^ 256} answered where {FIRST} was asked",
        ),
        (lambda right: b"\0\0" + right[2:], f"transaction 0 answered where {FIRST} was asked"),
        (lambda right: right[:2] + b"\0\1" + right[4:], "protocol id 1"),
        (lambda right: right[:6] + b"\x08" + right[7:], "device 8 answered where 7 was asked"),
        (lambda right: right[:7] + b"\x04" + right[8:], "function code 4 where 3 was asked"),
        (lambda right: right[:4] + b"\0\3" + right[6:7] + b"\x84\x02", "function code 132 where 3 was asked"),
        (
            lambda right: right[:8] + b"\x02" + right[9:],
            "2 bytes of data announced in an answer of 6 bytes where 4 were asked",
        ),
        (
            lambda right: right[:4] + b"\0\5" + right[6:8] + b"\x02" + right[9:11],
            "2 bytes of data announced in an answer of 4 bytes",
        ),
        (
            lambda right: right[:4] + b"\0\x09" + right[6:8] + b"\x06" + right[9:] + b"\0\0",
            "6 bytes of data announced in an answer of 8 bytes",
        ),
        (lambda right: right[:4] + b"\xff\xff" + right[6:], "a frame of 65535 bytes"),
        (lambda right: right + b"\0", "1 bytes more than the answer"),
        (lambda right: right + right, f"transaction {FIRST}, which was not asked or is answered already"),
        (lambda right: right + bytes(4000), "a frame of 0 bytes where 2 to 254 are possible"),
    ],
)
async def test_an_answer_that_does_not_fit_the_question_is_refused_at_once_and_the_next_is_good(change, said: str):
    async with served() as (server, line):
        server.misbehave = sends(change)
        started = time.monotonic()
        with pytest.raises(LineGarbled, match=said):
            await line.read(7, block(20, 2), LONG_S)
        assert time.monotonic() - started < LONG_S / 2  # said when it is seen, not after the time allowed
        server.misbehave = None
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)
        assert server.connections == 2


@pytest.mark.parametrize("length", range(13))  # a whole answer with two words has 13 bytes
async def test_an_answer_cut_at_any_byte_is_never_decoded(length: int):
    async with served() as (server, line):
        server.misbehave = sends(lambda right: right[:length])
        with pytest.raises(LineGarbled if length else LineSilent):
            await line.read(7, block(20, 2), 10 * SHORT_S if length else SHORT_S)
        server.misbehave = None
        assert await line.read(7, block(30, 2), LONG_S) == truth(7, 30, 2)


@pytest.mark.parametrize("code", range(1, 12))
async def test_every_exception_code_is_told_and_the_connection_goes_on(code: int):
    async with served() as (server, line):
        server.misbehave = sends(lambda right: right[:4] + b"\0\3" + right[6:7] + bytes([right[7] | 0x80, code]))
        with pytest.raises(
            LineRefused, match=f"device 7, holding 20..21: refused with exception code {code}"
        ) as refused:
            await line.read(7, block(20, 2), LONG_S)
        assert (refused.value.code, refused.value.reason) == (code, f"line.refused.{code}")
        server.misbehave = None
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)
        assert server.connections == 1


async def test_an_answer_later_than_the_time_allowed_is_not_taken_for_the_next_request():
    async with served() as (server, line):
        late: list[tuple[bytes, asyncio.StreamWriter]] = []

        async def answer_the_one_before(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
            if not late:
                late.append((right, writer))
                return
            late[0][1].write(late[0][0])  # the late one first, on its own connection
            writer.write(right)

        server.misbehave = answer_the_one_before
        with pytest.raises(LineSilent, match=r"device 7, holding 20\.\.21: no answer within 0.03 s"):
            await line.read(7, block(20, 2), SHORT_S)
        assert await line.read(7, block(50, 2), LONG_S) == truth(7, 50, 2)
        assert (server.connections, line.late) == (1, 1)  # known by its number, dropped, counted; no new connection


async def test_a_gateway_that_delivers_late_answers_on_the_new_connection_is_found_out():
    async with served() as (server, line):
        late: list[bytes] = []

        async def deliver_late(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
            if late:
                writer.write(late.pop())
            else:
                late.append(right)

        server.misbehave = deliver_late
        with pytest.raises(LineSilent):
            await line.read(7, block(20, 2), SHORT_S)
        line.close()
        with pytest.raises(LineGarbled, match=f"transaction {FIRST} answered where {SECOND} was asked"):
            await line.read(7, block(50, 2), LONG_S)


async def test_an_answer_given_twice_spoils_the_connection_not_the_next_value():
    async with served() as (server, line):

        async def twice(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(right)
            await writer.drain()
            server.misbehave = again
            again_writers.append((writer, right))

        async def again(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
            old_writer, old = again_writers.pop()
            old_writer.write(old)
            await old_writer.drain()
            writer.write(right)
            server.misbehave = None

        again_writers: list[tuple[asyncio.StreamWriter, bytes]] = []
        server.misbehave = twice
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)
        with pytest.raises(LineGarbled):
            await line.read(7, block(50, 2), LONG_S)
        assert await line.read(7, block(50, 2), LONG_S) == truth(7, 50, 2)


async def test_what_nobody_asked_for_is_not_there_for_the_next_question():
    async with served() as (server, line):
        await line.read(7, block(20, 2), LONG_S)
        server.writers[0].write(Server.right(server.asked[0]))
        while line._connection.usable:
            await asyncio.sleep(0)
        assert await line.read(7, block(50, 2), LONG_S) == truth(7, 50, 2)
        assert server.connections == 2


async def test_of_hundreds_of_troubled_requests_none_gets_the_answer_to_another():
    """A fifth of the answers late, others with another's transaction number, doubled, cut or refused; seed 11."""
    chance = random.Random(11)
    held: list[tuple[asyncio.StreamWriter, bytes]] = []

    async def trouble(request: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        kind = chance.random()
        while held and chance.random() < 0.5:
            old_writer, old = held.pop(0)
            chosen = chance.choice([writer, old_writer])
            if not chosen.is_closing():
                chosen.write(old)
        if kind < 0.2:
            held.append((writer, right))
        elif kind < 0.3:
            writer.write(int.to_bytes(2, 2, "big") + right[2:])  # a gateway that always answers transaction 2
        elif kind < 0.4:
            writer.write(right + right)
        elif kind < 0.5:
            writer.write(right[: chance.randrange(len(right))])
        else:
            writer.write(right)

    good = troubled = 0
    async with served() as (server, line):
        server.misbehave = trouble
        for _ in range(300):
            device, address = chance.randrange(1, 60), chance.randrange(900)
            try:
                words = await line.read(device, block(address, 2), 0.01)
            except (LineSilent, LineGarbled):
                troubled += 1
                continue
            assert words == truth(device, address, 2)
            good += 1
        server.misbehave = None
        assert await line.read(1, block(0, 2), LONG_S) == truth(1, 0, 2)  # and when the trouble ends, it ends
    assert good > 50
    assert troubled > 50


async def test_a_connection_that_is_closed_under_the_question_is_told_at_once_and_opened_anew():
    async def hang_up(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with served() as (server, line):
        server.misbehave = hang_up
        started = time.monotonic()
        with pytest.raises(LineSilent, match="closed before the answer came"):
            await line.read(7, block(20, 2), LONG_S)
        assert time.monotonic() - started < LONG_S / 2
        server.misbehave = None
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)


async def test_nobody_there_is_silence():
    async with served() as (server, _):
        gone = server.port
    with pytest.raises(LineSilent, match=f"no connection to 127.0.0.1 port {gone}"):
        await ModbusTcpLine("127.0.0.1", gone).read(7, block(20, 2), LONG_S)


async def test_a_cancelled_request_leaves_no_answer_for_the_next():
    asked = asyncio.Event()
    held: list[tuple[bytes, asyncio.StreamWriter]] = []

    async def hold(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        held.append((right, writer))
        asked.set()

    async with served() as (server, line):
        server.misbehave = hold
        reading = asyncio.create_task(line.read(7, block(20, 2), LONG_S))
        await asked.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        server.misbehave = None
        held[0][1].write(held[0][0])
        assert await line.read(7, block(50, 2), LONG_S) == truth(7, 50, 2)
        assert (line.late, server.connections) == (1, 1)


async def test_a_cancellation_in_the_moment_of_the_answer_is_not_lost():
    async with served() as (_, line):
        await line.connect(LONG_S)
        reading = asyncio.create_task(line.read(7, block(20, 2), LONG_S))
        see = line._connection.buffer_updated

        def cancel_with_the_answer(count: int) -> None:
            asyncio.get_running_loop().call_soon(reading.cancel)
            see(count)

        line._connection.buffer_updated = cancel_with_the_answer
        with pytest.raises(asyncio.CancelledError):
            await reading
