"""A DL/T 645 or CJ/T 188 line over TCP and a pseudo-terminal: every fault is a gap with its reason, never a wrong value."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest

from collectors.blocks import Block
from collectors.dlt645 import Dlt645Question
from collectors.meter_line import MeterLine
from collectors.meter_points import address_of
from gateway.config import load_site
from gateway.errors import LineError, LineGarbled, LineRefused, LineSilent
from simulators.meter_bus import BusMeter, Fault, MeterBus, digits_of
from simulators.meter_bus_wires import bus_on_pty
from tests.collectors.meter_lab import (
    E_METER,
    ENERGY,
    VOLTAGES,
    W_METER,
    electricity,
    line_table,
    meter_tables,
    on_wire,
    water,
    write_site,
)

KINDS = {
    "dlt645-tcp": ("electricity/dlt645_2007", electricity, ENERGY, "56 34 12 00"),
    "dlt645-serial": ("electricity/dlt645_2007", electricity, ENERGY, "56 34 12 00"),
    "cjt188-tcp": ("water/cjt188_water", water, 0x901F, "01 77 66 55 2C 01 77 66 55 2C 31 01 22 11 05 15 20 04 00"),
    "cjt188-serial": ("water/cjt188_water", water, 0x901F, "01 77 66 55 2C 01 77 66 55 2C 31 01 22 11 05 15 20 04 00"),
}
PATIENT_S, SHORT_S = 5.0, 0.15


@asynccontextmanager
async def line_to(folder: Path, bus: MeterBus, kind: str, profile: str = "") -> AsyncIterator[tuple[MeterLine, int]]:
    """The line as the site file declares it, and the address of its first meter."""
    async with on_wire(bus, kind) as where:
        tables = [meter_tables(n, "bus", profile or KINDS[kind][0], meter.digits) for n, meter in enumerate(bus.meters)]
        site = load_site(write_site(folder, line_table("bus", kind, where), *tables))
        wire = MeterLine.to(site, site.lines["bus"])
        try:
            yield wire, address_of(site.meters["m0"])
        finally:
            wire.close()


def block(identifier: int) -> Block:
    return Block("data", identifier, 0, ())


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_meter_shows_is_read(tmp_path: Path, kind: str) -> None:
    _, make, identifier, data = KINDS[kind]
    bus = MeterBus([make()])
    async with line_to(tmp_path, bus, kind) as (wire, address):
        for _ in range(3):
            assert await wire.read(address, block(identifier), PATIENT_S) == bytes.fromhex(data)
    assert [asked[:2] for asked in bus.asked] == [(bus.meters[0].digits, identifier)] * 3
    assert len({asked.number for asked in bus.asked}) == (1 if kind.startswith("dlt645") else 3)
    assert bus.wrong == []


HARMLESS = {Fault.NOISE, Fault.ECHO, Fault.SLOW}
REASONS = {
    Fault.SILENT: "line.silent",
    Fault.FLIPPED: "line.garbled",
    Fault.CUT: "line.garbled",
    Fault.OTHER_METER: "line.garbled",
    Fault.OTHER_DATA: "line.garbled",
    Fault.OTHER_NUMBER: "line.garbled",
    Fault.LATE: "line.silent",
}


# The first frame of a DL/T 645 answer has no number; that of the frames that follow is tested with them.
FAULTS = [
    (kind, fault)
    for kind in KINDS
    for fault in Fault
    if fault is not Fault.REFUSES and not (fault is Fault.OTHER_NUMBER and kind.startswith("dlt645"))
]


@pytest.mark.parametrize(("kind", "fault"), FAULTS)
async def test_a_fault_is_a_gap_with_its_reason_and_the_next_answer_is_right(
    tmp_path: Path, kind: str, fault: Fault
) -> None:
    _, make, identifier, data = KINDS[kind]
    bus = MeterBus([make()], iter([fault]))
    async with line_to(tmp_path, bus, kind) as (wire, address):
        if fault in HARMLESS:
            assert await wire.read(address, block(identifier), PATIENT_S) == bytes.fromhex(data)
        else:
            with pytest.raises(LineError) as error:
                await wire.read(address, block(identifier), SHORT_S)
            assert error.value.reason == REASONS[fault], str(error.value)
        assert await wire.read(address, block(identifier), PATIENT_S) == bytes.fromhex(data)


async def test_an_answer_that_comes_late_is_not_booked_to_the_next_question(tmp_path: Path) -> None:
    bus = MeterBus([electricity(), electricity("000000000162", kwh_counts=999)], iter([Fault.LATE, None, Fault.LATE]))
    async with line_to(tmp_path, bus, "dlt645-tcp") as (wire, _):
        for address, identifier, data in (
            (0x161, 0x02010100, None),
            (0x161, ENERGY, "56 34 12 00"),  # behind the voltage that comes late
            (0x161, ENERGY, None),
            (0x162, ENERGY, "99 09 00 00"),  # behind the energy of the other meter
        ):
            if data is None:
                with pytest.raises(LineSilent):
                    await wire.read(address, block(identifier), SHORT_S)
            else:
                assert await wire.read(address, block(identifier), PATIENT_S) == bytes.fromhex(data)


async def test_what_came_before_the_question_is_not_taken_for_its_answer(tmp_path: Path) -> None:
    """A late answer to the very same question fits it in everything: it is only known by when it came."""
    bus = MeterBus([electricity(kwh_counts=200)])
    async with line_to(tmp_path, bus, "dlt645-tcp") as (wire, address):
        await wire.connect(PATIENT_S)
        (late,) = MeterBus([electricity(kwh_counts=100)]).hear(Dlt645Question(address, ENERGY).frame())
        wire._stream.data_received(late)
        assert await wire.read(address, block(ENERGY), PATIENT_S) == digits_of(200, 4)


async def test_a_late_answer_of_cjt188_is_known_by_its_number(tmp_path: Path) -> None:
    bus = MeterBus([water()], iter([Fault.LATE]))
    shows = [water(counts=1).shows(0x901F), water(counts=2).shows(0x901F)]
    bus.meters[0].shows = lambda _: shows.pop(0)
    async with line_to(tmp_path, bus, "cjt188-tcp") as (wire, address):
        with pytest.raises(LineSilent):
            await wire.read(address, block(0x901F), SHORT_S)
        assert (await wire.read(address, block(0x901F), PATIENT_S))[:4] == digits_of(2, 4)


@pytest.mark.parametrize(
    ("kind", "code", "says"), [("dlt645-tcp", 2, "no such data"), ("cjt188-tcp", 4, "state 04 00")]
)
async def test_a_refusal_tells_meter_identifier_and_why(tmp_path: Path, kind: str, code: int, says: str) -> None:
    _, make, identifier, _ = KINDS[kind]
    async with line_to(tmp_path, MeterBus([make()], iter([Fault.REFUSES])), kind) as (wire, address):
        with pytest.raises(LineRefused, match=says) as error:
            await wire.read(address, block(identifier), PATIENT_S)
    assert error.value.code == code
    assert ("meter 000000000161, identifier 00010000" in str(error.value)) == kind.startswith("dlt645")
    assert ("meter 78330011223344, identifier 901F" in str(error.value)) == kind.startswith("cjt188")


async def test_data_of_several_frames_is_put_together_in_their_order(tmp_path: Path) -> None:
    values = bytes.fromhex("10 00 00 00 04 00 00 00 03 00 00 00 02 00 00 00 01 00 00 00 77 77 77 77")  # a fifth tariff
    bus = MeterBus([BusMeter(E_METER, {0x0001FF00: values}.get, most=7)])
    async with line_to(tmp_path, bus, "dlt645-tcp", "electricity/dlt645_2007_blocks") as (wire, address):
        assert await wire.read(address, block(0x0001FF00), PATIENT_S) == values
        assert [asked.number for asked in bus.asked] == [0, 1, 2, 3]
        bus.faults = iter([None, Fault.OTHER_NUMBER])
        with pytest.raises(LineGarbled):
            await wire.read(address, block(0x0001FF00), SHORT_S)


async def test_a_meter_that_always_has_more_does_not_keep_the_line(tmp_path: Path) -> None:
    bus = MeterBus([BusMeter(E_METER, {0x0001FF00: bytes(24)}.get, most=1)])
    async with line_to(tmp_path, bus, "dlt645-tcp", "electricity/dlt645_2007_blocks") as (wire, address):
        with pytest.raises(LineGarbled, match="more than 8 frames follow"):
            await wire.read(address, block(0x0001FF00), PATIENT_S)
    assert len(bus.asked) == 9


@pytest.mark.parametrize(
    ("profile", "identifier", "data"),
    [
        ("electricity/dlt645_2007", ENERGY, "56 34 12 00 00"),  # a byte more than the standard's format
        ("electricity/dlt645_2007", ENERGY, "56 34 12"),
        ("electricity/dlt645_2007_blocks", VOLTAGES, "01 23 02 23"),  # a single-phase meter
    ],
)
async def test_data_of_another_length_than_the_profile_says_are_no_value(
    tmp_path: Path, profile: str, identifier: int, data: str
) -> None:
    bus = MeterBus([BusMeter(E_METER, {identifier: bytes.fromhex(data)}.get)])
    async with line_to(tmp_path, bus, "dlt645-tcp", profile) as (wire, address):
        with pytest.raises(LineGarbled, match="bytes of data where the profile expects"):
            await wire.read(address, block(identifier), PATIENT_S)


@pytest.mark.parametrize("kind", ["dlt645-tcp", "cjt188-tcp"])
async def test_of_a_thousand_spoilt_answers_none_is_booked(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swapped, late, cut, flipped and foreign answers in turn: what is read is what that meter shows, or nothing."""
    monkeypatch.setattr("collectors.meter_line._REST_S", 0.0)
    _, make, identifier, _ = KINDS[kind]
    digits = [E_METER, "000000000162"] if kind == "dlt645-tcp" else [W_METER, "78330011223345"]
    shows = "kwh_counts" if kind == "dlt645-tcp" else "counts"
    meters = [make(digits[0], **{shows: 111}), make(digits[1], **{shows: 222})]
    truth = [meter.shows(identifier) for meter in meters]
    spoilt = [fault for fault in Fault if fault not in {Fault.SILENT, Fault.REFUSES}]
    bus = MeterBus(meters, islice(cycle(spoilt), 1000))
    got = {True: 0, False: 0}
    async with line_to(tmp_path, bus, kind) as (wire, _):
        for turn in range(1000):
            try:
                data = await wire.read(int(digits[turn % 2], 16), block(identifier), 0.004)
            except LineError:
                got[False] += 1
                continue
            assert data == truth[turn % 2]
            got[True] += 1
    assert truth[0] != truth[1]
    assert min(got.values()) > 200
    assert bus.wrong == []


async def test_two_silences_in_a_row_open_the_line_anew(tmp_path: Path) -> None:
    bus = MeterBus([electricity()], iter([Fault.SILENT, Fault.SILENT]))
    async with line_to(tmp_path, bus, "dlt645-tcp") as (wire, address):
        streams = []
        for _ in range(2):
            with pytest.raises(LineSilent):
                await wire.read(address, block(ENERGY), 0.05)
            streams.append(wire._stream)
        assert streams[0] is not None
        assert streams[1] is None
        assert await wire.read(address, block(ENERGY), PATIENT_S) == bytes.fromhex("56 34 12 00")


async def test_nobody_there_a_port_that_is_none_and_a_port_in_use_are_silence_with_a_sentence(tmp_path: Path) -> None:
    async with line_to(tmp_path, MeterBus([electricity()]), "dlt645-tcp") as (wire, address):
        pass  # the server is gone
    with pytest.raises(LineSilent, match=r"no connection to 127\.0\.0\.1 port"):
        await wire.read(address, block(ENERGY), PATIENT_S)
    tables = meter_tables(0, "bus", "electricity/dlt645_2007", E_METER)
    site = load_site(write_site(tmp_path, line_table("bus", "dlt645-serial", tmp_path / "ttyNONE"), tables))
    with pytest.raises(LineSilent, match="ttyNONE cannot be opened"):
        await MeterLine.to(site, site.lines["bus"]).connect(PATIENT_S)
    async with line_to(tmp_path, MeterBus([electricity()]), "dlt645-serial") as (wire, _):
        await wire.connect(PATIENT_S)
        site = load_site(tmp_path / "site.toml")
        with pytest.raises(LineSilent, match="cannot be opened"):
            await MeterLine.to(site, site.lines["bus"]).connect(PATIENT_S)


async def test_a_serial_port_that_cannot_be_set_is_told_with_its_setting(tmp_path: Path) -> None:
    async with bus_on_pty(MeterBus([])) as where:
        table = line_table("bus", "dlt645-serial", where)
        site = load_site(write_site(tmp_path, table))
        wire = MeterLine.to(site, site.lines["bus"])
        await wire.connect(PATIENT_S)
        wire.close()
        # A pseudo-terminal has no parity; that is told when parity is all that there is to set.
        site = load_site(write_site(tmp_path, table.replace('"none"', '"even"')))
        with pytest.raises(LineSilent, match="cannot be set to 2400 baud, parity even"):
            await MeterLine.to(site, site.lines["bus"]).connect(PATIENT_S)


async def test_an_adapter_that_is_pulled_out_ends_the_wait_and_is_opened_anew(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    table = line_table("bus", "dlt645-serial", name)
    site = load_site(write_site(tmp_path, table, meter_tables(0, "bus", "electricity/dlt645_2007", E_METER)))
    wire = MeterLine.to(site, site.lines["bus"])
    reading = asyncio.create_task(wire.read(0x161, block(ENERGY), 60))
    heard = await asyncio.to_thread(os.read, ours, 64)  # the question is on its way
    assert heard.startswith(b"\xfe\xfe\xfe\xfe\x68")
    os.close(theirs)
    os.close(ours)
    with pytest.raises(LineSilent, match="the line was lost"):
        await reading
    with pytest.raises(LineSilent, match="cannot be opened"):
        await wire.read(0x161, block(ENERGY), PATIENT_S)
    wire.close()


async def test_a_meter_that_talks_without_end_fills_no_memory(tmp_path: Path) -> None:
    async with line_to(tmp_path, MeterBus([electricity()]), "dlt645-tcp") as (wire, _):
        await wire.connect(PATIENT_S)
        stream = wire._stream
        for _ in range(100):
            stream.data_received(b"\x68" * 1000)
        assert len(stream._bytes) == 4096
