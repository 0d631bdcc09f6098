"""From a profile and a site to requests, and from their answers to readings: maps that begin anywhere, parts that lie
apart, powers of ten beside the values, and what `emg check --plan` says of it."""

import json
import struct
from decimal import Decimal
from pathlib import Path

import pytest

from collectors.checking_plans import check_main
from collectors.polled_blocks import readings_in
from collectors.polling import PolledDevice, polled_devices
from gateway.config import load_site
from gateway.domain.readings import Quality
from gateway.errors import ConfigError
from tests.sound_site import SOUND

METER = """
[[meter]]
id = "S-1"
line = "hall"
profile = "electricity/sunspec_203"
device_address = 7
base_address = 40069

[[point]]
id = "solar"
enterprise = "works"
name_zh = "光伏"
name_en = "solar"
carrier = "electricity"
level = "equipment"
role = "internal"
parent = "main"
counts = "active_energy_export"
meter = "S-1"
"""


def site_file(folder: Path, *changes: str) -> Path:
    text = SOUND + METER
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    path = folder / "site.toml"
    path.write_text(text, "utf-8")
    return path


def sunspec(path: Path) -> PolledDevice:
    site = load_site(path)
    (found,) = [device for device in polled_devices(site, site.lines["hall"]) if device.meter == "S-1"]
    return found


def answer(first: int, words: int, *at: tuple[int, bytes]) -> bytes:
    """The words of a model that begins at 40069, with some of them set, by offset in the model."""
    found = bytearray(2 * words)
    for offset, data in at:
        start = 2 * (40069 + offset - first)
        found[start : start + len(data)] = data
    return bytes(found)


def test_a_whole_model_is_one_request_and_its_values_are_scaled_by_the_meter(tmp_path: Path) -> None:
    (polled,) = sunspec(site_file(tmp_path)).blocks
    block = polled.block
    # from phase A's current (offset 3) to the power of the energies (offset 54)
    assert (block.table, block.address, block.words) == ("holding", 40072, 52)
    words = answer(
        block.address,
        block.words,
        (3, struct.pack(">hhhh", 123, 124, -125, -1)),  # A and A_SF
        (8, struct.pack(">hhh", 2301, 2302, 2303)),
        (15, struct.pack(">hhhh", -1, 5001, -2, -32768)),  # V_SF, Hz, Hz_SF, W: not implemented
        (22, struct.pack(">h", 0)),
        (38, struct.pack(">I", 4711)),
        (46, struct.pack(">I", 0)),
    )
    found = {reading.series.split("/")[2]: reading for reading in readings_in(polled, words, 5)}
    assert found["current_l3"][1:5] == (5, -12.5, Quality.GOOD, "")
    assert found["voltage_l2"].value == 230.2
    assert found["frequency"].value == 50.01
    assert found["active_energy_export"].value == 4711
    assert found["active_power"][2:5] == (None, Quality.MISSING, "absent")
    assert found["active_energy_import"][2:5] == (None, Quality.MISSING, "not_accumulated")
    # a reading keeps its own words: the value's, then the power's
    assert found["active_energy_export"].words == struct.pack(">Ih", 4711, 0)
    assert found["current_l3"].words == struct.pack(">hh", -125, -1)


def test_a_value_and_its_power_are_never_parted(tmp_path: Path) -> None:
    # From export (38) to the power of the energies (54) there are 17 words: nothing else fits beside them.
    device = sunspec(site_file(tmp_path, "base_address = 40069", "base_address = 40069\nmax_words = 17"))
    spans = [(polled.block.address - 40069, polled.block.words) for polled in device.blocks]
    assert spans == [(3, 4), (8, 15), (38, 17)]
    with pytest.raises(ConfigError, match=r"max_words: found 16; expected enough for every value of meter S-1"):
        sunspec(site_file(tmp_path, "base_address = 40069", "base_address = 40069\nmax_words = 16"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("base_address = 40069\n", "", "base_address: found nothing; expected the address where the register map"),
        ("base_address = 40069", "base_address = 65500", "room for the 55 words of"),
        ("device_address = 1\n", "device_address = 1\nbase_address = 5\n", "has addresses of its own. Remove the key."),
    ],
)
def test_where_a_map_begins_is_told_where_it_must_and_only_there(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_site(site_file(tmp_path, old, new))
    assert [says in problem.sentence() for problem in refused.value.problems] == [True]


def test_the_plan_is_shown_with_words_holes_and_wire_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site_file(tmp_path)
    assert check_main([str(path), "--plan", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["plan"]
    (row,) = [row for row in rows if row["meter"] == "S-1"]
    assert (row["address"], row["words"], len(row["quantities"])) == (40072, 52, 10)
    # PhV; PPV and its phases; phases of W; VA, VAR, PF with theirs up to TotWhExp; its phases; those of TotWhImp
    assert row["bridged"] == 1 + 4 + 3 + 15 + 6 + 6
    assert Decimal(str(row["wire_ms"])) == Decimal("1.01")  # 1 ms a round trip + 52 words of 0.16 us
    assert check_main([str(path), "--plan"]) == 0
    told = capsys.readouterr().out
    assert "bridged" in told
    assert "Line hall: about" in told
