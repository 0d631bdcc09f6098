"""The product's own MQTT convention: `emg/v1/<enterprise>/<site>/<point>/reading`, one JSON object a reading.

    {"ts": "2026-11-24T03:00:00Z", "seq": 7, "values": {"volume": 123.45, "volume_flow": 1.2}, "q": 0}

`ts` is the sampling instant, ISO 8601 with its offset. `values` holds numbers by field, each as the meter shows
it, null where the meter showed nothing. `q` is 0 for a good reading, otherwise the publisher's own code of
doubt. `seq` is the publisher's count.

Source: RFC 8259 - The JavaScript Object Notation (JSON) Data Interchange Format - §6 (no NaN, no infinity);
RFC 3339 - Date and Time on the Internet: Timestamps - §5.6.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from gateway.domain.periods import to_instant
from gateway.domain.readings import is_identifier

LONGEST_PAYLOAD = 65536  # bytes
LONGEST_NUMBER = 64  # characters; no instrument shows more
KEYS = frozenset({"ts", "seq", "values", "q"})


class PayloadRefused(ValueError):
    """A message that says nothing that could be booked; its text says why."""


class Address(NamedTuple):
    """What the topic says."""

    enterprise: str
    site: str
    point: str


class Payload(NamedTuple):
    """What the message says. A value is None where the meter showed nothing, a sentence where it is no number."""

    instant: int  # [us, UTC]
    values: Mapping[str, Decimal | str | None]
    doubt: int  # 0 = good
    seq: int | None
    remarks: tuple[str, ...] = ()  # what was not understood, beside readings that were


def read_topic(topic: str) -> Address:
    """The parts of a reading's topic. Raises PayloadRefused."""
    levels = topic.split("/")
    if len(levels) != 6 or levels[:2] != ["emg", "v1"] or levels[5] != "reading":
        raise PayloadRefused("wrong topic; expected emg/v1/<enterprise>/<site>/<point>/reading")
    address = Address(*levels[2:5])
    for name, level in zip(Address._fields, address, strict=True):
        if not is_identifier(level):
            raise PayloadRefused(f"{name} in the topic: found {level!r:.80}; expected letters, digits, '_', '.' or '-'")
    return address


def read_payload(payload: bytes) -> Payload:
    """The message, numbers kept exact. Raises PayloadRefused."""
    if len(payload) > LONGEST_PAYLOAD:
        raise PayloadRefused(f"{len(payload)} bytes; expected at most {LONGEST_PAYLOAD}")
    document = _json_object(payload)
    values = document.get("values")
    if not isinstance(values, dict) or not values:
        raise PayloadRefused("values: expected an object with at least one number by field")
    shown = {field: _number(value) for field, value in values.items()}
    remarks = tuple(
        f"unknown key {key!r:.80}; expected only {', '.join(sorted(KEYS))}"
        for key in sorted(document.keys() - KEYS)[:3]
    )
    return Payload(_instant(document.get("ts")), shown, _whole(document, "q") or 0, _whole(document, "seq"), remarks)


def _json_object(payload: bytes) -> dict[str, object]:
    try:
        document = json.loads(
            payload.decode("utf-8"),
            parse_float=_exact,
            parse_int=_exact,
            parse_constant=_NoNumber,
            object_pairs_hook=_each_key_once,
        )
    except UnicodeDecodeError as error:
        raise PayloadRefused(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise PayloadRefused(f"not JSON: {error}") from error
    except RecursionError as error:
        raise PayloadRefused("not a reading: nested too deeply") from error
    if not isinstance(document, dict):
        raise PayloadRefused(f"found {_shown(document)}; expected a JSON object")
    return document


class _NoNumber(str):
    """NaN, Infinity or -Infinity, or a number too long to be one: kept as text, to refuse that value alone."""

    __slots__ = ()


def _exact(text: str) -> Decimal | _NoNumber:
    return Decimal(text) if len(text) <= LONGEST_NUMBER else _NoNumber(f"a number of {len(text)} characters")


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise PayloadRefused(f"the key {twice!r:.80} stands twice")
    return document


def _number(value: object) -> Decimal | str | None:
    if value is None or (isinstance(value, Decimal) and value.is_finite()):
        return value
    return f"found {_shown(value)}; expected a number, or null where nothing was shown"


def _whole(document: Mapping[str, object], key: str) -> int | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, Decimal) or value != value.to_integral_value() or not 0 <= value < 2**63:
        raise PayloadRefused(f"{key}: found {_shown(value)}; expected a whole number, not negative")
    return int(value)


def _instant(value: object) -> int:
    if not isinstance(value, str) or isinstance(value, _NoNumber):
        raise PayloadRefused(f"ts: found {_shown(value)}; expected ISO 8601 text with its offset")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise PayloadRefused(f"ts: found {value!r:.60}; expected ISO 8601, e.g. 2026-11-24T03:00:00Z") from error
    if moment.tzinfo is None:
        raise PayloadRefused(
            f"ts: found {value!r:.60} without its offset; expected e.g. 2026-11-24T03:00:00Z or +08:00"
        )
    return to_instant(moment)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, _NoNumber):
        return f"{value:.80}"
    return (
        f"{str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else value!s:.80}"
    )
