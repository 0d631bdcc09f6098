"""Energy intensity: comprehensive energy consumption per product and per output value.

Source: GB/T 2589-2020 - General rules for calculation of the comprehensive energy consumption - §3:
e_j = E_j / P_j and e_g = E / G. Energy and production always cover the same days: while a period runs, both
are taken over the days for which the production is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from analytics.accounting import amounts_of
from analytics.consumption import COMPREHENSIVE_ENERGY, TOTAL
from analytics.context import Asked, reasons
from analytics.conversion import Converted, Summed, converted, summed
from analytics.decimals import decimal_of, plain, short
from analytics.plant_facts import plant_facts
from analytics.stating import clause, how_sure, marks_of, stated
from analytics.uncertainty import Budget, quotient
from gateway.domain.figures import Figure, LedgerReference, Pedigree
from gateway.domain.periods import to_datetime
from gateway.domain.production import CURRENT_PRICES, OutputValue, Production
from gateway.ledger.known import Recorded

PER_PRODUCT = "energy_intensity_product"
PER_OUTPUT_VALUE = "energy_intensity_output_value"
_AS_RECORDED = "energy only: the divisor is taken as recorded, without uncertainty"
_MONEY = "10^4CNY"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Divisor:
    """What the energy is divided by: `value` [unit] over [the period's first day, `day_after`)."""

    kind: str
    key: str
    name_zh: str
    name_en: str
    unit: str
    formula: str
    value: Decimal
    day_after: date
    ledger: tuple[LedgerReference, ...]
    reason: str


def intensities(asked: Asked, every: Sequence[Converted]) -> list[Figure]:
    """One figure per product and per price basis that the ledger knows of the enterprise."""
    return [_figure(asked, every, divisor) for divisor in [*_products(asked), *_output_values(asked)]]


def _products(asked: Asked) -> list[_Divisor]:
    ledger = asked.context.ledger
    rows = ledger.production(
        asked.scope, as_of=asked.as_of, enterprise=asked.enterprise.id, first_day=date.min, day_after=date.max
    )
    products: dict[str, list[Recorded[Production]]] = {}
    for row in rows:
        products.setdefault(row.fact.product, []).append(row)
    made = {name for name, own in products.items() if any(_inside(asked, row.fact) for row in own)}
    found = []
    for name, own in products.items():
        fact = own[-1].fact
        others = sorted(made - {name})
        why = f"the energy of {', '.join([name, *others])} is not allocated to each product" if others else ""
        inside = [row for row in own if _inside(asked, row.fact)]
        end, gap = _contiguous(asked, [row.fact for row in inside], f"production of {name}")
        used = [row for row in inside if row.fact.day_after <= end]
        texts = [(row, f"{plain(row.fact.quantity)} {row.fact.unit} of {name}") for row in used]
        found.append(
            _Divisor(
                kind=PER_PRODUCT,
                key=name,
                name_zh=f"单位{fact.name_zh}综合能耗",
                name_en=f"energy per {fact.unit} of {fact.name_en}",
                unit=fact.unit,
                formula="e_j = E_j / P_j",
                value=sum((row.fact.quantity for row in used), Decimal(0)),
                day_after=end,
                ledger=tuple(_reference("production", name, row, text) for row, text in texts),
                reason=reasons(why, gap),
            )
        )
    return found


def _output_values(asked: Asked) -> list[_Divisor]:
    rows = asked.context.ledger.output_value(
        asked.scope, as_of=asked.as_of, enterprise=asked.enterprise.id, first_day=date.min, day_after=date.max
    )
    bases: dict[str, list[Recorded[OutputValue]]] = {}
    for row in rows:
        bases.setdefault(row.fact.price_basis, []).append(row)
    found = []
    for basis, own in bases.items():
        inside = [row for row in own if _inside(asked, row.fact)]
        end, gap = _contiguous(asked, [row.fact for row in inside], f"output value at {basis} prices")
        used = [row for row in inside if row.fact.day_after <= end]
        texts = [(row, f"{plain(row.fact.amount)} {_MONEY} at {basis} prices") for row in used]
        zh = "现价" if basis == CURRENT_PRICES else f"{basis.removeprefix('constant-')}年不变价"
        found.append(
            _Divisor(
                kind=PER_OUTPUT_VALUE,
                key=basis,
                name_zh=f"单位产值综合能耗（{zh}）",
                name_en=f"energy per output value, {basis.replace('-', ' ')} prices",
                unit=_MONEY,
                formula="e_g = E / G",
                value=sum((row.fact.amount for row in used), Decimal(0)),
                day_after=end,
                ledger=tuple(_reference("output_value", basis, row, text) for row, text in texts),
                reason=gap,
            )
        )
    return found


def _inside(asked: Asked, fact: Production | OutputValue) -> bool:
    return asked.whole.first_day <= fact.first_day and fact.day_after <= asked.whole.day_after


def _contiguous(asked: Asked, facts: Sequence[Production | OutputValue], what: str) -> tuple[date, str]:
    """(the day up to which the entries follow one another from the period's first day, why that is not enough)."""
    whole = asked.whole
    limit = whole.day_after if asked.ended else to_datetime(asked.as_of, asked.context.site_timezone).date()
    end = whole.first_day
    for fact in sorted(facts, key=lambda fact: fact.first_day):
        if fact.first_day == end and fact.day_after <= limit:
            end = fact.day_after
    if end == whole.first_day:
        return end, f"no {what} is recorded from {whole.first_day} on"
    if asked.ended and end != whole.day_after:
        return end, f"the {what} is recorded without a gap only to {end - timedelta(days=1)}"
    return end, ""


def _reference(kind: str, key: str, row: Recorded[Production] | Recorded[OutputValue], text: str) -> LedgerReference:
    span = f"{row.fact.first_day} to {row.fact.day_after - timedelta(days=1)}"
    return LedgerReference(
        kind=kind, key=key, text=f"{text}, {span}", recorded_at=row.recorded_at, recorded_by=row.recorded_by
    )


def _figure(asked: Asked, every: Sequence[Converted], divisor: _Divisor) -> Figure:
    over, energy = _energy(asked, every, divisor)
    why = divisor.reason or ("" if divisor.value else f"the divisor is 0 {divisor.unit}")
    value = energy.value / Fraction(divisor.value) if energy.value is not None and not why else None
    budget = energy.budget
    if value is not None and energy.value is not None:
        budget = quotient(decimal_of(energy.value), energy.budget, divisor.value, Budget())
    unit = f"kgce/{divisor.unit}"
    letter = divisor.formula[-1]
    shown = ""
    if value is not None and energy.value is not None:
        shown = f"{short(energy.value)} kgce / {plain(divisor.value)} {divisor.unit} = {short(value)} {unit}"
    part = Decimal((divisor.day_after - asked.whole.first_day).days)
    share = part / Decimal((asked.whole.day_after - asked.whole.first_day).days)
    method = "comprehensive energy consumption over the same days" + (
        "" if over is asked else f"; to date, {over.whole.name}"
    )
    return Figure(
        id=asked.id(divisor.kind, divisor.key),
        kind=divisor.kind,
        enterprise=asked.enterprise.id,
        period=asked.whole.name,
        key=divisor.key,
        name_zh=divisor.name_zh,
        name_en=divisor.name_en,
        value=None if value is None else decimal_of(value),
        unit=unit,
        expanded_uncertainty=stated(value, budget),
        uncertainty_note=how_sure(value, budget, _AS_RECORDED),
        coverage=energy.coverage * share if value is not None else Decimal(0),
        edition=energy.edition,
        method=method,
        reason=reasons(why, energy.reason),
        marks=marks_of(
            energy.amounts,
            value=value,
            budget=budget,
            doubtful=energy.doubtful,
            partial=bool(energy.absent) or share < 1,
        ),
        pedigree=Pedigree(
            formula=f"{divisor.formula} ({letter}: {divisor.name_en})",
            substituted=shown,
            clause=clause(energy.edition, "§3"),
            parts=(over.id(COMPREHENSIVE_ENERGY, TOTAL),),
            ledger=divisor.ledger,
        ),
    )


def _energy(asked: Asked, every: Sequence[Converted], divisor: _Divisor) -> tuple[Asked, Summed]:
    """The energy of the days that the divisor speaks for, and the question it answers."""
    last = divisor.day_after - timedelta(days=1)
    if asked.ended or divisor.reason or divisor.day_after == asked.whole.day_after:
        return asked, summed(every)
    over = asked.over(f"{asked.whole.first_day}..{last}")
    return over, summed(converted(over, amounts_of(plant_facts(over))))
