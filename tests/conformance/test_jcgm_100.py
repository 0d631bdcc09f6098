"""JCGM 100:2008 - Guide to the expression of uncertainty in measurement (GUM): its rules on our quantities."""

import math
from decimal import Decimal

import pytest

from analytics.uncertainty import Budget, class_budget, difference_budget, edge_budget, expanded, quotient, total
from gateway.domain.instruments import AccuracyClass


def test_4_3_7_limits_of_a_rectangular_distribution_are_divided_by_root_three():
    # GUM 4.3.7: u = a / sqrt(3). An energy meter of class 1 that counted 1000 kWh: a = 10 kWh
    assert class_budget(Decimal(1000), AccuracyClass("1"), instrument="m").standard == pytest.approx(10 / math.sqrt(3))
    assert edge_budget(Decimal(10), source="edge").standard == pytest.approx(10 / math.sqrt(3))


def test_4_3_9_a_triangular_distribution_is_divided_by_root_six():
    # GUM 4.3.9: u = a / sqrt(6). The difference of two readings of resolution d is triangular with a = d
    assert difference_budget(Decimal("0.1"), source="register").standard == pytest.approx(0.1 / math.sqrt(6))


def test_5_1_2_uncorrelated_contributions_add_in_quadrature():
    assert total([Budget({"a": 3.0}), Budget({"b": 4.0})]).standard == 5


def test_5_2_2_note_1_fully_correlated_contributions_add_linearly():
    # GUM 5.2.2, the ten resistors calibrated against one standard: u(R) = 10 x 100 mOhm = 1 Ohm, not sqrt(10) x 100 mOhm
    resistors = [Budget({"standard resistor": 0.1}) for _ in range(10)]
    assert total(resistors).standard == pytest.approx(1.0)


def test_5_1_6_a_quotient_adds_relative_uncertainties_in_quadrature():
    # 3 % and 4 % give 5 %
    ratio = quotient(Decimal(200), Budget({"a": 6.0}), Decimal(50), Budget({"b": 2.0}))
    assert ratio.standard / 4 == pytest.approx(0.05)


def test_6_2_1_the_expanded_uncertainty_is_k_times_the_standard_one():
    assert expanded(Budget({"a": 0.7})) == Decimal("1.4")
