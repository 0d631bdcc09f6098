"""Entries: what the journal says, as bytes that can be hashed and as readings that can be used."""

import json
import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from gateway.domain.instruments import RecordClass
from gateway.domain.readings import EARLIEST, INSTANTS, LATEST, Reading, is_instant
from gateway.errors import JournalError
from gateway.journal.correction_bodies import corrected_readings
from gateway.journal.reading_bytes import encode_body
from gateway.journal.reading_columns import body_of, columns_in, columns_of, readings_of_columns
from gateway.journal.segments import MAX_PAYLOAD, Frame, pruned_digest

log = logging.getLogger("emg.journal")


class EntryKind(StrEnum):
    """What an entry is about."""

    READINGS = "readings"  # a batch as a collector read it
    GAP = "gap"  # nothing was acquired, and why
    EVENT = "event"  # exchange of a meter, change of ratio, profile or software, clock step, start, stop
    CORRECTION = "correction"  # a new fact about old ones, with reason and author
    AUDIT = "audit"  # who did what
    CHECKPOINT = "checkpoint"  # the head of the chain, stated so that others can keep it
    PRUNED = "pruned"  # telemetry whose payload has left by age; its hash in the chain is kept


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

    Raises ValueError on NaN, infinities, keys that are not text, integers of more than 64 bits, and what JSON
    has no word for.
    """
    try:
        text = _dump(value)
        again = _dump(orjson.loads(text))  # as a reader of the journal will find it
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be journaled: {error}") from error
    if again != text:  # keys 9 and 10 sort otherwise as numbers than as text
        raise ValueError("cannot be journaled: a key is not text, or an integer has more than 64 bits")
    return text


def _dump(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def encode_payload(kind: EntryKind, *, at: int, monotonic_ns: int, boot: str, body: Mapping[str, object]) -> bytes:
    """The payload of an entry. Raises ValueError when `body` has no canonical form or is too large."""
    value = {"at": at, "body": body, "boot": boot, "kind": kind.value, "monotonic_ns": monotonic_ns}
    return _of_bearable_size(canonical_json(value))


def encode_readings(
    line: str, readings: Sequence[Reading], record_class: RecordClass, *, at: int, monotonic_ns: int, boot: str
) -> bytes:
    """What `encode_payload` makes of `readings_body`, many times faster. Raises ValueError as the two do."""
    body = encode_body(line, readings, record_class)
    value = {"at": at, "body": body, "boot": boot, "kind": EntryKind.READINGS.value, "monotonic_ns": monotonic_ns}
    return _of_bearable_size(orjson.dumps(value))


def _of_bearable_size(payload: bytes) -> bytes:
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"cannot be journaled: {len(payload)} bytes in one entry; at most {MAX_PAYLOAD}")
    return payload


def decode_entry(frame: Frame) -> Entry:
    """The entry in a frame. Raises JournalError when its payload is not that of an entry."""
    try:
        value = orjson.loads(frame.payload)
        kind, body = EntryKind(value["kind"]), value["body"]
        at, monotonic_ns, boot = value["at"], value["monotonic_ns"], value["boot"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JournalError(f"entry {frame.sequence} has a payload of another kind: {error!r}") from error
    if (kind is EntryKind.PRUNED) != (pruned_digest(frame.payload) is not None):
        raise JournalError(f"entry {frame.sequence}: the stand-in of a pruned entry has another form")
    return Entry(frame.sequence, kind, at, monotonic_ns, boot, body, frame.previous, frame.hash)


def readings_body(
    line: str, readings: Sequence[Reading], *, record_class: RecordClass = RecordClass.EVIDENCE
) -> dict[str, Any]:
    """The body of a READINGS entry: a table by columns, each series named once, columns of nothing left out.

    Raises ValueError, naming reading and series, for one that would not come back as it went in, and for one that
    claims to be GOOD without a value.
    """
    return body_of(line, columns_of(readings), record_class)


def readings_of(entry: Entry) -> list[Reading]:
    """The readings that an entry brings: those of a batch, or those that an approved correction puts in place.

    One at an instant that no reading may have is passed over, with a warning: older journals took them, and a store
    or a sink that was given one could not go on. Raises JournalError on a malformed body.
    """
    try:
        if entry.kind is EntryKind.CORRECTION:
            found = corrected_readings(entry.body)
        else:
            found = _journaled(entry.body) if entry.kind is EntryKind.READINGS else []
    except ValueError as error:
        raise JournalError(f"entry {entry.sequence}: {error}") from error
    sound = [reading for reading in found if EARLIEST <= reading.instant <= LATEST]
    if len(sound) < len(found):
        first = next(reading for reading in found if not is_instant(reading.instant))
        log.warning(
            "entry %d: %d of its readings are passed over, the first of %s at %d us; expected %s",
            entry.sequence,
            len(found) - len(sound),
            first.series,
            first.instant,
            INSTANTS,
        )
    return sound


def readings_in(body: Mapping[str, Any]) -> list[Reading]:
    """The readings that a body holds. Raises ValueError, naming reading and series, when it is malformed."""
    return readings_of_columns(columns_in(body))


def _journaled(body: Mapping[str, Any]) -> list[Reading]:
    return readings_of_columns(columns_in(body, journaled=True))
