"""Modbus RTU from the site file: checks, the plan by the time on the wire, and acquisition with a dead neighbour."""

import itertools
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from benchmarks import modbus_rtu as benchmark
from collectors.blocks import Span, plan_blocks
from collectors.lines import LINES, Opening, devices_of
from collectors.reading_once import read_main
from collectors.wire_time import serial_wire
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Quality
from gateway.errors import ConfigError
from gateway.profile import site_profiles
from tests.collectors.rtu_bus import RtuBus, right, serial_line
from tests.sound_site import SOUND

TCP_LINE = 'kind = "modbus-tcp"\nhost = "192.0.2.1"\nperiod_s = 10\n'


def site_with(tmp_path: Path, line: str, **changes: str) -> Path:
    text = SOUND.replace(TCP_LINE, line)
    for before, after in changes.items():
        text = text.replace(before, after)
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return path


def test_forty_registers_within_three_hundred_words_take_at_most_four_requests() -> None:
    places = [sum(1 + (7 * step % 15 if step % 2 else 0) for step in range(number)) for number in range(40)]
    assert places[-1] < 300
    assert max(b - a - 1 for a, b in itertools.pairwise(places)) <= 14
    spans = [Span("holding", place, 1) for place in places]
    for baud in (9600, 19_200):
        assert len(plan_blocks(spans, wire=serial_wire(baud), forbidden=[])) <= 4


def test_a_serial_line_is_planned_by_its_own_time(tmp_path: Path) -> None:
    rtu = 'kind = "modbus-rtu-serial"\nserial_port = "/dev/ttyUSB7"\nbaud = 300\nparity = "none"\nperiod_s = 60\n'
    site = load_site(site_with(tmp_path, rtu))
    assert [device.meter for device in devices_of(site, site.lines["hall"])] == ["E-1", "E-2"]
    line = site.lines["hall"]
    assert (line.baud, line.parity, line.stop_bits, line.echo) == (300, "none", 1, False)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('kind = "modbus-rtu-serial"\n', "serial_port"),
        ('kind = "modbus-rtu-serial"\nserial_port = "/dev/ttyS0"\nbaud = 9601\n', "9601"),
        ('kind = "modbus-rtu-serial"\nserial_port = "/dev/ttyS0"\nparity = "mark"\n', "mark"),
        ('kind = "modbus-rtu-tcp"\nhost = "192.0.2.1"\n', "port"),
        ('kind = "modbus-rtu-tcp"\nhost = "192.0.2.1"\nport = 4001\npipeline = 2\n', "pipeline"),
    ],
)
def test_mistakes_are_named_with_their_key(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_site(site_with(tmp_path, line + "period_s = 10\n"))


def test_two_lines_on_one_port_are_refused(tmp_path: Path) -> None:
    other = '\n[[line]]\nid = "cellar"\nkind = "dlt645-serial"\nserial_port = "/dev/ttyS0"\n'
    path = site_with(tmp_path, 'kind = "modbus-rtu-serial"\nserial_port = "/dev/ttyS0"\nperiod_s = 10\n' + other)
    with pytest.raises(ConfigError, match=r"ttyS0.*where line 'hall' reads"):
        load_site(path)


async def test_a_dead_device_takes_no_slot_of_its_neighbour(tmp_path: Path) -> None:
    bus = RtuBus(lambda question: [(0.0, right(question))] if question[0] == 1 else [])
    bus.start()
    rtu = f'kind = "modbus-rtu-serial"\nserial_port = "{bus.port}"\nbaud = 115200\nparity = "none"\n'
    site = load_site(site_with(tmp_path, rtu + "period_s = 0.5\ntimeout_s = 0.1\n"))
    opening = Opening(site, site_profiles(site), site.lines["hall"], SystemClock())
    alive: set[int] = set()
    dead: list[str] = []
    async with aclosing(LINES[site.lines["hall"].kind](opening).readings()) as lists:
        async for readings in lists:
            if readings[0].series.startswith("works/main/"):
                assert all(Quality.MISSING not in reading.quality for reading in readings)
                alive.add(readings[0].instant // 500_000)
            else:
                dead.append(readings[0].reason)
            if len(alive) == 6:
                break
    bus.close()
    assert max(alive) - min(alive) == 5  # no slot of six was missed
    assert dead[0] == "line.silent"


def test_emg_read_asks_over_the_serial_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus = RtuBus(lambda question: [(0.0, right(question))])
    bus.start()
    rtu = f'kind = "modbus-rtu-serial"\nserial_port = "{bus.port}"\nbaud = 115200\nparity = "none"\nperiod_s = 10\n'
    read_main([str(site_with(tmp_path, rtu)), "main", "--json"])
    bus.close()
    row = next(r for r in json.loads(capsys.readouterr().out)["values"] if r["quantity"] == "active_energy_import")
    first = int(row["words"][:4], 16)
    assert row["words"] == f"{first:04X} {first + 1:04X}"  # the bus gives each register its own address
    assert (row["meter"], row["device_address"], 1000 <= first < 2000) == ("E-1", 1, True)


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--bauds", "19200", "--words", "2", "--questions", "2"]) == 0
    assert "19200 baud    2 words  ours" in capsys.readouterr().out
    assert serial_line("x", baud=300).baud == 300
