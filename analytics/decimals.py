"""Exact fractions as decimals, and decimals as people write them."""

from decimal import Decimal, localcontext
from fractions import Fraction

_DIGITS = 34  # of a decimal that a fraction does not meet exactly


def decimal_of(value: Fraction) -> Decimal:
    """The decimal equal to a fraction; where none is, the nearest one of 34 significant digits."""
    with localcontext(prec=_DIGITS):
        return Decimal(value.numerator) / Decimal(value.denominator)


def plain(value: Decimal | Fraction | int) -> str:
    """A number without exponent and without trailing zeros after the point, e.g. "714300" or "0.1229"."""
    exact = decimal_of(value) if isinstance(value, Fraction) else Decimal(value)
    text = f"{exact:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(value: Decimal | Fraction | int, *, digits: int = 12) -> str:
    """As `plain`, rounded to so many significant digits where it has more."""
    exact = decimal_of(value) if isinstance(value, Fraction) else Decimal(value)
    with localcontext(prec=digits):
        return plain(+exact)
