"""Republishing to a real broker: everything arrives, a restart of the broker loses nothing, Home Assistant is told."""

import asyncio
import json
import subprocess
from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.clocks import SystemClock
from gateway.contracts import Delivery
from gateway.domain.destinations import BrokerAddress, SinkKind, SinkSettings
from gateway.domain.readings import Quality, Reading
from gateway.errors import StoreError
from gateway.sinks.delivery_book import DeliveryBook
from gateway.sinks.drain import drain_once
from gateway.sinks.opening import drain_site, open_sinks
from gateway.stores.embedded import EmbeddedStore
from tests.collectors.conftest import Mosquitto, mosquitto  # noqa: F401 - a fixture
from tests.sinks.conftest import START, entry, totals
from tests.sinks.test_trouble import until

pytestmark = pytest.mark.servers
TOTAL = "steel/main/active_energy_import"


class Subscriber:
    """mosquitto_sub: a foreign reader with a session that the broker keeps. Subscribed when it is made."""

    def __init__(self, broker: Mosquitto, topic: str, *, session: str = "") -> None:
        kept = ["-c", "-i", session] if session else []
        form = '{"topic":"%t","retain":%r,"qos":%q,"payload":%p}'
        command = [
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-p",
            str(broker.port),
            "-t",
            topic,
            "-q",
            "1",
            "-F",
            form,
            *kept,
        ]
        broker.publish(ready := topic.replace("#", "ready").replace("+", "ready"), "{}", "-r")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.next()["topic"] == ready

    def next(self) -> dict:
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()


def with_mqtt(plant, broker, **options):
    address = BrokerAddress(host="127.0.0.1", port=broker.port, client_id="gw-1-out")
    settings = SinkSettings(id="out", kind=SinkKind.MQTT, broker=address, **options)
    return replace(plant.site(), sinks={"out": settings})


def retained(broker: Mosquitto, topic: str) -> dict[str, dict]:
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-W", "1"]
    form = ["-F", '{"topic":"%t","payload":%p}', "--retained-only"]
    done = subprocess.run([*command, *form], capture_output=True, text=True, check=False, timeout=20)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {one["topic"]: one["payload"] for one in found}


def test_a_message_has_the_value_in_the_registers_unit_and_its_proof(plant, mosquitto):  # noqa: F811
    site = with_mqtt(plant, mosquitto)
    resolution = site.series[TOTAL].resolution
    subscriber = Subscriber(mosquitto, "emg/v1/out/#", session="reader")
    try:
        with plant.journal() as journal, open_sinks(site, plant.clock) as (_, [sink]):
            missing = Reading(TOTAL, START + 60_000_000, None, Quality.MISSING, "line.silent")
            journal.append_all_now([entry([Reading(TOTAL, START, 123), missing])])
            drain_once(journal.directory, sink)
        first, second = subscriber.next(), subscriber.next()
    finally:
        subscriber.close()
    assert first["topic"] == second["topic"] == f"emg/v1/out/{TOTAL}"
    assert first["qos"] == 1
    assert first["payload"] == {
        "series": TOTAL,
        "instant": "2026-01-01T08:00:00+08:00",
        "value": float(123 * resolution),
        "text": str(123 * resolution),
        "unit": "kWh",
        "quality": ["GOOD"],
        "reason": "",
        "sequence": 2,
        "place": 0,
    }
    assert (second["payload"]["value"], second["payload"]["quality"]) == (None, ["MISSING"])
    assert retained(mosquitto, "emg/v1/out/#")[f"emg/v1/out/{TOTAL}"]["sequence"] == 2
    assert retained(mosquitto, "emg/v1/out/#")[f"emg/v1/out/{TOTAL}"]["text"] == str(Decimal(123) * resolution)


def test_a_late_reading_is_published_and_does_not_replace_the_newest(plant, mosquitto):  # noqa: F811
    site = with_mqtt(plant, mosquitto)
    with open_sinks(site, plant.clock) as (_, [sink]):
        sink.deliver([Delivery(2, totals(5, 1)), Delivery(3, totals(1, 1))])
    assert retained(mosquitto, "emg/v1/out/#")[f"emg/v1/out/{TOTAL}"]["sequence"] == 2


def test_a_late_reading_does_not_replace_the_newest_after_a_start_either(plant, mosquitto):  # noqa: F811
    site = with_mqtt(plant, mosquitto)
    with open_sinks(site, plant.clock) as (_, [sink]):
        sink.deliver([Delivery(2, totals(5, 1))])
    with open_sinks(site, plant.clock) as (_, [sink]):
        sink.deliver([Delivery(3, totals(1, 1))])
    assert retained(mosquitto, "emg/v1/out/#")[f"emg/v1/out/{TOTAL}"]["sequence"] == 2
    with open_sinks(site, plant.clock) as (_, [sink]):
        sink.deliver([Delivery(4, totals(6, 1))])
    assert retained(mosquitto, "emg/v1/out/#")[f"emg/v1/out/{TOTAL}"]["sequence"] == 4


async def test_a_restart_of_the_broker_loses_nothing(plant, mosquitto):  # noqa: F811
    site = with_mqtt(plant, mosquitto)
    subscriber = Subscriber(mosquitto, "emg/v1/out/+/+/+", session="reader")
    with plant.journal() as journal, EmbeddedStore.open(site.data_dir / "readings.db") as store:
        draining = asyncio.create_task(drain_site(site, journal, store, SystemClock(), pace_s=0))
        try:
            for number in range(60):
                last = await journal.append(*entry(totals(number * 20, 20)))
                await asyncio.sleep(0.01)
                if number in {20, 40}:
                    await asyncio.to_thread(mosquitto.stop)
                    await asyncio.to_thread(mosquitto.start)
            with open_book(site) as book:
                await until(lambda: book.standing("out").sequence >= last, "caught up")
        finally:
            draining.cancel()
            await asyncio.wait({draining})
    instants: dict[int, float] = {}
    while len(instants) < 1200:
        message = await asyncio.wait_for(asyncio.to_thread(subscriber.next), 20)
        instants.setdefault(
            message["payload"]["sequence"] * 100 + message["payload"]["place"], message["payload"]["value"]
        )
    subscriber.close()
    assert len(instants) == 1200
    values = [instants[key] for key in sorted(instants)]
    resolution = site.series[TOTAL].resolution
    assert values == [float((1000 + 3 * n) * resolution) for n in range(1200)]


def open_book(site) -> DeliveryBook:
    return DeliveryBook.open(site.data_dir, read_only=True)


def test_home_assistant_finds_every_quantity_with_its_unit_and_class(plant, mosquitto):  # noqa: F811
    site = with_mqtt(plant, mosquitto, discovery="homeassistant", enterprises=("steel",))
    with open_sinks(site, plant.clock) as (_, [sink]):
        sink.deliver([Delivery(2, totals(0, 1))])
    found = retained(mosquitto, "homeassistant/#")
    assert all(topic.startswith("homeassistant/sensor/gw-1/main_") for topic in found)
    assert len(found) == sum(series.enterprise == "steel" for series in site.series.values())
    [energy] = [one for one in found.values() if one["state_topic"] == f"emg/v1/out/{TOTAL}"]
    assert energy | {"device": None} == {
        "name": "active energy, import",
        "state_topic": f"emg/v1/out/{TOTAL}",
        "value_template": "{{ value_json.value }}",
        "json_attributes_topic": f"emg/v1/out/{TOTAL}",
        "qos": 1,
        "unit_of_measurement": "kWh",
        "device_class": "energy",
        "state_class": "total_increasing",
        "unique_id": f"gw-1_{TOTAL}",
        "device": None,
    }
    assert energy["device"]["identifiers"] == ["gw-1_steel_main"]
    [power] = [one for one in found.values() if one["state_topic"].endswith("/active_power")]
    assert (power["device_class"], power["state_class"]) == ("power", "measurement")
    assert len({one["unique_id"] for one in found.values()}) == len(found)


def test_a_ca_file_that_is_not_there_is_trouble_of_this_sink_alone(plant):
    address = BrokerAddress(host="127.0.0.1", port=1, client_id="x", tls_ca=str(plant.folder / "none.pem"))
    site = replace(plant.site(), sinks={"out": SinkSettings(id="out", kind=SinkKind.MQTT, broker=address)})
    with open_sinks(site, plant.clock) as (_, [sink]), pytest.raises(StoreError, match=r"none\.pem"):
        sink.deliver([Delivery(2, totals(0, 1))])
