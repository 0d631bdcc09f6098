"""A real broker and a site of files lines for the tests of this folder."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gateway.config
from tests.mosquitto import Mosquitto


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that runs; stopped at the end."""
    if shutil.which("mosquitto") is None or shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto and mosquitto_pub are not installed (apt-get install mosquitto mosquitto-clients)")
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Mosquitto(folder)
    broker.start()
    yield broker
    broker.stop()


SITE = """
[site]
name = "Works"
timezone = "{zone}"
data_dir = "data"
gateway_id = "gw"

[[enterprise]]
id = "works"
name_zh = "工厂"
name_en = "Works"
"""

FILES_POINT = """
[[line]]
id = "{line}"
kind = "files"
folder = "drop/{line}"
mapping = "{line}.toml"

[[meter]]
id = "M-{point}"
line = "{line}"
profile = "{profile}"

[[point]]
id = "{point}"
enterprise = "works"
name_zh = "点"
name_en = "point"
carrier = "{carrier}"
level = "enterprise"
role = "{role}"
counts = "{counts}"
meter = "M-{point}"
"""

QUARTER_HOURS = """
[format]
delimiter = ","
encoding = "utf-8"
header = true

[into]
point = "main"
quantity = "active_energy_import"

[time]
column = "time"
formats = ["%Y-%m-%d %H:%M"]
zone = "Asia/Shanghai"
label = "start"
interval_s = 900

[value]
column = "kWh"
unit = "kWh"
decimal_mark = "."
kind = "interval"
"""


@pytest.fixture
def files_site(tmp_path: Path) -> Callable[..., Path]:
    """Writes a site of three files lines: quarter-hours of energy, coal tickets, stock surveys. Returns its file."""

    def write(*, zone: str = "Asia/Shanghai") -> Path:
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        energy = {
            "line": "history",
            "point": "main",
            "profile": "electricity/interval_energy_csv",
            "carrier": "electricity",
        }
        tickets = {"line": "tickets", "point": "coal-in", "profile": "coal/weighbridge_ticket", "carrier": "coal"}
        survey = {"line": "survey", "point": "coal-stock", "profile": "coal/stock_survey", "carrier": "coal"}
        text = SITE.format(zone=zone)
        text += FILES_POINT.format(**energy, role="input", counts="active_energy_import")
        text += FILES_POINT.format(**tickets, role="input", counts="mass")
        text += FILES_POINT.format(**survey, role="stock", counts="stock")
        (folder / "site.toml").write_text(text, "utf-8")
        (folder / "history.toml").write_text(QUARTER_HOURS, "utf-8")
        samples = Path(gateway.config.__file__).parent / "samples"
        shutil.copy(samples / "coal_tickets.toml", folder / "tickets.toml")
        shutil.copy(samples / "coal_stock.toml", folder / "survey.toml")
        return folder / "site.toml"

    return write
