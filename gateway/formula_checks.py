"""What in the formulas of a site file does not hold: no formula, points that are not there, units that do not fit."""

from collections.abc import Iterator, Mapping

from gateway.decoding import COUNTED
from gateway.domain.formulas import Dimension, Expression, FormulaError, dimension, names, parse, quotient_unit, told
from gateway.domain.quantities import QUANTITIES
from gateway.errors import Problem
from gateway.site_draft import SiteDraft
from gateway.site_form import DerivedPointForm
from gateway.toml_form import closest, shown
from gateway.toml_lines import Place

_SPACES = "A minus between two points stands between spaces."


def formula_contradictions(draft: SiteDraft) -> Iterator[Problem]:
    """Every mistake of the points with a formula, and of those that take one for a point with a meter."""
    derived = {form.id: (place, form) for place, form in draft.derived.items()}
    yield from _taken_for_measured(draft, derived)
    expressions: dict[str, Expression] = {}
    for name, (place, form) in derived.items():
        wrong = [*_own_problems(draft, place, form)]
        yield from wrong
        if not wrong:
            expressions[name] = parse(form.formula)
    in_order = [*_in_order(draft, derived, expressions)]
    yield from (found for found in in_order if isinstance(found, Problem))
    yield from _units(draft, derived, {name: expressions[name] for name in in_order if isinstance(name, str)})


def _own_problems(draft: SiteDraft, place: Place, form: DerivedPointForm) -> Iterator[Problem]:
    if form.enterprise not in draft.ids["enterprise"]:
        expected = "the id of a [[enterprise]]"
        mend = closest(form.enterprise, draft.ids["enterprise"])
        yield draft.lines.problem((*place, "enterprise"), shown(form.enterprise), expected, mend)
    here = (*place, "formula")
    if quotient_unit(form.unit) is None:
        yield draft.lines.problem((*place, "unit"), shown(form.unit), 'a known unit or two of them, e.g. "kWh/t"')
    try:
        found = names(parse(form.formula))
    except FormulaError as error:
        yield draft.lines.problem(here, f"{error.found} at column {error.column}", error.expected)
        return
    if not found:
        yield draft.lines.problem(here, shown(form.formula), "a formula with at least one point")
    for name in found:
        yield from _operand(draft, here, form, name.point, name.column)


def _operand(draft: SiteDraft, here: Place, form: DerivedPointForm, name: str, column: int) -> Iterator[Problem]:
    """Mistakes of one point in a formula."""
    said = f"{shown(name)} at column {column}"
    if name not in draft.ids["point"]:
        mend = closest(name, draft.ids["point"])
        yield draft.lines.problem(here, said, "the id of a [[point]]", f"{mend} {_SPACES}" if "-" in name else mend)
        return
    point = draft.point(name)
    other = point or next((one for one in draft.derived.values() if one.id == name), None)
    if other is not None and other.enterprise != form.enterprise:
        expected = f"points of {form.enterprise!r}"
        yield draft.lines.problem(here, f"{said}, a point of {other.enterprise!r}", expected)
    profile = draft.profile_of(point.meter) if point is not None else None
    register = profile.registers.get(point.counts) if profile is not None and point is not None else None
    if point is not None and not point.meter:
        yield draft.lines.problem(here, f"{said}, which has no meter", "points with readings of their own")
    elif register is not None and register.register.kind not in COUNTED:
        yield draft.lines.problem(here, f"{said}, which counts nothing", "points whose amounts are counted")


def _taken_for_measured(draft: SiteDraft, derived: Mapping[str, object]) -> Iterator[Problem]:
    for place, point in draft.points.items():
        if point.parent in derived:
            yield draft.lines.problem((*place, "parent"), f"{shown(point.parent)}, a formula", "a point with a meter")
    for place, account in draft.accounts.items():
        for key, points in (("plus", account.plus), ("minus", account.minus), ("stock", account.stock)):
            for name in points:
                if name in derived:
                    mend = "An account adds and subtracts by itself: name the points of the formula."
                    found = f"{shown(name)}, a formula"
                    yield draft.lines.problem((*place, key), found, "points with a meter", mend)


def _in_order(
    draft: SiteDraft, derived: Mapping[str, tuple[Place, DerivedPointForm]], expressions: Mapping[str, Expression]
) -> Iterator[Problem | str]:
    """The points with a formula, each behind those that it is made of; a circle is told once and left out."""
    needs = {name: {one.point for one in names(expressions[name])} & derived.keys() for name in expressions}
    done: set[str] = set()
    while ready := sorted(name for name in needs.keys() - done if needs[name] <= done):
        yield from ready
        done.update(ready)
    open_ones = needs.keys() - done
    circle = {name for name in open_ones if name in _below(name, needs)}
    for name in sorted(circle)[:1]:
        found = f"a circle: {', '.join(sorted(circle))} are made of one another" if len(circle) > 1 else "itself"
        yield draft.lines.problem((*derived[name][0], "formula"), found, "points that are not made of this one")


def _below(name: str, needs: Mapping[str, set[str]]) -> set[str]:
    """All that a point is made of, directly or not."""
    found: set[str] = set()
    waiting = [*needs.get(name, ())]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += needs.get(one, ())
    return found


def _units(
    draft: SiteDraft, derived: Mapping[str, tuple[Place, DerivedPointForm]], expressions: Mapping[str, Expression]
) -> Iterator[Problem]:
    known: dict[str, Dimension] = {}
    for point in draft.points.values():
        if point.counts in QUANTITIES:
            known[point.id] = {QUANTITIES[point.counts].dimension: 1}
    for name, expression in expressions.items():
        place, form = derived[name]
        unit = quotient_unit(form.unit)
        if unit is None or any(one.point not in known for one in names(expression)):
            continue
        known[name] = unit.dimension
        try:
            found = dimension(expression, known)
        except FormulaError as error:
            yield draft.lines.problem((*place, "formula"), f"{error.found} at column {error.column}", error.expected)
            continue
        if found != unit.dimension:
            said = f"{shown(form.unit)}, a unit of {told(unit.dimension)}"
            yield draft.lines.problem((*place, "unit"), said, f"a unit of {told(found)}, which the formula gives")
