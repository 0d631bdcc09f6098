"""The simulated meters on the wire: foreign clients get the truth, and every answer is written down before it is given."""

import asyncio
import shutil
import struct
from datetime import UTC, datetime

import pytest
from pymodbus.client import AsyncModbusTcpClient

from gateway.clocks import ReplayClock
from gateway.domain.periods import to_instant
from simulators.lab import load_lab
from simulators.meter import MeterFromIntervals
from simulators.modbus_server import ModbusServer
from simulators.plant import Plant
from simulators.truth import TruthLog, read_truth

EPOCH = to_instant(datetime(2026, 10, 1, tzinfo=UTC))
NOW = EPOCH + 3 * 86_400_000_000 + 12_345_678
PLANT = Plant(load_lab("cement"), epoch=EPOCH)

mbpoll_needed = pytest.mark.skipif(shutil.which("mbpoll") is None, reason="Debian package mbpoll is not installed")


def request(transaction, unit, function, address, count):
    return struct.pack(">HHHBBHH", transaction, 0, 6, unit, function, address, count)


async def asked(port, data, expected):
    """The bytes that come back for `data`, `expected` of them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.readexactly(expected), 5)
    writer.close()
    await writer.wait_closed()
    return answer


async def mbpoll(port, *options):
    """What mbpoll prints for one poll, by register."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-m", "tcp", "-p", str(port), "-0", "-1", *options, "127.0.0.1", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0, out
    lines = [line for line in out.decode().splitlines() if line.startswith("[")]
    return {line.split("]")[0][1:]: line.split("\t")[1] for line in lines}


@pytest.mark.servers
@mbpoll_needed
async def test_mbpoll_reads_the_adw300_and_gets_the_truth():
    async with ModbusServer(PLANT.meters_on("el"), clock=ReplayClock(NOW)) as server:
        shown = await mbpoll(server.port, "-a", "1", "-r", "62", "-c", "1", "-t", "4:int", "-B")
        volts = await mbpoll(server.port, "-a", "1", "-r", "20", "-c", "3", "-t", "4")
    assert int(shown["62"]) == PLANT.register_at("E-MAIN", "active_energy_import", NOW)
    meter = PLANT.meters["E-MAIN"]
    # mbpoll shows words above 32767 with their signed value in brackets
    assert [int(text.split()[0]) for text in volts.values()] == [
        round(meter.momentary_at(f"voltage_l{phase}", NOW) * 10) for phase in (1, 2, 3)
    ]


@pytest.mark.servers
@mbpoll_needed
async def test_mbpoll_reads_the_sdm630_and_gets_the_truth():
    async with ModbusServer(PLANT.meters_on("el"), clock=ReplayClock(NOW)) as server:
        shown = await mbpoll(server.port, "-a", "5", "-r", "72", "-c", "1", "-t", "3:float", "-B")
    counts = PLANT.register_at("E-AUX", "active_energy_import", NOW)
    assert float(shown["72"]) == pytest.approx(counts / 100, rel=1e-5)  # mbpoll prints six digits


async def test_a_foreign_client_reads_every_model_of_the_lab():
    clock = ReplayClock(NOW)
    for line in ("el", "pr"):
        async with ModbusServer(PLANT.meters_on(line), clock=clock) as server:
            client = AsyncModbusTcpClient("127.0.0.1", port=server.port)
            assert await client.connect()
            for address, meter in server.devices.items():
                for shown in meter.model.fields:
                    words = meter.words_at(shown, NOW)
                    read = client.read_holding_registers if shown.table == "holding" else client.read_input_registers
                    answer = await read(shown.address, count=len(words) // 2, device_id=address)
                    assert struct.pack(f">{len(words) // 2}H", *answer.registers) == words
            client.close()


@pytest.mark.parametrize(
    ("unit", "function", "address", "count", "code"),
    [
        (1, 3, 61, 2, 2),  # before the first documented word
        (1, 3, 62, 5, 2),  # past the last
        (1, 4, 62, 2, 2),  # another table
        (1, 3, 62, 0, 3),
        (1, 3, 62, 126, 3),
        (1, 6, 62, 1, 1),  # a write
    ],
)
async def test_what_a_meter_cannot_answer_it_refuses_by_the_right_code(unit, function, address, count, code):
    async with ModbusServer(PLANT.meters_on("el"), clock=ReplayClock(NOW)) as server:
        answer = await asked(server.port, request(7, unit, function, address, count), 9)
    assert answer == struct.pack(">HHHBBB", 7, 0, 3, unit, function | 0x80, code)


async def test_a_device_that_is_not_there_is_silent_or_refused_as_configured():
    both = request(1, 99, 3, 62, 2) + request(2, 1, 3, 62, 2)
    async with ModbusServer(PLANT.meters_on("el"), clock=ReplayClock(NOW)) as silent:
        answer = await asked(silent.port, both, 13)
    assert answer[:2] == b"\x00\x02"  # the first answer that comes is the second request's
    devices = PLANT.meters_on("el")
    async with ModbusServer(devices, clock=ReplayClock(NOW), unknown_addresses="exception") as speaking:
        answer = await asked(speaking.port, both, 9 + 13)
    assert answer[:9] == struct.pack(">HHHBBB", 1, 0, 3, 99, 0x83, 11)


async def test_eight_requests_in_one_segment_get_eight_answers_in_order():
    async with ModbusServer(PLANT.meters_on("el"), clock=ReplayClock(NOW)) as server:
        answer = await asked(server.port, b"".join(request(n, 1, 3, 62, 2) for n in range(8)), 8 * 13)
    assert [answer[place + 1] for place in range(0, 8 * 13, 13)] == list(range(8))


async def test_a_request_in_single_bytes_is_put_together():
    async with ModbusServer(PLANT.meters_on("el"), clock=ReplayClock(NOW)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for byte in request(1, 1, 3, 62, 2):
            writer.write(bytes((byte,)))
            await writer.drain()
        assert len(await asyncio.wait_for(reader.readexactly(13), 5)) == 13
        writer.close()


async def test_a_client_that_does_not_speak_modbus_is_hung_up_on():
    async with ModbusServer(PLANT.meters_on("el"), clock=ReplayClock(NOW)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_every_answer_is_in_the_truth_log_word_for_word(tmp_path):
    with TruthLog(tmp_path / "truth.jsonl") as log:
        async with ModbusServer(PLANT.meters_on("el"), clock=ReplayClock(NOW), log=log) as server:
            answer = await asked(server.port, request(1, 1, 3, 30, 8) + request(2, 1, 3, 0, 2), 9 + 16 + 9)
            records = read_truth(tmp_path / "truth.jsonl")
            (said,) = records.answers  # a refusal says nothing
            assert said.words == answer[9:25]
            assert (said.at, said.port, said.device, said.table, said.address) == (NOW, server.port, 1, "holding", 30)


async def test_a_meter_fed_by_intervals_shows_them_through_a_foreign_client():
    # 1.5 kWh, 2.25 kWh, nothing, 0.004 kWh in mWh
    meter = MeterFromIntervals(
        "acrel_adw300", [1_500_000, 2_250_000, 0, 4_000], start=EPOCH, main="active_energy_import", initial=100
    )
    clock = ReplayClock(EPOCH)
    shown = []
    async with ModbusServer({1: meter}, clock=clock) as server:
        client = AsyncModbusTcpClient("127.0.0.1", port=server.port)
        assert await client.connect()
        for minutes in (0, 5, 15, 20, 30, 45, 60, 600):
            await clock.sleep_until(EPOCH + minutes * 60_000_000)
            answer = await client.read_holding_registers(62, count=2, device_id=1)
            shown.append(client.convert_from_registers(answer.registers, client.DATATYPE.INT32))
        client.close()
    # by hand: 100, +0.50, +1.50, +1.50+0.75, +3.75, same, +0.004 cut to the same, stands still
    assert shown == [100, 150, 250, 325, 475, 475, 475, 475]


async def test_a_float32_meter_fed_by_intervals_is_within_half_a_last_place():
    meter = MeterFromIntervals(
        "eastron_sdm630", [1_000_000] * 4, start=EPOCH, main="active_energy_import", initial=20_000_000
    )
    # 200 000.25 kWh: one last place at 2^17..2^18 is 2^-6 = 0.015625, and .25 is a multiple of it
    assert meter.read("input", 0x48, 2, EPOCH + 225_000_000) == struct.pack(">f", 200_000.25)
    assert meter.shown_at("active_energy_import", EPOCH + 225_000_000) == 20_000_025
