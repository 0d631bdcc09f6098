"""From a foreign publisher through a real broker to readings: what is acknowledged when, and what is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from collectors.mqtt import MqttCollector, Rejected
from collectors.sequences import Lost, Sequences
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Site

pytestmark = pytest.mark.servers
TOPIC = "emg/v1/works/north/{}/reading"
GOOD = '{{"ts":"2026-11-24T03:00:0{0}Z","seq":{0},"values":{{"volume":{1}}}}}'
T0 = (20781 * 86400 + 3 * 3600) * 1_000_000  # 2026-11-24T03:00:00Z
VOLUME, FLOW = "works/W1/volume", "works/W1/volume_flow"

SITE = """
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
version = "{version}"

[[line]]
id = "other"
kind = "mqtt"
host = "127.0.0.1"
port = {port}

[[meter]]
id = "M-W1"
line = "broker"
profile = "water/emg_message_water"

[[meter]]
id = "M-W2"
line = "other"
profile = "water/emg_message_water"
"""

POINT = """
[[point]]
id = "{0}"
enterprise = "works"
name_zh = "水"
name_en = "water"
carrier = "water"
level = "enterprise"
role = "input"
counts = "volume"
meter = "M-{0}"
"""


def site_at(folder: Path, port: int, version: str) -> Site:
    file = folder / "site.toml"
    file.write_text(SITE.format(port=port, version=version) + POINT.format("W1") + POINT.format("W2"), "utf-8")
    return load_site(file)


class Plant:
    """A collector of line "broker" and what it told."""

    def __init__(self, folder: Path, broker: Any, version: str = "5") -> None:
        self.site = site_at(folder, broker.port, version)
        self.rejected: list[Rejected] = []
        self.lost: list[tuple[Lost, Sequence[str]]] = []
        self.sequences = Sequences()
        self.collector = self.another()

    def another(self) -> MqttCollector:
        line = self.site.lines["broker"]
        told = {"on_rejected": self.rejected.append, "on_lost": lambda lost, series: self.lost.append((lost, series))}
        return MqttCollector(line, self.site, SystemClock(), "", sequences=self.sequences, **told)

    async def connected(self) -> None:
        async with asyncio.timeout(20):
            while self.collector.trouble:
                await asyncio.sleep(0.01)


async def some(readings: AsyncIterator[list[Reading]], count: int) -> list[Reading]:
    """`count` readings; the list that completes them is not yet acknowledged."""
    found: list[Reading] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await anext(readings)
    return found


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_published_readings_arrive_exactly_and_are_acknowledged_when_the_next_list_is_asked_for(
    mosquitto: Any, tmp_path: Path, version: str
) -> None:
    plant = Plant(tmp_path, mosquitto, version)
    topic = TOPIC.format("W1")
    async with aclosing(plant.collector.readings()) as readings:
        first = asyncio.create_task(some(readings, 1))
        await plant.connected()
        await asyncio.to_thread(
            mosquitto.publish, topic, '{"ts":"2026-11-24T11:00:00+08:00","values":{"volume":815.125}}'
        )
        # 815.125 m3 in counts of 0.001 m3
        assert await first == [Reading(VOLUME, T0, 815125)]
        second = asyncio.create_task(some(readings, 1))  # asks for the next list: the first is acknowledged
        await asyncio.to_thread(mosquitto.publish, topic, GOOD.format(1, 815.126))
        assert await second == [Reading(VOLUME, T0 + 1_000_000, 815126)]
    # Ended before the next list was asked for: the second comes again, the first does not.
    await asyncio.to_thread(mosquitto.publish, topic, GOOD.format(2, 815.127))
    async with aclosing(plant.another().readings()) as readings:
        assert await some(readings, 2) == [
            Reading(VOLUME, T0 + 1_000_000, 815126),
            Reading(VOLUME, T0 + 2_000_000, 815127),
        ]
    assert plant.rejected == []


async def test_every_field_of_a_message_becomes_its_own_reading_with_its_quality(
    mosquitto: Any, tmp_path: Path
) -> None:
    plant = Plant(tmp_path, mosquitto)
    async with aclosing(plant.collector.readings()) as readings:
        first = asyncio.create_task(some(readings, 2))
        await plant.connected()
        text = '{"ts":"2026-11-24T03:00:00Z","values":{"volume":null,"volume_flow":12.5},"q":3}'
        await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), text)
        assert await first == [
            Reading(VOLUME, T0, None, Quality.MISSING, "message.no_value"),
            Reading(FLOW, T0, 12.5, Quality.SUSPECT, "publisher.q.3"),
        ]


MALFORMED: list[tuple[str, bytes, str]] = [
    ("W1", b"not JSON", "not JSON"),
    ("W1", b"\xff\xfe", "not UTF-8"),
    ("W1", b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
    ("W1", b" " * 70_000, "70000 bytes; expected at most 65536"),
    ("W1", b"", "not JSON"),
    ("W1", b'{"ts":"2026-11-24T03:00:00","values":{"volume":1}}', "without its offset"),
    ("W1", b'{"ts":"2026-11-24T03:00:00Z","values":{"volume":NaN}}', "values.volume: found NaN"),
    ("W1", b'{"ts":"2026-11-24T03:00:00Z","values":{"volume":1e30}}', "expected a number that an instrument can show"),
    (
        "W1",
        b'{"ts":"2026-11-24T03:00:00Z","values":{"volume":1e999999}}',
        "expected a number that an instrument can show",
    ),
    ("W1", b'{"ts":"2026-11-24T03:00:00Z","values":{"\\ud800":1}}', "values.\\ud800: 'works/W1' has no such field"),
    (
        "W9",
        b'{"ts":"2026-11-24T03:00:00Z","values":{"volume":1}}',
        "'works/W9' is not read by line 'broker'; known: works/W1",
    ),
    ("W2", b'{"ts":"2026-11-24T03:00:00Z","values":{"volume":1}}', "'works/W2' is not read by line 'broker'"),
    ("a b", b'{"ts":"2026-11-24T03:00:00Z","values":{"volume":1}}', "point in the topic: found 'a b'"),
]


async def test_what_is_malformed_is_told_with_its_topic_and_nothing_else_is_lost(
    mosquitto: Any, tmp_path: Path
) -> None:
    plant = Plant(tmp_path, mosquitto)
    async with aclosing(plant.collector.readings()) as readings:
        expected = [Reading(VOLUME, T0 + n * 1_000_000, 1000 + n) for n in range(10)]
        found = asyncio.create_task(some(readings, len(expected) + 1))
        await plant.connected()
        for n, (point, payload, _) in enumerate(MALFORMED):
            await asyncio.to_thread(mosquitto.publish, TOPIC.format(point), payload)
            if n < 10:
                await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), GOOD.format(n, f"1.{n:03d}"))
        # An unknown field beside a known one: the known one is taken.
        text = '{"ts":"2026-11-24T04:00:00Z","values":{"pressure":3,"volume_flow":1.5}}'
        await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), text)
        assert await found == [*expected, Reading(FLOW, T0 + 3_600_000_000, 1.5)]
        assert [rejected.topic for rejected in plant.rejected] == [
            *(TOPIC.format(point) for point, _, _ in MALFORMED),
            TOPIC.format("W1"),
        ]
        for rejected, (_, payload, why) in zip(plant.rejected, MALFORMED, strict=False):
            assert why in rejected.reason
            assert rejected.payload == payload[:512].decode(errors="backslashreplace")[:512]
            rejected.reason.encode()
        assert plant.rejected[-1].reason == "values.pressure: 'works/W1' has no such field; known: volume, volume_flow"


async def test_a_refused_message_is_acknowledged_only_after_it_was_told_and_its_list_handed_on(
    mosquitto: Any, tmp_path: Path
) -> None:
    plant = Plant(tmp_path, mosquitto)
    async with aclosing(plant.collector.readings()) as readings:
        first = asyncio.create_task(anext(readings))
        await plant.connected()
        await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), b"nonsense")
        assert await first == [], "a list without readings: the caller makes the refusal durable"
        assert len(plant.rejected) == 1
    async with aclosing(plant.another().readings()) as readings:
        async with asyncio.timeout(20):
            assert await anext(readings) == []
            assert [rejected.payload for rejected in plant.rejected] == ["nonsense", "nonsense"]
            third = asyncio.create_task(some(readings, 1))  # acknowledges it
            await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), GOOD.format(0, "1.5"))
            assert await third == [Reading(VOLUME, T0, 1500)]
    assert len(plant.rejected) == 2


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_retained_message_is_never_taken_as_fresh(mosquitto: Any, tmp_path: Path, version: str) -> None:
    await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), GOOD.format(0, "1.5"), "-r")
    plant = Plant(tmp_path, mosquitto, version)
    async with aclosing(plant.collector.readings()) as readings:
        found = asyncio.create_task(some(readings, 1))
        await plant.connected()
        await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), GOOD.format(1, "1.6"))
        assert await found == [Reading(VOLUME, T0 + 1_000_000, 1600)]
    assert [rejected.reason for rejected in plant.rejected] == [
        "retained by the broker: never fresh. Publish readings without the retain flag"
    ]


async def test_readings_go_on_after_the_broker_was_restarted(mosquitto: Any, tmp_path: Path) -> None:
    plant = Plant(tmp_path, mosquitto)
    async with aclosing(plant.collector.readings()) as readings:
        first = asyncio.create_task(some(readings, 1))
        await plant.connected()
        await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), GOOD.format(0, "1.5"))
        await first
        second = asyncio.create_task(some(readings, 1))
        await asyncio.to_thread(mosquitto.stop)
        await asyncio.to_thread(mosquitto.start)
        # Published before we are back: the broker keeps our session and the message.
        await asyncio.to_thread(mosquitto.publish, TOPIC.format("W1"), GOOD.format(1, "1.6"))
        assert await second == [Reading(VOLUME, T0 + 1_000_000, 1600)]
