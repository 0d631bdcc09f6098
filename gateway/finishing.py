"""How unpacked numbers become the value of a register.

All arithmetic is exact on integers: a total is a count of its resolution with
nothing lost on the way, and a momentary value is rounded once, to the nearest float.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from gateway.domain.instruments import Register, RegisterKind
from gateway.domain.readings import Quality
from gateway.encoding import Encoding

COUNTED = frozenset({RegisterKind.CUMULATIVE, RegisterKind.INTERVAL})  # kinds whose values are integer counts
COUNT_LIMIT = 2**63  # counts are kept as int64; what lies beyond is no total but a wrong byte order
# Source: SunSpec Device Information Model Specification V1.1 - scale factors: -10 to 10, 0x8000 = not implemented
_SCALE_FACTORS = range(-10, 11)
_NO_SCALE_FACTOR = -0x8000
# Below its smallest normal number a float is no measurement; words in a wrong order look like that.
LEAST_NORMAL = {"f": 2.0**-126, "d": 2.0**-1022}


class Doubt(NamedTuple):
    """What stands in the place of a plain value: no value (MISSING) or a doubtful one (SUSPECT), and why."""

    value: int | float | None
    quality: Quality
    reason: str


Decoded = int | float | Doubt
Finish = Callable[..., Decoded]  # from the numbers of a value, as struct unpacks them
_Exact = tuple[int, int]  # a rational: numerator, denominator


def no_value(reason: str) -> Doubt:
    """The words hold no value."""
    return Doubt(None, Quality.MISSING, reason)


def doubtful(value: float, reason: str) -> Doubt:
    """The words hold a value that is kept, but not believed."""
    return Doubt(value, Quality.SUSPECT, reason)


def step_of(register: Register, scale: Decimal, ratio: Decimal) -> Fraction:
    """What one raw unit is worth: in counts of the resolution for totals and amounts, in the unit for others."""
    if register.kind not in COUNTED:
        return Fraction(scale) * Fraction(ratio)
    if register.resolution is None:
        raise ValueError(f"register {register.quantity} is {register.kind.value} and declares no resolution")
    return Fraction(scale) / Fraction(register.resolution)


def finisher(encoding: Encoding, register: Register, ratio: Decimal) -> Finish:
    """Turns the unpacked numbers of one value into the value or a Doubt, once and for all prepared."""
    exact = _exact_reader(encoding)
    if encoding.exponent:
        return _scaled_by_the_meter(exact, encoding, register, ratio)
    finish = exact_finisher(register, step_of(register, encoding.scale, ratio))

    def value_of(*raw: float) -> Decoded:
        value = exact(*raw)
        return value if isinstance(value, Doubt) else finish(*value)

    least = LEAST_NORMAL.get(encoding.codes[0], 0.0)

    def lone_float(raw: float) -> Decoded:
        value = value_of(raw)
        if 0 < abs(raw) < least and not isinstance(value, Doubt):
            return doubtful(value, "subnormal")
        return value

    return lone_float if encoding.type in {"float32", "float64"} else value_of


def _exact_reader(encoding: Encoding) -> Callable[..., _Exact | Doubt]:
    """Reads the numbers of a value as one exact rational of raw units."""
    if encoding.parts:
        return _sum_reader(encoding)
    codes, kind, bit = encoding.codes, encoding.type, encoding.bit
    pack = struct.Struct(">" + "".join(codes)).pack
    patterns = frozenset(pattern.to_bytes(2 * encoding.lengths[0], "big") for pattern in encoding.absent)

    def integer(raw: int) -> _Exact | Doubt:
        return raw, 1

    def decimal_digits(raw: int) -> _Exact | Doubt:
        digits = f"{raw:x}"
        return (int(digits), 1) if digits.isdecimal() else no_value("not_decimal")

    def accumulated(raw: int) -> _Exact | Doubt:
        return (raw, 1) if raw else no_value("not_accumulated")

    def one_bit(raw: int) -> _Exact | Doubt:
        return raw >> bit & 1, 1

    def whole_and_fraction(whole: int, fraction: float) -> _Exact | Doubt:
        rest = _floating(fraction)
        return rest if isinstance(rest, Doubt) else (whole * rest[1] + rest[0], rest[1])

    named = {"bcd": decimal_digits, "acc": accumulated, "bit": one_bit}.get(kind[:3], integer)
    read: Callable[..., _Exact | Doubt] = named if codes[0] not in "fd" else _floating
    if len(codes) == 2:
        read = whole_and_fraction
    if not patterns:
        return read
    return lambda *raw: no_value("absent") if pack(*raw) in patterns else read(*raw)


def _floating(raw: float) -> _Exact | Doubt:
    if math.isfinite(raw):
        return raw.as_integer_ratio()
    return no_value("not_a_number" if math.isnan(raw) else "infinite")


def _sum_reader(encoding: Encoding) -> Callable[..., _Exact | Doubt]:
    """Adds the parts, each times what one unit of it is worth; one part without a value leaves none."""
    parts = [(_exact_reader(part), Fraction(part.scale)) for part in encoding.parts]

    def added(*raw: float) -> _Exact | Doubt:
        total = Fraction(0)
        for number, (read, weight) in zip(raw, parts, strict=True):
            value = read(number)
            if isinstance(value, Doubt):
                return value
            total += weight * Fraction(*value)
        return total.numerator, total.denominator

    return added


def _scaled_by_the_meter(
    exact: Callable[..., _Exact | Doubt], encoding: Encoding, register: Register, ratio: Decimal
) -> Finish:
    """For values whose power of ten stands in a word beside them. The meter may change it at any time.

    A total stays a whole count of the declared resolution: one that is finer, that is past the declared
    modulus, or whose words are full before it is kept as SUSPECT: profile and meter do not fit each other.
    """
    step = step_of(register, encoding.scale, ratio)
    counted = register.kind in COUNTED
    full = replace(encoding, exponent=False).full_scale
    raw_full = None if full is None else Fraction(full) / Fraction(encoding.scale)

    @cache
    def at(factor: int) -> tuple[Callable[[int, int], Decoded], Fraction]:
        scaled = step * Fraction(10) ** factor
        return exact_finisher(register, scaled), scaled

    def value_of(*raw: int) -> Decoded:
        value = exact(*raw[:-1])
        factor = raw[-1]
        if isinstance(value, Doubt):
            return value
        if factor not in _SCALE_FACTORS:
            return no_value("scale_absent" if factor == _NO_SCALE_FACTOR else "scale_out_of_range")
        finish, scaled = at(factor)
        found = finish(*value)
        if isinstance(found, Doubt) or not counted:
            return found
        reason = misfit(value, found, scaled, register.modulus, raw_full)
        return doubtful(found, reason) if reason else found

    return value_of


def misfit(value: _Exact, counts: float, scaled: Fraction, modulus: int | None, raw_full: Fraction | None) -> str:
    """Why a total, scaled by the meter to `scaled` counts a raw unit, is not what its profile says; "" if it is."""
    if value[0] * scaled.numerator % (value[1] * scaled.denominator):
        return "finer_than_resolution"
    if modulus is None:
        return ""
    if counts >= modulus:
        return "past_modulus"
    return "full_before_modulus" if raw_full is not None and raw_full * scaled < modulus else ""


def most_of(register: Register, ratio: Decimal) -> float | None:
    """The largest float that the register's limit allows on the side of `ratio`; None without a limit."""
    if register.limit is None or register.kind is not RegisterKind.INSTANTANEOUS:
        return None
    limit = register.limit * ratio
    most = float(limit)
    return most if Decimal(most) <= limit else math.nextafter(most, -math.inf)


def exact_finisher(register: Register, step: Fraction) -> Callable[[int, int], Decoded]:
    """Turns an exact rational of raw units into a count or a float; no value beyond what can be stored."""
    times, over = step.numerator, step.denominator

    def count(numerator: int, denominator: int) -> Decoded:
        counts, rest = divmod(numerator * times, denominator * over)
        twice = 2 * rest - denominator * over
        if twice > 0 or (twice == 0 and counts % 2):
            counts += 1
        return counts if -COUNT_LIMIT <= counts < COUNT_LIMIT else no_value("out_of_range")

    def momentary(numerator: int, denominator: int) -> Decoded:
        try:
            return numerator * times / (denominator * over)  # of two integers: rounded once, to the nearest
        except OverflowError:
            return no_value("out_of_range")

    return count if register.kind in COUNTED else momentary
