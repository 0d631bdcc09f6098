"""The simulator's encodings against words worked out by hand."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.words import Encoding, decode_momentary, decode_total, encode_momentary, encode_total, length

BY_HAND = [
    # 128453317 = 1960 * 65536 + 2757; 1960 = 0x07A8, 2757 = 0x0AC5
    (Encoding.I32, 128453317, "0.01", "07A80AC5"),
    (Encoding.I32, -1, "0.01", "FFFFFFFF"),
    # 96110480 = 1466 * 65536 + 34704; 1466 = 0x05BA, 34704 = 0x8790
    (Encoding.U32, 96110480, "0.001", "05BA8790"),
    # 4293000000 = 2^32 - 1967296 = 2^32 - 0x1E04C0 = 0xFFE1FB40, low word first
    (Encoding.U32_LOW_FIRST, 4293000000, "1", "FB40FFE1"),
    # 123.5 = 1.9296875 * 2^6: exponent 133, mantissa 0x770000
    (Encoding.FLOAT32, 12350, "0.01", "42F70000"),
    # 912004.25 = 0xDEA84.4: exponent 1023 + 19 = 0x412, mantissa BD5088...
    (Encoding.FLOAT64, 912004250, "0.001", "412BD50880000000"),
    # 8121 = 0x00001FB9 low word first, then 0.4 = 0x3ECCCCCD low word first
    (Encoding.I32_AND_FRACTION_LOW_FIRST, 8121400, "0.001", "1FB90000CCCD3ECC"),
]


@pytest.mark.parametrize(("encoding", "counts", "step", "words"), BY_HAND)
def test_totals_lie_in_words_as_worked_out_by_hand(encoding, counts, step, words):
    assert encode_total(encoding, counts, Decimal(step)).hex().upper() == words
    assert decode_total(encoding, bytes.fromhex(words), Decimal(step)) == counts
    assert len(words) == 4 * length(encoding)


@pytest.mark.parametrize(
    ("encoding", "value", "step", "words"),
    [
        (Encoding.U16, 6062.0, "0.1", "ECCC"),  # 60620 = 0xECCC
        (Encoding.U16, 9999.0, "0.1", "FFFF"),  # past the end of the display
        (Encoding.I16, -2.5, "0.1", "FFE7"),  # -25
        (Encoding.FLOAT32, 50.0, "1", "42480000"),
        (Encoding.FLOAT32_LOW_FIRST, 50.0, "1", "00004248"),
        (Encoding.I32, 5263888.0, "1", "00505210"),  # 80 * 65536 + 21008 = 0x50, 0x5210
    ],
)
def test_momentary_values_lie_in_words_as_worked_out_by_hand(encoding, value, step, words):
    assert encode_momentary(encoding, value, Decimal(step)).hex().upper() == words


def test_momentary_integers_come_back_exactly_scaled():
    assert decode_momentary(Encoding.U16, bytes.fromhex("08FD"), Decimal("0.1")) == 230.1  # 0x08FD = 2301


def test_a_total_that_does_not_fit_is_refused():
    with pytest.raises(OverflowError):
        encode_total(Encoding.I32, 2**31, Decimal("0.01"))


@given(st.integers(0, 2**31 - 1), st.sampled_from([e for e, *_ in BY_HAND if "32" in e and e != Encoding.FLOAT32]))
def test_integer_totals_come_back_exactly(counts, encoding):
    assert decode_total(encoding, encode_total(encoding, counts, Decimal("0.001")), Decimal("0.001")) == counts


@given(st.integers(0, 10**11))
def test_float64_totals_come_back_exactly(counts):
    words = encode_total(Encoding.FLOAT64, counts, Decimal("0.001"))
    assert decode_total(Encoding.FLOAT64, words, Decimal("0.001")) == counts


@given(st.integers(1, 10**9))
def test_a_float32_total_is_at_most_half_a_last_place_off(counts):
    shown = decode_total(Encoding.FLOAT32, encode_total(Encoding.FLOAT32, counts, Decimal("0.01")), Decimal("0.01"))
    ulp = Decimal(2) ** ((counts // 100).bit_length() - 24) * 100  # in counts
    assert abs(shown - counts) <= max(ulp / 2, 0) + Decimal("0.5")
