"""The span of instants that a reading may have: at the journal's entrance, and in a journal that took others before."""

import json
from pathlib import Path

import pytest

from collectors.payloads.emg_v1 import read_payload
from collectors.payloads.said import PayloadRefused
from gateway.domain.periods import iso
from gateway.domain.readings import Quality, Reading
from gateway.domain.scopes import EVERYTHING
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.inbox import submit, take_in
from gateway.journal.reader import entries
from gateway.sinks.drain import drain_once
from gateway.stores.embedded import EmbeddedStore
from tests.journal.journals import START, build_frame, hash_of, join_frames, make_journal, open_journal, split_frames

SERIES = "works/main/energy"
BEYOND = [-1, 2**57, -(2**63), 2**63 - 1, 253_402_300_799_000_000]


@pytest.mark.parametrize("instant", BEYOND)
@pytest.mark.parametrize("quality", [Quality.GOOD, Quality.SUSPECT])
def test_the_journal_refuses_an_instant_that_no_reading_may_have(tmp_path: Path, instant: int, quality: Quality):
    with open_journal(tmp_path) as journal:
        before = journal.durable_sequence
        with pytest.raises(ValueError, match=f"reading 2 of the entry, {SERIES}: found instant {instant}; expected"):
            journal.append_readings_now("line", [Reading(SERIES, START, 1), Reading(SERIES, instant, 2, quality, "x")])
        assert journal.durable_sequence == before


def test_both_ends_of_the_span_are_taken(tmp_path: Path):
    readings = [Reading(SERIES, 0, 1), Reading(SERIES, 2**57 - 1, 2)]
    with open_journal(tmp_path) as journal:
        journal.append_readings_now("line", readings)
    assert [reading for entry in entries(tmp_path) for reading in readings_of(entry)] == readings


@pytest.mark.parametrize("instant", BEYOND)
def test_the_inbox_refuses_the_file_and_says_why(tmp_path: Path, instant: int):
    body = {"instant": [instant], "line": "hand", "of": [0], "series": [SERIES], "value": [1]}
    with open_journal(tmp_path / "journal") as journal:
        submit(tmp_path, [(EntryKind.READINGS, body)], origin="test", author="Li Wei")
        (verdict,) = take_in(tmp_path, journal)
    assert (verdict.accepted, verdict.line) == (False, 2)
    assert f"{SERIES}: found instant {instant}; expected an instant from 1970-01-01" in verdict.reason


def test_what_an_older_journal_took_is_passed_over_and_the_drain_goes_on(tmp_path: Path, caplog):
    (segment,) = make_journal(tmp_path / "journal", 2)
    frames = split_frames(segment.read_bytes())
    value = json.loads(frames[-1][48:])
    for instants in ([-(2**63), START, 2**63 - 1], [START + 1]):
        count = len(instants)
        body = {"instant": instants, "line": "hand", "of": [0] * count, "series": [SERIES], "value": [7] * count}
        value |= {"kind": "readings", "body": body}
        payload = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        frames.append(build_frame(len(frames) + 1, hash_of(frames[-1]), payload))
    segment.write_bytes(join_frames(frames))
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        drain_once(tmp_path / "journal", store)
        held = store.readings(EVERYTHING, SERIES, START - 10, START + 10)
        assert [reading.instant for reading in held] == [START, START + 1]
        (span,) = store.touched(EVERYTHING, 0)[1]
        assert (span.first, span.last, store.cursor()) == (START, START + 1, 4)
    assert "entry 3: 2 of its readings are passed over, the first of works/main/energy" in caplog.text


@pytest.mark.parametrize("ts", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z"])
def test_a_message_is_refused_alone(ts: str):
    with pytest.raises(PayloadRefused, match=r"ts: found .*; expected an instant from 1970-01-01 to the year 6536"):
        read_payload(json.dumps({"ts": ts, "values": {"volume": 1}}).encode())


def test_every_64_bit_instant_can_be_shown():
    # 253402300799 s is 9999-12-31T23:59:59Z (date -u -d @253402300799): eight hours later no calendar of ours reaches.
    assert iso(253_402_300_799_000_000, "Asia/Shanghai") == "9999-12-31T23:59:59+00:00"
    assert iso(2**63 - 1, "Asia/Shanghai") == "9223372036854775807 us since 1970 UTC"
    assert iso(-(2**63)) == "-9223372036854775808 us since 1970 UTC"
