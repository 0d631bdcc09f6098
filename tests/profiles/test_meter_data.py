"""Bytes of DL/T 645 and CJ/T 188 become values: exactly, with their sign and unit, and never where there is no digit."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decoding import Doubt
from gateway.domain.instruments import Register, RegisterKind
from gateway.domain.readings import Quality
from gateway.errors import ProfileError
from gateway.meter_data import DataEncoding, data_decoder
from gateway.profile import load_profile
from simulators.meter_bus import digits_of

ENERGY = Register(
    quantity="active_energy_import",
    unit="kWh",
    kind=RegisterKind.CUMULATIVE,
    resolution=Decimal("0.01"),
    modulus=10**8,
)
POWER = Register(quantity="active_power", unit="kW", kind=RegisterKind.INSTANTANEOUS, limit=Decimal(80))
VOLUME = Register(quantity="volume", unit="m3", kind=RegisterKind.CUMULATIVE, resolution=Decimal("0.01"), modulus=10**8)
FLOW = Register(quantity="volume_flow", unit="m3/h", kind=RegisterKind.INSTANTANEOUS)
CENTI = Decimal("0.01")


@given(st.integers(0, 10**8 - 1))
def test_every_total_is_the_count_that_the_display_shows(count: int) -> None:
    assert data_decoder(DataEncoding(type="bcd32", scale=CENTI), ENERGY)(digits_of(count, 4)) == count


@given(st.integers(-799999, 799999), st.sampled_from([Decimal(1), Decimal(40)]))
def test_every_momentary_value_keeps_its_sign_and_takes_the_ratio(number: int, ratio: Decimal) -> None:
    decode = data_decoder(DataEncoding(type="sbcd24", scale=Decimal("0.0001")), POWER, ratio)
    assert decode(digits_of(number, 3, sign=True)) == float(Decimal(number) * ratio / 10000)


@given(st.binary(min_size=4, max_size=4))
def test_a_digit_above_nine_is_no_value(raw: bytes) -> None:
    found = data_decoder(DataEncoding(type="bcd32", scale=CENTI), ENERGY)(raw)
    if raw.hex().isdecimal():
        assert found == int(raw[::-1].hex())
    else:
        assert found == Doubt(None, Quality.MISSING, "not_decimal")


def test_a_value_above_its_limit_is_kept_and_doubted_on_the_side_of_the_ratio() -> None:
    decode = data_decoder(DataEncoding(type="sbcd24", scale=Decimal("0.01")), POWER, Decimal(10))
    assert decode(digits_of(-8000, 3, sign=True)) == -800.0
    assert decode(digits_of(-8001, 3, sign=True)) == Doubt(-800.1, Quality.SUSPECT, "over_limit")


# By hand: 00012345 in the unit of the byte, as counts of 0.01 of the register's unit. Source of the codes: the published
# frames (05 kWh, 08 MWh, 17 kW, 2C m3, 35 m3/h) and the table that they are from, in which 10 and 100 times a unit follow it.
@pytest.mark.parametrize(
    ("register", "unit", "value", "reason"),
    [
        (ENERGY, 0x05, 12345, ""),
        (ENERGY, 0x07, 1234500, ""),  # 100 kWh
        (ENERGY, 0x08, 12345000, ""),  # MWh
        (ENERGY, 0x02, 12, "finer_than_resolution"),  # 123.45 Wh = 0.12345 kWh
        (ENERGY, 0x0A, 1234500000, "past_modulus"),  # 123.45 x 100 MWh = 12 345 000 kWh; the modulus is 1 000 000 kWh
        (ENERGY, 0x11, 3429167, "finer_than_resolution"),  # 123.45 GJ / 3.6 = 34 291.6666... kWh
        (ENERGY, 0x2C, None, "foreign_unit"),  # a volume
        (ENERGY, 0x00, None, "foreign_unit"),
        (ENERGY, 0xFF, None, "foreign_unit"),
        (VOLUME, 0x2C, 12345, ""),
        (VOLUME, 0x29, 12, "finer_than_resolution"),  # 123.45 L
        (VOLUME, 0x2D, 123450, ""),  # 10 m3
        (FLOW, 0x35, 123.45, ""),
        (FLOW, 0x32, 0.12345, ""),  # L/h
    ],
)
def test_the_unit_byte_decides_what_the_digits_are_worth(
    register: Register, unit: int, value: float | None, reason: str
) -> None:
    decode = data_decoder(DataEncoding(type="bcd32", unit_at=4, scale=CENTI), register)
    found = decode(digits_of(12345, 4) + bytes([unit]))
    quality = Quality.MISSING if value is None else Quality.SUSPECT
    assert found == (Doubt(value, quality, reason) if reason else value)


def test_a_total_in_litres_that_rolls_over_before_the_declared_modulus_is_doubted() -> None:
    # Eight digits end at 1 000 000.00 x 100 L = 100 000 m3; the profile says 1 000 000 m3. 0.50 x 100 L = 0.05 m3.
    decode = data_decoder(DataEncoding(type="bcd32", unit_at=4, scale=CENTI), VOLUME)
    assert decode(digits_of(50, 4) + b"\x2b") == Doubt(5, Quality.SUSPECT, "full_before_modulus")


@given(st.binary(min_size=1, max_size=1))
def test_bits_of_a_state_byte(raw: bytes) -> None:
    state = Register(quantity="valve_state", unit="1", kind=RegisterKind.INSTANTANEOUS)
    assert data_decoder(DataEncoding(type="bit2"), state)(raw) == raw[0] % 4
    assert data_decoder(DataEncoding(type="bit", bit=2), state)(raw) == (raw[0] // 4) % 2


def test_a_maker_that_puts_the_unit_first_is_read_by_a_profile_of_ones_own(tmp_path: Path) -> None:
    """The published answer of the JY heat meter: 0.02 MWh, 10.34 m3, 25.35 Cel in, 25.66 Cel back."""
    text = """
maker = "JY"
model = "heat meter"
carrier = "heat"
source = "CJ/T-188 冷热量表协议解析2"
cjt188 = { meter_type = 0x20, identifier_order = "big", lengths = { 0x901F = 43 } }
[registers]
heat = { identifier = 0x901F, unit_at = 5, at = 6, as = "bcd32", scale = 0.01, unit = "MWh", kind = "cumulative", resolution = 0.01, modulus = 100000000 }
volume = { identifier = 0x901F, unit_at = 20, at = 21, as = "bcd32", scale = 0.01, unit = "m3", kind = "cumulative", resolution = 0.01, modulus = 100000000 }
temperature_supply = { identifier = 0x901F, at = 25, as = "bcd24", scale = 0.01, unit = "Cel", kind = "instantaneous" }
temperature_return = { identifier = 0x901F, at = 28, as = "bcd24", scale = 0.01, unit = "Cel", kind = "instantaneous" }
[[example]]
origin = "manual"
from = "the answer printed there"
data = { 0x901F = "08 02 00 00 00 08 02 00 00 00 17 00 00 00 00 35 00 00 00 00 2C 34 10 00 00 35 25 00 66 25 00 00 00 00 53 00 12 10 07 15 20 00 00" }
shows = { heat = 0.02, volume = 10.34, temperature_supply = 25.35, temperature_return = 25.66 }
"""
    file = tmp_path / "heat" / "jy_heat.toml"
    file.parent.mkdir()
    file.write_text(text, "utf-8")
    place = load_profile("heat/jy_heat", extra_dir=tmp_path).registers["heat"].data
    assert (place.cut, place.encoding.at, place.encoding.unit_at) == (slice(5, 10), 1, 0)


SOUND = """
maker = "any"
model = "lab"
carrier = "water"
source = "a meter that exists in these tests only"
cjt188 = { meter_type = 0x10, lengths = { 0x901F = 19 } }
[registers]
volume = { identifier = 0x901F, unit_at = 4, as = "bcd32", scale = 0.01, unit = "m3", kind = "cumulative", resolution = 0.01, modulus = 100000000 }
battery_low = { identifier = 0x901F, at = 17, as = "bit", bit = 2, unit = "1", kind = "instantaneous" }
[[example]]
origin = "worked"
from = "by hand"
data = { 0x901F = "45 23 01 00 2C 45 23 01 00 2C 00 00 03 24 11 26 20 04 00" }
shows = { volume = 123.45, battery_low = 1 }
"""
REFUSED = {
    "no identifier": ("identifier = 0x901F, unit_at", "unit_at", "registers.volume.identifier: found nothing"),
    "identifier too wide": ("identifier = 0x901F, unit_at", "identifier = 0x1901F, unit_at", "at most 0xffff"),
    "no type": ('as = "bcd32", ', "", "registers.volume.as: found nothing; expected one of bcd8"),
    "type of Modbus": ('as = "bcd32"', 'as = "u32"', 'found "u32"; expected one of bcd8'),
    "bit without its number": ("bit = 2, ", "", "registers.battery_low.bit: found nothing; expected which bit, 0 to 7"),
    "bit 8": ("bit = 2, ", "bit = 8, ", "which bit, 0 to 7"),
    "key of Modbus": ("unit_at = 4", 'word_order = "big", unit_at = 4', "no such key for a register that is read by data"),
    "parts": ("unit_at = 4", 'parts = [{ at = 1, as = "u16" }], unit_at = 4', "'parts'; expected no such key"),
    "modulus beyond the digits": ("modulus = 100000000", "modulus = 100000001", "at most 100000000 counts"),
    "past the longest answer": ("at = 17", "at = 250", "room for bit within 250 bytes"),
    "two on one bit": ('battery_low = { identifier = 0x901F, at = 17, as = "bit", bit = 2', 'battery_low = { identifier = 0x901F, at = 3, as = "bit", bit = 2', "byte 3 of identifier 0x901f, which belongs to 'volume'"),
    "length of another identifier": ("lengths = { 0x901F", "lengths = { 0x902F", "expected an identifier of the registers"),
    "length too short": ("= 19 }", "= 17 }", "found 17; expected at least 18 bytes"),
    "length that is no number": ("lengths = { 0x901F", "lengths = { total", "expected an identifier of the registers"),
    "example that does not decode": ("volume = 123.45", "volume = 123.46", "123.45 m3, which is what the example decodes to"),
    "example cut short": ('26 20 04 00"', '"', "no bytes 17 to 17 of identifier 0x0000901f"),
    "example of no bytes": ('data = { 0x901F = "45', 'data = { 0x901F = "4', "expected an identifier and bytes"),
    "no wire at all": ("cjt188 = { meter_type = 0x10, lengths = { 0x901F = 19 } }", "", "neither 'modbus' nor 'wire' nor 'cjt188'"),
    "two wires": ("[registers]", 'wire = "dlt645"\n[registers]', "found 'cjt188' and 'wire'; expected one of them"),
    "unit byte in DL/T 645": ("cjt188 = { meter_type = 0x10, lengths = { 0x901F = 19 } }", 'wire = "dlt645"', "only CJ/T 188 names units"),
    "an identifier on Modbus": ("cjt188 = { meter_type = 0x10, lengths = { 0x901F = 19 } }", 'modbus = { table = "input" }', "not asked by data identifier"),
}  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(old: str, new: str) -> Path:
        assert old in SOUND
        file = tmp_path / "water" / "lab.toml"
        file.parent.mkdir()
        file.write_text(SOUND.replace(old, new), "utf-8")
        return tmp_path

    return write


def test_the_sound_profile_holds(written) -> None:
    assert load_profile("water/lab", extra_dir=written("lab", "lab")).manner.lengths == {0x901F: 19}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_told_with_its_place(written, name: str) -> None:
    old, new, says = REFUSED[name]
    with pytest.raises(ProfileError) as error:
        load_profile("water/lab", extra_dir=written(old, new))
    assert says in str(error.value), str(error.value)
    assert "lab.toml" in str(error.value)
