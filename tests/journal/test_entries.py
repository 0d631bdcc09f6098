"""Entries and readings as bytes: exact both ways, one form only, and nothing that could not be read back."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.readings import Quality, Reading
from gateway.errors import JournalError
from gateway.journal.entries import (
    EntryKind,
    canonical_json,
    decode_entry,
    encode_payload,
    readings_body,
    readings_in,
    readings_of,
)
from gateway.journal.segments import Frame

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.none() | INT64 | st.floats(allow_nan=False, allow_infinity=False)
READINGS = st.builds(
    Reading,
    series=st.sampled_from(["e/p1/active_energy_import", "e/p1/active_power", "e/p2/volume"]),
    instant=INT64,
    value=VALUES,
    quality=st.sampled_from([Quality(number) for number in range(1, 32)]),
    reason=st.sampled_from(["", "line.silent", "说明"]) | st.text(max_size=5).filter(lambda s: s.isprintable()),
    words=st.binary(max_size=8),
)


def through_the_journal(readings: list[Reading]) -> list[Reading]:
    body = readings_body("line-1", readings)
    payload = encode_payload(EntryKind.READINGS, at=1, monotonic_ns=2, boot="b", body=body)
    return readings_of(decode_entry(Frame(0, 7, bytes(32), payload)))


@given(st.lists(READINGS, max_size=20))
@example([Reading("e/p/q", 0, 2**63 - 1), Reading("e/p/q", 1, 2**53 + 1), Reading("e/p/q", 2, -(2**63))])
@example([Reading("e/p/q", 0, 5.0), Reading("e/p/q", 1, 5), Reading("e/p/q", 2, -0.0), Reading("e/p/q", 3, 5e-324)])
@example([Reading("e/p/q", 0, None, Quality.MISSING, "line.silent"), Reading("e/p/q", 1, None)])
def test_readings_come_back_exactly_as_they_went_in(readings: list[Reading]) -> None:
    # repr, because 5 == 5.0 and 0.0 == -0.0 would pass for equal
    assert [repr(reading) for reading in through_the_journal(readings)] == [repr(reading) for reading in readings]


def test_a_batch_names_each_series_once_and_leaves_empty_ends_out() -> None:
    body = readings_body(
        "m1",
        [
            Reading("e/a/energy", 10, 5),
            Reading("e/b/power", 11, 1.5, Quality.SUSPECT, "limit"),
            Reading("e/a/energy", 12, None, Quality.MISSING, "line.silent"),
            Reading("e/b/power", 13, 2.0, Quality.GOOD, "", b"\x40\x00"),
        ],
    )
    assert body == {
        "line": "m1",
        "series": ["e/a/energy", "e/b/power"],
        "readings": [
            [0, 10, 5],
            [1, 11, 1.5, 2, "limit"],
            [0, 12, None, 16, "line.silent"],
            [1, 13, 2.0, 1, "", "4000"],
        ],
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**63, True, "5"])
def test_a_value_that_is_no_number_is_refused_and_its_series_named(value: Any) -> None:
    with pytest.raises(ValueError, match="e/p/q"):
        readings_body("m1", [Reading("e/p/q", 0, 1), Reading("e/p/q", 1, value)])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"line": "m", "series": "e/p/q", "readings": []},
        {"line": "m", "series": ["e/p"], "readings": []},
        {"line": "m", "series": ["e/p/q"], "readings": [[1, 0, 5]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[-1, 0, 5]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[0, 0.5, 5]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[0, 2**63, 5]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[0, 0, 5, 0]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[0, 0, 5, 32]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[0, 0, 5, 1, 7]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[0, 0, 5, 1, "", "4"]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[0, 0]]},
        {"line": "m", "series": ["e/p/q"], "readings": [[0, 0, 5, 1, "", "", 0]]},
        {"line": "m", "series": ["e/p/q"], "readings": [7]},
        {"line": "m", "series": ["e/p/q"], "readings": [{"0": 0}]},
    ],
)
def test_a_malformed_body_of_readings_is_refused_with_a_sentence(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        readings_in(body)
    payload = encode_payload(EntryKind.READINGS, at=1, monotonic_ns=2, boot="b", body=body)
    with pytest.raises(JournalError, match="entry 7"):
        readings_of(decode_entry(Frame(0, 7, bytes(32), payload)))


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


@pytest.mark.parametrize("value", [math.nan, {"a": math.inf}, {10: 1, 9: 2}, {"a": b"x"}, {"a": {1, 2}}, "\ud800"])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be journaled"):
        canonical_json(value)


def test_an_entry_larger_than_a_segment_is_refused_before_it_is_written() -> None:
    with pytest.raises(ValueError, match="16777216"):
        encode_payload(EntryKind.AUDIT, at=1, monotonic_ns=2, boot="b", body={"text": "x" * (1 << 24)})


def test_every_payload_begins_with_the_mark_by_which_frames_are_found() -> None:
    payloads = [encode_payload(kind, at=1, monotonic_ns=2, boot="b", body={}) for kind in EntryKind]
    assert all(payload.startswith(b'{"at":') for payload in payloads)
    for payload in payloads:
        keys = list(json.loads(payload))
        assert all(a < b for a, b in pairwise(keys))
