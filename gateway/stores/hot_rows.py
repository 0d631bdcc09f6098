"""Rows of readings as the embedded store keeps them, and which of several at one instant stands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.contracts import Delivery, StoredReading
from gateway.domain.readings import Quality, Reading
from gateway.errors import StoreError
from gateway.stores.exact_numbers import comes_back

# (place, series number, instant, value, quality, reason)
Row = tuple[int, int, int, int | float | None, int, str]

INDEX_BITS = 24  # a place is the identity of a reading, sequence * 2^24 + index in the entry: unique, in journal order
MISSING = Quality.MISSING.value
_QUALITIES = tuple(Quality(bits) for bits in range(32))


class Conflict(NamedTuple):
    """Two usable readings of one series and instant that differ: `standing` is used, `other` is kept."""

    standing: StoredReading
    other: StoredReading


class Batch(NamedTuple):
    """What one transaction adds: every row, each series' newest usable row, and its [rows, first, last instant]."""

    rows: list[Row]
    newest: dict[int, Row]
    tally: dict[int, list[int]]


def place_after(sequence: int) -> int:
    """The first place that an entry after `sequence` can have."""
    return (sequence + 1) << INDEX_BITS


def batch_of(deliveries: Sequence[Delivery], numbers: Mapping[str, int]) -> Batch:
    """The rows of these deliveries. Raises StoreError on a value that would not come back as it went in."""
    rows: list[Row] = []
    newest: dict[int, Row] = {}
    tally: dict[int, list[int]] = {}
    for sequence, readings, _ in deliveries:
        if len(readings) >> INDEX_BITS:
            raise StoreError(f"journal entry {sequence} holds {len(readings)} readings; at most {2**INDEX_BITS} fit.")
        place = sequence << INDEX_BITS
        for reading in readings:
            name, instant, value, quality, reason, _ = reading
            number, bits = numbers[name], int(quality)
            if value is None:
                bits |= MISSING  # whatever its flags say, there is nothing to use
            elif not comes_back(value):
                raise StoreError(_refusal(reading, sequence))
            row = (place, number, instant, value, bits, reason)
            rows.append(row)
            extent = tally.setdefault(number, [0, instant, instant])
            extent[0] += 1
            if instant < extent[1]:
                extent[1] = instant
            elif instant > extent[2]:
                extent[2] = instant
            if not bits & MISSING and (number not in newest or instant > newest[number][2]):
                newest[number] = row
            place += 1
    return Batch(rows, newest, tally)


def _refusal(reading: Reading, sequence: int) -> str:
    return (
        f"journal entry {sequence}: {reading.series} at {reading.instant}: found {reading.value!r} of type "
        f"{type(reading.value).__name__}; expected an integer of 64 bits, a finite float, or None."
    )


def stored(name: str, row: Row) -> StoredReading:
    """A row as a caller gets it."""
    place, _, instant, value, bits, reason = row
    quality = _QUALITIES[bits] if bits < len(_QUALITIES) else Quality(bits)
    return StoredReading(name, instant, value, quality, reason, place >> INDEX_BITS)


def standing(rows: Iterable[Row]) -> Iterator[Row]:
    """One row per instant, of rows of one series by instant and place: the first usable one, else the first."""
    kept: Row | None = None
    for row in rows:
        if kept is None:
            kept = row
        elif row[2] != kept[2]:
            yield kept
            kept = row
        elif kept[4] & MISSING and not row[4] & MISSING:
            kept = row
    if kept is not None:
        yield kept


def repeats(name: str, rows: Sequence[Row]) -> tuple[int, list[Conflict]]:
    """(identical repeats, conflicts) among the rows of one series and instant, by place.

    A gap that was filled, or reported after it was filled, contradicts nothing.
    """
    kept = next(standing(rows))
    duplicates = 0
    conflicts: list[Conflict] = []
    for row in rows:
        if row is kept or (row[4] & MISSING and not kept[4] & MISSING):
            continue
        if _content(row) == _content(kept):
            duplicates += 1
        elif not row[4] & MISSING:
            conflicts.append(Conflict(stored(name, kept), stored(name, row)))
    return duplicates, conflicts


def _content(row: Row) -> tuple[type, int | float | None, int, str]:
    return type(row[3]), row[3], row[4], row[5]
