"""Formulas of points: what is one, what it gives, and every mistake told on its line."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import load_site
from gateway.domain.formulas import FormulaError, Undefined, evaluate, names, parse, quotient_unit
from gateway.errors import ConfigError
from tests.sound_site import site_file

__all__ = ["site_file"]
DERIVED = """
[[point]]
id = "losses"
enterprise = "works"
name_zh = "损耗"
name_en = "losses"
formula = "main - mill"
unit = "kWh"

[[point]]
id = "share"
enterprise = "works"
name_zh = "损耗率"
name_en = "share of losses"
formula = "losses / main"
unit = "%"

[api]"""
AMOUNTS = {"a": Fraction(7), "b": Fraction(3), "a-b": Fraction(100), "1.a": Fraction(5)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + b", 10),
        ("a - b", 4),
        ("a-b", 100),  # the point of this name
        ("a - b - b", 1),  # from the left
        ("a - (b - b)", 7),
        ("a + b * 2", 13),
        ("(a + b) * 2", 20),
        ("a / b / 2", Fraction(7, 6)),
        ("-a + b", -4),
        ("a * -b", -21),
        ("0.1 * a", Fraction(7, 10)),  # exactly: 0.1 is one tenth
        ("1.a + 1.5", Fraction(13, 2)),
        ("  a  ", 7),
    ],
)
def test_a_formula_gives_what_it_says_exactly(text: str, value: int):
    assert evaluate(parse(text), AMOUNTS) == value


@pytest.mark.parametrize(
    ("text", "column", "found"),
    [
        ("", 1, "the end"),
        ("a +", 4, "the end"),
        ("a b", 3, "'b'"),
        ("(a", 3, "the end"),
        ("a)", 2, "')'"),
        ("a ** b", 4, "'*'"),
        ("a; b", 2, "';'"),
        ("__import__", 1, "'_'"),
        ("a.__class__()", 12, "'('"),
        ("f'{a}'", 2, '"\'"'),
        ("a + $b", 5, "'$'"),
        ("(" * 30 + "a" + ")" * 30, 22, "more parentheses"),
        ("a + " * 400 + "a", 1001, "more text"),
    ],
)
def test_what_is_no_formula_is_told_with_its_column(text: str, column: int, found: str):
    with pytest.raises(FormulaError) as told:
        parse(text)
    assert (told.value.column, told.value.found) == (column, found)


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text: str):
    try:
        expression = parse(text)
    except FormulaError:
        return
    assert all(text[one.column - 1 :].startswith(one.point) for one in names(expression))


NUMBERS = st.fractions(min_value=-1000, max_value=1000, max_denominator=1000)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_products_are_taken_before_sums_and_quotients_are_exact(a: Fraction, b: Fraction, c: Fraction):
    amounts = {"a": a, "b": b, "c": c}
    assert evaluate(parse("a + b * c - a"), amounts) == b * c
    if c:
        assert evaluate(parse("a / c * c"), amounts) == a
    else:
        with pytest.raises(Undefined):
            evaluate(parse("a / c"), amounts)


def test_units_of_quotients_are_known_by_their_parts():
    per_tonne = quotient_unit("kWh/t")
    assert (per_tonne.factor, per_tonne.dimension) == (3600, {"energy": 1, "mass": -1})  # 3 600 000 J by 1000 kg
    assert quotient_unit("m3/h").dimension == {"volume_flow": 1}  # a unit of its own
    assert quotient_unit("%").dimension == {}
    assert quotient_unit("kWh/") is quotient_unit("Cel") is quotient_unit("kWh/x") is None


def test_points_with_a_formula_stand_beside_those_with_a_meter(site_file: Callable[..., Path]):
    site = load_site(site_file("\n[api]", DERIVED))
    assert list(site.derived) == ["losses", "share"]
    assert list(site.points) == ["main", "mill", "gas"]  # what is metered, and what the ledger knows
    assert all(series.point in site.points for series in site.series.values())


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        (
            "main - mill",
            "main - mil",
            "formula",
            'found "mil" at column 8; expected the id of a [[point]]. Did you mean',
        ),
        ("main - mill", "main-mill", "formula", "A minus between two points stands between spaces."),
        ("main - mill", "main - ", "formula", "found the end at column 8"),
        (
            "main - mill",
            "main - gas",
            "formula",
            "found energy - volume at column 6; expected two amounts of one dimension",
        ),
        ("main - mill", "main - 5", "formula", "found energy - a number at column 6"),
        ("main - mill", "2 * 3", "formula", "expected a formula with at least one point"),
        ("main - mill", "main - share", "formula", "a circle: losses, share are made of one another"),
        ("main - mill", "losses", "formula", "found itself; expected points that are not made of this one"),
        ('unit = "kWh"', 'unit = "t"', "unit", 'found "t", a unit of mass; expected a unit of energy'),
        ('unit = "kWh"', 'unit = "kW"', "unit", 'found "kW", a unit of power; expected a unit of energy'),
        ('unit = "kWh"', 'unit = "kwh"', "unit", 'found "kwh"; expected a known unit'),
        ('unit = "%"', 'unit = "kWh"', "unit", "expected a unit of a number, which the formula gives"),
        ('id = "share"\nenterprise = "works"', 'id = "share"\nenterprise = "wroks"', "enterprise", 'found "wroks"'),
        ('id = "share"', 'id = "main"', "id", "already used"),
        ('formula = "main', 'metr = 1\nformula = "main', "metr", "the unknown key 'metr'"),
        ('parent = "main"', 'parent = "losses"', "parent", 'found "losses", a formula; expected a point with a meter'),
        ('plus = ["main"]', 'plus = ["losses"]', "plus", 'found "losses", a formula; expected points with a meter'),
    ],
)
def test_a_mistake_is_told_on_its_line(site_file: Callable[..., Path], old: str, new: str, key: str, said: str):
    path = site_file("\n[api]", DERIVED, old, new)
    with pytest.raises(ConfigError) as told:
        load_site(path)
    (problem,) = [one for one in told.value.problems if said in one.sentence()]
    assert problem.key.endswith(f".{key}") and problem.line
    assert key in path.read_text("utf-8").splitlines()[problem.line - 1] or key == "enterprise"


def test_points_of_another_enterprise_are_no_part(site_file: Callable[..., Path]):
    other = '\n[[enterprise]]\nid = "other"\nname_zh = "别"\nname_en = "other"\n\n[[line]]'
    text = DERIVED.replace('id = "losses"\nenterprise = "works"', 'id = "losses"\nenterprise = "other"')
    with pytest.raises(ConfigError, match=r'"main" at column 1, a point of \'works\'; expected points of \'other\''):
        load_site(site_file("\n[[line]]", other, "\n[api]", text))
