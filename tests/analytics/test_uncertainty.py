"""Uncertainty agrees with an independent package, never shrinks a class error, and digits follow it."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
import uncertainties
from hypothesis import given
from hypothesis import strategies as st

from analytics.uncertainty import (
    Budget,
    amounts_budget,
    class_budget,
    difference_budget,
    edge_budget,
    expanded,
    format_figure,
    quotient,
    scaled,
    shown,
    total,
)
from gateway.domain.figures import Figure
from gateway.domain.instruments import AccuracyClass


def test_an_accuracy_class_is_a_rectangular_limit():
    # class 0.5 of 10 000 kWh: limit 50 kWh, u = 50 / 1.7320508 = 28.8675, U = 57.735
    assert expanded(class_budget(Decimal(10_000), AccuracyClass("0.5S"), instrument="E-01")) == Decimal("57.735")


def test_a_register_difference_is_triangular():
    # 0.01 kWh / sqrt(6) = 0.0040825, U = 0.00816497
    assert expanded(difference_budget(Decimal("0.01"), source="s")) == Decimal("0.00816497")


def test_thirty_tickets_round_thirty_times():
    # 0.02 t: u = 0.02 / sqrt(12) = 0.0057735 each, x sqrt(30) = 0.0316228, U = 0.0632456
    assert expanded(amounts_budget(Decimal("0.02"), 30, source="s")) == Decimal("0.0632456")


def test_an_interpolated_edge_is_rectangular():
    # at most 3 kWh wrong: u = 3 / sqrt(3) = 1.7320508, U = 3.4641
    assert expanded(edge_budget(Decimal(3), source="s")) == Decimal("3.4641")
    assert edge_budget(Decimal(0), source="s").contributions == {}


def test_a_class_error_does_not_shrink_over_time():
    months = [class_budget(Decimal(1000), AccuracyClass("1"), instrument="E-01") for _ in range(12)]
    year = class_budget(Decimal(12_000), AccuracyClass("1"), instrument="E-01")
    assert total(months).standard == pytest.approx(year.standard, rel=1e-12)


def test_two_instruments_are_independent():
    # each u = 1000 x 1 % / sqrt(3) = 5.7735; together x sqrt(2) = 8.16497, U = 16.3299
    both = total([class_budget(Decimal(1000), AccuracyClass("1"), instrument=name) for name in ("A", "B")])
    assert expanded(both) == Decimal("16.3299")


def test_what_flows_in_and_out_through_one_instrument_cancels():
    up = class_budget(Decimal(1000), AccuracyClass("1"), instrument="A")
    assert total([up, scaled(up, -1)]).standard == 0


def test_an_undeclared_class_is_never_exactness():
    unknown = class_budget(Decimal(5), None, instrument="W-07")
    known = class_budget(Decimal(5), AccuracyClass("2"), instrument="E-01")
    assert expanded(total([known, unknown])) is None
    assert total([known, unknown]).unknown == ("U unknown: class of W-07 not declared",)


names = st.sampled_from(["A", "B", "C", "D"])
budgets = st.dictionaries(names, st.floats(-10, 10), max_size=4)


def oracle(value, contributions, variables):
    return value + sum((u * variables[name] for name, u in contributions.items()), 0)


@given(budgets, budgets, st.floats(1, 1000), st.floats(1, 1000))
def test_sums_and_quotients_agree_with_the_uncertainties_package(above, below, a, b):
    variables = {name: uncertainties.ufloat(0, 1) for name in "ABCD"}
    x, y = oracle(a, {**above, "A": 1.0}, variables), oracle(b, {**below, "D": 1.0}, variables)
    above, below = {**above, "A": 1.0}, {**below, "D": 1.0}
    got = total([Budget(above), scaled(Budget(below), -3)]).standard
    assert got == pytest.approx((x - 3 * y).std_dev, abs=1e-9)
    ratio = quotient(Fraction(a), Budget(above), Fraction(b), Budget(below)).standard
    assert ratio == pytest.approx((x / y).std_dev, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "u", "expected"),
    [
        ("1234.5678", "6.2149", ("1,234.6", "6.2")),
        ("1234.5678", "62.149", ("1,235", "62")),
        ("1234567", "6214.9", ("1,234,600", "6,200")),
        ("0.12345", "0.00996", ("0.123", "0.010")),
        ("3", "1200", ("0", "1,200")),
        ("-7.25", "0.5", ("-7.25", "0.50")),
        ("1234.5678", None, ("1,234.57", "unknown")),
        ("714300123.4", None, ("714,300,123", "unknown")),
        ("12", "0", ("12", "0")),
        (None, None, ("—", "")),
    ],
)
def test_digits_follow_the_uncertainty(value, u, expected):
    assert shown(value and Decimal(value), u and Decimal(u)) == expected


def test_the_expanded_uncertainty_is_twice_the_standard_one():
    assert expanded(Budget({"a": 3.0, "b": 4.0})) == 10
    assert math.isclose(Budget({"a": 3.0, "b": 4.0}).standard, 5.0)


def test_a_figure_is_shown_with_its_uncertainty_or_alone():
    def figure(value, u):
        return Figure(
            id="k/e/2026/x", kind="k", enterprise="e", period="2026", key="x", name_zh="", name_en="", unit="kgce",
            value=value and Decimal(value), expanded_uncertainty=u and Decimal(u),
        )  # fmt: skip

    assert format_figure(figure("1234.5678", "6.2149")) == "1,234.6 ± 6.2"
    assert format_figure(figure("1234.5678", None)) == "1,234.57"
    assert format_figure(figure(None, None)) == "—"
