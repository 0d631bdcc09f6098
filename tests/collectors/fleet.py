"""Sites of many meters on many lines, for the tests of whole fleets, as site files on the disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.collectors.modbus_lab import PROFILE

SITE = """
[site]
name = "fleet"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "fleet"

[[enterprise]]
id = "works"
name_zh = "工厂"
name_en = "works"
"""
LINE = """
[[line]]
id = "{line}"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
period_s = {period_s}
timeout_s = 0.2
"""
METER = """
[[meter]]
id = "{line}-{address}"
line = "{line}"
profile = "electricity/lab_lm3"
device_address = {address}

[[point]]
id = "{line}-{address}"
enterprise = "works"
name_zh = "点"
name_en = "point"
carrier = "electricity"
level = "equipment"
role = "internal"
counts = "active_energy_import"
meter = "{line}-{address}"
"""


def fleet_site(
    folder: Path, ports: Mapping[str, int], addresses: Sequence[int], *, period_s: str = "1", more: str = ""
) -> Path:
    """A site file: by line its port; on each line meters "<line>-<address>" at points of the same name."""
    profile = folder / "profiles" / "electricity" / "lab_lm3.toml"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text(PROFILE, "utf-8")
    text = SITE + more
    for line, port in ports.items():
        text += LINE.format(line=line, port=port, period_s=period_s)
        text += "".join(METER.format(line=line, address=address) for address in addresses)
    site = folder / "site.toml"
    site.write_text(text, "utf-8")
    return site
