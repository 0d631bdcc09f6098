"""Sparkplug B against a foreign peer: births, aliases, seq, deaths, and what is said to the field only when permitted."""

import asyncio
import json
import struct
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.payloads.said import PayloadRefused
from collectors.payloads.sparkplug_wire import decode_payload, encode_flag, number_of
from gateway.domain.readings import Quality
from tests.collectors.mqtt_lab import MqttLab, site_text
from tests.collectors.sparkplug_peer import Payload, payload

T = 1_795_489_200_000  # [ms] 2026-11-24T03:00:00Z
US = 1000
INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FLOAT, DOUBLE, BOOLEAN, STRING = range(1, 13)
ENERGY = {"name": "active_energy_import", "alias": 7, "datatype": DOUBLE, "timestamp": T}
POWER = {"name": "active_power", "alias": 8, "datatype": FLOAT, "timestamp": T}
BDSEQ = {"name": "bdSeq", "datatype": INT64, "long_value": 4}
LINE = 'payload = "sparkplug-b"'
METERS = {"main": 'source = "plant/edge-1/meter-1"', "edge": 'source = "plant/edge-1"'}

TYPED = [
    (INT8, "int_value", 0xFF, -1),
    (INT8, "int_value", 0xFFFFFF80, -128),  # extended to 32 bits, as some peers send it
    (INT16, "int_value", 0x8000, -32768),
    (INT32, "int_value", 2**32 - 5, -5),
    (INT64, "long_value", 2**64 - 1, -1),
    (UINT8, "int_value", 255, 255),
    (UINT16, "int_value", 65535, 65535),
    (UINT32, "long_value", 2**32 - 1, 2**32 - 1),
    (UINT64, "long_value", 2**64 - 1, 2**64 - 1),
    (FLOAT, "float_value", 0.1, Decimal(struct.unpack("<f", struct.pack("<f", 0.1))[0])),
    (DOUBLE, "double_value", 815.125, Decimal("815.125")),
    (BOOLEAN, "boolean_value", True, 1),
]


@pytest.mark.parametrize(("datatype", "field", "sent", "meant"), TYPED)
def test_every_type_of_number_is_read_as_the_peer_wrote_it(datatype: int, field: str, sent: Any, meant: Any) -> None:
    data = payload(200, T, {"name": "x", "alias": 2**63, "timestamp": T + 1, "datatype": datatype, field: sent})
    told = decode_payload(data)
    [metric] = told.metrics
    assert (told.timestamp_ms, told.seq) == (T, 200)
    assert (metric.name, metric.alias, metric.timestamp_ms) == ("x", 2**63, T + 1)
    assert number_of(metric, metric.datatype) == meant


def test_what_is_no_number_says_so_and_what_is_not_ours_is_passed_over() -> None:
    data = payload(
        0,
        T,
        {"name": "text", "datatype": STRING, "string_value": "12"},
        {"name": "null", "datatype": DOUBLE, "is_null": True},
        {"name": "nan", "datatype": DOUBLE, "double_value": float("nan")},
        {"name": "big", "datatype": UINT8, "int_value": 300},
        {"name": "none", "datatype": UINT8},
        {"name": "good", "datatype": UINT8, "int_value": 3, "description": "about", "keys": ["engUnit"]},
    )
    metrics = decode_payload(data).metrics
    assert [number_of(metric, metric.datatype) for metric in metrics] == [
        "found text; expected a number",
        None,
        "found nan; expected a number, or null where nothing was shown",
        "found 300 of datatype 5; expected a number of that type",
        "found a metric without a value; expected a number",
        3,
    ]


def test_the_peer_reads_the_one_command_that_there_is() -> None:
    told = Payload.FromString(encode_flag("Node Control/Rebirth", T))
    [metric] = told.metrics
    assert (told.timestamp, told.HasField("seq")) == (T, False)
    assert (metric.name, metric.datatype, metric.boolean_value, metric.timestamp) == (
        "Node Control/Rebirth",
        11,
        True,
        T,
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_refused(data: bytes) -> None:
    try:
        told = decode_payload(data)
    except PayloadRefused:
        return
    for metric in told.metrics:
        assert isinstance(number_of(metric, metric.datatype), Decimal | str | None)


def test_a_payload_cut_at_every_byte_is_refused_or_holds_only_whole_metrics() -> None:
    data = payload(5, T, {**ENERGY, "double_value": 1.5}, {**POWER, "float_value": 2.5})
    for end in range(len(data)):
        try:
            told = decode_payload(data[:end])
        except PayloadRefused:
            continue
        assert [number_of(metric, metric.datatype) for metric in told.metrics] in ([], [Decimal("1.5")], [1.5, 2.5])


class Edge:
    """An edge node with one device, as the broker hears it."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker

    async def says(self, kind: str, seq: int | None, at: int, *metrics: dict[str, Any], node: str = "edge-1") -> None:
        topic = f"spBv1.0/plant/{kind}/{node}" + ("/meter-1" if kind.startswith("D") else "")
        await asyncio.to_thread(self.broker.publish, topic, payload(seq, at, *metrics), qos=0)

    async def born(self) -> None:
        await self.says("NBIRTH", 0, T, BDSEQ, {"name": "Node Control/Rebirth", "datatype": 11, "boolean_value": False})
        await self.says("DBIRTH", 1, T, {**ENERGY, "double_value": 815.125}, {**POWER, "float_value": 2.5})


pytest_servers = pytest.mark.servers


@pytest_servers
async def test_births_name_the_aliases_and_data_is_read_by_them(mosquitto: Any, tmp_path: Path) -> None:
    lab, edge = MqttLab(tmp_path, site_text(mosquitto.port, LINE, METERS)), Edge(mosquitto)
    async with lab:
        await edge.born()
        data = ({"alias": 7, "timestamp": T + 1000, "double_value": 816}, {"alias": 8, "is_null": True})
        await edge.says("DDATA", 2, T + 2000, *data)
        history = {"alias": 7, "timestamp": T + 500, "is_historical": True, "double_value": 815.5}
        await edge.says("DDATA", 3, T + 3000, history, {"alias": 7, "timestamp": T + 1500, "double_value": 816.5})
        await edge.says("NDATA", 4, T + 3000, {"name": "active_power", "datatype": DOUBLE, "double_value": 1.25})
        assert await lab.readings(7) == {
            ("main/active_energy_import", T * US): 81_512_500,
            ("main/active_power", T * US): 2.5,
            ("main/active_energy_import", (T + 1000) * US): 81_600_000,
            ("main/active_power", (T + 2000) * US): (None, "message.no_value"),
            ("main/active_energy_import", (T + 500) * US): 81_550_000,
            ("main/active_energy_import", (T + 1500) * US): 81_650_000,
            ("edge/active_power", (T + 3000) * US): 1.25,
        }
    assert (lab.lost, lab.rejected) == ([], [])


@pytest_servers
async def test_seq_runs_to_255_and_on_at_0_and_a_gap_is_told_and_casts_doubt_on_aliases(
    mosquitto: Any, tmp_path: Path
) -> None:
    lab, edge = MqttLab(tmp_path, site_text(mosquitto.port, LINE, METERS)), Edge(mosquitto)
    async with lab:
        await edge.born()
        await edge.says("DDATA", 2, T + 1000, {"alias": 7, "double_value": 816})
        await edge.says("DDATA", 253, T + 2000, {"alias": 7, "double_value": 817})  # 250 lost
        for number in range(4):  # 254, 255, 0, 1
            await edge.says("DDATA", (254 + number) % 256, T + 3000 + number, {"alias": 7, "double_value": 818})
        await edge.says("DDATA", 4, T + 4000, {"name": "active_power", "datatype": FLOAT, "float_value": 3.5})  # 2, 3
        await edge.born()
        await edge.says("DDATA", 2, T + 5000, {"alias": 7, "double_value": 819})
        await lab.until(lambda: lab.arrived and lab.arrived[-1].instant == (T + 5000) * US)
    assert [(lost.counter, lost.missing) for lost, _ in lab.lost] == [("plant/edge-1", 250), ("plant/edge-1", 2)]
    assert "works/main/active_energy_import" in lab.lost[0][1]
    by_instant = {reading.instant // US - T: reading for reading in lab.arrived}
    for after in (2000, 3000, 3003):
        assert (by_instant[after].quality, by_instant[after].reason) == (Quality.SUSPECT, "sparkplug.birth_missed")
    assert by_instant[4000].quality is Quality.GOOD, "it says its name"
    assert by_instant[5000].quality is Quality.GOOD, "born again"


@pytest_servers
async def test_a_death_leaves_no_value_standing_and_an_old_will_kills_nobody(mosquitto: Any, tmp_path: Path) -> None:
    lab, edge = MqttLab(tmp_path, site_text(mosquitto.port, LINE, METERS)), Edge(mosquitto)
    async with lab:
        await edge.born()
        await lab.readings(2)
        await edge.says("NDEATH", None, T, {**BDSEQ, "long_value": 3})
        await edge.says("DDEATH", 2, T + 1000)
        await lab.until(lambda: len(lab.arrived) >= 2 + 16)
        died = lab.arrived[2:]
        assert {reading.series.split("/")[1] for reading in died} == {"main"}
        assert {(reading.instant, reading.quality, reading.reason) for reading in died} == {
            ((T + 1000) * US, Quality.MISSING, "sparkplug.offline")
        }
        await edge.says("NDEATH", None, T, BDSEQ)
        await lab.until(lambda: len(lab.arrived) >= 2 + 3 * 16)
        assert {reading.series.split("/")[1] for reading in lab.arrived[18:]} == {"main", "edge"}


class Listener:
    """A foreign subscriber; what it heard until it was told to end, as (topic, payload)."""

    def __init__(self, broker: Any, topic: str) -> None:
        broker.stop()
        broker.options.append("log_type all")
        broker.start()
        self.broker = broker
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-i", "listener", "-F", "%t %x"]
        self._process = subprocess.Popen([*command, "-t", topic, "-t", "end"], stdout=subprocess.PIPE, text=True)
        while "Sending SUBACK to listener" not in (broker.folder / "mosquitto.log").read_text():
            time.sleep(0.02)

    def heard(self) -> list[tuple[str, bytes]]:
        self.broker.publish("end", "x")
        found = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            topic, data = line.split()
            if topic == "end":
                break
            found.append((topic, bytes.fromhex(data)))
        self._process.terminate()
        self._process.communicate()
        return found


@pytest_servers
async def test_nothing_is_said_to_the_field_unless_it_is_permitted(mosquitto: Any, tmp_path: Path) -> None:
    edge = Edge(mosquitto)
    listener = Listener(mosquitto, "spBv1.0/+/NCMD/#")
    async with MqttLab(tmp_path / "silent", site_text(mosquitto.port, LINE + '\nclient_id = "a"', METERS)) as lab:
        await edge.says("DDATA", 9, T, {"alias": 7, "double_value": 1})
        await edge.says("DDATA", 12, T + 1, {"alias": 7, "double_value": 1})
        await lab.until(lambda: lab.lost)
        assert [rejected.reason for rejected in lab.rejected] == [
            "alias 7 is not known until the next birth. This is told once."
        ]
    assert listener.heard() == []


@pytest_servers
async def test_with_rebirth_an_unknown_node_is_asked_once_and_the_host_says_that_it_listens(
    mosquitto: Any, tmp_path: Path
) -> None:
    edge = Edge(mosquitto)
    listener = Listener(mosquitto, "spBv1.0/#")
    line = LINE + '\nrebirth = true\nsparkplug_host = "emg"'
    async with MqttLab(tmp_path / "asking", site_text(mosquitto.port, line, METERS)) as lab:
        await edge.says("DDATA", 9, T, {"alias": 7, "double_value": 1})
        await edge.says("DDATA", 10, T + 1, {"alias": 7, "double_value": 1})
        await edge.born()
        await edge.says("DDATA", 2, T + 2, {"alias": 7, "double_value": 820})
        await lab.until(lambda: lab.arrived and lab.arrived[-1].value == 82_000_000)
    told = listener.heard()
    commands = [data for topic, data in told if topic == "spBv1.0/plant/NCMD/edge-1"]
    assert [metric.name for data in commands for metric in Payload.FromString(data).metrics] == ["Node Control/Rebirth"]
    states = [json.loads(data) for topic, data in told if topic == "spBv1.0/STATE/emg"]
    assert [state["online"] for state in states] == [True, False]
    assert states[0]["timestamp"] == states[1]["timestamp"]
