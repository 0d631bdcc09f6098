"""DL/T 645-2007 against somebody else's implementation, the `dlt645` package: its server, its client, its codec.

Its `set_address` takes the digits in the order of the wire, last ones first; the standard's order on a name plate, and
that of every published frame, is the reverse.
"""

import asyncio
from pathlib import Path

import pytest
from dlt645 import DLT645Protocol
from dlt645.aio import AsyncMeterClientService, AsyncMeterServerService
from hypothesis import given
from hypothesis import strategies as st

from collectors.dlt645 import Dlt645Question
from collectors.lines import devices_of, wire_to
from collectors.meter_frames import FrameFinder, Part
from collectors.polling import Answer, ask, readings_of
from collectors.reading_once import read_site
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Quality
from simulators.meter_bus import MeterBus
from simulators.meter_bus_wires import bus_on_tcp
from tests.collectors.meter_lab import E_METER, electricity, line_table, meter_tables, write_site

WIRE_ORDER = bytes.fromhex(E_METER)[::-1].hex()
# What the foreign meter is told to show, in the unit of the display, and what we have to read: counts for totals.
SHOWN = {
    "active_energy_import": (0x00010000, 123456.78, 12345678),
    "active_energy_import_t1": (0x00010100, 0.01, 1),
    "active_energy_import_t2": (0x00010200, 799999.99, 79999999),
    "active_energy_import_t3": (0x00010300, 3.5, 350),
    "active_energy_import_t4": (0x00010400, 0, 0),
    "active_energy_export": (0x00020000, 1.26, 126),
    "active_power": (0x02030000, -12.3456, -12.3456),
    "voltage_l1": (0x02010100, 230.1, 230.1),
    "voltage_l2": (0x02010200, 229.8, 229.8),
    "voltage_l3": (0x02010300, 0, 0.0),
    "current_l1": (0x02020100, 5.25, 5.25),
    "current_l2": (0x02020200, -0.001, -0.001),
    "current_l3": (0x02020300, 799.999, 799.999),
    "power_factor": (0x02060000, -0.987, -0.987),
    "frequency": (0x02800002, 49.98, 49.98),
    "active_demand": (0x02800004, 0.0005, 0.0005),
}


async def foreign_meter(*, without: int | None = None) -> tuple[AsyncMeterServerService, int]:
    """The other implementation's meter 000000000161 on a free port, and the port."""
    meter = AsyncMeterServerService.new_tcp_server("127.0.0.1", 0)
    assert meter.set_address(WIRE_ORDER)
    for identifier, value, _ in SHOWN.values():
        write = meter.set_00 if identifier >> 24 == 0 else meter.set_02
        assert write(identifier, value)
    if without is not None:
        del meter.data_map[without]
    assert await meter.start()
    return meter, meter.server._server.sockets[0].getsockname()[1]


async def test_every_value_of_the_foreign_meter_is_read_as_it_shows_it(tmp_path: Path) -> None:
    meter, port = await foreign_meter()
    tables = meter_tables(1, "bus", "electricity/dlt645_2007", E_METER)
    site = load_site(write_site(tmp_path, line_table("bus", "dlt645-tcp", port, timeout_s="5"), tables))
    values = await read_site(site, "", SystemClock())
    await meter.stop()
    read = {value.series.register.quantity: value.reading for value in values}
    assert set(read) == set(SHOWN)
    assert {reading.quality for reading in read.values()} == {Quality.GOOD}, read
    assert {name: reading.value for name, reading in read.items()} == {name: row[2] for name, row in SHOWN.items()}
    assert read["active_energy_import"].words == bytes.fromhex("78 56 34 12")


async def test_what_the_foreign_meter_has_not_it_refuses_and_the_rest_is_read(tmp_path: Path) -> None:
    meter, port = await foreign_meter(without=0x02800004)
    tables = meter_tables(1, "bus", "electricity/dlt645_2007", E_METER)
    site = load_site(write_site(tmp_path, line_table("bus", "dlt645-tcp", port, timeout_s="5"), tables))
    line = site.lines["bus"]
    wire, (device,) = wire_to(site, line), devices_of(site, line)
    answers: list[Answer] = [await ask(wire, device, polled, SystemClock(), 5.0) for polled in device.blocks]
    wire.close()
    await meter.stop()
    refused = [answer for answer in answers if answer.trouble]
    assert [answer.polled.block.address for answer in refused] == [0x02800004]
    assert refused[0].reason.startswith("line.refused.")
    assert sum(len(readings_of(answer)) for answer in answers) == len(SHOWN) - 1


async def test_a_foreign_client_reads_the_simulated_meter() -> None:
    async with bus_on_tcp(MeterBus([electricity()])) as port:
        client = AsyncMeterClientService.new_tcp_client("127.0.0.1", port, timeout=5)
        assert client.set_address(WIRE_ORDER)
        total = await client.read_00(0x00010000)
        power = await client.read_02(0x02030000)
        voltage = await client.read_02(0x02010300)
        await client.disconnect()
    assert (total.value, power.value, voltage.value) == (1234.56, -12.3456, 230.3)


async def test_a_foreign_clients_write_reaches_no_simulated_meter() -> None:
    """And is seen: what a reading master never sends ends up in `wrong`."""
    bus = MeterBus([electricity()])
    async with bus_on_tcp(bus) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        write = DLT645Protocol.build_frame(bytes.fromhex(E_METER)[::-1], 0x14, bytes(16))
        read = DLT645Protocol.build_frame(bytes.fromhex(E_METER)[::-1], 0x11, (0x00010000).to_bytes(4, "little"))
        writer.write(bytes(write) + bytes(read))
        frame = DLT645Protocol.deserialize(await reader.readexactly(22))
        writer.close()
        await writer.wait_closed()
    assert bus.wrong == [bytes(write).lstrip(b"\xfe")]
    assert frame.ctrl_code == 0x91
    assert bytes(frame.data[4:]) == bytes.fromhex("56 34 12 00")


@given(st.integers(0, 10**12 - 1), st.integers(0, 0xFFFFFFFF), st.integers(0, 255))
def test_the_foreign_codec_reads_our_questions(address: int, identifier: int, part: int) -> None:
    question = Dlt645Question(int(str(address), 16), identifier, part)
    frame = DLT645Protocol.deserialize(question.frame())
    assert bytes(frame.addr)[::-1].hex() == f"{address:012d}"
    assert frame.ctrl_code == (0x12 if part else 0x11)
    assert bytes(frame.data) == identifier.to_bytes(4, "little") + (bytes([part]) if part else b"")


@given(st.integers(0, 10**12 - 1), st.integers(0, 0xFFFFFFFF), st.binary(max_size=200), st.integers(0, 4))
def test_we_read_the_answers_of_the_foreign_codec(address: int, identifier: int, data: bytes, wakes: int) -> None:
    sent = DLT645Protocol.build_frame(
        bytes.fromhex(f"{address:012d}")[::-1], 0x91, identifier.to_bytes(4, "little") + data, preamble_count=wakes
    )
    question = Dlt645Question(int(str(address), 16), identifier)
    (frame,) = FrameFinder(question.layout).feed(bytes(sent))
    assert question.answer(frame) == Part(data, more=False)


def test_foreign_and_own_addresses_mean_the_same_with_their_leading_zeros() -> None:
    head = Dlt645Question(0x161, 0).frame()[5:11]
    assert head == bytes.fromhex("61 01 00 00 00 00")
    with pytest.raises(OverflowError):
        Dlt645Question(0x1000000000000, 0).frame()  # thirteen digits
