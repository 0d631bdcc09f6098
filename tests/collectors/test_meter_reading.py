"""DL/T 645 and CJ/T 188 from the site file to the journal: `emg check --plan`, `emg read` and acquisition on the grid."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from collectors.acquire import acquire
from collectors.checking_plans import check_main
from collectors.lines import LINES, Opening
from collectors.meter_points import metered_devices
from collectors.reading_once import read_main
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.decoding import Doubt
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Site
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from gateway.meter_data import data_decoder
from gateway.profile import load_profile, site_profiles
from simulators.meter_bus import Fault, MeterBus, digits_of
from simulators.meter_bus_wires import bus_on_pty, bus_on_tcp
from tests.collectors.meter_lab import E_METER, W_METER, electricity, line_table, meter_tables, water, write_site
from tests.test_killed_acquire import until_true

E_PROFILE, BLOCKS, W_PROFILE = "electricity/dlt645_2007", "electricity/dlt645_2007_blocks", "water/cjt188_water"


async def read(*argv: str) -> int:
    return await asyncio.to_thread(read_main, list(argv))


async def test_emg_read_shows_bytes_value_unit_and_quality(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with bus_on_tcp(MeterBus([electricity()])) as port, bus_on_pty(MeterBus([water()])) as device:
        site = write_site(
            tmp_path,
            line_table("rs485", "dlt645-tcp", port, timeout_s="5"),
            line_table("wells", "cjt188-serial", device, timeout_s="5"),
            meter_tables(1, "rs485", E_PROFILE, E_METER).replace('address = "', 'ct_ratio = 40\naddress = "'),
            meter_tables(2, "wells", W_PROFILE, W_METER),
        )
        assert await read(str(site), "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert await read(str(site), "p2") == 0
    rows = {(row["point"], row["quantity"]): row for row in told["values"]}
    energy, power = rows["p1", "active_energy_import"], rows["p1", "active_power"]
    # by hand: 123456 counts x 0.01 kWh x 40; -12.3456 kW x 40
    assert [energy[key] for key in ("words", "counts", "value", "unit")] == ["5634 1200", 123456, "49382.40", "kWh"]
    assert (power["words"], power["value"]) == ("56 3492", pytest.approx(-493.824))
    assert energy["device_address"] == E_METER
    volume = rows["p2", "volume"]
    assert [volume[key] for key in ("words", "value", "unit", "quality")] == ["01 7766 552c", "556677.01", "m3", "good"]
    assert (rows["p2", "battery_low"]["value"], rows["p2", "valve_state"]["value"]) == (1.0, 0.0)
    out = capsys.readouterr().out
    for text in ("556677.01", "m3", "good", f"m2 @ {W_METER}"):
        assert text in out
    assert "p1" not in out


async def test_emg_read_tells_a_refusal_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with bus_on_tcp(MeterBus([electricity()], iter([Fault.REFUSES]))) as port:
        site = write_site(
            tmp_path,
            line_table("rs485", "dlt645-tcp", port, timeout_s="5"),
            meter_tables(1, "rs485", E_PROFILE, E_METER),
        )
        assert await read(str(site)) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert f"meter {E_METER}, identifier 00010000: refused with error word 0x02: it has no such data" in out
    assert "line.refused.2" in out


def test_the_plan_shows_one_request_for_each_identifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = write_site(
        tmp_path,
        line_table("a", "dlt645-serial", "/dev/ttyS9"),
        line_table("b", "dlt645-tcp", 8899),
        meter_tables(1, "a", BLOCKS, E_METER),
        meter_tables(2, "b", E_PROFILE, E_METER),
    )
    assert check_main([str(site), "--plan", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["plan"]
    blocks = [row for row in rows if row["line"] == "a"]
    assert [row["address"] for row in blocks] == [
        0x0001FF00,
        0x0002FF00,
        0x0201FF00,
        0x0202FF00,
        0x0203FF00,
        0x0206FF00,
        0x02800004,
    ]
    assert len(blocks[0]["quantities"]) == 5
    # by hand: 4 + 16 bytes asked, 4 + 16 + 20 answered, 11 bits each at 2400 baud = 275 ms, and 50 ms until the answer
    assert blocks[0]["wire_ms"] == pytest.approx(325.0)
    assert (blocks[0]["device_address"], blocks[0]["words"], blocks[0]["bridged"]) == (E_METER, None, 0)
    assert len([row for row in rows if row["line"] == "b"]) == 16
    assert {row["wire_ms"] for row in rows if row["line"] == "b"} == {None}
    assert check_main([str(site), "--plan"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "2400 baud and meters that answer after 50 ms" in out
    assert "Line b: the time of a round follows from the baud rate of its serial server." in out


async def lists_of(site: Site, line: str, count: int) -> list[list[Reading]]:
    opening = Opening(site, site_profiles(site), site.lines[line], SystemClock())
    lists: list[list[Reading]] = []
    async with aclosing(LINES[opening.line.kind](opening).readings()) as readings:
        async for some in readings:
            lists.append(some)
            if len(lists) == count:
                break
    return lists


async def test_every_reading_can_be_decoded_again_from_the_bytes_kept_with_it(tmp_path: Path) -> None:
    async with bus_on_tcp(MeterBus([electricity(), electricity("000000000162")])) as port:
        site = load_site(
            write_site(
                tmp_path,
                line_table("rs485", "dlt645-tcp", port, period_s="2", timeout_s="2"),
                meter_tables(1, "rs485", E_PROFILE, E_METER),
                meter_tables(2, "rs485", E_PROFILE, "000000000162"),
            )
        )
        one, two = await lists_of(site, "rs485", 2)
    registers = load_profile(E_PROFILE).registers
    assert len(one) == len(two) == len(registers)
    for reading in one + two:
        series = site.series[reading.series]
        again = data_decoder(registers[series.register.quantity].data.encoding, series.register, series.ratio)
        assert not isinstance(again(reading.words), Doubt)
        assert again(reading.words) == reading.value
        assert reading.quality is Quality.GOOD


async def test_a_dead_meter_costs_its_neighbours_no_slot(tmp_path: Path) -> None:
    bus = MeterBus([water(), water("78330011223346", counts=7)])  # and nobody between them
    async with bus_on_tcp(bus) as port:
        digits = [W_METER, "78330011223345", "78330011223346"]
        site = load_site(
            write_site(
                tmp_path,
                line_table("wells", "cjt188-tcp", port, period_s="0.5", timeout_s="0.1"),
                *(meter_tables(n, "wells", W_PROFILE, digit) for n, digit in enumerate(digits, 1)),
            )
        )
        lists = await lists_of(site, "wells", 9)
    found = sorted(
        (reading.series, reading.value) for some in lists for reading in some if reading.series.endswith("volume")
    )
    assert found == [("e/p1/volume", 55667701)] * 3 + [("e/p2/volume", None)] * 3 + [("e/p3/volume", 7)] * 3
    reasons = {reading.reason for some in lists for reading in some if reading.value is None}
    assert reasons == {"line.silent", "line.backoff"}


@pytest.mark.parametrize("kind", ["cjt188-serial", "cjt188-tcp"])
async def test_acquisition_accounts_for_every_slot_and_follows_the_display(tmp_path: Path, kind: str) -> None:
    bus = MeterBus([water()], iter([None, Fault.FLIPPED, None, Fault.SILENT] + [None] * 10**6))
    meter, count = bus.meters[0], 55667701
    said: list[int] = []

    def shows(identifier: int) -> bytes:
        """The display counts on by 0.01 m3 with every question, and what it showed is written down."""
        said.append(count + len(said))
        total = digits_of(said[-1], 4) + b"\x2c"
        return total + total + bytes(9)

    meter.shows = shows
    async with bus_on_pty(bus) if kind == "cjt188-serial" else bus_on_tcp(bus) as where:
        site = load_site(
            write_site(
                tmp_path,
                line_table("wells", kind, where, period_s="0.25", timeout_s="0.2"),
                meter_tables(1, "wells", W_PROFILE, W_METER),
            )
        )
        stop = asyncio.Event()
        running = asyncio.create_task(acquire(site, SystemClock(), stop))
        assert await until_true(lambda: len(said) > 11, 30)
        stop.set()
        await running
    journal = list(entries(site.data_dir / "journal"))
    counts = account_slots(journal)
    assert counts.keys() == site.series.keys()
    assert all(slots.exact for slots in counts.values())
    found = [
        reading
        for entry in journal
        if entry.kind is EntryKind.READINGS
        for reading in readings_of(entry)
        if reading.series == "e/p1/volume"
    ]
    good = [reading for reading in found if reading.quality is Quality.GOOD]
    assert len(good) > 6
    assert {reading.value for reading in good} <= set(said) - {said[1], said[3]}
    assert [reading.value for reading in good] == sorted({reading.value for reading in good})
    assert all(reading.words == digits_of(reading.value, 4) + b"\x2c" for reading in good)
    assert {reading.reason for reading in found if reading.value is None} >= {"line.garbled", "line.silent"}
    assert bus.wrong == []


def test_all_values_of_one_identifier_are_brought_by_one_question(tmp_path: Path) -> None:
    tables = line_table("wells", "cjt188-tcp", 8899), meter_tables(1, "wells", W_PROFILE, W_METER)
    site = load_site(write_site(tmp_path, *tables))
    (device,) = metered_devices(site, site.lines["wells"])
    assert [polled.block.address for polled in device.blocks] == [0x901F]
    assert device.blocks[0].series == ("e/p1/volume", "e/p1/valve_state", "e/p1/battery_low")
