"""Blocks of the hot table: what one delivery brought, by series, not yet packed.

A block is written once and never changed, in a form that costs little to make: columns of fixed width, and a directory
that says where each series lies. Within a series readings keep the order of the journal.
"""

import json
import struct
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, repeat
from math import isfinite
from operator import itemgetter
from typing import NamedTuple

from gateway.contracts import Delivery
from gateway.domain.readings import Reading
from gateway.errors import StoreError
from gateway.stores.deflating import deflate
from gateway.stores.exact_numbers import comes_back
from gateway.stores.hot_rows import CORRECTED, INDEX_BITS, MISSING, Row, is_plain

_HEAD = struct.Struct("<II")
_NONE, _COUNT, _FLOAT = 0, 1, 2
_KINDS = {type(None): _NONE, int: _COUNT, float: _FLOAT}


class BlockColumns(NamedTuple):
    """Readings by series, of one series by place; columns of one length."""

    places: Sequence[int]
    series: Sequence[int]
    instants: Sequence[int]
    values: Sequence[int | float | None]
    qualities: bytes
    reasons: Sequence[str]


class Block:
    """A block as it lies in the file; `directory` are the numbers of its series, ascending."""

    def __init__(self, packed: bytes) -> None:
        data = self._data = zlib.decompress(packed)
        self.readings, count = _HEAD.unpack_from(data)
        self.directory: tuple[int, ...] = struct.unpack_from(f"<{count}I", data, _HEAD.size)
        self._ends: tuple[int, ...] = struct.unpack_from(f"<{count}I", data, _HEAD.size + 4 * count)
        self._places = _HEAD.size + 8 * count
        self._instants = self._places + 8 * self.readings
        self._values = self._instants + 8 * self.readings
        self._kinds = self._values + 8 * self.readings
        self._qualities = self._kinds + self.readings
        reasons = data[self._qualities + self.readings :]
        self._reasons: list[str] = json.loads(reasons) if reasons else []

    def rows(self, first: int, last: int) -> list[Row]:
        """The rows of the series with numbers `first` to `last`, by series and place."""
        low = bisect_left(self.directory, first)
        high = bisect_left(self.directory, last + 1, lo=low)
        if low == high:
            return []
        start, stop = self._ends[low - 1] if low else 0, self._ends[high - 1]
        count = stop - start
        sizes = (end - before for end, before in zip(self._ends[low:high], (start, *self._ends[low:]), strict=False))
        return list(
            zip(
                self._whole(self._places, start, count),
                chain.from_iterable(map(repeat, self.directory[low:high], sizes)),
                self._whole(self._instants, start, count),
                self._values_of(start, count),
                self._data[self._qualities + start : self._qualities + stop],
                self._reasons[start:stop] if self._reasons else repeat("", count),
                strict=True,
            )
        )

    def spans(self) -> Iterable[tuple[int, int, int, int]]:
        """(series, readings, first, last instant) of each series."""
        instants = self._whole(self._instants, 0, self.readings)
        start = 0
        for number, end in zip(self.directory, self._ends, strict=True):
            found = instants[start:end]
            yield number, end - start, min(found), max(found)
            start = end

    def _whole(self, at: int, start: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{count}q", self._data, at + 8 * start)

    def _values_of(self, start: int, count: int) -> Sequence[int | float | None]:
        kinds = self._data[self._kinds + start : self._kinds + start + count]
        at = self._values + 8 * start
        if kinds.count(kinds[0]) == count and kinds[0] != _NONE:
            return struct.unpack_from(f"<{count}{'d' if kinds[0] == _FLOAT else 'q'}", self._data, at)
        letters = "".join(map("qqd".__getitem__, kinds))
        values = struct.Struct(f"<{letters}").unpack_from(self._data, at)  # no use in struct's cache: never twice
        return [None if kind == _NONE else value for kind, value in zip(kinds, values, strict=True)]


def pack(columns: BlockColumns) -> bytes:
    """The block of these readings."""
    places, series, instants, values, qualities, reasons = columns
    counts = Counter(series)  # in the order of the column
    count = len(places)
    kinds = bytes(map(_KINDS.__getitem__, map(type, values)))
    plain = b"".join(
        (
            _HEAD.pack(count, len(counts)),
            struct.pack(f"<{len(counts)}I", *counts),
            struct.pack(f"<{len(counts)}I", *accumulate(counts.values())),
            struct.pack(f"<{count}q", *places),
            struct.pack(f"<{count}q", *instants),
            _packed_values(values, kinds),
            kinds,
            qualities,
            json.dumps(reasons, ensure_ascii=False).encode() if any(reasons) else b"",
        )
    )
    return deflate(plain, level=1)  # the disk has less to write than packing costs


def columns_of(deliveries: Sequence[Delivery], numbers: Mapping[str, int]) -> BlockColumns | None:
    """The readings of these deliveries; None when there are none.

    Raises StoreError on a value that would not come back as it went in.
    """
    for sequence, readings, _ in deliveries:
        if len(readings) >> INDEX_BITS:
            raise StoreError(f"journal entry {sequence} holds {len(readings)} readings; at most {2**INDEX_BITS} fit.")
    if not (everything := list(chain.from_iterable(delivery.readings for delivery in deliveries))):
        return None
    names, instants, values, flags, reasons, _ = zip(*everything, strict=True)
    starts = (range(of.sequence << INDEX_BITS, (of.sequence << INDEX_BITS) + len(of.readings)) for of in deliveries)
    places = tuple(chain.from_iterable(starts))
    qualities = _packed_flags(flags)
    if qualities is None or not (_come_back(values) and _come_back(instants)):
        raise StoreError(_refusal(places, everything))
    if None in values:  # whatever its flags say, there is nothing to use
        qualities = bytes(
            bits | MISSING if value is None else bits for bits, value in zip(qualities, values, strict=True)
        )
    series = tuple(map(numbers.__getitem__, names))
    order = sorted(range(len(series)), key=series.__getitem__)
    if len(order) == 1:
        return BlockColumns(places, series, instants, values, qualities, reasons)
    pick = itemgetter(*order)
    reasons = pick(reasons) if any(reasons) else reasons
    return BlockColumns(pick(places), pick(series), pick(instants), pick(values), bytes(pick(qualities)), reasons)


def columns_from(rows: Sequence[Row]) -> BlockColumns:
    """Rows, by series and place, as columns."""
    places, series, instants, values, qualities, reasons = zip(*rows, strict=True)
    return BlockColumns(places, series, instants, values, bytes(qualities), reasons)


def newest(columns: BlockColumns) -> list[Row]:
    """Of each series the first journaled of the newest usable readings that are no corrections."""
    places, series, instants, values, qualities, reasons = columns
    if is_plain(qualities):
        found = []
        start = 0
        for number, count in Counter(series).items():
            end = start + count
            at = start if count == 1 else instants.index(max(instants[start:end]), start, end)
            found.append((places[at], number, instants[at], values[at], qualities[at], reasons[at]))
            start = end
        return found
    best: dict[int, Row] = {}
    for row in zip(places, series, instants, values, qualities, reasons, strict=True):
        if not row[4] & (MISSING | CORRECTED) and (row[1] not in best or row[2] > best[row[1]][2]):
            best[row[1]] = row
    return list(best.values())


def newest_corrections(columns: BlockColumns) -> dict[int, int]:
    """Series number -> newest instant that is corrected in these readings."""
    found: dict[int, int] = {}
    if not is_plain(columns.qualities):
        for number, instant, bits in zip(columns.series, columns.instants, columns.qualities, strict=True):
            if bits & CORRECTED:
                found[number] = max(instant, found.get(number, instant))
    return found


def _packed_values(values: Sequence[int | float | None], kinds: bytes) -> bytes:
    count = len(values)
    if kinds.count(kinds[0]) == count and kinds[0] != _NONE:
        return struct.pack(f"<{count}{'d' if kinds[0] == _FLOAT else 'q'}", *values)
    letters = "".join(map("qqd".__getitem__, kinds))
    return struct.Struct(f"<{letters}").pack(*(0 if value is None else value for value in values))


def _come_back(values: Sequence[object]) -> bool:
    """As `comes_back` for every one of them, or None: by whole columns where they are of one type."""
    types = set(map(type, values))
    if types == {float}:
        return all(map(isfinite, values))  # type: ignore[arg-type]  # floats
    if types == {int}:
        return comes_back(min(values)) and comes_back(max(values))  # type: ignore[type-var]  # integers
    return all(value is None or comes_back(value) for value in values)


def _packed_flags(flags: Sequence[int]) -> bytes | None:
    try:
        return bytes(flags)
    except ValueError:  # more than a byte holds
        return None


def _refusal(places: Sequence[int], readings: Sequence[Reading]) -> str:
    place, reading = next(
        (place, reading)
        for place, reading in zip(places, readings, strict=True)
        if not _come_back((reading.value, reading.instant)) or _packed_flags((reading.quality,)) is None
    )
    found = f"journal entry {place >> INDEX_BITS}: {reading.series} at {reading.instant}: found"
    if _come_back((reading.value,)):
        return f"{found} flags {int(reading.quality)}; expected an instant of 64 bits and flags from 0 to 255."
    return (
        f"{found} {reading.value!r} of type {type(reading.value).__name__}; "
        "expected an integer of 64 bits, a finite float, or None."
    )
