"""The specification's examples on a real connection, and answers with any bit changed: the right one, or none."""

import asyncio

import pytest

from gateway.errors import LineGarbled, LineRefused, LineSilent
from tests.collectors.modbus_examples import EXAMPLES, IDENTIFIED, IDENTIFIED_IN_PARTS
from tests.collectors.modbus_peer import Scripted, Server, against, answers, block, truth

LONG_S, SHORT_S = 5.0, 0.05


@pytest.mark.parametrize(("asked", "request_pdu", "answer", "data"), EXAMPLES)
async def test_every_example_goes_over_the_wire_byte_by_byte(asked, request_pdu: bytes, answer: bytes, data: bytes):
    table, address, count = asked
    server = Scripted(answers(answer))
    async with against(server) as line:
        assert await line.read(17, block(address, count, table), LONG_S) == data
    (sent,) = server.asked
    assert sent[2:] == b"\0\0\0\6\x11" + request_pdu


async def test_a_device_tells_who_it_is_in_one_part_and_in_two():
    (first, second), objects = IDENTIFIED_IN_PARTS
    server = Scripted(answers(IDENTIFIED[0]), answers(first), answers(second), answers(b"\xab\x01"))
    async with against(server) as line:
        assert await line.identify(1, LONG_S) == IDENTIFIED[1]
        assert await line.identify(1, LONG_S) == objects
        with pytest.raises(LineRefused, match=r"device 1, identification: .* code 1 \(illegal function\)"):
            await line.identify(1, LONG_S)
        assert server.connections == 1
    assert [sent[7:] for sent in server.asked[:3]] == [b"\x2b\x0e\1\0", b"\x2b\x0e\1\0", b"\x2b\x0e\1\2"]


async def test_a_device_that_never_comes_to_an_end_with_who_it_is_is_stopped():
    endless = IDENTIFIED_IN_PARTS[0][0]
    async with against(Scripted(*[answers(endless)] * 99)) as line:
        with pytest.raises(LineGarbled, match="more than 16 parts"):
            await line.identify(1, LONG_S)


@pytest.mark.parametrize("place", range(13))
async def test_an_answer_with_any_byte_changed_gives_a_right_value_or_none(place: int):
    """Bytes 0 to 8 are checked one by one; what is changed in the words themselves, nobody can see on TCP."""
    server = Server()
    async with against(server) as line:
        right = truth(7, 20, 2)
        for bit in range(8):

            async def one_wrong_bit(_: bytes, answer: bytes, writer: asyncio.StreamWriter, bit: int = bit) -> None:
                writer.write(answer[:place] + bytes((answer[place] ^ 1 << bit,)) + answer[place + 1 :])

            server.misbehave = one_wrong_bit
            if place < 9:
                with pytest.raises((LineGarbled, LineSilent)):
                    await line.read(7, block(20, 2), SHORT_S)
            else:
                assert await line.read(7, block(20, 2), LONG_S) != right
            server.misbehave = None
            assert await line.read(7, block(20, 2), LONG_S) == right
