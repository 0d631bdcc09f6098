"""A batch of readings as the bytes of a body, at the rate of the disk.

What most batches are (all GOOD, all with a value, no reason) is written straight from the columns, with what the
encoder itself refuses as the check; every other batch, and every one in doubt, goes the way of `reading_columns`,
which checks all and names what it refuses. Both ways write the same bytes.
"""

import json
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from gateway.domain.instruments import RecordClass
from gateway.domain.readings import EARLIEST, LATEST, Quality, Reading
from gateway.journal.reading_columns import HIGHEST, Columns, body_of, check_names, columns_of

_REMEMBERED = 4096  # longer rows of series are not kept in memory
_NUMBERS = {int, float}


def encode_body(line: str, readings: Sequence[Reading], record_class: RecordClass) -> orjson.Fragment:
    """What canonical JSON makes of `body_of`, many times faster. Raises ValueError, naming reading and series."""
    try:
        columns = _plain_columns(readings)
    except (TypeError, ValueError, OverflowError):  # orjson's refusals are TypeErrors
        columns = None
    if columns is None:
        columns = _all_columns(line, columns_of(readings))
    body: dict[str, Any] = {"class": record_class.value} if record_class is RecordClass.TELEMETRY else {}
    for key in ("instant", "line", "of", "quality", "reason", "series", "value", "words"):
        if key in columns:
            body[key] = columns[key]
        elif key == "line":
            body[key] = line
    try:
        return orjson.Fragment(orjson.dumps(body))
    except orjson.JSONEncodeError as error:
        raise ValueError(f"cannot be journaled: {error}") from error


def _plain_columns(readings: Sequence[Reading]) -> dict[str, Any] | None:
    """The encoded columns of a batch of the common kind; None for any other. Raises what refuses it, without name."""
    series, instants, values, qualities, reasons, words = zip(*readings, strict=True)
    every = len(series)
    if reasons.count("") != every or qualities.count(Quality.GOOD) != every:
        return None
    # What is no integer of 64 bits, and what is no finite number: `array` refuses the one, `null` tells the other.
    array("q", instants)
    if min(instants) < EARLIEST or max(instants) > LATEST:
        return None
    if not set(map(type, values)) <= _NUMBERS or max(values) > HIGHEST:
        return None
    instant, value = orjson.dumps(instants), orjson.dumps(values)
    if b"e" in instant or b"null" in value or _is_written_otherwise(value):
        return None
    of, names = _named(series) if every <= _REMEMBERED else _named.__wrapped__(series)
    columns = {"instant": instant, "of": of, "series": names, "value": value}
    if words.count(b"") != every:
        columns["words"] = _encode_words(words)
    return {key: orjson.Fragment(column) for key, column in columns.items()}


@lru_cache(maxsize=256)
def _named(series: tuple[str, ...]) -> tuple[bytes, bytes]:
    """The columns `of` and `series` for a row of names, checked: a line brings the same ones again and again."""
    names = {name: index for index, name in enumerate(dict.fromkeys(series))}
    check_names(list(names))
    return orjson.dumps(list(map(names.__getitem__, series))), orjson.dumps(list(names))


def _all_columns(line: str, columns: Columns) -> dict[str, Any]:
    body = body_of(line, columns._replace(words=None), RecordClass.EVIDENCE)
    value = orjson.dumps(columns.value)
    if _is_written_otherwise(value):
        value = json.dumps(columns.value, separators=(",", ":")).encode()
    body["value"] = orjson.Fragment(value)
    if columns.words is not None:
        body["words"] = orjson.Fragment(_encode_words(columns.words))
    return body


def _is_written_otherwise(text: bytes) -> bool:
    """True if numbers may be in it that orjson writes otherwise than Python: 0.00001 for 1e-05, 1e-7 for 1e-07."""
    return b"e-" in text or b"0.0000" in text


def _encode_words(words: Sequence[bytes]) -> bytes:
    sizes = set(map(len, words))
    if len(sizes) > 1:
        return orjson.dumps(list(map(bytes.hex, words)))
    return b'["' + b"".join(words).hex(",", sizes.pop()).encode().replace(b",", b'","') + b'"]'
