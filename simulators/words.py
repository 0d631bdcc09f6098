"""How a number lies in Modbus words: the simulated meters' own encodings, written from the makers' documents."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum


class Encoding(StrEnum):
    """The closed list of layouts the simulated meters use. "low first" = the low 16-bit word comes first."""

    U16 = "u16"
    I16 = "i16"
    I32 = "i32"
    U32 = "u32"
    U32_LOW_FIRST = "u32_low_first"
    FLOAT32 = "float32"
    FLOAT32_LOW_FIRST = "float32_low_first"
    FLOAT64 = "float64"
    I32_AND_FRACTION_LOW_FIRST = "i32_and_fraction_low_first"  # whole units, then a float32 with the rest
    TEXT = "text"  # decimal text; not on Modbus


@dataclass(frozen=True, slots=True)
class _Layout:
    words: int
    pack: Callable[[int | float], bytes]
    unpack: Callable[[bytes], int | float]
    lowest: int = 0
    highest: int = 0
    is_float: bool = False


def _swapped(words: bytes) -> bytes:
    """The two words of a 32-bit number exchanged."""
    return words[2:4] + words[0:2]


def _integer(form: str, words: int, lowest: int, highest: int) -> _Layout:
    number = struct.Struct(form)
    return _Layout(
        words, lambda value: number.pack(int(value)), lambda raw: int(number.unpack(raw)[0]), lowest, highest
    )


def _real(form: str, words: int) -> _Layout:
    number = struct.Struct(form)
    return _Layout(words, number.pack, lambda raw: float(number.unpack(raw)[0]), is_float=True)


def _low_first(layout: _Layout) -> _Layout:
    return _Layout(
        layout.words,
        lambda value: _swapped(layout.pack(value)),
        lambda raw: layout.unpack(_swapped(raw)),
        layout.lowest,
        layout.highest,
        layout.is_float,
    )


_I32 = _integer(">i", 2, -(2**31), 2**31 - 1)
_U32 = _integer(">I", 2, 0, 2**32 - 1)
_FLOAT32 = _real(">f", 2)
_LAYOUTS = {
    Encoding.U16: _integer(">H", 1, 0, 2**16 - 1),
    Encoding.I16: _integer(">h", 1, -(2**15), 2**15 - 1),
    Encoding.I32: _I32,
    Encoding.U32: _U32,
    Encoding.U32_LOW_FIRST: _low_first(_U32),
    Encoding.FLOAT32: _FLOAT32,
    Encoding.FLOAT32_LOW_FIRST: _low_first(_FLOAT32),
    Encoding.FLOAT64: _real(">d", 4),
}


def length(encoding: Encoding) -> int:
    """How many 16-bit words a number takes; 0 where it is text."""
    if encoding is Encoding.TEXT:
        return 0
    return 4 if encoding is Encoding.I32_AND_FRACTION_LOW_FIRST else _LAYOUTS[encoding].words


def encode_total(encoding: Encoding, counts: int, step: Decimal) -> bytes:
    """A total of `counts` steps [step = the register's unit per count] as words, big-endian within each word.

    Raises OverflowError where the layout cannot hold it.
    """
    if encoding is Encoding.I32_AND_FRACTION_LOW_FIRST:
        whole, rest = divmod(counts, int(1 / step))
        return _swapped(encode_total(Encoding.I32, whole, Decimal(1))) + _swapped(_FLOAT32.pack(float(rest * step)))
    layout = _LAYOUTS[encoding]
    if layout.is_float:
        return layout.pack(float(counts * step))
    if not layout.lowest <= counts <= layout.highest:
        raise OverflowError(f"{counts} does not fit into {encoding.value}")
    return layout.pack(counts)


def decode_total(encoding: Encoding, words: bytes, step: Decimal) -> int:
    """The total in counts of `step` that these words show; floats go to the nearest count, half to even."""
    if encoding is Encoding.I32_AND_FRACTION_LOW_FIRST:
        whole = int(_I32.unpack(_swapped(words[0:4])))
        return whole * int(1 / step) + _nearest(_FLOAT32.unpack(_swapped(words[4:8])), step)
    layout = _LAYOUTS[encoding]
    shown = layout.unpack(words)
    return _nearest(shown, step) if layout.is_float else int(shown)


def encode_momentary(encoding: Encoding, value: float, step: Decimal) -> bytes:
    """A momentary value as words: integers in steps, held at the end of their range as a meter's display is."""
    layout = _LAYOUTS[encoding]
    if layout.is_float:
        return layout.pack(value)
    return layout.pack(min(max(_nearest(value, step), layout.lowest), layout.highest))


def decode_momentary(encoding: Encoding, words: bytes, step: Decimal) -> float:
    """The momentary value that these words show, in the register's unit."""
    layout = _LAYOUTS[encoding]
    shown = layout.unpack(words)
    return float(shown) if layout.is_float else float(int(shown) * step)


def _nearest(value: float, step: Decimal) -> int:
    return int((Decimal(value) / step).to_integral_value(rounding=ROUND_HALF_EVEN))
