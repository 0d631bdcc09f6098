"""A sealed chunk: the readings of one series and one day (UTC), packed into a few bytes each, none dropped.

A chunk has a head, which answers most questions by itself (`head_of`), and a body: instants, journal places, values,
qualities and reasons, column by column, compressed. Counts and floats come back bit by bit, and so does a mixture.
The standard library does it all; a process that has loaded numpy decodes long chunks with it.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from itertools import repeat
from operator import xor
from typing import NamedTuple

from gateway.stores.deflating import deflate
from gateway.stores.hot_rows import INDEX_BITS, MISSING, Row, is_plain, standing
from gateway.stores.integer_planes import (
    Cursor,
    Packed,
    put_integers,
    put_planes,
    skip_integers,
    take_integers,
    take_planes,
)

_LEAD = 4  # bytes that say where the planes begin
_FORM = 1  # of the body; a later one is another number here
_INDEX = (1 << INDEX_BITS) - 1
_NONE, _COUNT, _FLOAT = 0, 1, 2
_KINDS = {type(None): _NONE, int: _COUNT, float: _FLOAT}
# How the values are written: as numbers, as floats by what changes in their bits, or as decimals of 0 to 5 places.
_NUMBERS, _BITS, _DECIMALS = 0, 1, 2
_MOST_PLACES = 5
_EXACT = 2.0**53  # whole floats up to here are exact


class Head(NamedTuple):
    """What a chunk answers without being opened. Instants [us, UTC]; values as in `Row`.

    `readings` counts rows, `instants` distinct instants, `usable` instants at which a usable reading stands; the rest
    is about those: None when there is none. `newest` is the highest place: the reading that was journaled last.
    """

    day: int
    series: int
    first: int
    last: int
    readings: int
    instants: int
    usable: int
    first_usable: int | None
    last_usable: int | None
    first_value: int | float | None
    last_value: int | float | None
    lowest: int | float | None
    highest: int | float | None
    newest: int


class Columns(NamedTuple):
    """The readings of a chunk, by instant and place."""

    places: Sequence[int]
    instants: Sequence[int]
    values: Sequence[int | float | None]
    qualities: bytes
    reasons: Sequence[str]

    def rows(self, series: int) -> list[Row]:
        """These readings as rows of a series."""
        return list(zip(self.places, repeat(series), self.instants, self.values, self.qualities, self.reasons))


def head_of(day: int, series: int, rows: Sequence[Row]) -> Head:
    """The head of a chunk of these rows, which are of one series and day, by instant and place, and not none."""
    places, _, instants, values, qualities, _ = zip(*rows, strict=True)
    extent = (day, series, instants[0], instants[-1], len(rows))
    distinct = len(set(instants))
    if not (distinct == len(rows) and is_plain(qualities)):
        usable = [row for row in standing(rows) if not row[4] & MISSING]
        if not usable:
            return Head(*extent, distinct, 0, None, None, None, None, None, None, max(places))
        instants, values = zip(*((row[2], row[3]) for row in usable), strict=True)
    ends = (instants[0], instants[-1], values[0], values[-1])
    return Head(*extent, distinct, len(instants), *ends, min(values), max(values), max(places))


def encode(rows: Sequence[Row]) -> bytes:
    """The body of a chunk of these rows, by instant and place."""
    places, _, instants, values, qualities, reasons = zip(*rows, strict=True)
    packed = Packed(bytearray((_FORM,)), bytearray())
    packed.number(len(rows))
    put_integers(packed, instants, order=2)
    put_integers(packed, [place >> INDEX_BITS for place in places], order=2)
    put_integers(packed, [place & _INDEX for place in places], order=2)
    _put_bytes(packed, bytes(qualities))
    _put_reasons(packed, reasons)
    _put_values(packed, values)
    plain = (_LEAD + len(packed.heads)).to_bytes(_LEAD, "little") + packed.heads + packed.planes
    return deflate(plain, level=6)


def decode(body: bytes) -> Columns:
    """The readings in the body of a chunk. Raises zlib.error when it is damaged, ValueError when of a later form."""
    cursor, count = _opened(body)
    instants = take_integers(cursor, count, order=2)
    sequences = take_integers(cursor, count, order=2)
    indices = take_integers(cursor, count, order=2)
    places = [sequence << INDEX_BITS | index for sequence, index in zip(sequences, indices, strict=True)]
    qualities = _take_bytes(cursor, count)
    reasons = _take_reasons(cursor, count)
    return Columns(places, instants, _take_values(cursor, count), qualities, reasons)


def decode_values(body: bytes) -> Columns:
    """As `decode`, without places and reasons, which cost as much as the others together."""
    cursor, count = _opened(body)
    instants = take_integers(cursor, count, order=2)
    skip_integers(cursor, count, order=2)
    skip_integers(cursor, count, order=2)
    qualities = _take_bytes(cursor, count)
    _take_reasons(cursor, count)
    return Columns((), instants, _take_values(cursor, count), qualities, ())


def _opened(body: bytes) -> tuple[Cursor, int]:
    plain = zlib.decompress(body)
    cursor = Cursor(plain, int.from_bytes(plain[:_LEAD], "little"), at=_LEAD)
    form = cursor.byte()
    if form != _FORM:
        raise ValueError(f"a chunk is of form {form}; this release knows form {_FORM}")
    return cursor, cursor.number()


def _put_bytes(packed: Packed, column: bytes) -> None:
    same = column.count(column[0]) == len(column)
    packed.heads.extend((0, column[0]) if same else (1,))
    if not same:
        packed.planes.extend(column)


def _take_bytes(cursor: Cursor, count: int) -> bytes:
    return cursor.plane(count) if cursor.byte() else bytes((cursor.byte(),)) * count


def _put_reasons(packed: Packed, reasons: Sequence[str]) -> None:
    texts = list(dict.fromkeys(reasons))
    if texts == [""]:
        packed.number(0)
        return
    packed.text(json.dumps(texts, ensure_ascii=False).encode())
    numbers = dict(zip(texts, range(len(texts)), strict=True))
    put_integers(packed, [numbers[reason] for reason in reasons], order=1)


def _take_reasons(cursor: Cursor, count: int) -> Sequence[str]:
    text = cursor.text()
    if not text:
        return [""] * count
    texts = json.loads(text)
    return [texts[number] for number in take_integers(cursor, count, order=1)]


def _put_values(packed: Packed, values: Sequence[int | float | None]) -> None:
    kinds = bytes(map(_KINDS.__getitem__, map(type, values)))
    _put_bytes(packed, kinds)
    if _FLOAT not in kinds:
        packed.heads.append(_NUMBERS)
        put_integers(packed, _filled(values) if _NONE in kinds else values, order=1)  # type: ignore[arg-type]  # counts
    elif _COUNT not in kinds:
        _put_floats(packed, _filled(values) if _NONE in kinds else values)  # type: ignore[arg-type]  # floats
    else:  # the bits of both, as numbers
        letters = "".join("d" if kind == _FLOAT else "q" for kind in kinds)
        bits = struct.pack(f"<{letters}", *(0 if value is None else value for value in values))
        packed.heads.append(_NUMBERS)
        put_integers(packed, struct.unpack(f"<{len(values)}q", bits), order=1)


def _take_values(cursor: Cursor, count: int) -> Sequence[int | float | None]:
    kinds = _take_bytes(cursor, count)
    mode = cursor.byte()
    values: Sequence[int | float | None]
    if mode == _NUMBERS:
        values = take_integers(cursor, count, order=1)
        if _FLOAT in kinds:
            floats = struct.unpack(f"<{count}d", struct.pack(f"<{count}q", *values))
            values = [of if kind == _FLOAT else number for of, number, kind in zip(floats, values, kinds, strict=True)]
    else:
        values = _take_floats(cursor, count, mode)
    if _NONE in kinds:
        return [None if kind == _NONE else value for value, kind in zip(values, kinds, strict=True)]
    return values


def _filled(values: Sequence[int | float | None]) -> list[int | float]:
    """Gaps take the value before them: it costs nothing to write."""
    last = next((value for value in values if value is not None), 0)
    filled = []
    for value in values:
        last = last if value is None else value
        filled.append(last)
    return filled


def _put_floats(packed: Packed, values: Sequence[float]) -> None:
    decimal_places = _decimal_places(values)
    if decimal_places is not None:
        packed.heads.append(_DECIMALS + decimal_places)
        factor = 10.0**decimal_places
        put_integers(packed, [round(value * factor) for value in values], order=1)
        return
    packed.heads.append(_BITS)
    bits = struct.unpack(f"<{len(values)}Q", struct.pack(f"<{len(values)}d", *values))
    packed.heads.extend(bits[0].to_bytes(8, "little"))
    put_planes(packed, list(map(xor, bits[1:], bits)))


def _take_floats(cursor: Cursor, count: int, mode: int) -> Sequence[float]:
    if mode != _BITS:
        factor = 10.0 ** (mode - _DECIMALS)
        return [number / factor for number in take_integers(cursor, count, order=1)]
    bits = [int.from_bytes(bytes(cursor.byte() for _ in range(8)), "little")]
    for change in take_planes(cursor, count - 1) or repeat(0, count - 1):
        bits.append(bits[-1] ^ change)
    return struct.unpack(f"<{count}d", struct.pack(f"<{count}Q", *bits))


def _decimal_places(values: Sequence[float]) -> int | None:
    """The least places at which every value is exactly a decimal; None where that would not give every bit back."""
    for places in range(_MOST_PLACES + 1):
        factor = 10.0**places
        if all(_is_decimal(value, factor) for value in values):
            return places
    return None


def _is_decimal(value: float, factor: float) -> bool:
    scaled = value * factor
    if not -_EXACT < scaled < _EXACT:
        return False
    number = round(scaled)
    # A negative zero is no decimal: its sign would be lost.
    return number / factor == value and (number != 0 or str(value) == "0.0")
