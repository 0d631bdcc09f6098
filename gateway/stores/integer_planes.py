"""Whole numbers packed small: differences, zigzag, and one plane for each byte of them.

What follows a rule (sampling instants on a grid, journal places of a regular poll) becomes nothing but its rule; what
moves a little becomes a byte or two. All arithmetic is that of 64 bits with wrap-around, so every number comes back.
"""

import importlib
import struct
import sys
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import gcd
from operator import sub
from typing import Any, NamedTuple

from gateway.stores.exact_numbers import INT64_MAX, INT64_MIN

_WIDTH = 8  # bytes of a number
_SIGNED = [(z >> 1) ^ -(z & 1) for z in range(256)]
LONG = 160  # numbers, from which on numpy is faster


class Cursor:
    """Where a reader stands in the heads of a chunk, and in the planes that follow them."""

    def __init__(self, data: bytes, planes_at: int, *, at: int = 0) -> None:
        self._data = data
        self._at = at
        self._plane_at = planes_at

    def byte(self) -> int:
        """The next byte of the heads."""
        self._at += 1
        return self._data[self._at - 1]

    def number(self) -> int:
        """The next number of the heads."""
        size = self._data[self._at]
        start = self._at + 1
        self._at = start + size
        return int.from_bytes(self._data[start : self._at], "little", signed=True)

    def text(self) -> bytes:
        """The next text of the heads."""
        size = self.number()
        self._at += size
        return self._data[self._at - size : self._at]

    def plane(self, length: int) -> bytes:
        """The next plane: one byte of each of `length` numbers."""
        self._plane_at += length
        return self._data[self._plane_at - length : self._plane_at]


class Packed(NamedTuple):
    """What writing adds to: heads (few numbers that differ from chunk to chunk) and planes (one byte a reading)."""

    heads: bytearray
    planes: bytearray

    def number(self, value: int) -> None:
        """Add a number to the heads: its size in bytes, then the bytes."""
        size = (value.bit_length() + 8) >> 3 if value else 0
        self.heads.append(size)
        self.heads.extend(value.to_bytes(size, "little", signed=True))

    def text(self, value: bytes) -> None:
        """Add a text to the heads."""
        self.number(len(value))
        self.heads.extend(value)


def put_integers(packed: Packed, numbers: Sequence[int], *, order: int) -> None:
    """Add one or more numbers of 64 bits, by their differences (order 1) or the differences of those (order 2)."""
    if _put_rule(packed, numbers, order=order):
        return
    arrays = _arrays() if len(numbers) >= LONG else None
    put = put_one_by_one if arrays is None else arrays.put_integers
    put(packed, numbers, order=order)


def _put_rule(packed: Packed, numbers: Sequence[int], *, order: int) -> bool:
    """Add numbers that are all the same, or have all the same difference, and say so: most columns are of this kind."""
    count, first = len(numbers), numbers[0]
    step = numbers[1] - first if count > 1 else 0
    if step and (order == 1 or list(numbers) != list(range(first, first + count * step, step))):
        return False
    if not step and numbers.count(first) != count:
        return False
    packed.number(first)
    if order == 2 and count > 1:
        packed.number(_wrapped(step))
    packed.heads.append(0)
    return True


def put_one_by_one(packed: Packed, numbers: Sequence[int], *, order: int) -> None:
    """As `put_integers`, whatever is installed."""
    packed.number(numbers[0])
    residuals: list[int] = list(map(sub, numbers[1:], numbers))
    if order == 2 and residuals:
        packed.number(_wrapped(residuals[0]))
        residuals = list(map(sub, residuals[1:], residuals))
    if residuals and (min(residuals) < INT64_MIN or max(residuals) > INT64_MAX):
        residuals = [_wrapped(residual) for residual in residuals]
    if not any(residuals):
        packed.heads.append(0)
        return
    scale = gcd(*residuals)
    if scale > 1:
        residuals = [residual // scale for residual in residuals]
    put_planes(packed, [r + r if r >= 0 else -r - r - 1 for r in residuals])
    packed.number(scale)


def take_integers(cursor: Cursor, count: int, *, order: int) -> Sequence[int]:
    """The `count` numbers that `put_integers` added."""
    arrays = _arrays() if count >= LONG else None
    take = take_one_by_one if arrays is None else arrays.take_integers
    found: Sequence[int] = take(cursor, count, order=order)
    return found


def take_one_by_one(cursor: Cursor, count: int, *, order: int) -> Sequence[int]:
    """As `take_integers`, whatever is installed."""
    first = cursor.number()
    step = cursor.number() if order == 2 and count > 1 else 0
    signed = _take_signed(cursor, max(count - order, 0))
    if signed is None:  # they follow the rule
        last = first + step * (count - 1)
        if step and INT64_MIN <= last <= INT64_MAX:
            return range(first, last + (1 if step > 0 else -1), step)
        return [_wrapped(first + step * index) for index in range(count)] if step else [first] * count
    residuals, most = signed
    scale = cursor.number()
    if scale > 1:
        residuals = [residual * scale for residual in residuals]
    steps: Iterable[int] = accumulate(residuals, initial=step) if order == 2 else residuals
    numbers = list(accumulate(steps, initial=first))
    if abs(first) + count * (abs(step) + count * most * scale) > INT64_MAX:  # else none can be beyond 64 bits
        return [_wrapped(number) for number in numbers]
    return numbers


def _take_signed(cursor: Cursor, count: int) -> tuple[Sequence[int], int] | None:
    """(numbers with their signs, what none exceeds) of zigzag planes; None when all are zero."""
    present = cursor.byte()
    if present == 1:
        return list(map(_SIGNED.__getitem__, cursor.plane(count))), 128
    zigzag = _planes(cursor, count, present)
    return None if zigzag is None else ([(z >> 1) ^ -(z & 1) for z in zigzag], 1 << 8 * present.bit_length() - 1)


def skip_integers(cursor: Cursor, count: int, *, order: int) -> None:
    """Go past what `take_integers` would take."""
    cursor.number()
    if order == 2 and count > 1:
        cursor.number()
    present = cursor.byte()
    if present:
        cursor.plane(max(count - order, 0) * present.bit_count())
        cursor.number()


def put_planes(packed: Packed, numbers: Sequence[int]) -> None:
    """Add unsigned numbers of 64 bits byte by byte; planes that are all zero are left out."""
    laid_out = struct.pack(f"<{len(numbers)}Q", *numbers)
    present = 0
    for byte in range((max(numbers, default=0).bit_length() + 7) >> 3):
        plane = laid_out[byte::_WIDTH]
        if any(plane):
            present |= 1 << byte
            packed.planes.extend(plane)
    packed.heads.append(present)


def take_planes(cursor: Cursor, count: int) -> tuple[int, ...] | None:
    """The unsigned numbers that `put_planes` added; None when all are zero."""
    return _planes(cursor, count, cursor.byte())


def _planes(cursor: Cursor, count: int, present: int) -> tuple[int, ...] | None:
    if not present:
        return None
    laid_out = bytearray(_WIDTH * count)
    for byte in range(_WIDTH):
        if present >> byte & 1:
            laid_out[byte::_WIDTH] = cursor.plane(count)
    return struct.unpack(f"<{count}Q", laid_out)


def _arrays() -> Any:  # noqa: ANN401  # a module that need not be there
    """The same with numpy, where numpy is loaded already: by name, so that nothing here depends on it."""
    return importlib.import_module("gateway.stores.array_planes") if "numpy" in sys.modules else None


def _wrapped(number: int) -> int:
    return (number - INT64_MIN) % 2**64 + INT64_MIN
