"""The meters that publish: what they say arrives as they say it, and what was taken over is known."""

import asyncio
import json
import shutil
import socket
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway.clocks import SystemClock
from gateway.domain.periods import to_instant
from simulators.lab import load_lab
from simulators.mqtt_publisher import MqttPublisher, payload, time_text, topic_of
from simulators.plant import Plant
from simulators.truth import TruthLog, read_truth

LAB = load_lab("cement")
mosquitto_needed = pytest.mark.skipif(
    shutil.which("mosquitto") is None or shutil.which("mosquitto_sub") is None,
    reason="Debian packages mosquitto and mosquitto-clients are not installed",
)


def test_a_message_holds_the_digits_of_the_register():
    instant = to_instant(datetime(2026, 10, 5, 0, 0, 1, tzinfo=UTC))
    text = payload(instant, 7, {"volume": "335871.30", "volume_flow": "0.000"}).decode()
    assert text == '{"ts":"2026-10-05T00:00:01Z","seq":7,"values":{"volume":335871.30,"volume_flow":0.000}}'


def test_a_time_stamp_has_microseconds_only_where_there_are_any():
    assert time_text(1_500_000) == "1970-01-01T00:00:01.500000Z"


@pytest.fixture
async def broker():
    """The port of a mosquitto of our own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        "mosquitto", "-p", str(port), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        break
    yield port
    process.terminate()
    await process.wait()


@pytest.mark.servers
@mosquitto_needed
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_foreign_subscriber_gets_what_the_meters_showed(broker, tmp_path, version):
    clock = SystemClock()
    plant = Plant(LAB, epoch=clock.now() // 900_000_000 * 900_000_000 - 86_400_000_000)
    points = LAB.points_on("mq")
    # -W: give up after 15 s; --pretty prints nothing else than topic and payload
    subscriber = await asyncio.create_subprocess_exec(
        "mosquitto_sub", "-p", str(broker), "-t", "emg/v1/#", "-q", "1", "-v", "-C", "8", "-W", "15",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    with TruthLog(tmp_path / "truth.jsonl") as log:
        publisher = MqttPublisher(plant, points, clock=clock, log=log, port=broker, version=version)
        running = asyncio.create_task(publisher.run())
        out, _ = await asyncio.wait_for(subscriber.communicate(), 20)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    received = [line.split(" ", 1) for line in out.decode().splitlines()]
    assert len(received) == 8
    assert {topic for topic, _ in received} == {topic_of(plant, point.id) for point in points}
    for topic, text in received:
        message, point = json.loads(text, parse_float=Decimal), topic.split("/")[4]
        instant = to_instant(datetime.fromisoformat(message["ts"]))
        meter = plant.meters[point]
        for quantity, number in message["values"].items():
            shown = meter.model.field(quantity)
            if shown.total:
                assert number == plant.register_at(point, quantity, instant) * shown.step
    records = read_truth(tmp_path / "truth.jsonl")
    assert publisher.published == publisher.acknowledged == len(records.publishes)
    assert records.acknowledged == {(message.point, message.sequence) for message in records.publishes}


async def test_without_a_broker_the_meters_go_on_and_nothing_counts_as_taken_over(tmp_path):
    clock = SystemClock()
    plant = Plant(LAB, epoch=clock.now() // 900_000_000 * 900_000_000)
    with socket.socket() as taken, TruthLog(tmp_path / "truth.jsonl") as log:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        publisher = MqttPublisher(plant, LAB.points_on("mq"), clock=clock, log=log, port=taken.getsockname()[1])
        running = asyncio.create_task(publisher.run())
        while publisher.published < 4:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    records = read_truth(tmp_path / "truth.jsonl")
    assert len(records.publishes) == 4
    assert records.acknowledged == set()
