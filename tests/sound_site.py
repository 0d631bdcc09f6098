"""A sound site file in a folder of its own, to be spoilt by the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

SOUND = """\
[site]
name = "Works"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "gw-1"

[[enterprise]]
id = "works"
name_zh = "工厂"
name_en = "works"

[[line]]
id = "hall"
kind = "modbus-tcp"
host = "192.0.2.1"
period_s = 10

[[line]]
id = "broker"
kind = "mqtt"
host = "192.0.2.2"

[[meter]]
id = "E-1"
line = "hall"
profile = "electricity/acrel_adw300"
device_address = 1

[[meter]]
id = "E-2"
line = "hall"
profile = "electricity/eastron_sdm630"
device_address = 2

[[meter]]
id = "G-1"
line = "broker"
profile = "gas/emg_message_gas"

[[point]]
id = "main"
enterprise = "works"
name_zh = "总进线"
name_en = "main"
carrier = "electricity"
level = "enterprise"
role = "input"
counts = "active_energy_import"
meter = "E-1"

[[point]]
id = "mill"
enterprise = "works"
name_zh = "磨机"
name_en = "mill"
carrier = "electricity"
level = "equipment"
role = "internal"
counts = "active_energy_import"
meter = "E-2"
parent = "main"

[[point]]
id = "gas"
enterprise = "works"
name_zh = "天然气"
name_en = "gas"
carrier = "gas"
level = "enterprise"
role = "input"
counts = "volume"
meter = "G-1"

[[account]]
enterprise = "works"
carrier = "electricity"
conversion = "electricity_equivalent"
method = "metered"
plus = ["main"]

[api]
host = "127.0.0.1"
port = 8460
"""


@pytest.fixture
def site_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the sound site with some of its text replaced (first occurrence): `site_file("old", "new", ...)`."""

    def write(*changes: str) -> Path:
        text = SOUND
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text, old
            text = text.replace(old, new, 1)
        path = tmp_path / "site.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
