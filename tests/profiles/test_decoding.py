"""Words and numbers become values: exactly, in every order, and never a value where there is none."""

import math
import struct
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decoding import decode_number, decode_words, decoder
from gateway.domain.instruments import Carriage, Register, RegisterKind
from gateway.encoding import TYPES, Encoding

VOLTAGE = Register(quantity="voltage_l1", unit="V", kind=RegisterKind.INSTANTANEOUS)
ENERGY = Register(
    quantity="active_energy_import",
    unit="kWh",
    kind=RegisterKind.CUMULATIVE,
    resolution=Decimal("0.01"),
    modulus=10**9,
)


def as_float(words: str, **encoding: object) -> float | None:
    return decode_words(Encoding(**encoding), VOLTAGE, bytes.fromhex(words))


def as_count(words: str, register: Register = ENERGY, **encoding: object) -> int | None:
    return decode_words(Encoding(**encoding), register, bytes.fromhex(words))


# 0x42F6E979: exponent 0x85 = 133 -> 2^6; significand 0x76E979 -> 1 + 0x76E979 / 2^23; product 123.456001281738...
@pytest.mark.parametrize(
    ("words", "word_order", "byte_order"),
    [
        ("42F6 E979", "big", "big"),  # ABCD
        ("E979 42F6", "little", "big"),  # CDAB
        ("F642 79E9", "big", "little"),  # BADC
        ("79E9 F642", "little", "little"),  # DCBA
    ],
)
def test_each_of_the_four_orders_reads_the_same_number(words: str, word_order: str, byte_order: str) -> None:
    expected = (2**23 + 0x76E979) / 2**23 * 2**6
    assert as_float(words, type="float32", word_order=word_order, byte_order=byte_order) == expected


@pytest.mark.parametrize(
    ("word_order", "byte_order", "nearly"),
    [
        ("big", "big", 123.456),
        ("little", "big", -1.9e25),
        ("big", "little", -9.9e32),
        ("little", "little", 1.5e35),
    ],
)
def test_a_wrong_order_shows_itself_by_an_absurd_number(word_order: str, byte_order: str, nearly: float) -> None:
    value = as_float("42F6 E979", type="float32", word_order=word_order, byte_order=byte_order)
    assert value == pytest.approx(nearly, rel=0.02)


@pytest.mark.parametrize(
    ("kind", "words", "shown"),
    [
        ("u16", "FFFF", 65535),
        ("i16", "FFFF", -1),
        ("u32", "0001 0000", 65536),
        ("i32", "FFFF FFFE", -2),
        ("u64", "0000 0001 0000 0000", 2**32),
        ("i64", "FFFF FFFF FFFF FFFD", -3),
        ("float64", "4009 21FB 5444 2D18", math.pi),
        ("bcd16", "1234", 1234),
        ("bcd32", "9876 5432", 98765432),
        ("bcd64", "0000 0012 3456 7890", 1234567890),
        ("acc32", "0000 0001", 1),
        ("acc64", "0000 0001 0000 0001", 2**32 + 1),
        ("bit", "0001", 1),
        ("i32+float32", "0000 0007 3F40 0000", 7.75),
    ],
)
def test_every_type_of_the_list_is_read(kind: str, words: str, shown: float) -> None:
    assert as_float(words, type=kind) == shown


def test_the_parts_of_a_composite_are_ordered_one_by_one() -> None:
    # 0x0001E240 = 123456 and 0x3F400000 = 0.75, each with its low word first.
    assert as_float("E240 0001 0000 3F40", type="i32+float32", word_order="little") == 123456.75


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("float32", "7FC0 0000"),
        ("float32", "7F80 0000"),
        ("float32", "FF80 0000"),
        ("float64", "7FF8 0000 0000 0000"),
        ("bcd16", "12A4"),
        ("i32+float32", "0000 0001 7FC0 0000"),
    ],
)
def test_what_is_no_number_is_no_value_and_never_zero(kind: str, words: str) -> None:
    assert as_float(words, type=kind) is None
    assert as_count(words, type=kind) is None


def test_an_absent_pattern_is_recognised_in_every_order() -> None:
    for words, word_order in (("7FFF FFFF", "big"), ("FFFF 7FFF", "little")):
        assert as_count(words, type="i32", word_order=word_order, absent=(0x7FFFFFFF,)) is None
    assert as_count("7FFF FFFE", type="i32", absent=(0x7FFFFFFF,)) == (2**31 - 2) * 100


def test_a_total_no_int64_holds_is_no_value() -> None:
    assert as_count("7F7F FFFF", type="float32") is None  # 3.4e38 kWh: a wrong byte order
    assert as_count("FFFF FFFF FFFF FFFF", type="u64") is None


def test_counts_are_not_multiplied_by_the_transformer_ratio_but_momentary_values_are() -> None:
    encoding = Encoding(type="u32", scale=Decimal("0.01"))
    words = bytes.fromhex("0001 E240")  # 123456 x 0.01
    assert decode_words(encoding, ENERGY, words, ratio=Decimal(300)) == 123456
    assert decode_words(encoding, VOLTAGE, words, ratio=Decimal(300)) == 370368.0


def test_a_momentary_value_is_the_float_nearest_to_the_decimal() -> None:
    assert as_float("08FD", type="u16", scale=Decimal("0.1")) == 230.1  # 2301 / 10, rounded once


def test_half_counts_go_to_the_even_neighbour() -> None:
    kilo = replace(ENERGY, resolution=Decimal(10))
    assert [as_count(f"{raw:04X}", kilo, type="u16") for raw in (5, 15, 25, 26)] == [0, 2, 2, 3]
    assert as_count("FFFB", kilo, type="i16") == 0  # -5 -> -0.5 -> 0
    assert as_count("FFF1", kilo, type="i16") == -2  # -15 -> -1.5 -> -2


# One unit in the last place of a float32 of kWh (24 bits): 2^(e-23) where 2^e <= value.
@pytest.mark.parametrize(
    ("words", "kwh", "step"),
    [
        ("4800 0000", "131072", "0.015625"),
        ("4AFF FFFF", "8388607.5", "0.5"),
        ("4B00 0000", "8388608", "1"),
        ("4B80 0000", "16777216", "2"),
    ],
)
def test_a_float32_total_moves_in_steps_of_its_last_place(words: str, kwh: str, step: str) -> None:
    count = as_count(words, type="float32")
    assert count == Decimal(kwh) * 100
    following = as_count(f"{int(words.replace(' ', ''), 16) + 1:08X}", type="float32")
    assert following is not None
    register = replace(ENERGY, carriage=Carriage.FLOAT32)
    assert register.quantisation(Decimal(kwh)) == max(Decimal(step), Decimal("0.01"))
    # 0.015625 kWh is 1.5625 counts: the next value is 2 counts on, the rounding of 13107201.5625.
    assert following - count == Fraction(step) * 100 or following - count == 2


def test_a_float32_total_stops_counting_at_two_to_the_24() -> None:
    """faults of float totals: 16 777 217 cannot be carried; it arrives as 16 777 216."""
    assert as_count(struct.pack(">f", 16777217.0).hex(), type="float32") == 1677721600


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from(["big", "little"]), st.sampled_from(["big", "little"]))
def test_counts_survive_the_wire_in_any_order(count: int, word_order: str, byte_order: str) -> None:
    words = [count >> 16 & 0xFFFF, count & 0xFFFF]
    if word_order == "little":
        words.reverse()
    data = b"".join(word.to_bytes(2, byte_order) for word in words)
    encoding = Encoding(type="i32", word_order=word_order, byte_order=byte_order, scale=Decimal("0.01"))
    assert decode_words(encoding, ENERGY, data) == count


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_float_total_is_rounded_as_exact_decimals_round(value: float) -> None:
    count = as_count(struct.pack(">f", value).hex(), type="float32")
    exact = Fraction(value) * 100
    if abs(exact) > 2**63:
        assert count is None
        return
    assert count == round(exact)  # of fractions: exact, half to even
    assert count == ENERGY.counts(Decimal(value))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float64_comes_through_unchanged(value: float) -> None:
    assert as_float(struct.pack(">d", value).hex(), type="float64") == value


@given(st.integers(0, 99999999))
def test_decimal_digits_are_read_as_they_are_printed(number: int) -> None:
    assert as_float(f"{number:08d}", type="bcd32") == number


def test_a_number_from_a_message_becomes_a_count_or_a_float() -> None:
    assert decode_number(ENERGY, Decimal("12345.67")) == 1234567
    assert decode_number(ENERGY, Decimal("0.005")) == 0  # half to even
    assert decode_number(ENERGY, Decimal("0.015")) == 2
    assert decode_number(VOLTAGE, Decimal("230.1"), ratio=Decimal(100)) == 23010.0
    ticket = Register(quantity="mass", unit="kg", kind=RegisterKind.INTERVAL, resolution=Decimal(20), interval_s=0)
    assert decode_number(ticket, Decimal(38460)) == 1923


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "1e30", "1e999999999"])
def test_a_number_that_no_instrument_shows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="active_energy_import: found"):
        decode_number(ENERGY, Decimal(text))


def test_a_vanishing_number_is_zero_and_not_an_endless_calculation() -> None:
    assert decode_number(ENERGY, Decimal("1e-999999999")) == 0


def test_the_wrong_number_of_words_is_refused() -> None:
    with pytest.raises(ValueError, match="2 bytes where float32 has 4"):
        as_float("4366", type="float32")


def test_a_value_from_a_message_has_no_words() -> None:
    with pytest.raises(ValueError, match="it has no words"):
        decoder(Encoding(type="number"), VOLTAGE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "float16"},
        {"type": "u16", "word_order": "middle"},
        {"type": "u16", "scale": Decimal(0)},
        {"type": "u16", "scale": Decimal("NaN")},
        {"type": "u16", "absent": (65536,)},
        {"type": "u16", "absent": (-1,)},
    ],
)
def test_an_impossible_encoding_is_refused_at_birth(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"type|order|scale|absent"):
        Encoding(**wrong)


def test_widths_and_full_scales_are_those_of_the_types() -> None:
    widths = {kind: Encoding(type=kind).words for kind in TYPES}
    assert widths == {
        "u16": 1, "i16": 1, "u32": 2, "i32": 2, "u64": 4, "i64": 4,
        "float32": 2, "float64": 4, "bcd16": 1, "bcd32": 2, "bcd64": 4, "acc32": 2, "acc64": 4, "bit": 1,
        "i32+float32": 4, "number": 0,
    }  # fmt: skip
    assert Encoding(type="i32", scale=Decimal("0.01")).full_scale == Decimal("21474836.48")
    assert Encoding(type="bcd16").full_scale == 10000
    assert Encoding(type="float32").full_scale is None
