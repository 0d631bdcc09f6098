"""Values of several words, several parts and with a power of ten beside them; and what is no value, with its reason."""

import math
import random
import struct
from dataclasses import replace
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decoding import Decoded, Doubt, decode_words, decoder
from gateway.domain.instruments import Register, RegisterKind
from gateway.domain.readings import Quality
from gateway.encoding import SUM, Encoding

VOLTAGE = Register(quantity="voltage_l1", unit="V", kind=RegisterKind.INSTANTANEOUS)
ENERGY = Register(
    quantity="active_energy_import",
    unit="Wh",
    kind=RegisterKind.CUMULATIVE,
    resolution=Decimal(1),
    modulus=2**32,
)
MILLI = replace(ENERGY, resolution=Decimal("0.001"), modulus=10**15)


def found(words: str, register: Register = VOLTAGE, **encoding: object) -> Decoded:
    return decoder(Encoding(**encoding), register)(bytes.fromhex(words))


def missing(reason: str) -> Doubt:
    return Doubt(None, Quality.MISSING, reason)


# --- orders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["".join(order) for order in permutations("1234")])
@pytest.mark.parametrize("byte_order", ["big", "little"])
def test_every_order_of_four_words_is_read(order: str, byte_order: str) -> None:
    number = 0x0123456789ABCDEF
    by_rank = {"1": 0x0123, "2": 0x4567, "3": 0x89AB, "4": 0xCDEF}
    words = b"".join(by_rank[rank].to_bytes(2, byte_order) for rank in order)
    encoding = Encoding(type="u64", word_order=order, byte_order=byte_order)
    assert decode_words(encoding, ENERGY, words) == number


def test_the_named_orders_are_two_of_the_twenty_four() -> None:
    words = bytes.fromhex("0123 4567 89AB CDEF")
    for name, ranks in (("big", "1234"), ("little", "4321")):
        one, other = (decode_words(Encoding(type="i64", word_order=order), VOLTAGE, words) for order in (name, ranks))
        assert one == other


@pytest.mark.parametrize("order", ["21", "2134 ", "1235", "1123", "0123", "4", "", "12345"])
def test_an_order_that_does_not_fit_is_refused(order: str) -> None:
    with pytest.raises(ValueError, match=r"^word_order: "):
        Encoding(type="u64", word_order=order)


def test_a_wrong_order_is_outside_of_a_plausible_range_nearly_always() -> None:
    """An operator who gives limits sees a wrong order at once: of 10 000 voltages in 3 wrong orders each."""
    chance = random.Random(1)
    limited = replace(VOLTAGE, limit=Decimal(500))
    caught = 0
    for _ in range(10_000):
        words = struct.pack(">f", chance.uniform(180, 260))
        for word_order, byte_order in (("little", "big"), ("big", "little"), ("little", "little")):
            value = decoder(Encoding(type="float32", word_order=word_order, byte_order=byte_order), limited)(words)
            wrong = isinstance(value, Doubt) or not 100 < value < 400
            caught += wrong
    assert caught >= 0.99 * 30_000


# --- parts ------------------------------------------------------------------------------------------------


def test_hundreds_and_rest_make_one_total() -> None:
    # 12 345 hundreds and 67.25: 0x4640E400 and 0x42868000
    parts = (Encoding(type="float32", scale=Decimal(100)), Encoding(type="float32"))
    volume = replace(ENERGY, quantity="volume", unit="m3", resolution=Decimal("0.01"), modulus=10**12)
    assert found("4640 E400 4286 8000", volume, type=SUM, parts=parts) == 123456725


def test_high_and_low_word_of_ten_thousands_make_one_total() -> None:
    parts = (Encoding(type="u16", scale=Decimal(10000)), Encoding(type="u16"))
    encoding = Encoding(type=SUM, parts=parts, scale=Decimal("0.1"))
    total = replace(ENERGY, resolution=Decimal("0.1"), modulus=10**8)
    assert decode_words(encoding, total, bytes.fromhex("04D2 162E")) == 12345678  # 1234 x 10000 + 5678
    assert encoding.full_scale == Decimal("0.1") * (65535 * 10000 + 65535 + 1)


def test_an_integer_and_its_fraction_may_be_declared_as_parts() -> None:
    parts = (Encoding(type="i32", word_order="little"), Encoding(type="float32", word_order="little"))
    total = replace(MILLI, unit="m3", quantity="volume")
    assert found("E240 0001 0000 3F40", total, type=SUM, parts=parts) == 123456750
    assert Encoding(type=SUM, parts=parts).full_scale is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [("7FC0 0000 0000 0000", "not_a_number"), ("0000 0000 FF80 0000", "infinite"), ("0000 0000 4479 C000", "absent")],
)
def test_one_part_without_a_value_leaves_none(words: str, reason: str) -> None:
    parts = (Encoding(type="float32", scale=Decimal(100)), Encoding(type="float32", absent=(0x4479C000,)))
    assert found(words, MILLI, type=SUM, parts=parts) == missing(reason)


@given(st.integers(0, 65535), st.integers(0, 9999))
def test_parts_add_up_exactly(high: int, low: int) -> None:
    parts = (Encoding(type="u16", scale=Decimal(10000)), Encoding(type="u16"))
    assert decode_words(Encoding(type=SUM, parts=parts), ENERGY, struct.pack(">HH", high, low)) == high * 10000 + low


# --- a power of ten beside the value ----------------------------------------------------------------------


def scaled(raw: int, factor: int, register: Register = ENERGY, kind: str = "u32") -> Decoded:
    code = {"u32": ">Ih", "acc32": ">Ih", "i16": ">hh"}[kind]
    return decoder(Encoding(type=kind, exponent=True), register)(struct.pack(code, raw, factor))


@pytest.mark.parametrize(("factor", "volts"), [(0, 2301.0), (-1, 230.1), (-3, 2.301), (2, 230100.0), (-10, 2.301e-7)])
def test_the_meter_says_by_which_power_of_ten_a_value_is_scaled(factor: int, volts: float) -> None:
    assert scaled(2301, factor, VOLTAGE, "i16") == volts


def test_a_changed_power_is_taken_as_it_comes_and_totals_stay_whole_counts() -> None:
    assert [scaled(1234, factor) for factor in (0, 3, 0)] == [1234, 1234000, 1234]


@pytest.mark.parametrize(
    ("raw", "factor", "kept", "reason"),
    [
        (1234, -1, 123, "finer_than_resolution"),  # 123.4 Wh in counts of 1 Wh
        (1235, -1, 124, "finer_than_resolution"),  # a half goes to the even neighbour
        (429496730, 1, 4294967300, "past_modulus"),  # 2^32 = 4 294 967 296
        (1230, -1, 123, "full_before_modulus"),  # its words are full at 429 496 729.6 Wh
    ],
)
def test_a_power_that_does_not_fit_the_declared_total_is_doubted(raw: int, factor: int, kept: int, reason: str) -> None:
    assert scaled(raw, factor) == Doubt(kept, Quality.SUSPECT, reason)


def test_where_the_resolution_is_finer_a_negative_power_is_exact() -> None:
    roomy = replace(MILLI, modulus=10**6)
    assert scaled(12345, -2, roomy) == 123450


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(-0x8000, "scale_absent"), (11, "scale_out_of_range"), (-11, "scale_out_of_range")],
)
def test_without_a_sound_power_there_is_no_value(factor: int, reason: str) -> None:
    assert scaled(1234, factor) == missing(reason)
    assert scaled(1234, factor, VOLTAGE, "i16") == missing(reason)


def test_the_words_for_not_implemented_are_no_value_whatever_the_power() -> None:
    encoding = Encoding(type="i16", exponent=True, absent=(0x8000,))
    assert decoder(encoding, VOLTAGE)(bytes.fromhex("8000 0000")) == missing("absent")
    assert decoder(encoding, VOLTAGE)(bytes.fromhex("8001 0000")) == -32767.0


def test_an_accumulator_at_zero_has_nothing_accumulated() -> None:
    assert scaled(0, 0, ENERGY, "acc32") == missing("not_accumulated")
    assert scaled(2**32 - 1, 0, ENERGY, "acc32") == 2**32 - 1


@given(st.integers(1, 2**32 - 1), st.integers(-10, 10))
def test_scaled_totals_are_exact_or_doubted(raw: int, factor: int) -> None:
    exact = raw * Decimal(10) ** factor
    value = scaled(raw, factor)
    if exact >= 2**63:
        assert value == missing("out_of_range")
    elif exact != int(exact):
        assert isinstance(value, Doubt)
        assert abs(value.value - exact) <= Decimal("0.5")
    elif factor < 0 or exact >= ENERGY.modulus:
        assert isinstance(value, Doubt)
        assert value.value == exact
    else:
        assert value == exact


# --- bits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bit", range(16))
def test_one_bit_of_a_status_word(bit: int) -> None:
    assert found(f"{1 << bit:04X}", type="bit", bit=bit) == 1
    assert found(f"{0xFFFF ^ 1 << bit:04X}", type="bit", bit=bit) == 0


# --- numbers that are none --------------------------------------------------------------------------------

SMALLEST_NORMAL = "0080 0000"  # 2^-126


@pytest.mark.parametrize("register", [VOLTAGE, MILLI], ids=["momentary", "total"])
@pytest.mark.parametrize(
    ("kind", "words", "reason"),
    [
        ("float32", "7FC0 0000", "not_a_number"),
        ("float32", "FFC0 0001", "not_a_number"),
        ("float32", "7F80 0000", "infinite"),
        ("float32", "FF80 0000", "infinite"),
        ("float64", "7FF8 0000 0000 0000", "not_a_number"),
        ("float64", "FFF0 0000 0000 0000", "infinite"),
        ("bcd16", "1F34", "not_decimal"),
        ("bcd64", "0000 0000 0000 000A", "not_decimal"),
        ("acc64", "0000 0000 0000 0000", "not_accumulated"),
        ("i32+float32", "0000 0001 7FC0 0000", "not_a_number"),
    ],
)
def test_what_is_no_number_has_a_reason_each(register: Register, kind: str, words: str, reason: str) -> None:
    assert found(words, register, type=kind) == missing(reason)


@pytest.mark.parametrize(
    ("kind", "words", "pattern"),
    [
        ("i16", "8000", 0x8000),
        ("i16", "7FFF", 0x7FFF),
        ("u16", "FFFF", 0xFFFF),
        ("u32", "FFFF FFFF", 0xFFFFFFFF),
        ("i64", "8000 0000 0000 0000", 1 << 63),
        ("float32", "FF7F FFFF", 0xFF7FFFFF),
        ("bcd16", "9999", 0x9999),
        ("i32+float32", "0000 0000 BF80 0000", 0xBF800000),
    ],
)
def test_a_declared_sentinel_is_absent_and_never_a_value(kind: str, words: str, pattern: int) -> None:
    assert found(words, type=kind, absent=(pattern,)) == missing("absent")


def test_minus_zero_as_a_sentinel_leaves_zero_a_value() -> None:
    assert found("8000 0000", type="float32", absent=(0x80000000,)) == missing("absent")
    assert found("0000 0000", type="float32", absent=(0x80000000,)) == 0.0


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_minus_zero_is_zero(kind: str) -> None:
    value = found("8000 0000" + " 0000 0000" * (kind == "float64"), type=kind)
    assert value == 0.0
    assert math.copysign(1, value) == 1


@pytest.mark.parametrize("sign", ["", "-"])
def test_below_the_smallest_normal_number_nothing_is_measured(sign: str) -> None:
    """An integer 1 read as float32 is 1.4e-45: kept, but doubted."""
    words = "8000 0001" if sign else "0000 0001"
    value = found(words, type="float32")
    assert value == Doubt(float(f"{sign}1.401298464324817e-45"), Quality.SUSPECT, "subnormal")
    assert found(words, MILLI, type="float32") == Doubt(0, Quality.SUSPECT, "subnormal")
    assert found(SMALLEST_NORMAL, type="float32") == 2.0**-126


@pytest.mark.parametrize(("kind", "words"), [("float32", "7F7F FFFF"), ("u64", "FFFF FFFF FFFF FFFF")])
def test_a_total_beyond_any_counter_is_out_of_range(kind: str, words: str) -> None:
    assert found(words, MILLI, type=kind) == missing("out_of_range")


def test_a_momentary_value_beyond_any_float_is_out_of_range() -> None:
    assert found("7FEF FFFF FFFF FFFF", type="float64", scale=Decimal(10)) == missing("out_of_range")


@pytest.mark.parametrize("value", [199.99999999999997, 200.0])
def test_a_limit_is_compared_exactly(value: float) -> None:
    limited = replace(VOLTAGE, limit=Decimal("199.99999999999998"))
    decoded = decoder(Encoding(type="float64"), limited)(struct.pack(">d", value))
    assert isinstance(decoded, Doubt) == (Decimal(value) > Decimal("199.99999999999998"))


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_64_bit_count_comes_through_without_a_float(number: int) -> None:
    whole = replace(ENERGY, resolution=Decimal(1))
    assert decode_words(Encoding(type="i64"), whole, struct.pack(">q", number)) == number


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"type": SUM}, "parts: a sum has parts"),
        ({"type": "u16", "parts": (Encoding(type="u16"),)}, "parts: a sum has parts"),
        ({"type": SUM, "parts": (Encoding(type="i32+float32"),)}, "parts: a part is one number"),
        ({"type": SUM, "parts": (Encoding(type="u16", exponent=True),)}, "parts: a part is one number"),
        ({"type": SUM, "parts": (Encoding(type="bit"),)}, "parts: a part is one number"),
        ({"type": SUM, "parts": (Encoding(type="u16"),), "absent": (1,)}, "absent: "),
        ({"type": "bit", "bit": 16}, "bit: 16"),
        ({"type": "u16", "byte_order": "middle"}, "byte_order: "),
        ({"type": "u16", "exponent": True, "absent": (0x10000,)}, "absent: "),
    ],
)
def test_an_impossible_value_is_refused_at_birth(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        Encoding(**wrong)
