"""JSON from anybody: numbers kept exact, each key once, whatever is too deep or too long refused.

Source: RFC 8259 - The JavaScript Object Notation (JSON) Data Interchange Format - §6 (no NaN, no infinity).
"""

import json
import re
from collections import Counter
from decimal import Decimal

import orjson

from collectors.payloads.said import PayloadRefused, Shown

# Digits that a float may not hold; and what would make `":` stand elsewhere than behind each key, once.
_UNPLAIN = re.compile(rb'[0-9.]{16}|\\|"\s+:')
LONGEST_NUMBER = 64  # characters; no instrument shows more


class NoNumber(str):
    """NaN, Infinity or -Infinity, or a number too long to be one: kept as text, to refuse that value alone."""

    __slots__ = ()


def read_json(payload: bytes) -> object:
    """The document, numbers as Decimal. Raises PayloadRefused."""
    try:
        return _DECODER.decode(payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PayloadRefused(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise PayloadRefused(f"not JSON: {error}") from error
    except RecursionError as error:
        raise PayloadRefused("not a reading: nested too deeply") from error


def read_plain_json(payload: bytes) -> dict[str, object] | None:
    """As `read_json` an object whose values are plain, or one object of plain values, many times faster.

    None where it could differ: then `read_json` has to say what the payload is. Floats of at most 15 digits have the
    value of their shortest text (IEEE 754 - 5.12.2); each `":` that is counted is one key, so none stands there twice.
    """
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict or _UNPLAIN.search(payload):
        return None
    keys = len(document)
    for name, value in document.items():
        if type(value) is dict:
            keys += len(value)
            document[name] = {key: _plain(inner) for key, inner in value.items()}
        else:
            document[name] = _plain(value)
    return document if payload.count(b'":') == keys else None


def _plain(value: object) -> object:
    kind = type(value)
    if kind is float:
        return Decimal(repr(value))
    return Decimal(value) if kind is int else value  # type: ignore[arg-type]


def exact(text: str) -> Decimal | NoNumber:
    """The number that a text is known to be, unless it is too long."""
    return Decimal(text) if len(text) <= LONGEST_NUMBER else NoNumber(f"a number of {len(text)} characters")


def shown_number(value: object) -> Shown:
    """A number or null as it is; the sentence that it is something else."""
    if value is None or (isinstance(value, Decimal) and value.is_finite()):
        return value
    return f"found {shown(value)}; expected a number, or null where nothing was shown"


def whole(value: object, name: str) -> int | None:
    """A whole number that is not negative, or None for null. Raises PayloadRefused."""
    if value is None:
        return None
    if not isinstance(value, Decimal) or not 0 <= value < 2**63 or value != value.to_integral_value():
        raise PayloadRefused(f"{name}: found {shown(value)}; expected a whole number, not negative")
    return int(value)


def shown(value: object) -> str:
    """A value of a document, shortened, for the "found" of a sentence."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, NoNumber):
        return f"{value:.80}"
    text = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return f"{text:.80}"


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise PayloadRefused(f"the key {twice!r:.80} stands twice")
    return document


_DECODER = json.JSONDecoder(
    parse_float=exact, parse_int=exact, parse_constant=NoNumber, object_pairs_hook=_each_key_once
)
