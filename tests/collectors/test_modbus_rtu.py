"""Modbus RTU on pseudo-terminals and through serial servers: the right value or an error, whatever the bus brings."""

import asyncio
import os
import random
import tty

import pytest
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from collectors.modbus_rtu import ModbusRtuLine
from gateway.errors import LineError, LineGarbled, LineRefused, LineSilent
from tests.collectors.modbus_examples import EXAMPLES, IDENTIFIED, IDENTIFIED_IN_PARTS
from tests.collectors.modbus_peer import block, truth
from tests.collectors.rtu_bus import on_pty, on_tcp, right, serial_line, with_crc

LONG_S, SHORT_S = 5.0, 0.05
WAYS = pytest.mark.parametrize("way", [on_pty, on_tcp])


def at_once(*answers: bytes):
    left = list(answers)
    return lambda _: [(0.0, left.pop(0))]


@WAYS
@pytest.mark.parametrize(("asked", "request_pdu", "answer", "data"), EXAMPLES)
async def test_every_example_goes_over_the_wire_byte_by_byte(way, asked, request_pdu, answer, data):
    table, address, count = asked
    sent: list[bytes] = []

    def answering(question: bytes):
        sent.append(question)
        return [(0.0, with_crc(b"\x11" + answer))]

    async with way(answering) as (line, _):
        assert await line.read(17, block(address, count, table), LONG_S) == data
    assert sent == [with_crc(b"\x11" + request_pdu)]


@WAYS
async def test_a_device_tells_who_it_is_in_one_part_and_in_two(way):
    (first, second), objects = IDENTIFIED_IN_PARTS
    answering = at_once(*(with_crc(b"\1" + pdu) for pdu in (IDENTIFIED[0], first, second, b"\xab\x01")))
    async with way(answering) as (line, _):
        assert await line.identify(1, LONG_S) == IDENTIFIED[1]
        assert await line.identify(1, LONG_S) == objects
        with pytest.raises(LineRefused, match=r"device 1, identification: .* code 1 \(illegal function\)"):
            await line.identify(1, LONG_S)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 77])
async def test_every_exception_is_told_with_its_code_and_is_no_value(code: int):
    async with on_pty(at_once(with_crc(bytes((7, 0x83, code))), right(b"\7\3\0\x14\0\2"))) as (line, _):
        with pytest.raises(LineRefused) as refused:
            await line.read(7, block(20, 2), LONG_S)
        assert refused.value.code == code
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)


async def test_an_answer_with_any_bit_flipped_is_never_a_value_and_the_next_one_is_right():
    good = right(b"\7\3\0\x14\0\2")
    flips = [good[:at] + bytes((good[at] ^ 1 << bit,)) + good[at + 1 :] for at in range(len(good)) for bit in range(8)]
    for flipped in flips:
        left = [flipped]
        async with on_pty(lambda q, left=left: [(0.0, left.pop() if left else right(q))]) as (line, _):
            with pytest.raises((LineGarbled, LineSilent, LineRefused)):
                await line.read(7, block(20, 2), SHORT_S)
            assert await line.read(7, block(20, 2), SHORT_S) == truth(7, 20, 2)


@WAYS
async def test_an_answer_that_breaks_off_anywhere_is_never_a_value(way):
    good = right(b"\7\3\0\x14\0\2")
    for at in range(1, len(good)):
        left = [good[:at]]
        async with way(lambda q, left=left: [(0.0, left.pop() if left else right(q))]) as (line, _):
            with pytest.raises(LineGarbled, match="broke off after"):
                await line.read(7, block(20, 2), SHORT_S)
            assert await line.read(7, block(20, 2), SHORT_S) == truth(7, 20, 2)


@WAYS
async def test_an_answer_in_pieces_is_put_together(way):
    async with way(lambda q: [(0.001, right(q)[at : at + 1]) for at in range(len(right(q)))]) as (line, _):
        assert await line.read(7, block(20, 2), LONG_S) == truth(7, 20, 2)


@WAYS
async def test_more_bytes_than_the_answer_and_another_devices_answer_are_refused(way):
    answers = [right(b"\7\3\0\x14\0\2") + b"\xaa", right(b"\x08\3\0\x14\0\2"), right(b"\7\3\0\x14\0\1")]
    async with way(lambda q: [(0.0, answers.pop(0) if answers else right(q))]) as (line, _):
        for told in ("more bytes than the answer", "device 8 answered where 7 was asked", "2 bytes of data announced"):
            with pytest.raises(LineGarbled, match=told):
                await line.read(7, block(20, 2), SHORT_S)
        assert await line.read(7, block(20, 2), SHORT_S) == truth(7, 20, 2)


async def test_a_late_answer_is_dropped_and_counted_while_a_neighbour_is_asked():
    def answering(question: bytes):
        if question[0] == 1:
            return [(0.08, right(question))]
        return [(0.05, right(question))]

    async with on_pty(answering) as (line, _):
        with pytest.raises(LineSilent):
            await line.read(1, block(20, 2), 0.05)
        assert await line.read(2, block(20, 2), LONG_S) == truth(2, 20, 2)
        assert line.late == 1


async def test_a_late_answer_is_not_taken_for_the_one_to_the_same_question_asked_again():
    count = 0

    def answering(question: bytes):
        nonlocal count
        count += 1
        value = with_crc(question[:2] + b"\2" + count.to_bytes(2, "big"))
        return [(0.09 if count % 2 else 0.0, value)]  # every other one comes after its time

    async with on_pty(answering) as (line, _):
        for number in range(1, 11):
            if number % 2:
                with pytest.raises(LineSilent):
                    await line.read(1, block(20, 1), 0.06)
            else:
                assert await line.read(1, block(20, 1), 0.06) == number.to_bytes(2, "big")


async def test_a_question_that_nobody_waits_for_any_more_leaves_nothing_behind():
    async with on_pty(lambda q: [(0.05, right(q))]) as (line, _):
        asked = asyncio.create_task(line.read(1, block(20, 2), LONG_S))
        await asyncio.sleep(0.01)
        asked.cancel()
        assert await line.read(2, block(30, 2), LONG_S) == truth(2, 30, 2)
        assert await line.read(1, block(40, 2), LONG_S) == truth(1, 40, 2)


@pytest.mark.parametrize("echo", [False, True])
async def test_an_adapter_that_hears_itself_is_declared(echo: bool):
    async with on_pty(lambda q: [(0.0, right(q))], echo=echo) as (line, _):
        for device in (1, 2, 3):
            assert await line.read(device, block(20, 2), LONG_S) == truth(device, 20, 2)


async def test_a_thousand_misbehaviours_book_nothing_to_a_wrong_register():
    chance = random.Random(645)
    wrong = refused = 0

    def answering(question: bytes):
        good, other = right(question), right(bytes((question[0] % 9 + 1,)) + question[1:])
        shorter = right(question[:5] + bytes((max(1, question[5] - 1),)))
        flipped = bytearray(good)
        flipped[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        bad = [other, bytes(flipped), good + good, shorter, b"\xff" + good, bytes((question[0], 0x83, 2)) + b"\0\0"]
        return [(0.0, chance.choice([good, good, *bad]))]

    async with on_pty(answering) as (line, _):
        for _ in range(1000):
            device, address, words = chance.randrange(1, 9), chance.randrange(100), chance.randrange(1, 9)
            try:
                found = await line.read(device, block(address, words), 0.01)
            except LineError:
                refused += 1
            else:
                wrong += found != truth(device, address, words)
    assert wrong == 0
    assert 500 < refused < 950


async def test_no_port_and_no_server_are_silence_with_the_reason(tmp_path):
    line = ModbusRtuLine.to(serial_line(str(tmp_path / "ttyNone")))
    with pytest.raises(LineSilent, match="ttyNone cannot be opened"):
        await line.read(1, block(0, 1), SHORT_S)


async def test_a_port_that_goes_away_is_silence():
    async with on_pty(lambda q: [(0.0, right(q))]) as (line, bus):
        assert await line.read(1, block(20, 2), LONG_S) == truth(1, 20, 2)
        bus.vanish()
        with pytest.raises(LineSilent):
            await line.read(1, block(20, 2), SHORT_S)


async def test_questions_keep_the_silence_between_frames():
    async with on_pty(lambda q: [(0.0, right(q))], baud=9600) as (line, bus):
        for _ in range(10):
            await line.read(1, block(20, 10), LONG_S)
    assert min(bus.gaps) >= 3.5 * 11 / 9600


@WAYS
async def test_a_declared_gap_is_kept(way):
    async with way(lambda q: [(0.0, right(q))], gap_s=0.05) as (line, _):
        begin = asyncio.get_running_loop().time()
        for _ in range(4):
            await line.read(1, block(20, 2), LONG_S)
        assert asyncio.get_running_loop().time() - begin >= 3 * 0.05


async def test_a_foreign_server_is_read():
    """pymodbus serves the far end of the pseudo-terminal."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    words = list(range(100, 160))
    device = SimDevice(5, simdata=[SimData(0, values=words, datatype=DataType.REGISTERS)])
    server = ModbusSerialServer(device, port=os.ttyname(theirs), baudrate=115_200)
    far = os.openpty()  # joins two pseudo-terminals: each has a near end only
    tty.setraw(far[1])
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: os.write(far[0], os.read(ours, 512)))
    loop.add_reader(far[0], lambda: os.write(ours, os.read(far[0], 512)))
    await server.serve_forever(background=True)
    line = ModbusRtuLine.to(serial_line(os.ttyname(far[1])))
    try:
        expected = b"".join(word.to_bytes(2, "big") for word in words[10:40])
        assert await line.read(5, block(10, 30), LONG_S) == expected
        with pytest.raises(LineRefused):
            await line.read(5, block(5000, 2), LONG_S)
    finally:
        line.close()
        await server.shutdown()
        loop.remove_reader(ours)
        loop.remove_reader(far[0])
