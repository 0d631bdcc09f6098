"""Payload mappings: messages as their makers print them, through a real broker, become readings in our units."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.payload_mapping import load_payload_mapping, mapping_path, shipped_mappings, steps_of
from tests.collectors.mqtt_lab import MqttLab, site_text

pytestmark = pytest.mark.servers


async def taken(lab: MqttLab, broker: Any, messages: list[tuple[str, Any]], count: int) -> dict[tuple[str, int], Any]:
    async with lab:
        for topic, message in messages:
            text = message if isinstance(message, str) else json.dumps(message)
            await asyncio.to_thread(broker.publish, topic, text)
        return await lab.readings(count)


async def test_zigbee2mqtt_says_kilowatt_hours_and_watts(mosquitto: Any, tmp_path: Path) -> None:
    lab = MqttLab(tmp_path, site_text(mosquitto.port, 'payload = "zigbee2mqtt"', {"plug": 'source = "FRIENDLY_NAME"'}))
    # The message of the guide "MQTT topics and messages"; 2021-06-28T17:38:12Z: date -u -d @1624901892
    message = {"current": 11.12, "energy": 10.48, "power": 2441, "voltage": 223, "linkquality": 120}
    message["last_seen"] = "2021-06-28T19:38:12+02:00"
    at = 1_624_901_892_000_000
    found = await taken(lab, mosquitto, [("zigbee2mqtt/FRIENDLY_NAME", message)], 4)
    assert found == {
        ("plug/active_energy_import", at): 1_048_000,  # 10.48 kWh / 0.00001 kWh
        ("plug/active_power", at): 2.441,
        ("plug/voltage_l1", at): 223.0,
        ("plug/current_l1", at): 11.12,
    }
    assert lab.rejected == []


async def test_without_its_time_a_message_is_refused_and_devices_of_others_are_told_once(
    mosquitto: Any, tmp_path: Path
) -> None:
    lab = MqttLab(tmp_path, site_text(mosquitto.port, 'payload = "zigbee2mqtt"', {"plug": ""}))
    messages = [
        ("zigbee2mqtt/plug", {"energy": 10.48}),
        *[("zigbee2mqtt/lamp", {"state": "ON"})] * 3,
        *[("zigbee2mqtt/plug", {"linkquality": 7})] * 3,
        ("zigbee2mqtt/plug", {"energy": 10.5, "last_seen": "2021-06-28T19:38:12"}),
        ("zigbee2mqtt/plug", {"energy": 10.5, "power": None, "last_seen": "2021-06-28T19:38:12+02:00"}),
    ]
    found = await taken(lab, mosquitto, messages, 2)
    assert list(found.values()) == [1_050_000, (None, "message.no_value")]
    assert [rejected.reason.split(";")[0] for rejected in lab.rejected] == [
        "last_seen: found nothing",
        "'lamp': no meter of this line is called so. This is told once.",
        "zigbee2mqtt/plug: nothing of what the mapping declares is in it. This is told once.",
        "last_seen: found '2021-06-28T19:38:12' without its offset, which the mapping says is in the text",
    ]


async def test_tasmotas_local_time_is_that_of_the_declared_zone(mosquitto: Any, tmp_path: Path) -> None:
    line = 'payload = "tasmota"\nzone = "Europe/Berlin"'
    lab = MqttLab(tmp_path, site_text(mosquitto.port, line, {"washer": ""}))
    # Tasmota issue 1621; Berlin is one hour ahead of UTC in January: date -u -d 2018-01-17T17:59:50Z +%s
    energy = {"Total": 1.956, "Yesterday": 0.054, "Today": 0.049, "Period": 0, "Power": 9, "Factor": 0.43}
    message = {"Time": "2018-01-17T18:59:50", "ENERGY": {**energy, "Voltage": 231, "Current": 0.089}}
    twice = {"Time": "2018-10-28T02:30:00", "ENERGY": {"Total": 2}}
    never = {"Time": "2018-03-25T02:30:00", "ENERGY": {"Total": 2}}
    messages = [("tele/washer/SENSOR", one) for one in (twice, never, message)]
    at = 1_516_211_990_000_000
    assert await taken(lab, mosquitto, messages, 5) == {
        ("washer/active_energy_import", at): 195_600,
        ("washer/active_power", at): 0.009,
        ("washer/power_factor", at): 0.43,
        ("washer/voltage_l1", at): 231.0,
        ("washer/current_l1", at): 0.089,
    }
    assert [rejected.reason[:27] for rejected in lab.rejected] == [
        "Time: found '2018-10-28T02:",
        "Time: found '2018-03-25T02:",
    ]
    assert all("twice or not at all" in rejected.reason for rejected in lab.rejected)


async def test_shelly_counts_watt_hours_and_sends_what_has_changed(mosquitto: Any, tmp_path: Path) -> None:
    lab = MqttLab(tmp_path, site_text(mosquitto.port, 'payload = "shelly_3em"', {"in": 'source = "shellypro3em-a"'}))

    def notify(ts: float, **params: Any) -> dict[str, Any]:
        return {"src": "shellypro3em-a", "method": "NotifyStatus", "params": {"ts": ts, **params}}

    messages = [
        ("shellypro3em-a/events/rpc", notify(1656924000.07, **{"emdata:0": {"id": 0, "total_act": 1234567.89}})),
        ("shellypro3em-a/events/rpc", notify(1656924001.5, **{"em:0": {"a_act_power": 951.2, "c_voltage": 236.1}})),
    ]
    assert await taken(lab, mosquitto, messages, 3) == {
        ("in/active_energy_import", 1_656_924_000_070_000): 123_456_789,  # 1234.56789 kWh
        ("in/active_power_l1", 1_656_924_001_500_000): 0.9512,
        ("in/voltage_l3", 1_656_924_001_500_000): 236.1,
    }


async def test_channels_of_one_device_are_meters_of_their_own(mosquitto: Any, tmp_path: Path) -> None:
    meters = {"one": 'source = "em50/0"', "two": 'source = "em50/1"'}
    lab = MqttLab(tmp_path, site_text(mosquitto.port, 'payload = "shelly_em1"', meters))
    # em1:1 as printed in ShellyPy issue 20
    channel = {"id": 1, "current": 2.598, "voltage": 234.9, "act_power": 501.8, "pf": 0.84, "freq": 50}
    message = {"params": {"ts": 1656924000, "em1:1": channel, "em1data:0": {"total_act_energy": 7.5}}}
    at = 1_656_924_000_000_000
    assert await taken(lab, mosquitto, [("em50/events/rpc", message)], 6) == {
        ("two/current_l1", at): 2.598,
        ("two/voltage_l1", at): 234.9,
        ("two/active_power", at): 0.5018,
        ("two/power_factor", at): 0.84,
        ("two/frequency", at): 50.0,
        ("one/active_energy_import", at): 750,
    }


async def test_homie_has_no_time_and_what_waited_at_the_broker_is_not_taken(mosquitto: Any, tmp_path: Path) -> None:
    text = site_text(mosquitto.port, 'payload = "homie5"', {"heater": 'source = "dev-1/meter"'})
    async with MqttLab(tmp_path, text) as lab:
        before = lab.collector._session._clock.now()
        await asyncio.to_thread(mosquitto.publish, "homie/5/dev-1/meter/energy", "12.5", "-r")
        await lab.until(lambda: lab.arrived)
        [reading] = lab.arrived
        assert (reading.series, reading.value) == ("works/heater/active_energy_import", 1_250_000)
        assert before <= reading.instant <= lab.collector._session._clock.now()
    await asyncio.to_thread(mosquitto.publish, "homie/5/dev-1/meter/energy", "13.5")  # while nobody listens
    async with MqttLab(tmp_path, text) as lab:
        await asyncio.to_thread(mosquitto.publish, "homie/5/dev-1/meter/energy", "14.5")
        await lab.until(lambda: lab.arrived)
        assert [reading.value for reading in lab.arrived] == [1_450_000]
        assert [rejected.payload for rejected in lab.rejected] == ["12.5"], "retained: never fresh"


OWN = """
source = "the maker's page"
topic = "plant/{hall}/{meter}/up"
meter = "{hall}-{meter}"

[time]
path = "head[0].at"
form = "unix-ms"

[sequence]
path = "head[0].n"
modulus = 100

[[value]]
path = '["total.kWh"]'
quantity = "active_energy_import"
unit = "MWh"

[[value]]
path = "p"
quantity = "active_power"
unit = "kW"
words = { low = 0.5, true = 1 }
"""


async def test_a_mapping_of_the_users_own_with_named_parts_words_and_a_count(mosquitto: Any, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN, "utf-8")
    text = site_text(mosquitto.port, 'payload = "own.toml"', {"kiln": 'source = "north-kiln"'})
    lab = MqttLab(tmp_path, text)

    def message(number: int, at_ms: int, **values: Any) -> tuple[str, Any]:
        return "plant/north/kiln/up", {"head": [{"at": at_ms, "n": number}], **values}

    messages = [
        message(98, 1000, **{"total.kWh": 1.5}),
        message(99, 2000, p="low"),
        message(0, 3000, p=True),
        message(3, 4000, p="2.25"),  # 1 and 2 are missing
        message(4, 5000, p="much"),
        message(5, 6000, p=0.25),
    ]
    found = await taken(lab, mosquitto, messages, 5)
    assert found == {
        ("kiln/active_energy_import", 1_000_000): 150_000_000,  # 1500 kWh
        ("kiln/active_power", 2_000_000): 0.5,
        ("kiln/active_power", 3_000_000): 1.0,
        ("kiln/active_power", 4_000_000): 2.25,
        ("kiln/active_power", 6_000_000): 0.25,
    }
    [(lost, series)] = lab.lost
    assert (lost.missing, lost.before, lost.after) == (2, (0, 3_000_000), (3, 4_000_000))
    assert "works/kiln/active_power" in series
    assert [rejected.reason for rejected in lab.rejected] == [
        "values.active_power: found 'much'; expected a number, or null where nothing was shown"
    ]


HOSTILE = [
    b"\xff\xfe",
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b'{"last_seen":"2021-06-28T19:38:12Z","energy":NaN}',
    b'{"last_seen":"2021-06-28T19:38:12Z","energy":' + b"9" * 30_000 + b"}",
    b'{"last_seen":"2021-06-28T19:38:12Z","energy":1e999999}',
    b'{"last_seen":"2021-06-28T19:38:12Z","energy":"\xed\xa0\x80"}',
    b'{"last_seen":"2021-06-28T19:38:12Z","energy":{"energy":1}}',
    b'{"last_seen":{"a":1},"energy":1}',
    b'{"last_seen":"9999-99-99","energy":1}',
    b'{"energy":1,"energy":2,"last_seen":"2021-06-28T19:38:12Z"}',
    b" " * 70_000,
]


async def test_hostile_payloads_cost_themselves_only(mosquitto: Any, tmp_path: Path) -> None:
    lab = MqttLab(tmp_path, site_text(mosquitto.port, 'payload = "zigbee2mqtt"', {"plug": ""}))
    async with lab:
        for number, payload in enumerate(HOSTILE):
            await asyncio.to_thread(mosquitto.publish, "zigbee2mqtt/plug", payload)
            good = {"energy": number, "last_seen": f"2021-06-28T19:38:{number:02d}Z"}
            await asyncio.to_thread(mosquitto.publish, "zigbee2mqtt/plug", json.dumps(good))
        await lab.readings(len(HOSTILE))
        assert [reading.value for reading in lab.arrived] == [100_000 * number for number in range(len(HOSTILE))]
        assert len(lab.rejected) == len(HOSTILE)
        for rejected in lab.rejected:
            rejected.reason.encode()
            assert len(rejected.reason) < 400


MISTAKES = [
    ('path = "p"', 'path = "p..q"', "own.toml:20", "value[2].path", "a JSON path"),
    ('unit = "kW"', 'unit = "kWh"', "own.toml:22", "value[2].unit", "a unit of power"),
    ('quantity = "active_power"', 'quantity = "activ_power"', "own.toml:21", "value[2].quantity", "Did you mean"),
    ('form = "unix-ms"', 'form = "received"', "own.toml:7", "time.path", "nothing, for messages without a time"),
    ('form = "unix-ms"', 'form = "iso"', "own.toml:6", "time.zone", "in-text, of-the-line, or an IANA zone"),
    ('topic = "plant/{hall}', 'topic = "plant/+', "own.toml:3", "topic", "levels that are plain text or one {name}"),
    ('meter = "{hall}-', 'meter = "{hal}-', "own.toml:4", "meter", "Did you mean 'hall'?"),
    ('source = "the', 'saurce = "the', "own.toml:2", "saurce", "Did you mean 'source'?"),
]


@pytest.mark.parametrize(("good", "bad", "where", "key", "what"), MISTAKES)
def test_a_mistake_in_a_mapping_is_told_with_its_line(
    tmp_path: Path, good: str, bad: str, where: str, key: str, what: str
) -> None:
    assert good in OWN
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(good, bad), "utf-8")
    with pytest.raises(ConfigError) as raised:
        load_payload_mapping(path)
    sentence = str(raised.value)
    assert where in sentence
    assert key in sentence
    assert what in sentence


def test_json_paths() -> None:
    assert steps_of("") == ()
    assert steps_of("params.em:0.a_act_power") == ("params", "em:0", "a_act_power")
    assert steps_of('a[0][12].b["c.d"]') == ("a", 0, 12, "b", "c.d")
    for wrong in (".a", "a.", "a[", "a[x]", "a]", 'a"b', "a..b", "[12345]"):
        with pytest.raises(ValueError, match="expected keys and places"):
            steps_of(wrong)


def test_every_shipped_mapping_is_sound_and_tells_its_source() -> None:
    assert shipped_mappings() == ["homie5", "shelly_3em", "shelly_em1", "tasmota", "zigbee2mqtt"]
    for name in shipped_mappings():
        mapping = load_payload_mapping(mapping_path(name, Path()))
        assert all(isinstance(number, Decimal) for value in mapping.values for number in value.words.values())
