"""A real broker and a site of files lines for the tests of this folder."""

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import gateway.config


class Mosquitto:
    """Debian's mosquitto on a free loopback port, with a configuration of its own and a persistent store."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.options = ["allow_anonymous true"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self.folder}/",
            "log_dest stdout",
        ]
        lines.append(f"user {getpass.getuser()}")  # started by root, it would give up its rights and lose its store
        config.write_text("\n".join([*lines, *self.options, ""]), "utf-8")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(["mosquitto", "-c", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "mosquitto.log").read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise TimeoutError("mosquitto does not listen")

    def stop(self) -> None:
        """SIGTERM: it writes its store first."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def publish(self, topic: str, payload: bytes | str, *options: str, qos: int = 1) -> None:
        """With mosquitto_pub: a foreign publisher. Returns when the broker has acknowledged."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.run_pub("-t", topic, "-s" if data else "-n", "-q", str(qos), *options, data=data)

    def publish_lines(self, topic: str, lines: list[str], *, qos: int = 1) -> None:
        """One message a line, over one connection."""
        self.run_pub("-t", topic, "-l", "-q", str(qos), data="".join(f"{line}\n" for line in lines).encode())

    def run_pub(self, *options: str, data: bytes) -> None:
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), *options]
        subprocess.run(command, input=data, check=True, timeout=20)


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
