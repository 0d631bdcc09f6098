"""Accounting: how much of a fuel or medium an enterprise consumed in a period, by meters or by stock.

Source: GB/T 2589-2020 - General rules for calculation of the comprehensive energy consumption - §3: what
is consumed is what came in and lay in store, less what lies in store and what was passed on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from analytics.context import reasons
from analytics.decimals import plain
from analytics.plant_facts import PlantFacts
from analytics.terms import Term, measured, stock_at
from analytics.uncertainty import Budget, scaled, total
from gateway.domain.figures import LedgerReference, ReadingRange
from gateway.domain.periods import iso
from gateway.domain.readings import MICROSECONDS
from gateway.domain.sites import Account, AccountMethod, PointRole
from gateway.domain.units import factor, unit
from gateway.ledger.known import Recorded

METERED = "sum of the points that count in, less those that count out"
STOCK = "opening stock + received - closing stock - passed on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What one account consumed in a period: `value` [unit], None when it cannot be stated, with why.

    `purchased` is True when all of it crossed the enterprise's boundary: a medium made on site is shown,
    and not added, because its inputs are counted already.
    """

    account: Account
    value: Fraction | None
    unit: str
    formula: str
    substituted: str
    method: str
    budget: Budget
    coverage: Decimal
    estimated: Fraction
    reason: str
    ranges: tuple[ReadingRange, ...]
    ledger: tuple[LedgerReference, ...]
    overdue: bool
    unverified: bool
    purchased: bool


def amounts_of(facts: PlantFacts) -> list[Amount]:
    """One amount per account that holds in the period, in the order of the ledger."""
    by_subject: dict[tuple[str, str], list[Recorded[Account]]] = {}
    for row in facts.accounts:
        by_subject.setdefault((row.fact.carrier.value, row.fact.conversion), []).append(row)
    return [_amount(facts, rows) for rows in by_subject.values()]


def _amount(facts: PlantFacts, rows: Sequence[Recorded[Account]]) -> Amount:
    whole = facts.asked.whole
    row = rows[-1]
    if len(rows) > 1 or whole.first_day < row.valid_from or (row.valid_to and row.valid_to < whole.day_after):
        days = sorted({row.valid_from for row in rows} | {row.valid_to for row in rows if row.valid_to})
        inside = ", ".join(str(day) for day in days if whole.first_day < day < whole.day_after)
        why = f"the account {row.fact.conversion} changed within the period ({inside}); ask for the parts of it"
        return _summed(facts, row, [], formula="", method="", why=why)
    if row.fact.method is AccountMethod.METERED:
        return _by_meters(facts, row)
    return _by_stock(facts, row)


def _by_meters(facts: PlantFacts, row: Recorded[Account]) -> Amount:
    start, end = facts.asked.whole.start, facts.asked.whole.end
    terms = [(sign, measured(facts, point, start=start, end=end)) for sign, point in _signed_points(row.fact)]
    formula = "E = " + _joined([(sign, term.point) for sign, term in terms])
    return _summed(facts, row, terms, formula=formula, method=METERED)


def _by_stock(facts: PlantFacts, row: Recorded[Account]) -> Amount:
    asked, account = facts.asked, row.fact
    opening = [stock_at(facts, point, asked.whole.start, label="opening stock") for point in account.stock]
    closing = [stock_at(facts, point, asked.until, label="closing stock") for point in account.stock]
    formula = "E = opening stock + received - closing stock - passed on"
    stocks = [(1, term) for term in opening] + [(-1, term) for term in closing]
    if any(term.value is None for _, term in stocks):
        return _summed(facts, row, stocks, formula=formula, method=STOCK)
    # What came between the survey and the edge of the period lies in the survey's stock or does not: the
    # receipts are counted from survey to survey.
    start, end = (_settled_edge(facts, max(term.taken_at for term in side)) for side in (opening, closing))
    if start >= end:
        why = f"opening and closing stock are the same survey ({iso(opening[0].taken_at)})"
        return _summed(facts, row, [], formula=formula, method=STOCK, why=why)
    moved = [(sign, measured(facts, point, start=start, end=end)) for sign, point in _signed_points(account)]
    zone = asked.context.site_timezone
    method = f"{STOCK}; from the survey of {iso(start, zone)} to that of {iso(end, zone)}"
    length = Decimal(end - start) / Decimal(asked.whole.end - asked.whole.start)
    return _summed(facts, row, [*stocks, *moved], formula=formula, method=method, most=min(Decimal(1), length))


def _settled_edge(facts: PlantFacts, instant: int) -> int:
    """The start of the quarter-hour of a survey, or the survey itself on a boundary."""
    step = facts.asked.context.interval_s * MICROSECONDS
    return instant // step * step


def _signed_points(account: Account) -> list[tuple[int, str]]:
    return [(1, point) for point in account.plus] + [(-1, point) for point in account.minus]


def _summed(
    facts: PlantFacts,
    row: Recorded[Account],
    terms: Sequence[tuple[int, Term]],
    *,
    formula: str,
    method: str,
    why: str = "",
    most: Decimal = Decimal(1),
) -> Amount:
    """The signed sum of terms in the unit of the first; None as soon as one of them cannot be stated."""
    target = next((term.unit for _, term in terms if term.unit), "")
    why = reasons(why, *_refusals(terms, target))
    value = None
    if terms and not why:
        value = sum((sign * (term.value or 0) * factor(term.unit, target) for sign, term in terms), Fraction(0))
    words = _joined([(sign, term.words) for sign, term in terms])
    purchased = all(facts.points[p].fact.role is PointRole.INPUT for p in row.fact.plus if p in facts.points)
    return Amount(
        account=row.fact,
        value=value,
        unit=target,
        formula=formula,
        substituted="" if value is None else f"E = {words} = {plain(value)} {target}",
        method=method + facts.asked.to_date,
        budget=total(scaled(term.budget, sign * _scale(term.unit, target)) for sign, term in terms),
        coverage=min([most, *(term.coverage for _, term in terms)]) if value is not None else Decimal(0),
        estimated=max((term.estimated for _, term in terms), default=Fraction(0)),
        reason=reasons(why, *(term.reason for _, term in terms)),
        ranges=tuple(one for _, term in terms for one in term.ranges),
        ledger=_ledger(row, terms),
        overdue=any(term.overdue for _, term in terms),
        unverified=any(term.unverified for _, term in terms),
        purchased=purchased,
    )


def _refusals(terms: Sequence[tuple[int, Term]], target: str) -> list[str]:
    refused = [term.reason for _, term in terms if term.value is None]
    for _, term in terms:
        if term.value is not None and unit(term.unit).dimension != unit(target).dimension:
            refused.append(f"{term.point} is metered in {term.unit}, which is no unit like {target}")
    return refused


def _scale(source: str, target: str) -> Fraction:
    known = source and target and unit(source).dimension == unit(target).dimension
    return factor(source, target) if known else Fraction(1)


def _joined(signed: Sequence[tuple[int, str]]) -> str:
    text = " ".join(f"{'+' if sign > 0 else '-'} {words}" for sign, words in signed)
    return text.removeprefix("+ ")


def _ledger(row: Recorded[Account], terms: Sequence[tuple[int, Term]]) -> tuple[LedgerReference, ...]:
    account = row.fact
    points = ", ".join([*account.plus, *(f"- {point}" for point in account.minus), *account.stock])
    declared = [f"account of {account.carrier.value} by {account.method.value}, points {points}"]
    if account.density is not None:
        declared.append(f"density {plain(account.density)} kg/m3 ({account.density_source or 'no source declared'})")
    if account.ncv is not None:
        declared.append(f"net calorific value {plain(account.ncv)} kJ per unit ({account.ncv_source or 'no source'})")
    own = LedgerReference(
        kind="account",
        key=account.conversion,
        text="; ".join(declared),
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
    )
    return tuple(dict.fromkeys([own, *(reference for _, term in terms for reference in term.ledger)]))
