"""How a meter's 16-bit words, or a number in a message, become the value of a register.

Nothing here reads a wire. All arithmetic is exact on integers: a total is a count of its resolution with
nothing lost on the way, and a momentary value is rounded once, to the nearest float.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from operator import itemgetter

from gateway.domain.instruments import Carriage, Register, RegisterKind

ONE = Decimal(1)
COUNTED = frozenset({RegisterKind.CUMULATIVE, RegisterKind.INTERVAL})  # kinds whose values are integer counts
_COUNT_LIMIT = 2**63  # counts are kept as int64; what lies beyond is no total but a wrong byte order
_MAX_EXPONENT = 400  # past the range of a float: refused before such a number is written out

# An exact rational (numerator, denominator), or None for "no value".
_Exact = tuple[int, int] | None

# Closed list: the parts that make up a value, in the order in which they stand on the wire.
# "i32+float32" is an integer part followed by its fraction. "number" stands in a message and has no words.
_PARTS: dict[str, tuple[str, ...]] = {
    "u16": ("H",),
    "i16": ("h",),
    "u32": ("I",),
    "i32": ("i",),
    "u64": ("Q",),
    "i64": ("q",),
    "float32": ("f",),
    "float64": ("d",),
    "bcd16": ("H",),
    "bcd32": ("I",),
    "i32+float32": ("i", "f"),
    "number": (),
}
TYPES = tuple(_PARTS)
ORDERS = ("big", "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How one value lies in 16-bit words.

    `type` is one of TYPES. `word_order` is the order of the words of one part of the value, `byte_order`
    that of the two bytes within a word: big/big = ABCD, little/big = CDAB, big/little = BADC,
    little/little = DCBA. `scale` [unit of the register]: one raw unit. `absent`: bit patterns that mean
    "no value", read as one unsigned number after words and bytes are put in order. Raises ValueError.
    """

    type: str
    word_order: str = "big"
    byte_order: str = "big"
    scale: Decimal = ONE
    absent: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.type not in _PARTS:
            raise ValueError(f"unknown type {self.type!r}; known: {', '.join(TYPES)}")
        if self.word_order not in ORDERS or self.byte_order not in ORDERS:
            raise ValueError("word_order and byte_order are big or little")
        if not self.scale.is_finite() or self.scale <= 0:
            raise ValueError(f"scale must be a positive number, not {self.scale}")
        for pattern in self.absent:
            if not 0 <= pattern < 1 << (16 * self.words):
                raise ValueError(f"absent pattern {pattern:#x} does not fit into {self.words} words")

    @property
    def words(self) -> int:
        """Number of 16-bit words."""
        return struct.calcsize(">" + "".join(_PARTS[self.type])) // 2

    @property
    def carriage(self) -> Carriage:
        """How exactly these words carry a total. The fraction of a composite is finer than any resolution."""
        return {"float32": Carriage.FLOAT32, "float64": Carriage.FLOAT64}.get(self.type, Carriage.EXACT)

    @property
    def full_scale(self) -> Decimal | None:
        """The first value [unit] above zero that these words cannot hold; None for floats and messages."""
        if self.type.startswith("bcd"):
            return self.scale * Decimal(10) ** (4 * self.words)
        if self.type == "number" or self.carriage is not Carriage.EXACT:
            return None
        whole = _PARTS[self.type][0]
        bits = 8 * struct.calcsize(">" + whole) - (0 if whole.isupper() else 1)
        return self.scale * Decimal(2) ** bits


IN_MESSAGE = Encoding(type="number")

Decode = Callable[[bytes], int | float | None]


def decode_words(encoding: Encoding, register: Register, words: bytes, *, ratio: Decimal = ONE) -> int | float | None:
    """The value of `register` in these words, as they came over the wire (big-endian 16-bit words).

    Cumulative and interval registers: integer count of the resolution, rounded half to even where the wire
    is finer, never multiplied by `ratio`. Others: float [unit of the register] times `ratio`. None where
    the words hold no value: an absent pattern, NaN, an infinity, a digit above 9 in BCD, or a total that no
    int64 holds. Raises ValueError when the number of words is not the encoding's.
    """
    return decoder(encoding, register, ratio=ratio)(words)


@lru_cache(maxsize=4096)
def decoder(encoding: Encoding, register: Register, *, ratio: Decimal = ONE) -> Decode:
    """`decode_words` prepared for one register: permutation, struct and factor are worked out once."""
    if encoding.type == "number":
        raise ValueError(f"register {register.quantity} stands in a message; it has no words")
    exact = _exact_reader(encoding)
    finish = _finisher(register, encoding.scale, ratio)
    size = 2 * encoding.words
    arrange = _arrangement(encoding)
    absent = frozenset(pattern.to_bytes(size, "big") for pattern in encoding.absent)

    def decode(words: bytes) -> int | float | None:
        if len(words) != size:
            raise ValueError(f"{register.quantity}: {len(words)} bytes where {encoding.type} has {size}")
        ordered = words if arrange is None else bytes(arrange(words))
        if ordered in absent:
            return None
        value = exact(ordered)
        return None if value is None else finish(*value)

    return decode


def decode_number(register: Register, number: Decimal, *, ratio: Decimal = ONE) -> int | float:
    """The value of `register` for a number that stands in a message or a file, in the register's unit.

    Cumulative and interval registers: integer count of the resolution, rounded half to even where the
    number is finer. Others: float [unit] times `ratio`. Raises ValueError for NaN, an infinity, and a
    number beyond what a store can hold.
    """
    if not number.is_finite():
        raise ValueError(f"{register.quantity}: found {number}; expected a finite number")
    if number and number.adjusted() > _MAX_EXPONENT:
        raise ValueError(f"{register.quantity}: found {number}; expected a number that an instrument can show")
    if number and number.adjusted() < -_MAX_EXPONENT:
        number = Decimal(0)
    value = _number_finisher(register, ratio)(*number.as_integer_ratio())
    if value is None:
        raise ValueError(f"{register.quantity}: found {number}; expected a number that an instrument can show")
    return value


@lru_cache(maxsize=4096)
def _number_finisher(register: Register, ratio: Decimal) -> Callable[[int, int], int | float | None]:
    return _finisher(register, ONE, ratio)


def _arrangement(encoding: Encoding) -> Callable[[bytes], tuple[int, ...]] | None:
    """Picks the bytes of a value from the wire in big-endian order; None when they already are."""
    order: list[int] = []
    start = 0
    for part in _PARTS[encoding.type]:
        pairs = [(at, at + 1) for at in range(start, start + struct.calcsize(">" + part), 2)]
        start = pairs[-1][1] + 1
        for pair in pairs if encoding.word_order == "big" else reversed(pairs):
            order.extend(pair if encoding.byte_order == "big" else reversed(pair))
    return None if order == sorted(order) else itemgetter(*order)


def _exact_reader(encoding: Encoding) -> Callable[[bytes], _Exact]:
    """Reads big-endian bytes as an exact rational in raw units."""
    parts = _PARTS[encoding.type]
    unpack = struct.Struct(">" + "".join(parts)).unpack

    def integer(data: bytes) -> _Exact:
        return unpack(data)[0], 1

    def decimal_digits(data: bytes) -> _Exact:
        digits = data.hex()
        return (int(digits), 1) if digits.isdecimal() else None

    def floating(data: bytes) -> _Exact:
        value: float = unpack(data)[0]
        return value.as_integer_ratio() if math.isfinite(value) else None

    def whole_and_fraction(data: bytes) -> _Exact:
        whole, fraction = unpack(data)
        if not math.isfinite(fraction):
            return None
        numerator, denominator = fraction.as_integer_ratio()
        return whole * denominator + numerator, denominator

    if len(parts) == 2:
        return whole_and_fraction
    if encoding.type.startswith("bcd"):
        return decimal_digits
    return floating if parts[0] in "fd" else integer


def _finisher(register: Register, scale: Decimal, ratio: Decimal) -> Callable[[int, int], int | float | None]:
    """Turns an exact rational of raw units into a count or a float; None beyond what can be stored."""
    counted = register.kind in COUNTED
    if counted and register.resolution is None:
        raise ValueError(f"register {register.quantity} is {register.kind.value} and declares no resolution")
    step = Fraction(scale) / Fraction(register.resolution or 1) if counted else Fraction(scale) * Fraction(ratio)
    times, over = step.numerator, step.denominator

    def count(numerator: int, denominator: int) -> int | None:
        counts, rest = divmod(numerator * times, denominator * over)
        twice = 2 * rest - denominator * over
        if twice > 0 or (twice == 0 and counts % 2):
            counts += 1
        return counts if -_COUNT_LIMIT <= counts < _COUNT_LIMIT else None

    def momentary(numerator: int, denominator: int) -> float | None:
        try:
            return numerator * times / (denominator * over)  # of two integers: rounded once, to the nearest
        except OverflowError:
            return None

    return count if counted else momentary
