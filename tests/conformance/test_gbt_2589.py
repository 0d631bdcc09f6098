"""GB/T 2589 - General rules for calculation of the comprehensive energy consumption: worked examples.

Every expected number is worked out by hand in the comment beside it.
"""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.decimals import decimal_of, plain
from analytics.standard_coal import coefficient_of
from analytics.standards.tables import load_tables
from gateway.domain.carriers import EnergyCarrier
from gateway.domain.sites import Account, AccountMethod
from gateway.errors import StandardTableError

TABLES = load_tables()


def account(conversion, carrier=EnergyCarrier.COAL, **declared):
    return Account(
        enterprise="cement", carrier=carrier, conversion=conversion, method=AccountMethod.METERED, plus=("p",), **declared
    )  # fmt: skip


def kgce(amount, unit, conversion, edition="2020", **declared):
    coefficient = coefficient_of(account(conversion, **declared), unit, edition=edition, tables=TABLES)
    return decimal_of(coefficient.kgce(Fraction(Decimal(amount))))


@pytest.mark.parametrize(
    ("amount", "unit", "conversion", "edition", "expected"),
    [
        # 1000 t = 1 000 000 kg; x 0.7143 kgce/kg
        ("1000", "t", "raw_coal", "2020", "714300"),
        # 10 000 kWh x 0.1229, the tabulated value, not 3600 / 29307.6 = 0.12284
        ("10000", "kWh", "electricity_equivalent", "2020", "1229"),
        # 10 MWh is the same
        ("10", "MWh", "electricity_equivalent", "2020", "1229"),
        # 100 GJ = 100 000 MJ; x 0.03412
        ("100", "GJ", "heat_equivalent", "2020", "3412"),
        # 2 000 kg x 1.4571
        ("2", "t", "diesel", "2020", "2914.2"),
        # 50 000 m3 x 0.04
        ("50000", "m3", "compressed_air", "2020", "2000"),
        # 1000 t of new water: 0.2571 against 0.0857, a factor of 3 between the editions
        ("1000", "t", "new_water", "2020", "257.1"),
        ("1000", "t", "new_water", "2008", "85.7"),
        # 1 000 kg of low-pressure steam, a row of the 2008 edition only: x 0.1286
        ("1", "t", "steam_low_pressure", "2008", "128.6"),
        # oil-field gas of 2008: 1000 m3 x 1.33
        ("1000", "m3", "natural_gas_oilfield", "2008", "1330"),
    ],
)
def test_defaults_of_the_annexes(amount, unit, conversion, edition, expected):
    assert kgce(amount, unit, conversion, edition) == Decimal(expected)


def test_a_measured_calorific_value_goes_before_the_default():
    # 35 544 kJ/m3 / 29 307.6 kJ/kgce = 1.212791221389...; 7 000 m3: 248 808 000 / 29 307.6 = 8 489.53854...
    got = kgce("7000", "m3", "natural_gas", carrier=EnergyCarrier.GAS, ncv=Decimal(35544), ncv_source="lab 2026-10")
    assert round(got, 5) == Decimal("8489.53855")
    # raw coal, 23 470 kJ/kg: 1000 kg x 23470 / 29307.6 = 800.81616...
    assert round(kgce("1", "t", "raw_coal", ncv=Decimal(23470), ncv_source="lab"), 5) == Decimal("800.81617")


def test_the_2008_edition_divides_by_29307():
    # 1000 kg x 23470 / 29307 = 800.832565...
    got = kgce("1", "t", "raw_coal", edition="2008", ncv=Decimal(23470), ncv_source="lab")
    assert round(got, 5) == Decimal("800.83257")


def test_a_measured_value_is_cited_with_its_divisor():
    found = coefficient_of(
        account("natural_gas", ncv=Decimal(35544), ncv_source="lab 2026-10"), "m3", edition="2020", tables=TABLES
    )
    assert [(row.file, row.value, row.unit) for row in found.rows] == [
        ("carriers.csv", "measured ncv 35544 kJ/m3 / 29307.6", "kgce/m3"),
        ("identities.csv", "29307.6", "kJ/kgce"),
    ]
    assert found.rows[0].source == "lab 2026-10"
    assert (found.basis, found.doubtful) == ("measured calorific value", False)


def test_a_range_carrier_is_never_given_a_midpoint():
    with pytest.raises(
        StandardTableError, match=r"gives natural_gas as a range, 1\.1 to 1\.33 kgce/m3; declare a measured"
    ):
        kgce("1", "m3", "natural_gas")


def test_a_volume_becomes_a_mass_by_a_declared_density_only():
    # 10 m3 of diesel at 840 kg/m3 = 8 400 kg; x 1.4571 = 12 239.64
    assert kgce("10", "m3", "diesel", density=Decimal(840), density_source="delivery note") == Decimal("12239.64")
    # 10 000 L are the same
    assert kgce("10000", "L", "diesel", density=Decimal(840)) == Decimal("12239.64")
    # 100 m3 of water at 1000 kg/m3 = 100 t; x 0.2571
    assert kgce("100", "m3", "new_water", density=Decimal(1000)) == Decimal("25.71")
    with pytest.raises(StandardTableError, match="declare the density"):
        kgce("10", "m3", "diesel")


def test_the_equal_value_of_electricity_has_no_default():
    with pytest.raises(StandardTableError, match="gives no coefficient for electricity_equal"):
        kgce("1", "kWh", "electricity_equal")


def test_a_unit_of_another_kind_is_refused():
    with pytest.raises(StandardTableError, match=r"metered in kWh \(energy\), but its row asks for kg"):
        kgce("1", "kWh", "raw_coal")


def test_an_unknown_carrier_and_one_of_another_edition_are_told_apart():
    with pytest.raises(StandardTableError, match=r"has no row 'natural_gas' .*editions with such a row: 2020"):
        kgce("1", "m3", "natural_gas", edition="2008")
    with pytest.raises(StandardTableError, match=r"has no row 'unobtainium' in carriers\.csv or working_media\.csv$"):
        kgce("1", "kg", "unobtainium")


def test_what_annex_a_does_not_name_comes_from_the_statistics_and_says_so():
    # converter gas: 1000 m3 x 0.2714
    found = coefficient_of(account("converter_gas"), "m3", edition="2020", tables=TABLES)
    assert decimal_of(found.kgce(Fraction(1000))) == Decimal("271.4")
    assert (found.rows[0].edition, found.doubtful, found.basis) == (
        "NBS",
        True,
        "reference coefficient of the national statistics",
    )


def test_electricity_says_that_it_is_the_calorific_value():
    found = coefficient_of(account("electricity_equivalent"), "kWh", edition="2020", tables=TABLES)
    assert found.basis == "Annex A default, calorific value (当量值)"
    assert not found.medium
    assert coefficient_of(account("new_water", density=Decimal(1000)), "m3", edition="2020", tables=TABLES).medium


def test_the_steps_read_as_the_calculation():
    found = coefficient_of(
        account("diesel", density=Decimal(840), density_source="delivery note"), "L", edition="2020", tables=TABLES
    )
    assert found.steps == "0.001 m3/L x density 840 kg/m3 (delivery note) x 1.4571 kgce/kg"


def test_every_row_agrees_with_its_calorific_value_within_half_a_per_cent():
    # kgce_per_unit against ncv / 29307.6: the largest known deviation is 0.197 % (compressed air)
    for row in TABLES.rows("carriers.csv"):
        ncv, coefficient = row.number("ncv_value"), row.number("kgce_per_unit")
        if ncv is not None and coefficient is not None:
            assert abs(ncv / Decimal("29307.6") / coefficient - 1) < Decimal("0.005"), row.text("code")
    for row in TABLES.rows("working_media.csv"):
        energy, coefficient = row.number("energy_value_MJ"), row.number("kgce_per_unit")
        assert abs(energy * 1000 / Decimal("29307.6") / coefficient - 1) < Decimal("0.005"), row.text("code")


@given(st.lists(st.decimals(0, 10**7, places=2), max_size=20), st.sampled_from([None, Decimal(23470)]))
def test_the_kgce_of_a_sum_is_the_sum_of_the_kgce(amounts, ncv):
    coefficient = coefficient_of(account("raw_coal", ncv=ncv), "t", edition="2020", tables=TABLES)
    parts = [coefficient.kgce(Fraction(amount)) for amount in amounts]
    assert coefficient.kgce(sum((Fraction(amount) for amount in amounts), Fraction(0))) == sum(parts, Fraction(0))


@pytest.mark.parametrize(
    ("value", "text"), [("714300", "714300"), ("0.1229", "0.1229"), ("1E+3", "1000"), ("1.50", "1.5")]
)
def test_numbers_are_written_plainly(value, text):
    assert plain(Decimal(value)) == text
