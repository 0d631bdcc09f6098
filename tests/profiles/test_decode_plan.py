"""A plan decodes a whole answer as each of its values alone is decoded, however the values lie in it."""

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decoding import DecodePlan, Doubt, Planned, decoder
from gateway.domain.instruments import Register, RegisterKind
from gateway.domain.readings import Quality
from gateway.encoding import SUM, TYPES, Encoding

VOLTAGE = Register(quantity="voltage_l1", unit="V", kind=RegisterKind.INSTANTANEOUS, limit=Decimal(1000))
ENERGY = Register(
    quantity="active_energy_import",
    unit="kWh",
    kind=RegisterKind.CUMULATIVE,
    resolution=Decimal("0.01"),
    modulus=10**9,
)
TICKET = Register(quantity="mass", unit="kg", kind=RegisterKind.INTERVAL, resolution=Decimal(1), interval_s=0)
PLAIN = [
    Encoding(type=kind, word_order=order, byte_order=byte_order, scale=scale, absent=absent)
    for kind in TYPES[:-1]
    for order in ("big", "little")
    for byte_order in ("big", "little")
    for scale in (Decimal(1), Decimal("0.01"))
    for absent in ((), (0,))
]
OTHERS = [
    Encoding(type="u64", word_order="2143"),
    Encoding(type="i16", exponent=True, absent=(0x8000,)),
    Encoding(type="acc32", word_order="little", exponent=True),
    Encoding(type=SUM, parts=(Encoding(type="u16", scale=Decimal(10000)), Encoding(type="u16"))),
    Encoding(type=SUM, parts=(Encoding(type="float32", word_order="little"), Encoding(type="bcd32")), exponent=True),
]
WORDS = 20


@st.composite
def planned(draw: st.DrawFn) -> Planned:
    """A value with its pieces anywhere in the answer, one over another or apart."""
    encoding = draw(st.sampled_from(PLAIN + OTHERS))
    register = draw(st.sampled_from([VOLTAGE, ENERGY, TICKET]))
    places = tuple(draw(st.integers(0, WORDS - length)) for length in encoding.lengths)
    return Planned(encoding, register, places, draw(st.sampled_from([Decimal(1), Decimal(40)])))


# Words that are often small numbers and often look like floats: any bytes, and bytes of a kind.
ANSWERS = st.one_of(
    st.binary(min_size=2 * WORDS, max_size=2 * WORDS),
    st.lists(
        st.sampled_from([0, 1, 0x8000, 0x7FC0, 0x4366, 0x42C8, 0xFFFF, 0x1234]), min_size=WORDS, max_size=WORDS
    ).map(lambda words: struct.pack(f">{WORDS}H", *words)),
)


@given(st.lists(planned(), min_size=1, max_size=12), ANSWERS)
def test_a_plan_gives_what_each_value_alone_gives(values: list[Planned], answer: bytes) -> None:
    got, doubts = DecodePlan(values, words=WORDS).decode(answer)
    assert len(got) == len(values)
    for index, value in enumerate(values):
        pieces = zip(value.places, value.encoding.lengths, strict=True)
        words = b"".join(answer[2 * place : 2 * (place + length)] for place, length in pieces)
        alone = decoder(value.encoding, value.register, ratio=value.ratio)(words)
        if isinstance(alone, Doubt):
            assert doubts[index] == alone
            assert got[index] == alone.value
        else:
            assert index not in doubts
            assert (got[index], type(got[index])) == (alone, type(alone))


def test_totals_are_integers_and_momentary_values_floats() -> None:
    plan = DecodePlan(
        [
            Planned(Encoding(type="u16"), VOLTAGE, (0,)),
            Planned(Encoding(type="u16"), TICKET, (0,)),
            Planned(Encoding(type="float32"), VOLTAGE, (1,)),
        ],
        words=4,
    )
    values, doubts = plan.decode(bytes.fromhex("00E6 4366 3334 0000"))
    assert values == [230.0, 230, struct.unpack(">f", bytes.fromhex("43663334"))[0]]
    assert [type(value) for value in values] == [float, int, float]
    assert doubts == {}


def test_one_bad_value_leaves_its_neighbours_alone() -> None:
    plan = DecodePlan([Planned(Encoding(type="float32"), VOLTAGE, (2 * n,)) for n in range(5)], words=10)
    values, doubts = plan.decode(bytes.fromhex("4366 0000 7FC0 0000 8000 0000 0000 0001 447A 2000"))
    assert values == [230.0, None, 0.0, struct.unpack(">f", bytes.fromhex("00000001"))[0], 1000.5]
    assert str(values[2]) == "0.0"
    assert doubts == {
        1: Doubt(None, Quality.MISSING, "not_a_number"),
        3: Doubt(values[3], Quality.SUSPECT, "subnormal"),
        4: Doubt(1000.5, Quality.SUSPECT, "over_limit"),
    }


def test_a_limit_moves_with_the_ratio() -> None:
    plan = DecodePlan([Planned(Encoding(type="u16"), VOLTAGE, (0,), Decimal(10))], words=1)
    assert plan.decode(bytes.fromhex("03E8"))[1] == {}  # 1000 V on the meter's side
    assert plan.decode(bytes.fromhex("03E9"))[1] == {0: Doubt(10010.0, Quality.SUSPECT, "over_limit")}


def test_words_of_another_length_are_refused() -> None:
    plan = DecodePlan([Planned(Encoding(type="u16"), VOLTAGE, (0,))], words=2)
    with pytest.raises(ValueError, match="2 bytes where 2 words have 4"):
        plan.decode(b"\x00\x01")


def test_a_value_outside_of_the_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="voltage_l1 at words"):
        DecodePlan([Planned(Encoding(type="u32"), VOLTAGE, (1,))], words=2)


def test_an_answer_without_values_is_an_empty_one() -> None:
    assert DecodePlan([], words=2).decode(bytes(4)) == ([], {})
