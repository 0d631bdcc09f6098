"""Consumption figures: physical amounts, their standard coal, and the comprehensive energy consumption.

Source: GB/T 2589-2020 - General rules for calculation of the comprehensive energy consumption - §3, §8,
Annexes A and B: E = Σ (E_i x k_i).
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from analytics.accounting import Amount
from analytics.context import Asked
from analytics.conversion import Converted, Summed, summed
from analytics.decimals import decimal_of, plain, short
from analytics.stating import clause, how_sure, marks_of, stated
from gateway.domain.carriers import NAMES_EN, NAMES_ZH
from gateway.domain.figures import Figure, Pedigree

ENERGY_CONSUMPTION = "energy_consumption"
STANDARD_COAL = "standard_coal"
COMPREHENSIVE_ENERGY = "comprehensive_energy"
TOTAL = "total"


def energy_consumption(asked: Asked, amount: Amount) -> Figure:
    """The physical amount of one account [the unit its points are metered in]."""
    carrier = amount.account.carrier
    return Figure(
        id=asked.id(ENERGY_CONSUMPTION, amount.account.conversion),
        kind=ENERGY_CONSUMPTION,
        enterprise=asked.enterprise.id,
        period=asked.whole.name,
        key=amount.account.conversion,
        name_zh=f"{NAMES_ZH[carrier]}消费量",
        name_en=f"{NAMES_EN[carrier]} consumption",
        value=None if amount.value is None else decimal_of(amount.value),
        unit=amount.unit,
        expanded_uncertainty=stated(amount.value, amount.budget),
        uncertainty_note=how_sure(amount.value, amount.budget),
        coverage=amount.coverage,
        share_estimated=decimal_of(amount.estimated),
        method=amount.method,
        reason=amount.reason,
        marks=marks_of([amount], value=amount.value, budget=amount.budget),
        pedigree=Pedigree(
            formula=amount.formula,
            substituted=amount.substituted,
            clause=clause("", "§3"),
            readings=amount.ranges,
            ledger=amount.ledger,
        ),
    )


def standard_coal(asked: Asked, one: Converted) -> Figure:
    """The standard coal [kgce] of one account."""
    carrier, coefficient, amount = one.amount.account.carrier, one.coefficient, one.amount
    shown = ""
    if one.kgce is not None and coefficient is not None and amount.value is not None:
        shown = f"E = {plain(amount.value)} {amount.unit} x {coefficient.steps} = {short(one.kgce)} kgce"
    method = "" if coefficient is None else coefficient.basis
    if not one.counted:
        method += "; made on site: shown, not added to the total"
    return Figure(
        id=asked.id(STANDARD_COAL, one.key),
        kind=STANDARD_COAL,
        enterprise=asked.enterprise.id,
        period=asked.whole.name,
        key=one.key,
        name_zh=f"{coefficient.name_zh if coefficient else NAMES_ZH[carrier]}折标准煤",
        name_en=f"{coefficient.name_en if coefficient else NAMES_EN[carrier]} as standard coal",
        value=None if one.kgce is None else decimal_of(one.kgce),
        unit="kgce",
        expanded_uncertainty=stated(one.kgce, one.budget),
        uncertainty_note=how_sure(one.kgce, one.budget, "the coefficient is taken as exact"),
        coverage=amount.coverage if one.kgce is not None else Decimal(0),
        share_estimated=decimal_of(amount.estimated),
        edition=one.edition,
        method=method + asked.to_date,
        reason=one.reason,
        marks=marks_of([amount], value=one.kgce, budget=one.budget, doubtful=one.doubtful),
        pedigree=Pedigree(
            formula="E_i x k_i",
            substituted=shown,
            clause=clause(one.edition, "§8, Annexes A and B"),
            parts=(asked.id(ENERGY_CONSUMPTION, one.key),),
            rows=coefficient.rows if coefficient else (),
            ledger=one.amount.ledger[:1],
        ),
    )


def comprehensive_energy(asked: Asked, every: Sequence[Converted]) -> Figure:
    """The comprehensive energy consumption [kgce] of the enterprise: the sum over its accounts."""
    found = summed(every)
    return Figure(
        id=asked.id(COMPREHENSIVE_ENERGY, TOTAL),
        kind=COMPREHENSIVE_ENERGY,
        enterprise=asked.enterprise.id,
        period=asked.whole.name,
        key=TOTAL,
        name_zh="综合能耗",
        name_en="comprehensive energy consumption",
        value=None if found.value is None else decimal_of(found.value),
        unit="kgce",
        expanded_uncertainty=stated(found.value, found.budget),
        uncertainty_note=how_sure(found.value, found.budget, "the coefficients are taken as exact"),
        coverage=found.coverage,
        share_estimated=_estimated(found.known),
        edition=found.edition,
        method=_method(found) + asked.to_date,
        reason=found.reason,
        marks=marks_of(
            found.amounts,
            value=found.value,
            budget=found.budget,
            doubtful=found.doubtful,
            partial=bool(found.absent),
        ),
        pedigree=Pedigree(
            formula="E = Σ (E_i x k_i)",
            substituted=_substituted(found),
            clause=clause(found.edition, "§3"),
            parts=tuple(asked.id(STANDARD_COAL, one.key) for one in every),
        ),
    )


def _estimated(known: Sequence[tuple[Converted, Fraction]]) -> Decimal:
    whole = sum((abs(kgce) for _, kgce in known), Fraction(0))
    part = sum((abs(kgce) * one.amount.estimated for one, kgce in known), Fraction(0))
    return decimal_of(part / whole) if whole else Decimal(0)


def _method(found: Summed) -> str:
    parts = ["electricity at its calorific value (当量值), purchased media counted"]
    if found.beside:
        parts.append(f"made on site and not added: {', '.join(one.key for one in found.beside)}")
    if found.absent:
        parts.append("coverage weighted by kgce, times the share of accounts that are known")
    return "; ".join(parts)


def _substituted(found: Summed) -> str:
    if found.value is None:
        return ""
    terms = " + ".join(f"{one.key} {short(kgce)}" for one, kgce in found.known)
    return f"E = {terms} = {short(found.value)} kgce"
