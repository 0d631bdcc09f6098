"""Entries: what the journal says, as bytes that can be hashed and as readings that can be used."""

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.domain.readings import Quality, Reading, split_series
from gateway.errors import JournalError
from gateway.journal.segments import MAX_PAYLOAD, Frame


class EntryKind(StrEnum):
    """What an entry is about."""

    READINGS = "readings"  # a batch as a collector read it
    GAP = "gap"  # nothing was acquired, and why
    EVENT = "event"  # exchange of a meter, change of ratio, profile or software, clock step, start, stop
    CORRECTION = "correction"  # a new fact about old ones, with reason and author
    AUDIT = "audit"  # who did what
    CHECKPOINT = "checkpoint"  # the head of the chain, stated so that others can keep it


class Entry(NamedTuple):
    """One entry. `at` [us, UTC] and `monotonic_ns` [ns, within `boot`] say when it was handed to the journal."""

    sequence: int
    kind: EntryKind
    at: int
    monotonic_ns: int
    boot: str
    body: dict[str, Any]
    previous: bytes
    hash: bytes


def canonical_json(value: object) -> bytes:
    """The one way to write `value` as JSON: UTF-8, sorted keys, no spaces, floats by their shortest repr.

    Raises ValueError on NaN, infinities, keys that are not text, and what JSON has no word for.
    """
    try:
        text = _dump(value)
        again = _dump(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be journaled: {error}") from error
    if again != text:  # keys 9 and 10 sort otherwise as numbers than as text
        raise ValueError("cannot be journaled: a key is not text")
    return text


def _dump(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def encode_payload(kind: EntryKind, *, at: int, monotonic_ns: int, boot: str, body: Mapping[str, object]) -> bytes:
    """The payload of an entry. Raises ValueError when `body` has no canonical form or is too large."""
    value = {"at": at, "body": body, "boot": boot, "kind": kind.value, "monotonic_ns": monotonic_ns}
    payload = canonical_json(value)
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"cannot be journaled: {len(payload)} bytes in one entry; at most {MAX_PAYLOAD}")
    return payload


def decode_entry(frame: Frame) -> Entry:
    """The entry in a frame. Raises JournalError when its payload is not that of an entry."""
    try:
        value = json.loads(frame.payload)
        kind, body = EntryKind(value["kind"]), value["body"]
        at, monotonic_ns, boot = value["at"], value["monotonic_ns"], value["boot"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JournalError(f"entry {frame.sequence} has a payload of another kind: {error!r}") from error
    return Entry(frame.sequence, kind, at, monotonic_ns, boot, body, frame.previous, frame.hash)


def readings_body(line: str, readings: Sequence[Reading]) -> dict[str, Any]:
    """The body of a READINGS entry: each series named once, each reading a short row, empty ends left out.

    A row is [index of series, instant, value, quality, reason, words in hex]; a missing quality is GOOD.
    Raises ValueError, naming the series, for a reading that would not come back as it went in.
    """
    names: dict[str, int] = {}
    rows: list[list[Any]] = []
    for series, instant, value, quality, reason, words in readings:
        row: list[Any] = [names.setdefault(series, len(names)), instant, value, int(quality), reason, words.hex()]
        while row[-1] == "":
            row.pop()
        if len(row) == 4 and quality is Quality.GOOD:
            row.pop()
        rows.append(row)
    body = {"line": line, "readings": rows, "series": list(names)}
    readings_in(body)
    return body


def readings_of(entry: Entry) -> list[Reading]:
    """The readings of an entry; none for entries of another kind. Raises JournalError on a malformed body."""
    if entry.kind is not EntryKind.READINGS:
        return []
    try:
        return readings_in(entry.body)
    except ValueError as error:
        raise JournalError(f"entry {entry.sequence}: {error}") from error


_QUALITIES = {number: Quality(number) for number in range(1, 32)}
_ROW_ENDS: list[Any] = [1, "", ""]
_INT64 = range(-(2**63), 2**63)


def readings_in(body: Mapping[str, Any]) -> list[Reading]:
    """The readings that a body holds. Raises ValueError, naming the row, when it is not as `readings_body` makes it."""
    names, rows = body.get("series"), body.get("readings")
    if not isinstance(names, list) or not isinstance(rows, list) or not isinstance(body.get("line"), str):
        raise ValueError("a body of readings has a line, a list of series and a list of readings")  # noqa: TRY004 - read from a file
    for name in names:
        split_series(str(name))
    readings = []
    for number, row in enumerate(rows, 1):
        try:
            readings.append(_reading(row, names))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ValueError(f"reading {number} of the entry, {row!r:.200}: {error}") from error
    return readings


def _reading(row: list[Any], names: list[str]) -> Reading:
    index, instant, value, number, reason, words = row + _ROW_ENDS[len(row) - 3 :]
    if type(index) is not int or not 0 <= index < len(names):
        raise ValueError(f"found series {index!r}; expected 0 to {len(names) - 1}")
    if type(instant) is not int or instant not in _INT64:
        raise ValueError(f"{names[index]}: found instant {instant!r}; expected microseconds as a 64-bit integer")
    if number not in _QUALITIES or type(number) is not int:
        raise ValueError(f"{names[index]}: found quality {number!r}; expected flags 1 to 31")
    if not _is_value(value):
        raise ValueError(f"{names[index]}: found value {value!r}; expected a 64-bit integer, a finite float or nothing")
    if not isinstance(reason, str):
        raise TypeError(f"{names[index]}: found reason {reason!r}; expected text")
    return Reading(names[index], instant, value, _QUALITIES[number], reason, bytes.fromhex(words))


def _is_value(value: object) -> bool:
    if type(value) is int:
        return value in _INT64
    return value is None or (isinstance(value, float) and math.isfinite(value))
