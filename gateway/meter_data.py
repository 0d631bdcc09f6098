"""How a value lies in the data of DL/T 645 and CJ/T 188: binary-coded decimals, least significant byte first.

The data are the bytes of one data identifier as the meter sends them, without the 0x33 that DL/T 645 adds to each.
Source: DL/T 645-2007 - 多功能电能表通信协议 - §?; CJ/T 188-2004 - 户用计量仪表数据传输技术条件 - §?.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Literal, NamedTuple

from gateway.domain.instruments import Register
from gateway.domain.units import UNITS, factor
from gateway.encoding import ONE
from gateway.finishing import COUNTED, Decoded, Doubt, doubtful, exact_finisher, misfit, most_of, no_value, step_of

DLT645 = "dlt645"
CJT188 = "cjt188"

# Closed list: bytes of a value. "s" before it: the topmost bit is the sign. "bit" and "bit2" are bits of one byte.
TYPES: Mapping[str, int] = {
    **{f"bcd{8 * count}": count for count in range(1, 7)},
    **{f"sbcd{8 * count}": count for count in range(2, 5)},
    "bit": 1,
    "bit2": 1,
}

# What the unit byte of CJ/T 188 says: the unit of the plain code; the next two codes are 10 and 100 times that.
# Source: CJ/T 188-2004 - 户用计量仪表数据传输技术条件 - §? (table of units); the same codes in CJ/T 188-2018.
_PLAIN_UNITS = {
    0x02: "Wh",
    0x05: "kWh",
    0x08: "MWh",
    0x0B: "kJ",
    0x0E: "MJ",
    0x11: "GJ",
    0x14: "W",
    0x17: "kW",
    0x1A: "MW",
    0x29: "L",
    0x2C: "m3",
    0x32: "L/h",
    0x35: "m3/h",
}
UNIT_BYTES: Mapping[int, tuple[str, int]] = {
    code + tens: (symbol, 10**tens) for code, symbol in _PLAIN_UNITS.items() for tens in range(3)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEncoding:
    """One value in its own bytes: `type` is one of TYPES, `scale` [unit of the register] one raw unit.

    `at` is where the value begins in these bytes, `unit_at` where its unit byte stands (None: there is none, and
    the unit is the register's). `bit` [0 = least significant] is the lowest one, for "bit" and "bit2".
    """

    type: str
    at: int = 0
    unit_at: int | None = None
    scale: Decimal = ONE
    bit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlace:
    """Where a register is found: a data identifier, the bytes of its data that are this value's, and their meaning."""

    identifier: int
    cut: slice
    encoding: DataEncoding


@dataclass(frozen=True, slots=True, kw_only=True)
class DataManner:
    """How a meter model speaks beside its values; the defaults are those of DL/T 645, which has no such choice.

    `meter_type`: the byte T of CJ/T 188. `identifier_order`: which byte of an identifier goes first. `lengths`: bytes
    of data by identifier, where that is more than its registers take.
    """

    meter_type: int = 0
    identifier_order: Literal["little", "big"] = "little"
    lengths: Mapping[int, int] = field(default_factory=dict)


class PlannedData(NamedTuple):
    """One value of an answer: the bytes that are its own, and their meaning. `ratio` multiplies a momentary value."""

    place: DataPlace
    register: Register
    ratio: Decimal = ONE


class DataPlan:
    """Decodes the data of one identifier."""

    def __init__(self, values: Sequence[PlannedData]) -> None:
        self._values = [(place.cut, data_decoder(place.encoding, register, ratio)) for place, register, ratio in values]

    def decode(self, words: bytes) -> tuple[list[int | float | None], dict[int, Doubt]]:
        """(the values in the order of the plan, which of them are missing or doubtful, and why)."""
        values: list[int | float | None] = []
        doubts: dict[int, Doubt] = {}
        for index, (cut, decode) in enumerate(self._values):
            found = decode(words[cut])
            if isinstance(found, Doubt):
                doubts[index] = found
            values.append(found.value if isinstance(found, Doubt) else found)
        return values, doubts


def data_decoder(encoding: DataEncoding, register: Register, ratio: Decimal = ONE) -> Callable[[bytes], Decoded]:
    """Decodes the bytes of one value alone, as they are kept with its reading.

    The result is an integer count of the resolution for totals, rounded half to even where the meter's unit is finer; a
    float [unit of the register] times `ratio` for others; a Doubt where the value is missing or not to be believed.
    """
    limit = most_of(register, ratio)

    def decode(raw: bytes) -> Decoded:
        number = _number(encoding, raw)
        times = _unit_factor(encoding, register, raw)
        if number is None or times is None:
            return no_value("not_decimal" if number is None else "foreign_unit")
        found = _finish(encoding, register, ratio, times)(number)
        if isinstance(found, Doubt) or limit is None or -limit <= found <= limit:
            return found
        return doubtful(found, "over_limit")

    return decode


def _number(encoding: DataEncoding, raw: bytes) -> int | None:
    """The digits, or the bits, of the value; None where a digit is above 9."""
    own = raw[encoding.at : encoding.at + TYPES[encoding.type]][::-1]
    if encoding.type.startswith("bit"):
        return own[0] >> encoding.bit & (3 if encoding.type == "bit2" else 1)
    negative = encoding.type.startswith("s") and own[0] & 0x80
    digits = (bytes([own[0] & 0x7F]) + own[1:] if negative else own).hex()
    if not digits.isdecimal():
        return None
    return -int(digits) if negative else int(digits)


def _unit_factor(encoding: DataEncoding, register: Register, raw: bytes) -> Fraction | None:
    """What one of the meter's unit is in the register's; None where the unit is of another dimension or unknown."""
    if encoding.unit_at is None:
        return Fraction(1)
    symbol, times = UNIT_BYTES.get(raw[encoding.unit_at], ("", 0))
    if not symbol or UNITS[symbol].dimension != UNITS[register.unit].dimension:
        return None
    return factor(symbol, register.unit) * times


@cache
def _finish(encoding: DataEncoding, register: Register, ratio: Decimal, times: Fraction) -> Callable[[int], Decoded]:
    """From the number to the value, for a meter that shows it in a unit of `times` the register's.

    A total stays a whole count of the declared resolution: one that is finer, or that is past the declared modulus or
    full before it, is kept as SUSPECT: profile and meter do not fit each other.
    """
    step = step_of(register, encoding.scale, ratio) * times
    exact = exact_finisher(register, step)
    counted = register.kind in COUNTED
    full = Fraction(10 ** (2 * TYPES[encoding.type]))

    def finish(number: int) -> Decoded:
        found = exact(number, 1)
        if isinstance(found, Doubt) or not counted:
            return found
        reason = misfit((number, 1), found, step, register.modulus, full)
        return doubtful(found, reason) if reason else found

    return finish
