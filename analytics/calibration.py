"""Calibration status: in what state the verification or calibration of every instrument is on a date.

The date printed on a certificate goes before every table. A verification period is taken from
verification_periods.csv only when the instrument's kind and class name one row and no other; a calibration
has no period but the one its certificate prints.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from analytics.context import FigureContext
from analytics.standards.tables import Row, Tables, cite
from gateway.domain.certificates import CalibrationStatus, Certificate, CertificateKind, status_on
from gateway.domain.figures import TableRow
from gateway.domain.instruments import AccuracyClass, Instrument

_SIGN = r"\d+(?:\.\d+)?S?"
_SIGNS = re.compile(rf"class ({_SIGN}(?:, {_SIGN})*)(?: \((?:active|reactive)\))?")
_OR_BETTER = re.compile(r"class (\d+(?:\.\d+)?) or better")
_WORSE_THAN = re.compile(r"class worse than (\d+(?:\.\d+)?)")

# States in which the instrument may be used for a figure without notice.
IN_ORDER = frozenset({CalibrationStatus.IN_DATE, CalibrationStatus.DUE_SOON})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentStatus:
    """The state of one instrument on a date: the certificate that decides, its last day, the row that says how long.

    `last_day` is None when nothing declares it; `row` is None when the certificate prints the date itself.
    """

    instrument: Instrument
    on: date
    status: CalibrationStatus
    certificate: Certificate | None
    last_day: date | None
    row: TableRow | None

    @property
    def days_left(self) -> int | None:
        """Days [d] from the date to the last valid day; negative when it has passed, None when unknown."""
        return None if self.last_day is None else (self.last_day - self.on).days


def instrument_status(
    instrument: Instrument,
    certificates: Sequence[Certificate],
    *,
    on: date,
    tables: Tables,
    due_soon_days: int = 30,
) -> InstrumentStatus:
    """The state of one instrument on a date, from its certificates performed up to that date.

    Source: the regulation of the instrument (JJG) that the table row names; the printed date overrides it.
    """
    own = [certificate for certificate in certificates if certificate.instrument == instrument.id]
    row = verification_row(instrument, tables)
    months = None if row is None else row.number("months")
    period = None if months is None else int(months)
    # The newest certificate decides; only a verification has the period of a regulation.
    status, newest, _ = status_on(own, on=on, period_months=period, due_soon_days=due_soon_days)
    if newest is not None and newest.kind is CertificateKind.CALIBRATION:
        period = None
    status, newest, last_day = status_on(own, on=on, period_months=period, due_soon_days=due_soon_days)
    used = row is not None and period is not None and newest is not None and newest.valid_until is None
    return InstrumentStatus(
        instrument=instrument,
        on=on,
        status=status,
        certificate=newest,
        last_day=last_day,
        row=cite(row, key=_key(row), value=row.text("months"), unit="month") if used and row else None,
    )


def statuses(
    instruments: Iterable[Instrument],
    certificates: Sequence[Certificate],
    *,
    on: date,
    tables: Tables,
    due_soon_days: int = 30,
) -> list[InstrumentStatus]:
    """The state of every instrument on a date, in the order given."""
    return [
        instrument_status(instrument, certificates, on=on, tables=tables, due_soon_days=due_soon_days)
        for instrument in instruments
    ]


def instrument_statuses(
    context: FigureContext, enterprise: str, *, on: date, as_of: int | None = None
) -> list[InstrumentStatus]:
    """The state of every instrument of an enterprise on a date, as known at `as_of` [us, UTC] (None: now)."""
    scope = context.scope.only(enterprise)
    known_at = context.now if as_of is None else as_of
    instruments = context.ledger.instruments(scope, as_of=known_at, on=on, enterprise=enterprise)
    certificates = context.ledger.certificates(scope, as_of=known_at, enterprise=enterprise)
    return statuses(
        [row.fact for row in instruments],
        [row.fact for row in certificates],
        on=on,
        tables=context.tables,
        due_soon_days=context.due_soon_days,
    )


def verification_row(instrument: Instrument, tables: Tables) -> Row | None:
    """The one row of verification_periods.csv that applies to an instrument's kind and class; else None."""
    rows = [row for row in tables.rows("verification_periods.csv") if row.text("instrument_en") == instrument.kind]
    if len(rows) == 1 and not rows[0].text("applicability"):
        return rows[0]
    fitting = [row for row in rows if _names_class(row.text("applicability"), instrument.accuracy_class)]
    return fitting[0] if len(fitting) == 1 else None


def _names_class(applicability: str, accuracy_class: AccuracyClass | None) -> bool:
    """True if the text speaks of classes alone, and of this one."""
    if accuracy_class is None:
        return False
    own = _graded(accuracy_class.sign)
    if own is None:
        return False
    if match := _OR_BETTER.fullmatch(applicability):
        return own[0] <= Decimal(match[1])
    if match := _WORSE_THAN.fullmatch(applicability):
        return own[0] > Decimal(match[1])
    parts = [_SIGNS.fullmatch(part) for part in applicability.split("; ")]
    signs = {_graded(sign) for part in parts if part is not None for sign in part[1].split(", ")}
    return all(parts) and own in signs


def _graded(sign: str) -> tuple[Decimal, bool] | None:
    """A class sign as (limit [%], whether it is an S class), so that "1" and "1.0" are one; else None."""
    try:
        return AccuracyClass(sign).limit_pct, sign.endswith("S")
    except ValueError:
        return None


def _key(row: Row) -> str:
    applicability = row.text("applicability")
    return f"{row.text('regulation')}, {applicability}" if applicability else row.text("regulation")
