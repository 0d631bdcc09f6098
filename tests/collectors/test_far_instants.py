"""A time that no store can hold is refused at every entrance, alone, and told; what is there of it stops nothing."""

import json
from pathlib import Path

import pytest

from gateway.domain.periods import iso
from gateway.domain.readings import EARLIEST, LATEST, Reading
from gateway.journal.entries import EntryKind
from gateway.journal.inbox import submit, take_in
from gateway.journal.reader import entries
from gateway.mqtt_messages import Message
from tests.collectors.mqtt_lab import MqttLab, site_text
from tests.journal.journals import open_journal

FAR = [2**63 - 1, -(2**63), 253_402_300_799_000_000, EARLIEST - 1, LATEST + 1]
SERIES = "works/main/active_energy_import"


@pytest.mark.parametrize("instant", FAR)
@pytest.mark.parametrize("reason", ["", "marked"])
def test_the_journal_takes_no_reading_of_such_a_time(tmp_path: Path, instant: int, reason: str) -> None:
    with open_journal(tmp_path) as journal:
        before = journal.durable_sequence
        with pytest.raises(ValueError, match=r"reading 2 of the entry.*year 6536"):
            journal.append_readings_now("m1", [Reading(SERIES, 1, 1), Reading(SERIES, instant, 2, reason=reason)])
        assert journal.durable_sequence == before
        journal.append_readings_now("m1", [Reading(SERIES, EARLIEST, 1), Reading(SERIES, LATEST, 2)])


@pytest.mark.parametrize("instant", FAR)
def test_an_inbox_file_with_such_a_time_is_refused_with_its_place(tmp_path: Path, instant: int) -> None:
    body = {"instant": [1, instant], "line": "m1", "of": [0, 0], "series": [SERIES], "value": [1, 2]}
    path = submit(tmp_path, [(EntryKind.READINGS, body)], origin="test", author="ann")
    with open_journal(tmp_path / "journal") as journal:
        take_in(tmp_path, journal)
    verdict = json.loads(path.with_suffix(".verdict.json").read_text("utf-8"))
    assert verdict["accepted"] is False
    assert str(instant) in json.dumps(verdict)
    assert not [entry for entry in entries(tmp_path / "journal") if entry.kind is EntryKind.READINGS]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/St_Johns"])
@pytest.mark.parametrize("instant", FAR)
def test_any_time_can_be_shown(instant: int, zone: str) -> None:
    assert iso(instant, zone)


def test_a_message_of_such_a_time_is_refused_and_its_neighbours_are_taken(tmp_path: Path) -> None:
    lab = MqttLab(tmp_path, site_text(1883, "", {"main": ""}, profile="electricity/emg_message_electricity"))
    times = ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "6900-01-01T00:00:00Z", "1969-12-31T23:59:59Z"]
    readings: list[Reading] = []
    for ts in [*times, "2026-11-24T03:00:00Z"]:
        payload = json.dumps({"ts": ts, "values": {"active_energy_import": 7}}).encode()
        told = Message("emg/v1/works/site/main/reading", payload, 1, False, False, 1, 0, len(payload), 1)
        lab.collector._read(told, readings)
    assert {reading.instant for reading in readings} == {(20781 * 86400 + 3 * 3600) * 1_000_000}
    assert len(lab.rejected) == len(times)
    assert all("1970" in refused.reason for refused in lab.rejected)
