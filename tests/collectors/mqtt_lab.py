"""A site with one MQTT line, and a collector of it, for the tests of conventions."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self

from collectors.mqtt import MqttCollector, Rejected
from collectors.sequences import Lost, Sequences
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Reading

HEAD = """
[site]
name = "Works"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "gw"

[[enterprise]]
id = "works"
name_zh = "工厂"
name_en = "Works"

[[line]]
id = "broker"
kind = "mqtt"
host = "127.0.0.1"
port = {port}
{line}
"""
METER = """
[[meter]]
id = "M-{point}"
line = "broker"
profile = "{profile}"
{meter}

[[point]]
id = "{point}"
enterprise = "works"
name_zh = "点"
name_en = "point"
carrier = "{carrier}"
level = "enterprise"
role = "input"
counts = "{counts}"
meter = "M-{point}"
"""


def site_text(port: int, line: str, meters: dict[str, str], profile: str = "electricity/named_values") -> str:
    """A site file: `meters` holds by point the keys of its meter beside id, line and profile."""
    carrier = profile.partition("/")[0]
    counts = "active_energy_import" if carrier == "electricity" else "volume"
    told = {"profile": profile, "carrier": carrier, "counts": counts}
    return HEAD.format(port=port, line=line) + "".join(
        METER.format(point=point, meter=keys, **told) for point, keys in meters.items()
    )


class MqttLab:
    """A collector of the line and what it told; `arrived` collects the readings while the lab is open."""

    def __init__(self, folder: Path, text: str, name: str = "site") -> None:
        folder.mkdir(exist_ok=True)
        self.file = folder / f"{name}.toml"
        self.file.write_text(text, "utf-8")
        self.site = load_site(self.file)
        self.rejected: list[Rejected] = []
        self.lost: list[tuple[Lost, Sequence[str]]] = []
        self.arrived: list[Reading] = []
        told: dict[str, Any] = {"on_rejected": self.rejected.append, "sequences": Sequences()}
        told["on_lost"] = lambda lost, series: self.lost.append((lost, series))
        self.collector = MqttCollector(self.site.lines["broker"], self.site, SystemClock(), "", **told)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._collect(self.collector.readings()))
        await self.until(lambda: not self.collector.trouble)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _collect(self, readings: AsyncIterator[list[Reading]]) -> None:
        async for batch in readings:
            self.arrived += batch

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(20):
            while not true():
                assert not self._task.done(), self._task
                await asyncio.sleep(0.01)

    async def readings(self, count: int) -> dict[tuple[str, int], Any]:
        """{(quantity, instant): value, or (value, reason)} of the first `count` readings, once they have come."""
        await self.until(lambda: len(self.arrived) >= count)
        return {
            (reading.series.removeprefix("works/"), reading.instant): (reading.value, reading.reason)
            if reading.reason
            else reading.value
            for reading in self.arrived
        }
