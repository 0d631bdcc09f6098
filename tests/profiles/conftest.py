"""A profile that holds, to be spoilt by the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

SOUND = """\
maker = "Lab Instruments"
model = "LM-3"
carrier = "electricity"
source = "LM-3 Modbus manual v1.4, table 5"
side = "secondary"
accuracy = { active_energy_import = "1" }
modbus = { table = "input", word_order = "big" }

[registers]
active_energy_import = { at = 0x0048, as = "float32", unit = "kWh", kind = "cumulative", resolution = 0.01, modulus = 100000000 }
active_power = { at = 0x000C, as = "float32", unit = "W", kind = "instantaneous", absent = 0x7FC00000 }

[[example]]
origin = "captured"
from = "serial 23-0117, meter display 123.50 kWh"
words = { 0x0048 = "42F7 0000", 0x000C = "44BB 8000" }
shows = { active_energy_import = 123.5, active_power = 1500 }
"""


@pytest.fixture
def profile_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the sound profile with some of its text replaced: `profile_file("old", "new", ...)`."""

    def write(*changes: str) -> Path:
        text = SOUND
        for old, new in zip(changes[::2], changes[1::2], strict=False):
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "electricity" / "lab_lm3.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write
