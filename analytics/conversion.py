"""Conversion: the amounts of an enterprise's accounts as standard coal, and their sum.

Source: GB/T 2589-2020 - General rules for calculation of the comprehensive energy consumption - §3, §8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from analytics.accounting import Amount
from analytics.context import Asked, reasons
from analytics.decimals import decimal_of
from analytics.standard_coal import STANDARD, Coefficient, coefficient_of
from analytics.uncertainty import Budget, scaled, total
from gateway.errors import StandardTableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """An account's amount as standard coal: `kgce` is None when it cannot be stated, with why."""

    amount: Amount
    coefficient: Coefficient | None
    kgce: Fraction | None
    budget: Budget
    edition: str
    reason: str

    @property
    def key(self) -> str:
        """The key of the account's figures: its conversion row."""
        return self.amount.account.conversion

    @property
    def counted(self) -> bool:
        """False for a medium made on site: its inputs are counted already."""
        return self.coefficient is None or not self.coefficient.medium or self.amount.purchased

    @property
    def doubtful(self) -> bool:
        """True if a table row of medium or low confidence went in."""
        return self.coefficient is not None and self.coefficient.doubtful


def converted(asked: Asked, amounts: Sequence[Amount]) -> list[Converted]:
    """The standard coal of every account, by the edition in force over the period."""
    try:
        edition = asked.context.tables.edition_for(STANDARD, asked.whole)
    except StandardTableError as error:
        return [_unconverted(amount, "", str(error)) for amount in amounts]
    return [_converted(asked, amount, edition) for amount in amounts]


def _converted(asked: Asked, amount: Amount, edition: str) -> Converted:
    if not amount.unit:
        return _unconverted(amount, edition, amount.reason)
    try:
        coefficient = coefficient_of(amount.account, amount.unit, edition=edition, tables=asked.context.tables)
    except StandardTableError as error:
        return _unconverted(amount, edition, reasons(amount.reason, str(error)))
    return Converted(
        amount=amount,
        coefficient=coefficient,
        kgce=None if amount.value is None else coefficient.kgce(amount.value),
        budget=scaled(amount.budget, coefficient.per_metered_unit),
        edition=edition,
        reason=amount.reason,
    )


def _unconverted(amount: Amount, edition: str, reason: str) -> Converted:
    return Converted(amount=amount, coefficient=None, kgce=None, budget=amount.budget, edition=edition, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """The accounts of an enterprise added up: `value` [kgce] is that of the known ones, None without any."""

    known: tuple[tuple[Converted, Fraction], ...]
    absent: tuple[Converted, ...]
    beside: tuple[Converted, ...]  # media made on site: shown, not added
    value: Fraction | None
    budget: Budget
    coverage: Decimal
    reason: str

    @property
    def edition(self) -> str:
        """The edition of the conversion; "" when none could be chosen."""
        return max((one.edition for one in (*(one for one, _ in self.known), *self.absent)), default="")

    @property
    def amounts(self) -> list[Amount]:
        """The amounts that went in."""
        return [one.amount for one, _ in self.known]

    @property
    def doubtful(self) -> bool:
        """True if a table row of medium or low confidence went in."""
        return any(one.doubtful for one, _ in self.known)


def summed(every: Sequence[Converted]) -> Summed:
    """The accounts added up, each carrier once.

    When an account cannot be stated the rest is shown as what it is: coverage below 1, the account named, and
    no uncertainty, for that of a part says nothing of the whole.
    """
    known = tuple((one, one.kgce) for one in every if one.counted and one.kgce is not None)
    absent = tuple(one for one in every if one.counted and one.kgce is None)
    budget = total(one.budget for one, _ in known)
    if absent:
        missing = tuple(f"U unknown: {one.key} is missing" for one in absent)
        budget = Budget(budget.contributions, (*budget.unknown, *missing))
    why = [f"without {one.key}: {one.reason or 'nothing was measured'}" for one in absent]
    if not every:
        why = ["no account of this enterprise holds in the period"]
    return Summed(
        known=known,
        absent=absent,
        beside=tuple(one for one in every if not one.counted),
        value=sum((kgce for _, kgce in known), Fraction(0)) if known else None,
        budget=budget,
        coverage=_coverage(known, len(known) + len(absent)),
        reason=reasons(*why, *(one.amount.reason for one, _ in known)),
    )


def _coverage(known: Sequence[tuple[Converted, Fraction]], accounts: int) -> Decimal:
    """Mean coverage of the known accounts, weighted by their kgce, times the share of accounts that are known."""
    if not known:
        return Decimal(0)
    weights = [abs(kgce) for _, kgce in known]
    if not sum(weights):
        weights = [Fraction(1)] * len(known)
    mean = sum(
        (weight * Fraction(one.amount.coverage) for weight, (one, _) in zip(weights, known, strict=True)), Fraction(0)
    ) / sum(weights)
    return decimal_of(mean * Fraction(len(known), accounts))
