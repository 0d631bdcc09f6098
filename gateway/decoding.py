"""How a meter's 16-bit words, or a number in a message, become the values of its registers.

Nothing here reads a wire. What can be known before the words come is worked out before: one struct unpacks
the numbers that lie in an answer as they are, another one those whose words or bytes have to be put in order
first. Most values are then finished; the rest is finished one by one.
"""

import math
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple

from gateway.domain.instruments import Register
from gateway.domain.units import convert
from gateway.encoding import ONE, Encoding
from gateway.finishing import (
    COUNTED,
    LEAST_NORMAL,
    Decoded,
    Doubt,
    Finish,
    doubtful,
    exact_finisher,
    finisher,
    most_of,
    no_value,
    step_of,
)

__all__ = [
    "COUNTED",
    "DecodePlan",
    "Decoded",
    "Doubt",
    "Planned",
    "decode_number",
    "decode_words",
    "decoder",
    "number_decoder",
]

_WHOLE = frozenset({"u16", "i16", "u32", "i32", "u64", "i64"})
_FLOATS = {"float32": "f", "float64": "d"}
_MAX_EXPONENT = 400  # past the range of a float: refused before such a number is written out
_Pick = Callable[[Sequence[Any]], tuple[Any, ...]]


class Planned(NamedTuple):
    """One value of an answer: `places` are the first words of its pieces, from the first word of the answer.

    Its pieces are those of `encoding.lengths`. `ratio` multiplies a momentary value, and its limit with it.
    """

    encoding: Encoding
    register: Register
    places: tuple[int, ...]
    ratio: Decimal = ONE


class DecodePlan:
    """Decodes the answer to one request of `words` 16-bit words.

    Raises ValueError for a value that does not lie within those words, and TypeError for none at all.
    """

    def __init__(self, values: Sequence[Planned], *, words: int) -> None:
        self._size = 2 * words
        numbers = [_placed(value, self._size) for value in values]
        flat = [number for of_value in numbers for number in of_value]
        straight, turned = _parted(flat)
        self._straight = _straight_struct([flat[index] for index in straight], self._size).unpack
        places = tuple(place for index in turned for place in flat[index][1])
        self._turn = _picker(places)
        self._turned = struct.Struct(">" + "".join(flat[index][0] for index in turned)).unpack
        at = {index: found for found, index in enumerate([*straight, *turned])}
        firsts = [0, *accumulate(len(of_value) for of_value in numbers)]
        self._first = _picker([at[first] for first in firsts[:-1]])
        self._floats: list[tuple[int, float]] = []
        self._scaled: list[tuple[int, int, int]] = []
        self._judged: list[tuple[int, _Pick, Finish]] = []
        mosts = (most_of(value.register, value.ratio) for value in values)
        self._limits = [(index, most) for index, most in enumerate(mosts) if most is not None]
        for index, value in enumerate(values):
            step = step_of(value.register, value.encoding.scale, value.ratio)
            if _is_plain_float(value, step):
                self._floats.append((index, LEAST_NORMAL[_FLOATS[value.encoding.type]]))
            elif _is_scaled(value, step):
                self._scaled.append((index, step.numerator, step.denominator))
            elif not _is_plain_count(value, step):
                raw = _picker([at[number] for number in range(firsts[index], firsts[index + 1])])
                self._judged.append((index, raw, finisher(value.encoding, value.register, value.ratio)))
        self._pick_floats = _picker([index for index, _ in self._floats])

    def decode(self, words: bytes) -> tuple[list[int | float | None], dict[int, Doubt]]:
        """(the values in the order of the plan, which of them are missing or doubtful, and why).

        `words` are big-endian as they came. Raises ValueError when they are not the words of the plan.
        """
        if len(words) != self._size:
            raise ValueError(f"{len(words)} bytes where {self._size // 2} words have {self._size}")
        raw = self._straight(words) + self._turned(bytes(self._turn(words)))
        values: list[int | float | None] = list(self._first(raw))
        doubts: dict[int, Doubt] = {}
        for index, times, over in self._scaled:
            values[index] = values[index] * times / over  # type: ignore[operator]  # a number: it was just unpacked
        for index, pick, finish in self._judged:
            found = finish(*pick(raw))
            if isinstance(found, Doubt):
                doubts[index] = found
                values[index] = found.value
            else:
                values[index] = found
        if self._floats:
            self._examine_floats(values, doubts)
        for index, most in self._limits:
            value = values[index]
            if value is not None and not -most <= value <= most and index not in doubts:
                doubts[index] = doubtful(value, "over_limit")
        return values, doubts

    def _examine_floats(self, values: list[int | float | None], doubts: dict[int, Doubt]) -> None:
        """One look at all of them; only where something is odd at each."""
        floats = self._pick_floats(values)
        if math.isfinite(sum(floats)) and min(map(abs, floats)) >= LEAST_NORMAL["f"]:
            return
        for (index, least), value in zip(self._floats, floats, strict=True):
            if not math.isfinite(value):
                values[index] = None
                doubts[index] = no_value("not_a_number" if math.isnan(value) else "infinite")
            elif abs(value) < least:
                values[index] = value + 0.0  # minus zero is zero
                if value:
                    doubts[index] = doubtful(value, "subnormal")


@lru_cache(maxsize=4096)
def decoder(encoding: Encoding, register: Register, *, ratio: Decimal = ONE) -> Callable[[bytes], Decoded]:
    """Decodes the words of one register alone: its pieces one behind the other, big-endian as they came.

    The result is an integer count of the resolution for cumulative and interval registers, rounded half to even
    where the wire is finer and never multiplied by `ratio`; a float [unit of the register] times `ratio` for
    others; a Doubt where the value is missing or not to be believed.
    """
    if encoding.type == "number":
        raise ValueError(f"register {register.quantity} stands in a message; it has no words")
    places = (0, *accumulate(encoding.lengths))[:-1]
    plan = DecodePlan([Planned(encoding, register, places, ratio)], words=encoding.words)

    def decode(words: bytes) -> Decoded:
        if len(words) != 2 * encoding.words:
            raise ValueError(f"{register.quantity}: {len(words)} bytes where {encoding.type} has {2 * encoding.words}")
        (value,), doubts = plan.decode(words)
        return doubts[0] if value is None or doubts else value

    return decode


def decode_words(encoding: Encoding, register: Register, words: bytes, *, ratio: Decimal = ONE) -> int | float | None:
    """The value of `register` in these words alone, as `decoder` reads it; None where they hold no value.

    Raises ValueError when the number of words is not the encoding's.
    """
    found = decoder(encoding, register, ratio=ratio)(words)
    return found.value if isinstance(found, Doubt) else found


def decode_number(register: Register, number: Decimal, *, ratio: Decimal = ONE) -> int | float:
    """The value of `register` for a number that stands in a message or a file, in the register's unit.

    As `number_decoder` does it.
    """
    return _number_decoder(register, ratio)(number)


def number_decoder(
    register: Register, *, ratio: Decimal = ONE, unit: str | None = None
) -> Callable[[Decimal], int | float]:
    """Turns numbers of messages or files, in `unit` or the register's own, into values of `register`.

    Cumulative and interval registers: integer count of the resolution, rounded half to even where the
    number is finer. Others: float [unit] times `ratio`. Raises ValueError for NaN, an infinity, and a
    number beyond what a store can hold; at once for a unit of another dimension.
    """
    finish = exact_finisher(register, step_of(register, ONE, ratio))
    foreign = unit is not None and unit != register.unit
    if foreign:
        convert(0, str(unit), register.unit)

    def decode(number: Decimal) -> int | float:
        if not number.is_finite():
            raise ValueError(f"{register.quantity}: found {number}; expected a finite number")
        magnitude = number.adjusted()
        if number and magnitude > _MAX_EXPONENT:
            raise ValueError(f"{register.quantity}: found {number}; expected a number that an instrument can show")
        exact = Decimal(0) if magnitude < -_MAX_EXPONENT else number
        in_unit = convert(exact, str(unit), register.unit) if foreign else exact
        value = finish(*in_unit.as_integer_ratio())
        if isinstance(value, Doubt):
            raise ValueError(f"{register.quantity}: found {number}; expected a number that an instrument can show")  # noqa: TRY004 - the number is wrong, not a type of ours
        return value

    return decode


@lru_cache(maxsize=4096)
def _number_decoder(register: Register, ratio: Decimal) -> Callable[[Decimal], int | float]:
    return number_decoder(register, ratio=ratio)


_Number = tuple[str, tuple[int, ...]]  # struct's code, the bytes of the answer that make it up, big-endian


def _placed(value: Planned, size: int) -> list[_Number]:
    """The numbers of a value by their bytes in the answer, where its pieces may lie apart."""
    where: list[int] = []
    for place, length in zip(value.places, value.encoding.lengths, strict=True):
        where += range(2 * place, 2 * (place + length))
    if where and not 0 <= min(where) <= max(where) < size:
        raise ValueError(f"{value.register.quantity} at words {value.places} lies outside of {size // 2} words")
    return [(code, tuple(where[byte] for byte in taken)) for code, taken in value.encoding.numbers]


def _parted(numbers: Sequence[_Number]) -> tuple[list[int], list[int]]:
    """(those that lie as they are and do not overlap, by address; the others)."""
    straight: list[int] = []
    turned: list[int] = []
    end = 0
    for index in sorted(range(len(numbers)), key=lambda index: numbers[index][1][0]):
        taken = numbers[index][1]
        if taken[0] >= end and taken == tuple(range(taken[0], taken[0] + len(taken))):
            straight.append(index)
            end = taken[-1] + 1
        else:
            turned.append(index)
    return straight, turned


def _straight_struct(numbers: Sequence[_Number], size: int) -> struct.Struct:
    """Numbers at their places, with the bytes between them left out."""
    text, end = ">", 0
    for code, taken in numbers:
        text += f"{taken[0] - end}x{code}"
        end = taken[-1] + 1
    return struct.Struct(f"{text}{size - end}x")


def _picker(indices: Sequence[int]) -> _Pick:
    """itemgetter, which gives a tuple also for one index and for none."""
    if len(indices) > 1:
        return itemgetter(*indices)
    return lambda values: tuple(values[index] for index in indices)


def _is_plain_float(value: Planned, step: Fraction) -> bool:
    encoding = value.encoding
    unscaled = step == 1 and not encoding.exponent and not encoding.absent
    return encoding.type in _FLOATS and unscaled and value.register.kind not in COUNTED


def _is_scaled(value: Planned, step: Fraction) -> bool:
    """A momentary integer: one multiplication and one division of integers, which rounds once."""
    encoding = value.encoding
    plain = encoding.type in _WHOLE and not encoding.exponent and not encoding.absent
    return plain and value.register.kind not in COUNTED and step.numerator < 2**900


def _is_plain_count(value: Planned, step: Fraction) -> bool:
    """A total whose raw unit is its resolution: the number is the count."""
    encoding = value.encoding
    plain = encoding.type in _WHOLE - {"u64"} and not encoding.exponent and not encoding.absent
    return plain and value.register.kind in COUNTED and step == 1
