"""Stating: what every figure says of itself beside its value: how sure it is, its marks, the clause it follows."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from analytics.accounting import Amount
from analytics.context import marks, reasons
from analytics.standard_coal import STANDARD
from analytics.uncertainty import Budget, expanded

_TITLE = "综合能耗计算通则"


def stated(value: Fraction | None, budget: Budget) -> Decimal | None:
    """The expanded uncertainty (k = 2) of a value; None where either is unknown."""
    return None if value is None else expanded(budget)


def how_sure(value: Fraction | None, budget: Budget, note: str = "") -> str:
    """What a figure says of its uncertainty: why it is unknown, or what it covers."""
    if value is None:
        return ""
    return reasons(*budget.unknown) if budget.unknown else reasons("k = 2", note)


def marks_of(
    amounts: Sequence[Amount],
    *,
    value: Fraction | None,
    budget: Budget,
    doubtful: bool = False,
    partial: bool = False,
) -> tuple[str, ...]:
    """The marks that a figure resting on these amounts carries."""
    return marks(
        {
            "to_be_confirmed": doubtful,
            "instrument_overdue": any(amount.overdue for amount in amounts),
            "instrument_unverified": any(amount.unverified for amount in amounts),
            "partial_coverage": value is not None and (partial or any(amount.coverage < 1 for amount in amounts)),
            "uncertainty_unknown": value is not None and bool(budget.unknown),
            "estimated": any(amount.estimated > 0 for amount in amounts),
        }
    )


def clause(edition: str, place: str) -> str:
    """A place in the standard as a pedigree cites it; clause numbers are known of the 2020 edition only."""
    sections = place if edition in {"", "2020"} else place.replace("§3", "definitions").replace("§8, ", "")
    return f"{STANDARD}-{edition or '2020'} - {_TITLE} - {sections}"
