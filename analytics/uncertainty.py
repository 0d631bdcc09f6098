"""Uncertainty of measurement: contributions of independent sources, carried through sums and quotients.

Source: JCGM 100:2008 - Guide to the expression of uncertainty in measurement - §4.3, §5.1, §6. The error of
an instrument's class is the same at every moment: in a sum over time it adds up linearly and no averaging
shrinks it; sources of different names are independent.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from gateway.domain.figures import Figure
from gateway.domain.instruments import AccuracyClass

COVERAGE_FACTOR = 2
_DIGITS_KEPT = 6  # of an expanded uncertainty; two are shown


@dataclass(frozen=True, slots=True)
class Budget:
    """Signed standard uncertainties by source [unit of the value]; `unknown` says what is not known."""

    contributions: Mapping[str, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def standard(self) -> float:
        """The combined standard uncertainty [unit of the value] of the known sources."""
        return math.sqrt(sum(u * u for u in self.contributions.values()))


def class_budget(value: Decimal | Fraction, accuracy_class: AccuracyClass | None, *, instrument: str) -> Budget:
    """Contribution of an accuracy class c [%], a limit of error: c / sqrt(3) of the value."""
    if accuracy_class is None:
        return Budget(unknown=(f"U unknown: class of {instrument} not declared",))
    try:
        limit = accuracy_class.limit_pct
    except ValueError:
        return Budget(unknown=(f"U unknown: class {accuracy_class.sign} of {instrument} states no limit",))
    return Budget({f"class of {instrument}": float(value) * float(limit) / 100 / math.sqrt(3)})


def difference_budget(step: Decimal | Fraction, *, source: str) -> Budget:
    """Contribution of a register difference whose total moves by `step` [unit]: triangular, step / sqrt(6)."""
    return Budget({f"resolution of {source}": float(step) / math.sqrt(6)})


def amounts_budget(step: Decimal | Fraction, number: int, *, source: str) -> Budget:
    """Contribution of so many amounts, each rounded to `step` [unit]: rectangular, step / (2 sqrt(3)) each."""
    return Budget({f"rounding of {source}": float(step) * math.sqrt(number / 12)})


def edge_budget(half_width: Decimal | Fraction, *, source: str) -> Budget:
    """Contribution of an interpolated boundary, wrong by at most `half_width` [unit]: rectangular."""
    return Budget({f"interpolation of {source}": float(half_width) / math.sqrt(3)} if half_width else {})


def total(budgets: Iterable[Budget]) -> Budget:
    """The budget of a sum: one source adds up with its sign, different sources stay apart."""
    contributions: dict[str, float] = {}
    unknown: list[str] = []
    for budget in budgets:
        for source, u in budget.contributions.items():
            contributions[source] = contributions.get(source, 0.0) + u
        unknown.extend(note for note in budget.unknown if note not in unknown)
    return Budget(contributions, tuple(unknown))


def scaled(budget: Budget, factor: Decimal | Fraction | int) -> Budget:
    """The budget of the value times an exact factor (a sign, a unit, a coefficient taken as exact)."""
    return Budget({source: u * float(factor) for source, u in budget.contributions.items()}, budget.unknown)


def quotient(numerator: Decimal | Fraction, above: Budget, denominator: Decimal | Fraction, below: Budget) -> Budget:
    """The budget of numerator / denominator, to first order."""
    return total(
        [
            scaled(above, 1 / Fraction(denominator)),
            scaled(below, -Fraction(numerator) / Fraction(denominator) ** 2),
        ]
    )


def expanded(budget: Budget) -> Decimal | None:
    """The expanded uncertainty [unit of the value], k = 2; None while any source is unknown."""
    if budget.unknown:
        return None
    return Decimal(f"{COVERAGE_FACTOR * budget.standard:.{_DIGITS_KEPT}g}")


def format_figure(figure: Figure) -> str:
    """A figure's number as people read it: "1,234.6 ± 6.2", the value alone where U is unknown, "—" without one."""
    value, u = shown(figure.value, figure.expanded_uncertainty)
    return f"{value} ± {u}" if figure.expanded_uncertainty is not None and figure.value is not None else value


def shown(value: Decimal | None, expanded_uncertainty: Decimal | None) -> tuple[str, str]:
    """(value, U) as shown: U to two significant digits, the value to the same place, thousands apart.

    Without an uncertainty the value is shown to at most six significant digits (whole numbers in full), and
    U as "unknown". A missing value is a dash.
    """
    if value is None:
        return "—", ""
    if expanded_uncertainty is None and value == value.to_integral_value():
        return f"{value.to_integral_value():,f}", "unknown"
    if expanded_uncertainty is None:
        return _grouped(value, min(0, _place_of(value, 6)) if value else 0), "unknown"
    if not expanded_uncertainty:
        return f"{value:,f}", "0"
    place = _place_of(expanded_uncertainty, 2)
    rounded = round_to(expanded_uncertainty, place)
    if _place_of(rounded, 2) > place:  # 0.0996 rounds to 0.10, not to 0.100
        place += 1
    return _grouped(value, place), _grouped(expanded_uncertainty, place)


def round_to(value: Decimal, place: int) -> Decimal:
    """`value` rounded half to even to a multiple of 10**place, without exponent."""
    unit = Decimal(1).scaleb(place)
    return (value / unit).to_integral_value(rounding="ROUND_HALF_EVEN") * unit


def _place_of(value: Decimal, digits: int) -> int:
    """The power of ten of the last of so many significant digits."""
    return value.adjusted() - digits + 1


def _grouped(value: Decimal, place: int) -> str:
    return f"{round_to(value, place):,.{max(0, -place)}f}"
