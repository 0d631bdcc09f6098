"""Figures about instruments: how many days each certificate still holds on a date, and how many are in date.

Source: GB 17167-2006 - 用能单位能源计量器具配备和管理通则 - verification of instruments (clause number to be
confirmed); the period is that of the regulation (JJG) of the instrument.
"""

from decimal import Decimal

from analytics.calibration import IN_ORDER, InstrumentStatus
from analytics.context import Asked, marks, reasons
from analytics.plant_facts import OVERDUE, UNVERIFIED, PlantFacts, plant_facts
from gateway.domain.certificates import STATUS_ZH
from gateway.domain.figures import Figure, Pedigree
from gateway.domain.instruments import Instrument
from gateway.ledger.known import Recorded

CALIBRATION_STATUS = "calibration_status"
INSTRUMENTS_IN_DATE = "instruments_in_date"
ALL = "all"
_EXACT = "counted, hence exact"


def on_its_last_day(asked: Asked) -> Asked:
    """The question about instruments that goes with one about a period: its last day, or the as-of's."""
    return asked.over(asked.last_day.isoformat())


def calibration_statuses(asked: Asked) -> list[Figure]:
    """One figure per instrument: days [d] from the question's day to the last day on which its certificate holds."""
    facts = plant_facts(asked)
    return [_status_figure(asked, facts, row) for row in facts.instruments]


def calibration_status(asked: Asked, instrument: str) -> Figure | None:
    """The figure of one instrument; None when the ledger does not know it."""
    facts = plant_facts(asked)
    return next((_status_figure(asked, facts, row) for row in facts.instruments if row.fact.id == instrument), None)


def _status_figure(asked: Asked, facts: PlantFacts, row: Recorded[Instrument]) -> Figure:
    on = asked.whole.first_day
    found, evidence = facts.status(row.fact, on), facts.evidence(row, on)
    return Figure(
        id=asked.id(CALIBRATION_STATUS, row.fact.id),
        kind=CALIBRATION_STATUS,
        enterprise=asked.enterprise.id,
        period=asked.whole.name,
        key=row.fact.id,
        name_zh=f"{row.fact.name_zh}：{STATUS_ZH[found.status]}",
        name_en=f"{row.fact.name_en}: {_words(found)}",
        value=None if found.days_left is None else Decimal(found.days_left),
        unit="d",
        uncertainty_note="" if found.days_left is None else _EXACT,
        method="days from this date to the last day on which the deciding certificate holds",
        sign_convention="positive = still holds",
        reason=_why(found),
        marks=marks(
            {
                "to_be_confirmed": found.row is not None and found.row.confidence != "high",
                "instrument_overdue": found.status in OVERDUE,
                "instrument_unverified": found.status in UNVERIFIED,
            }
        ),
        pedigree=Pedigree(
            formula="last day on which the certificate holds - this date",
            substituted="" if found.last_day is None else f"{found.last_day} - {on} = {found.days_left} d",
            clause=found.row.source if found.row else "the date printed on the certificate" if found.last_day else "",
            rows=(found.row,) if found.row else (),
            ledger=evidence.references,
        ),
    )


def instruments_in_date(asked: Asked) -> Figure:
    """How many instruments [1] of the enterprise are in date on the question's day."""
    facts, on = plant_facts(asked), asked.whole.first_day
    states = [(row.fact.id, facts.status(row.fact, on)) for row in facts.instruments]
    in_date = sum(found.status in IN_ORDER for _, found in states)
    others = [f"{name} {_words(found)}" for name, found in states if found.status not in IN_ORDER]
    return Figure(
        id=asked.id(INSTRUMENTS_IN_DATE, ALL),
        kind=INSTRUMENTS_IN_DATE,
        enterprise=asked.enterprise.id,
        period=asked.whole.name,
        key=ALL,
        name_zh="在有效期内的计量器具",
        name_en="instruments in date",
        value=Decimal(in_date) if states else None,
        unit="1",
        uncertainty_note=_EXACT if states else "",
        method=f"instruments whose deciding certificate holds on {on}, of {len(states)} in the ledger",
        sign_convention="count",
        reason=reasons(*others) if states else "the ledger knows no instrument of this enterprise",
        marks=marks(
            {
                "instrument_overdue": any(found.status in OVERDUE for _, found in states),
                "instrument_unverified": any(found.status in UNVERIFIED for _, found in states),
            }
        ),
        pedigree=Pedigree(
            formula="number of instruments in date or due soon",
            substituted=f"{in_date} of {len(states)}" if states else "",
            parts=tuple(asked.id(CALIBRATION_STATUS, name) for name, _ in states),
        ),
    )


def _words(found: InstrumentStatus) -> str:
    return found.status.value.replace("_", " ")


def _why(found: InstrumentStatus) -> str:
    if found.certificate is None:
        return f"{_words(found)}: no certificate was performed by {found.on}"
    if found.last_day is None:
        return f"{_words(found)}: certificate {found.certificate.number} prints no last day and no period applies"
    return f"{_words(found)}: certificate {found.certificate.number}, to {found.last_day}"
