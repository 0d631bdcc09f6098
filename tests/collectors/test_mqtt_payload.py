"""The product's own message: what it says exactly, and what is refused with which sentence."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.payloads.emg_v1 import Address, PayloadRefused, read_payload, read_topic
from collectors.payloads.json_text import read_json, read_plain_json

GOOD = b'{"ts":"2026-11-24T03:00:00Z","seq":7,"values":{"volume":123.45,"volume_flow":1.2},"q":0}'


def refusal(payload: bytes) -> str:
    with pytest.raises(PayloadRefused) as refused:
        read_payload(payload)
    return str(refused.value)


def test_numbers_keep_their_digits_and_the_instant_is_exact() -> None:
    payload = read_payload(GOOD)
    # 2026-11-24T03:00:00Z: 20 781 days after 1970-01-01 (56 x 365 + 14 leap days + 327), and 3 h.
    assert payload.instant == (20781 * 86400 + 3 * 3600) * 1_000_000
    assert payload.values == {"volume": Decimal("123.45"), "volume_flow": Decimal("1.2")}
    assert (payload.doubt, payload.seq, payload.remarks) == (0, 7, ())
    shanghai = read_payload(GOOD.replace(b"T03:00:00Z", b"T11:00:00.000001+08:00"))
    assert shanghai.instant == payload.instant + 1


def test_null_is_nothing_shown_and_what_is_no_number_costs_only_its_own_field() -> None:
    text = b'{"ts":"2026-11-24T03:00:00Z","values":{"a":null,"b":NaN,"c":-Infinity,"d":"12","e":true,"f":2,"g":[1]}}'
    values = read_payload(text).values
    assert values["a"] is None
    assert values["f"] == 2
    expected = "expected a number, or null where nothing was shown"
    assert {field: values[field] for field in "bcdeg"} == {
        "b": f"found NaN; {expected}",
        "c": f"found -Infinity; {expected}",
        "d": f"found '12'; {expected}",
        "e": f"found true; {expected}",
        "g": f"found a list; {expected}",
    }


def test_an_unknown_key_is_told_and_takes_nothing_along() -> None:
    payload = read_payload(GOOD.replace(b'"q"', b'"quality"'))
    assert payload.values["volume"] == Decimal("123.45")
    assert payload.remarks == ("unknown key 'quality'; expected only q, seq, ts, values",)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8 at byte 0"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
        (b"12", "found 12; expected a JSON object"),
        (b'"' + b"x" * 70_000 + b'"', "70002 bytes; expected at most 65536"),
        (GOOD.replace(b"2026-11-24T03:00:00Z", b"2026-11-24T03:00:00"), "without its offset"),
        (GOOD.replace(b"2026-11-24T03:00:00Z", b"24.11.2026"), "expected ISO 8601"),
        (GOOD.replace(b'"2026-11-24T03:00:00Z"', b"1795489200"), "ts: found 1795489200"),
        (GOOD.replace(b'"ts"', b'"time"'), "ts: found nothing"),
        (b'{"ts":"2026-11-24T03:00:00Z","values":{}}', "values: expected an object with at least one number"),
        (b'{"ts":"2026-11-24T03:00:00Z","values":[1]}', "values: expected an object"),
        (GOOD.replace(b'"q":0', b'"q":-1'), "q: found -1; expected a whole number"),
        (GOOD.replace(b'"seq":7', b'"seq":"7"'), "seq: found '7'"),
        (GOOD.replace(b'"volume_flow"', b'"volume"'), "the key 'volume' stands twice"),
    ],
)
def test_a_malformed_message_is_refused_with_its_reason(payload: bytes, why: str) -> None:
    assert why in refusal(payload)


def test_a_number_of_sixty_thousand_digits_is_no_number() -> None:
    values = read_payload(b'{"ts":"2026-11-24T03:00:00Z","values":{"a":' + b"9" * 60_000 + b',"b":1}}').values
    assert values == {
        "a": "found a number of 60000 characters; expected a number, or null where nothing was shown",
        "b": 1,
    }


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_do_more_than_be_refused(payload: bytes) -> None:
    with pytest.raises(PayloadRefused):
        read_payload(payload)


_json = st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.integers(), max_size=2)


@settings(max_examples=60)
@given(st.dictionaries(st.text(), _json, min_size=1, max_size=5))
def test_finite_numbers_come_through_exactly_and_everything_else_is_told(values: dict[str, object]) -> None:
    payload = read_payload(json.dumps({"ts": "2026-11-24T03:00:00Z", "values": values}).encode())
    assert payload.values.keys() == values.keys()
    for field, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and Decimal(repr(value)).is_finite():
            assert payload.values[field] == Decimal(repr(value))
        elif value is None:
            assert payload.values[field] is None
        else:
            assert isinstance(payload.values[field], str)


def test_the_topic_names_enterprise_site_and_point() -> None:
    assert read_topic("emg/v1/acme/north/W-1/reading") == Address("acme", "north", "W-1")


@pytest.mark.parametrize(
    "topic",
    [
        "emg/v1/acme/north/W-1",
        "emg/v1/acme/north/W-1/reading/x",
        "emg/v2/acme/north/W-1/reading",
        "emg/v1/acme/north/W-1/status",
        "emg/v1//north/W-1/reading",
        "emg/v1/acme/../W-1/reading",
        "emg/v1/acme/north/#/reading",
        "emg/v1/acme/north/W 1/reading",
        "",
    ],
)
def test_any_other_topic_is_refused(topic: str) -> None:
    with pytest.raises(PayloadRefused, match="topic"):
        read_topic(topic)


TEXTS = st.sampled_from(
    ["1", "815.125", "-0.5", "1e3", "0.1", "123456789012345", "0.123456789012345678", "1e999", "9" * 40]
)
VALUES = st.one_of(TEXTS, st.sampled_from(["null", "true", '"2\\":3"', "[1.5]", '{"a":1.25}', "NaN", '"x"']))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "ts", "values"]), VALUES), max_size=4), st.sampled_from(["", " "]))
@settings(max_examples=300)
def test_the_fast_way_through_json_says_what_the_careful_one_says(pairs: list[tuple[str, str]], space: str) -> None:
    text = "{" + ",".join(f'"{key}"{space}:{value}' for key, value in pairs) + "}"
    fast = read_plain_json(text.encode())
    if fast is not None:
        careful = read_json(text.encode())
        assert str(fast).replace("'Infinity'", "inf") == str(careful) or fast == careful


def test_the_fast_way_is_taken_for_what_meters_send_and_never_where_digits_or_keys_would_be_lost() -> None:
    assert read_plain_json(GOOD) == read_json(GOOD)
    assert read_plain_json(b'{"a":1,"a":2}') is None
    assert read_plain_json(b'{"values":{"a":1,"a":2}}') is None
    assert read_plain_json(b'{"a":1.0000000000000001}') is None
    assert read_plain_json(b'{"a" :1,"a":2}') is None
