"""What the README of the profiles tells a contributor is followed here, to the word."""

import re
from decimal import Decimal
from pathlib import Path

from collectors.polling import polled_devices
from gateway.config import load_site
from gateway.decoding import decode_words
from gateway.profile import SHIPPED, load_profile
from gateway.profile_form import Cjt188Form, IdentityForm, ModbusForm, RatioForm, RegisterForm
from tests.sound_site import SOUND

README = (SHIPPED / "README.md").read_text("utf-8")
SAMPLE = re.search(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
METER = """
[[meter]]
id = "W-1"
line = "hall"
profile = "water/lab_wm1"
device_address = 9

[[point]]
id = "well"
enterprise = "works"
name_zh = "水井"
name_en = "well"
carrier = "water"
level = "enterprise"
role = "input"
counts = "volume"
meter = "W-1"
"""


def test_a_meter_is_added_with_ten_lines_and_read(tmp_path: Path) -> None:
    assert len(SAMPLE.splitlines()) == 10
    file = tmp_path / "profiles" / "water" / "lab_wm1.toml"
    file.parent.mkdir(parents=True)
    file.write_text(SAMPLE, "utf-8")
    (tmp_path / "site.toml").write_text(SOUND + METER, "utf-8")

    site = load_site(tmp_path / "site.toml")
    (device,) = [device for device in polled_devices(site, site.lines["hall"]) if device.meter == "W-1"]
    asked = [(polled.block.table, polled.block.address, polled.block.words) for polled in device.blocks]
    assert asked == [("holding", 16, 2), ("holding", 20, 2)]

    volume = load_profile("water/lab_wm1", extra_dir=tmp_path / "profiles").registers["volume"]
    words = bytes.fromhex("E0FF 05F5")  # 0x05F5E0FF = 99 999 999, low word first
    assert decode_words(volume.encoding, volume.register, words) * Decimal("0.01") == Decimal("999999.99")


def test_every_key_of_the_form_is_explained() -> None:
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", README, re.MULTILINE))))
    for form in (RegisterForm, ModbusForm, Cjt188Form, IdentityForm, RatioForm):
        assert {field.alias or name for name, field in form.model_fields.items()} <= told


def test_every_reason_of_the_code_is_explained() -> None:
    gateway = SHIPPED.parent
    code = "".join((gateway / name).read_text("utf-8") for name in ("finishing.py", "decoding.py", "meter_data.py"))
    reasons = set(re.findall(r'(?:no_value\(|doubtful\(\w+, |return |if .* else )"([a-z_]+)"', code))
    assert reasons >= {"absent", "infinite", "over_limit", "full_before_modulus", "scale_out_of_range"}
    told = set(re.findall(r"`(\w+)`", README))
    assert reasons <= told
