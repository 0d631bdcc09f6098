"""Figures: every number this product shows, with its pedigree as part of it."""

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row of a standard's table that a figure rests on."""

    file: str  # e.g. "carriers.csv"
    key: str  # e.g. "raw_coal"
    edition: str
    value: str  # the coefficient as printed in the row, or "measured ncv 23470 kJ/kg / 29307.6"
    unit: str  # e.g. "kgce/kg"
    source: str
    confidence: str  # high | medium | low
    confirmed: bool  # False: the row has not been compared with the official text (待确认)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRange:
    """The readings of one series that a figure rests on, by reference: never the readings themselves."""

    series: str
    instrument: str  # management number of the meter they came from
    start: int  # [us, UTC] of the span asked for
    end: int
    first_sequence: int  # journal range; 0 when there is none
    last_sequence: int
    counts: int | None  # consumption or stock in counts of the resolution
    resolution: Decimal
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReference:
    """A ledger entry that a figure rests on: certificate, instrument, production, output value ..."""

    kind: str  # "instrument" | "certificate" | "production" | "output_value"
    key: str
    text: str  # what it says, in one line
    recorded_at: int  # [us, UTC]; 0 where the entry comes from the site file
    recorded_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pedigree:
    """What a figure was made from: references only, unfolded lazily.

    `formula` names the calculation, `substituted` is the same with the values put in; `parts` are the
    ids of the figures that went in.
    """

    formula: str
    substituted: str = ""
    clause: str = ""  # standard, edition and clause of the formula
    parts: tuple[str, ...] = ()
    rows: tuple[TableRow, ...] = ()
    readings: tuple[ReadingRange, ...] = ()
    ledger: tuple[LedgerReference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number with everything that says how far to trust it.

    `id` is canonical: `kind/enterprise/period/key@as-of`; resolving it needs nothing stored.
    `value` is None when it cannot be stated; `reason` then says why. `expanded_uncertainty` [unit] is
    k = 2 and None when unknown. `coverage` is the share of the period that readings speak for, and
    `share_estimated` the share of the value that was estimated (both 0..1).
    """

    id: str
    kind: str
    enterprise: str
    period: str
    key: str
    name_zh: str
    name_en: str
    value: Decimal | None
    unit: str
    expanded_uncertainty: Decimal | None = None
    uncertainty_note: str = ""
    coverage: Decimal = Decimal(1)
    share_estimated: Decimal = Decimal(0)
    edition: str = ""
    method: str = ""
    sign_convention: str = "positive = consumed"
    reason: str = ""
    marks: tuple[str, ...] = ()  # "to_be_confirmed", "instrument_overdue", "partial_coverage", ...
    pedigree: Pedigree = field(default_factory=lambda: Pedigree(formula=""))


def figure_id(kind: str, enterprise: str, period: str, key: str, as_of: str) -> str:
    """The canonical id. `as_of` is the recorded time of the ledger, ISO 8601 UTC (…Z)."""
    return f"{kind}/{enterprise}/{period}/{key}@{as_of}"


def split_figure_id(text: str) -> tuple[str, str, str, str, str]:
    """(kind, enterprise, period, key, as_of); as_of is "" when the id names none. Raises ValueError."""
    path, _, as_of = text.partition("@")
    parts = path.split("/")
    if len(parts) != 4 or not all(parts):
        raise ValueError(f"a figure id is kind/enterprise/period/key[@as-of], not {text!r}")
    kind, enterprise, period, key = parts
    return kind, enterprise, period, key, as_of
