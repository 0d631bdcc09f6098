"""A device that answers several questions at a time is asked so, where its line says so; its silences stay single."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from collectors.modbus_tcp import ModbusTcpLine
from collectors.polling import poll, polled_devices
from gateway.clocks import SystemClock
from gateway.domain.readings import Quality, Reading
from tests.collectors.modbus_lab import lab_site
from tests.collectors.modbus_peer import Server

BLOCKS, SLOTS = 3, 2


async def read_against(server: Server, folder: Path, *, pipeline: int) -> list[list[Reading]]:
    """Some slots of a line with one device of three blocks (no block is longer than its first one)."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    site = lab_site(folder, [1], port=port, period_s="0.5", timeout_s="0.3", max_words=6)
    line = replace(site.lines["bus"], pipeline=pipeline)
    devices = polled_devices(site, line)
    assert len(devices[0].blocks) == BLOCKS
    wire, lists = ModbusTcpLine.to(line), []
    try:
        async with aclosing(poll(wire, line, devices, SystemClock())) as readings:
            async for some in readings:
                lists.append(some)
                if len(lists) == SLOTS:
                    break
    finally:
        wire.close()
        listener.close()
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)
    return lists


def words_of(readings: list[Reading]) -> dict[str, str]:
    return {reading.series.split("/")[2]: reading.words.hex() for reading in readings}


async def test_all_blocks_are_on_their_way_before_the_first_is_answered(tmp_path: Path):
    server, waiting = Server(), []

    async def all_at_once_backwards(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        waiting.append(right)
        if len(waiting) == BLOCKS:
            writer.write(b"".join(reversed(waiting)))
            waiting.clear()

    server.misbehave = all_at_once_backwards
    for readings in await read_against(server, tmp_path, pipeline=BLOCKS):
        assert words_of(readings) == {  # the word at address a of device 1 is 1000 + a
            "active_energy_import": "03f203f3",
            "active_energy_export": "03f403f5",
            "active_power": "03f603f7",
            "frequency": "0410",
            "temperature": "04240425",
        }
    assert (len(server.asked), server.connections) == (SLOTS * BLOCKS, 1)


async def test_of_blocks_asked_together_the_silent_one_costs_the_others_nothing(tmp_path: Path):
    server = Server()

    async def not_the_one_at_40(request: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        if request[8:10] != b"\0\x28":
            writer.write(right)

    server.misbehave = not_the_one_at_40
    for readings in await read_against(server, tmp_path, pipeline=BLOCKS):
        missing = {reading.series.split("/")[2]: reading.reason for reading in readings if reading.value is None}
        assert set(missing) == {"frequency"}
        assert missing["frequency"] in {"line.silent", "line.backoff"}


async def test_with_fewer_allowed_than_blocks_no_more_are_on_their_way(tmp_path: Path):
    server, waiting = Server(), []

    async def two_by_two(_: bytes, right: bytes, writer: asyncio.StreamWriter) -> None:
        waiting.append(right)
        if len(waiting) == 2 or right[8] == 4:  # the last block of a slot, two words long, comes alone
            writer.write(b"".join(waiting))
            waiting.clear()

    server.misbehave = two_by_two
    for readings in await read_against(server, tmp_path, pipeline=2):
        assert all(reading.quality is not Quality.MISSING for reading in readings)
