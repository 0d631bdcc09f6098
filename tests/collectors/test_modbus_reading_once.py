"""What `emg read` promises: raw words and values side by side, and a plain word about what cannot be asked."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from collectors.reading_once import read_main, shown_value
from tests.collectors.modbus_lab import PROFILE, lab_site

SITE = """
[site]
name = "laboratory"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "lab"

[[enterprise]]
id = "e"
name_zh = "企业"
name_en = "enterprise"

[[line]]
id = "bus"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
timeout_s = 5

[[line]]
id = "broker"
kind = "mqtt"
host = "127.0.0.1"

[[meter]]
id = "m1"
line = "bus"
profile = "electricity/lab_lm3"
device_address = 1
ct_ratio = 40

[[meter]]
id = "m2"
line = "broker"
profile = "electricity/emg_message_electricity"
"""
POINT = """
[[point]]
id = "{id}"
enterprise = "e"
name_zh = "点"
name_en = "point"
carrier = "electricity"
level = "enterprise"
role = "input"
counts = "active_energy_import"
meter = "{meter}"
"""


@asynccontextmanager
async def plant(folder: Path, *, hertz: int = 5000, wired: bool = True) -> AsyncIterator[Path]:
    """A site file whose Modbus meter stands behind a pymodbus server, with words 60 and 61 not there when cut off."""
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    data = [
        SimData(10, values=[123456, 0], datatype=DataType.UINT32),
        SimData(14, values=[100.0], datatype=DataType.FLOAT32),
        SimData(40, values=[hertz], datatype=DataType.UINT16),
    ]
    data += [SimData(60, values=[20.5], datatype=DataType.FLOAT32)] if wired else []
    server = ModbusTcpServer([SimDevice(1, simdata=data)], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    profile = folder / "profiles" / "electricity" / "lab_lm3.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(PROFILE, "utf-8")
    site = folder / "site.toml"
    text = SITE.format(port=port) + POINT.format(id="p1", meter="m1") + POINT.format(id="p2", meter="m2")
    site.write_text(text, "utf-8")
    try:
        yield site
    finally:
        await server.shutdown()


async def read(*argv: str) -> int:
    return await asyncio.to_thread(read_main, list(argv))


async def test_words_counts_and_exact_value_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with plant(tmp_path) as site:
        assert await read(str(site), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["quantity"]: row for row in told["values"]}
    imported = rows["active_energy_import"]
    # 123456 counts of 0.01 kWh on the secondary side x CT ratio 40
    assert (imported["words"], imported["counts"], imported["value"], imported["unit"]) == (
        "0001 e240",
        123456,
        "49382.40",
        "kWh",
    )
    assert (rows["active_power"]["value"], rows["active_power"]["counts"]) == (4000.0, None)
    assert (rows["frequency"]["words"], rows["frequency"]["quality"]) == ("1388", "good")
    assert imported["meter"] == "m1"
    assert 0 < imported["milliseconds"] < 5000
    assert told["not_asked"] == [
        {"point": "p2", "why": "p2 is pushed over mqtt line broker; it cannot be asked"},
    ]


async def test_the_table_shows_hex_unit_and_quality(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with plant(tmp_path, hertz=0xFFFF) as site:
        assert await read(str(site)) == 1  # a missing value is a finding
    out = capsys.readouterr().out
    for text in ("0001 E240", "49382.40", "kWh", "FFFF", "missing (absent)", "m1 @ 1", "p2 is pushed"):
        assert text in out


async def test_a_refused_block_is_told_in_a_sentence_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    async with plant(tmp_path, wired=False) as site:
        assert await read(str(site), "p1") == 1
    out = capsys.readouterr().out
    assert "device 1, input 60..61: refused with exception code 2" in out
    assert "49382.40" in out
    assert "p2" not in out


async def test_a_pushed_point_is_not_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with plant(tmp_path) as site:
        assert await read(str(site), "p2") == 0
    assert capsys.readouterr().out.strip() == "p2 is pushed over mqtt line broker; it cannot be asked."


async def test_an_unknown_point_is_told_with_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with plant(tmp_path) as site:
        assert await read(str(site), "p9") == 2
    assert "found p9; expected one of p1, p2" in capsys.readouterr().err


async def test_nobody_there_is_told_and_nothing_is_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with plant(tmp_path) as site:
        pass  # the server is gone
    assert await read(str(site), "p1", "--json") == 1
    values = json.loads(capsys.readouterr().out)["values"]
    assert {(row["value"], row["quality"], row["reason"]) for row in values} == {(None, "missing", "line.silent")}
    assert all("no connection to 127.0.0.1" in row["trouble"] for row in values)


def test_the_largest_total_is_shown_exactly(tmp_path: Path):
    series = lab_site(tmp_path, [1], ct_ratio="1333.333333333").series["e/p1/active_energy_import"]
    counts = 2**63 - 1
    # by hand: 9223372036854775807 x 13.33333333333 = 9223372036854775807 x 1333333333333 / 10^11
    assert Fraction(shown_value(series, counts)) == Fraction(counts * 1333333333333, 10**11)
