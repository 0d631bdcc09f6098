"""Entries and readings as bytes: exact both ways, one form only, and nothing that could not be read back."""

import hashlib
import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.instruments import RecordClass
from gateway.domain.readings import Quality, Reading
from gateway.errors import JournalError
from gateway.journal.entries import (
    EntryKind,
    canonical_json,
    decode_entry,
    encode_payload,
    encode_readings,
    readings_body,
    readings_in,
    readings_of,
)
from gateway.journal.segments import Frame

INT64 = st.integers(-(2**63), 2**63 - 1)
INSTANT = st.integers(0, 2**57 - 1)
VALUES = INT64 | st.floats(allow_nan=False, allow_infinity=False)
STAMP: dict[str, Any] = {"at": 1, "monotonic_ns": 2, "boot": "b"}


def may_be_journaled(reading: Reading) -> bool:
    return reading.value is not None or not reading.quality & Quality.GOOD


READINGS = st.builds(
    Reading,
    series=st.sampled_from(["e/p1/active_energy_import", "e/p1/active_power", "e/p2/volume"]),
    instant=INSTANT,
    value=st.none() | VALUES,
    quality=st.just(Quality.GOOD) | st.sampled_from([Quality(number) for number in range(1, 32)]),
    reason=st.sampled_from(["", "line.silent", "说明"]) | st.text(max_size=5).filter(lambda s: s.isprintable()),
    words=st.sampled_from([b"", b"\x42\xf7\x00\x00"]) | st.binary(max_size=8),
).filter(may_be_journaled)
# Batches as they are most of the time, whose columns can be left out or are of one type.
PLAIN = st.builds(
    Reading,
    st.just("e/p/q"),
    INSTANT,
    VALUES,
    st.just(Quality.GOOD),
    st.just(""),
    st.just(b"") | st.binary(min_size=4, max_size=4),
)


def through_the_journal(readings: list[Reading]) -> list[Reading]:
    payload = encode_payload(EntryKind.READINGS, body=readings_body("line-1", readings), **STAMP)
    return readings_of(decode_entry(Frame(0, 7, bytes(32), payload)))


@given(st.lists(READINGS, min_size=1, max_size=20) | st.lists(PLAIN, min_size=1, max_size=20))
@example([Reading("e/p/q", 0, 2**63 - 1), Reading("e/p/q", 1, 2**53 + 1), Reading("e/p/q", 2, -(2**63))])
@example([Reading("e/p/q", 0, 5.0), Reading("e/p/q", 1, 5), Reading("e/p/q", 2, -0.0), Reading("e/p/q", 3, 5e-324)])
@example([Reading("e/p/q", 0, 1e300), Reading("e/p/q", 1, 2**63 - 1), Reading("e/p/q", 2, 1e-05)])
@example([Reading("e/p/q", 0, None, Quality.MISSING, "line.silent"), Reading("e/p/q", 1, 0)])
def test_readings_come_back_exactly_as_they_went_in(readings: list[Reading]) -> None:
    # repr, because 5 == 5.0 and 0.0 == -0.0 would pass for equal
    assert [repr(reading) for reading in through_the_journal(readings)] == [repr(reading) for reading in readings]


@given(
    st.lists(READINGS, min_size=1, max_size=20) | st.lists(PLAIN, min_size=1, max_size=20),
    st.sampled_from(RecordClass),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
@example([Reading("e/p/q", n, 10.0**-n) for n in range(30)], RecordClass.EVIDENCE, "m")
@example([Reading("e/p/q", n, 10.0**n) for n in range(30)], RecordClass.EVIDENCE, "m")
def test_the_fast_way_writes_the_very_bytes_of_the_canonical_one(
    readings: list[Reading], record_class: RecordClass, line: str
) -> None:
    fast = encode_readings(line, readings, record_class, **STAMP)
    body = readings_body(line, readings, record_class=record_class)
    assert fast == encode_payload(EntryKind.READINGS, body=body, **STAMP)
    # and canonical is what the standard library says of it, whoever wrote it
    value = json.loads(fast)
    assert fast == json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def test_a_batch_names_each_series_once_and_leaves_columns_of_nothing_out() -> None:
    readings = [
        Reading("e/a/energy", 10, 5),
        Reading("e/b/power", 11, 1.5),
        Reading("e/a/energy", 12, 7),
    ]
    plain = {
        "line": "m1",
        "series": ["e/a/energy", "e/b/power"],
        "of": [0, 1, 0],
        "instant": [10, 11, 12],
        "value": [5, 1.5, 7],
    }
    assert readings_body("m1", readings) == plain
    assert readings_body("m1", readings, record_class=RecordClass.TELEMETRY) == {**plain, "class": "telemetry"}
    readings[1] = readings[1]._replace(quality=Quality.SUSPECT, reason="limit", words=b"\x3f\xc0\x00\x00")
    assert readings_body("m1", readings) == {
        **plain,
        "quality": [1, 2, 1],
        "reason": ["", "limit", ""],
        "words": ["", "3fc00000", ""],
    }


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        *((Reading("e/p/bad", 0, value), "value") for value in (math.nan, math.inf, -math.inf, 2**63, True, "5")),
        (Reading("e/p/bad", 0, None), "no value and quality GOOD"),
        (Reading("e/p/bad", 0, None, Quality.GOOD | Quality.SUSPECT), "no value and quality GOOD"),
        (Reading("e/p/bad", 0, 1, Quality.CORRECTED | Quality.GOOD), "quality 33"),
        (Reading("e/p/bad", 0, 1, Quality(0)), "quality 0"),
        (Reading("e/p/bad", 0, 1, 2), "quality 2"),
        (Reading("e/p/bad", 2**63, 1), "instant"),
        (Reading("e/p/bad", True, 1), "instant"),
        (Reading("e/p/bad", 0.5, 1), "instant"),
        (Reading("e/p/bad", 0, 1, reason=None), "reason"),
        (Reading("e/p/bad", 0, 1, words="4000"), "words"),
    ],
)
def test_a_reading_that_cannot_be_evidence_is_refused_by_its_number_and_series(bad: Any, found: str) -> None:
    for column in ("value", "words", "reason", "quality"):  # whatever the other columns hold
        good = Reading("e/p/q", 0, 1)._replace(**{column: {"value": 1.5, "words": b"ab"}.get(column, good_of(column))})
        with pytest.raises(ValueError, match=rf"reading 2 of the entry, e/p/bad: found {found}"):
            readings_body("m1", [good, bad, good])
        with pytest.raises(ValueError, match=rf"reading 2 of the entry, e/p/bad: found {found}"):
            encode_readings("m1", [good, bad, good], RecordClass.EVIDENCE, **STAMP)


def good_of(column: str) -> Any:
    return Quality.SUSPECT if column == "quality" else "limit"


@pytest.mark.parametrize("series", ["e/p", "e/p/q/r", "e//q", "e/p/+", "e/p/q\n", "/p/q", "e/p/说明", "", 5, None])
def test_a_series_is_named_by_three_identifiers(series: Any) -> None:
    with pytest.raises(ValueError, match="expected enterprise/point/quantity"):
        readings_body("m1", [Reading("e/p/q", 0, 1), Reading(series, 0, 1)])


@pytest.mark.parametrize("readings", [[], [("e/p/q", 0, 1)], [7], [Reading(["e/p/q"], 0, 1)]])
def test_what_is_no_batch_of_readings_is_refused(readings: Any) -> None:
    with pytest.raises(ValueError, match="batch of"):
        readings_body("m1", readings)


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be journaled"):
        encode_readings("m1", [Reading("e/p/q", 0, 1, Quality.SUSPECT, "\ud800")], RecordClass.EVIDENCE, **STAMP)


WHOLE = {"line": "m", "series": ["e/p/q"], "of": [0], "instant": [0], "value": [5]}


@pytest.mark.parametrize(
    "change",
    [
        {"line": None},
        {"line": 7},
        {"class": "evidence"},
        {"series": None},
        {"series": "e/p/q"},
        {"series": ["e/p"]},
        {"series": ["e/p/q", "e/p/q"]},
        {"series": []},
        {"of": None},
        {"of": [1]},
        {"of": [-1]},
        {"of": [False]},
        {"of": [0, 0]},
        {"of": [], "instant": [], "value": []},
        {"instant": None},
        {"instant": [0.5]},
        {"instant": [2**63]},
        {"instant": []},
        {"value": None},
        {"value": [5, 6]},
        {"value": {"0": 5}},
        {"value": [True]},
        {"value": ["5"]},
        {"value": [[5]]},
        {"value": [2**63]},
        {"value": [None]},
        {"quality": None},
        {"quality": [0]},
        {"quality": [32]},
        {"quality": [True]},
        {"quality": [1.0]},
        {"quality": [1, 1]},
        {"reason": [7]},
        {"reason": "x"},
        {"words": [""] * 2},
        {"words": ["4"]},
        {"words": ["4 0 "]},
        {"words": ["zz"]},
        {"words": ["说"]},
        {"words": [7]},
    ],
    ids=repr,
)
def test_a_malformed_body_of_readings_is_refused_with_a_sentence(change: dict[str, Any]) -> None:
    body = {**WHOLE, **change}
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        readings_in(body)
    payload = encode_payload(EntryKind.READINGS, body=body, **STAMP)
    with pytest.raises(JournalError, match="entry 7"):
        readings_of(decode_entry(Frame(0, 7, bytes(32), payload)))


def test_what_others_add_to_a_body_does_no_harm() -> None:
    body = {**WHOLE, "import": {"file": "x"}, "class": "telemetry", "quality": [1], "words": ["ABcd"]}
    assert readings_in(body) == [Reading("e/p/q", 0, 5, words=b"\xab\xcd")]


def test_a_pruned_entry_keeps_its_place_in_the_chain() -> None:
    was = Frame(0, 7, bytes(32), encode_payload(EntryKind.EVENT, body={"event": "was there"}, **STAMP))
    told = {"payload": hashlib.sha256(was.payload).hexdigest(), "readings": 9}
    entry = decode_entry(Frame(0, 7, bytes(32), encode_payload(EntryKind.PRUNED, body=told, **STAMP)))
    assert (entry.kind, entry.hash, readings_of(entry)) == (EntryKind.PRUNED, was.hash, [])
    with pytest.raises(JournalError, match="entry 7"):
        decode_entry(Frame(0, 7, bytes(32), encode_payload(EntryKind.PRUNED, body={"payload": "x"}, **STAMP)))


JSON = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_the_canonical_form_is_a_fixed_point(value: Any) -> None:
    try:
        text = canonical_json(value)
    except ValueError:
        assert "\\ud" in repr(value)  # half a surrogate pair is text to Python, and none to UTF-8
        return
    assert canonical_json(json.loads(text)) == text
    assert b"\0" not in text


def test_the_canonical_form_sorts_keys_and_spends_no_space() -> None:
    assert canonical_json({"b": [1, 2.50, None], "a": "表"}) == '{"a":"表","b":[1,2.5,null]}'.encode()


@pytest.mark.parametrize(
    "value", [math.nan, {"a": math.inf}, {10: 1, 9: 2}, {"a": b"x"}, {"a": {1, 2}}, "\ud800", [2**64]]
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be journaled"):
        canonical_json(value)


def test_an_entry_larger_than_a_segment_is_refused_before_it_is_written() -> None:
    with pytest.raises(ValueError, match="16777216"):
        encode_payload(EntryKind.AUDIT, at=1, monotonic_ns=2, boot="b", body={"text": "x" * (1 << 24)})


def test_every_payload_begins_with_the_mark_by_which_frames_are_found() -> None:
    payloads = [encode_payload(kind, body={}, **STAMP) for kind in EntryKind]
    assert all(payload.startswith(b'{"at":') for payload in payloads)
    for payload in payloads:
        keys = list(json.loads(payload))
        assert all(a < b for a, b in pairwise(keys))
