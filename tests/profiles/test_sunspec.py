"""SunSpec's meter models: every register of the profiles, worked out from the offsets of the published tables."""

import struct
from decimal import Decimal

import pytest

from gateway.decoding import decode_words
from gateway.domain.instruments import RegisterKind
from gateway.profile import load_profile

# The offsets of SunSpec's tables, model ID = 0: value, then its power of ten (raw, factor).
SUNSPEC_INTEGERS = [
    ("active_energy_import", 46, struct.pack(">Ih", 4294967295, 0), "4294967295"),
    ("active_energy_export", 38, struct.pack(">Ih", 1, 0), "1"),
    ("active_power", 18, struct.pack(">hh", -12, 2), "-1200"),
    ("voltage_l1", 8, struct.pack(">hh", 2301, -1), "230.1"),
    ("voltage_l2", 9, struct.pack(">hh", 231, 0), "231"),
    ("voltage_l3", 10, struct.pack(">hh", 22995, -2), "229.95"),
    ("current_l1", 3, struct.pack(">hh", 1234, -2), "12.34"),
    ("current_l2", 4, struct.pack(">hh", 1234, -1), "123.4"),
    ("current_l3", 5, struct.pack(">hh", 1234, 0), "1234"),
    ("frequency", 16, struct.pack(">hh", 4999, -2), "49.99"),
]
SUNSPEC_FLOATS = [
    ("active_energy_import", 68, "16777216"),
    ("active_energy_export", 60, "3"),
    ("active_power", 28, "-1200.5"),
    ("voltage_l1", 12, "230.25"),
    ("voltage_l2", 14, "231.5"),
    ("voltage_l3", 16, "229.75"),
    ("current_l1", 4, "12.5"),
    ("current_l2", 6, "13.5"),
    ("current_l3", 8, "14.5"),
    ("frequency", 26, "50.125"),
]
ALWAYS = {"active_energy_import", "active_energy_export", "active_power", "frequency"}
VOLTAGES = ("voltage_l1", "voltage_l2", "voltage_l3")
CURRENTS = ("current_l1", "current_l2", "current_l3")
MANDATORY = {
    201: {*ALWAYS, "current_l1"},
    202: {*ALWAYS, "voltage_l1", "voltage_l2"},
    203: {*ALWAYS, *VOLTAGES, *CURRENTS},
    204: {*ALWAYS, *CURRENTS},
}
INTEGERS = [
    (f"electricity/sunspec_{model}", quantity, at, data, shown)
    for model, quantities in MANDATORY.items()
    for quantity, at, data, shown in SUNSPEC_INTEGERS
    if quantity in quantities
]
FLOATS = [
    (f"electricity/sunspec_{model + 10}", quantity, at, struct.pack(">f", float(shown)), shown)
    for model, quantities in MANDATORY.items()
    for quantity, at, shown in SUNSPEC_FLOATS
    if quantity in quantities or (model == 202 and quantity in {"current_l1", "current_l2"})
]


@pytest.mark.parametrize(("name", "quantity", "address", "data", "shown"), INTEGERS + FLOATS)
def test_a_value_is_read_where_the_table_has_it(
    name: str, quantity: str, address: int, data: bytes, shown: str
) -> None:
    found = load_profile(name).registers[quantity]
    assert found.address == address
    value = decode_words(found.encoding, found.register, data)
    if found.register.kind is RegisterKind.CUMULATIVE:
        assert value * found.register.resolution == Decimal(shown)
    else:
        assert value == float(shown)


def test_every_register_of_the_profiles_is_among_them() -> None:
    done = {(name, quantity) for name, quantity, *_ in INTEGERS + FLOATS}
    for model in (201, 202, 203, 204, 211, 212, 213, 214):
        name = f"electricity/sunspec_{model}"
        assert {(name, quantity) for quantity in load_profile(name).registers} == {
            pair for pair in done if pair[0] == name
        }


SCALE_FACTORS = {"active_energy": 54, "active_power": 22, "voltage": 15, "current": 6, "frequency": 17}


@pytest.mark.parametrize("model", [201, 202, 203, 204])
def test_a_sunspec_value_is_scaled_by_the_power_that_its_table_names(model: int) -> None:
    profile = load_profile(f"electricity/sunspec_{model}")
    assert profile.relative
    assert profile.forbidden == ()
    for quantity, found in profile.registers.items():
        (at,) = [at for name, at in SCALE_FACTORS.items() if quantity.startswith(name)]
        assert found.encoding.exponent
        assert found.addresses[1] == at, quantity
        assert found.reach.stop <= 107  # ID, length and the 105 words of the model
