"""What an enterprise made in a period: quantities of products, and output value. Intensities divide by these."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

CURRENT_PRICES = "current"
_PRICE_BASIS = re.compile(r"current|constant-\d{4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """The quantity [unit] of one product made in [first_day, day_after) of plant time."""

    enterprise: str
    product: str  # the enterprise's own product code
    name_zh: str
    name_en: str
    unit: str  # e.g. "t"; one unit per product
    first_day: date
    day_after: date
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputValue:
    """The output value (产值) of [first_day, day_after) of plant time on one price basis.

    `amount` is in 10^4CNY (万元). `price_basis` is "current" (现价) or "constant-YYYY" (YYYY 年不变价).
    """

    enterprise: str
    first_day: date
    day_after: date
    amount: Decimal
    price_basis: str


def is_price_basis(text: str) -> bool:
    """True if `text` names a price basis: "current" or "constant-YYYY"."""
    return _PRICE_BASIS.fullmatch(text) is not None
