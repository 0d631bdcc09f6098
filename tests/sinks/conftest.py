"""A site with whatever sinks a test declares, and a journal to fill."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.domain.destinations import InfluxServer, SinkKind, SinkSettings
from gateway.domain.readings import Reading
from gateway.domain.sites import Site
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.writer import Journal
from tests.stores.conftest import influxd, victoria_metrics  # noqa: F401 - fixtures

START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z = 08:00 in the plant [us]
SITE = """
[site]
name = "a plant"
timezone = "Asia/Shanghai"
gateway_id = "gw-1"
data_dir = "data"

[[enterprise]]
id = "steel"
name_zh = "钢厂"
name_en = "steelworks"

[[enterprise]]
id = "glass"
name_zh = "玻璃厂"
name_en = "glassworks"

[[line]]
id = "bus"
kind = "mqtt"
host = "127.0.0.1"
port = 1

[[meter]]
id = "M-1"
line = "bus"
profile = "electricity/emg_message_electricity"

[[meter]]
id = "M-2"
line = "bus"
profile = "electricity/emg_message_electricity"

[[point]]
id = "main"
enterprise = "steel"
name_zh = "总进线"
name_en = "main intake"
carrier = "electricity"
level = "enterprise"
role = "input"
counts = "active_energy_import"
meter = "M-1"

[[point]]
id = "kiln"
enterprise = "glass"
name_zh = "窑"
name_en = "kiln"
carrier = "electricity"
level = "enterprise"
role = "input"
counts = "active_energy_import"
meter = "M-2"
"""


class Plant(NamedTuple):
    """A site file in a folder of its own."""

    folder: Path
    clock: ReplayClock

    def site(self, extra: str = "") -> Site:
        path = self.folder / "site.toml"
        path.write_text(SITE + extra, "utf-8")
        site = load_site(path)
        site.data_dir.mkdir(exist_ok=True)
        return site

    def journal(self) -> Journal:
        return Journal.open(self.folder / "data" / "journal", gateway_id="gw-1", clock=self.clock)


@pytest.fixture
def plant(tmp_path) -> Plant:
    return Plant(tmp_path, ReplayClock(START))


def entry(readings: list[Reading]) -> tuple[EntryKind, dict]:
    return EntryKind.READINGS, readings_body("bus", readings)


def totals(
    first: int, count: int, *, series: str = "steel/main/active_energy_import", step_s: int = 60
) -> list[Reading]:
    """Readings of one total from START on, one every `step_s`."""
    return [Reading(series, START + n * step_s * 1_000_000, 1000 + 3 * n) for n in range(first, first + count)]


def sink_to(server: InfluxServer, kind: SinkKind = SinkKind.INFLUXDB, **options) -> SinkSettings:
    return SinkSettings(id="copy", kind=kind, influx=server, **options)


Draining = Callable[..., None]
