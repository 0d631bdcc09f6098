"""What the ledger knew of an enterprise when a question is asked: its points, accounts, instruments, certificates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from analytics.calibration import InstrumentStatus, instrument_status
from analytics.context import Asked
from gateway.domain.certificates import CalibrationStatus, Certificate
from gateway.domain.figures import LedgerReference
from gateway.domain.instruments import Instrument
from gateway.domain.sites import Account, MeteringPoint
from gateway.ledger.known import Recorded

# Kinds of verification_periods.csv whose error adds to that of the meter behind them.
TRANSFORMERS = frozenset(
    {
        "measuring CT",
        "measuring VT",
        "power CT/VT, inductive",
        "capacitive VT",
        "combined instrument transformer",
    }
)
OVERDUE = frozenset({CalibrationStatus.OVERDUE, CalibrationStatus.FAILED})
UNVERIFIED = frozenset({CalibrationStatus.MISSING, CalibrationStatus.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantFacts:
    """The ledger as the question sees it."""

    asked: Asked
    points: Mapping[str, Recorded[MeteringPoint]]
    accounts: Sequence[Recorded[Account]]
    instruments: Sequence[Recorded[Instrument]]
    certificates: Sequence[Recorded[Certificate]]

    def at_point(self, point: MeteringPoint) -> list[Recorded[Instrument]]:
        """The instruments that measure at a point: its meter, and the transformers before it."""
        here = [row for row in self.instruments if row.fact.point == point.id]
        transformers = [row for row in here if row.fact.kind in TRANSFORMERS]
        named = [row for row in self.instruments if row.fact.id == point.meter]
        others = [row for row in here if row not in transformers]
        meter = named or (others if len(others) == 1 else [])
        return [*meter, *(row for row in transformers if row not in meter)]

    def status(self, instrument: Instrument, on: date) -> InstrumentStatus:
        """The state of an instrument on a date, by the certificates known at the as-of."""
        context = self.asked.context
        known = [row.fact for row in self.certificates]
        return instrument_status(instrument, known, on=on, tables=context.tables, due_soon_days=context.due_soon_days)

    def evidence(self, instrument: Recorded[Instrument], on: date) -> "Evidence":
        """What a figure says of an instrument that it rests on."""
        found = self.status(instrument.fact, on)
        references = [_instrument_reference(instrument, found)]
        if found.certificate is not None:
            row = next(row for row in self.certificates if row.fact == found.certificate)
            references.append(_certificate_reference(row))
        return Evidence(
            references=tuple(references),
            overdue=found.status in OVERDUE,
            unverified=found.status in UNVERIFIED,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Ledger entries that stand for an instrument, and whether it may be used without notice."""

    references: tuple[LedgerReference, ...] = field(default=())
    overdue: bool = False
    unverified: bool = False


def plant_facts(asked: Asked) -> PlantFacts:
    """What the ledger knew at the question's as-of. Raises LedgerError when it cannot be read."""
    ledger, scope, as_of = asked.context.ledger, asked.scope, asked.as_of
    first, after = asked.whole.first_day, asked.whole.day_after
    enterprise = asked.enterprise.id
    accounts = ledger.accounts(scope, as_of=as_of, on=None, enterprise=enterprise)
    return PlantFacts(
        asked=asked,
        points={
            row.fact.id: row for row in ledger.points(scope, as_of=as_of, on=asked.last_day, enterprise=enterprise)
        },
        accounts=[row for row in accounts if row.valid_from < after and (row.valid_to is None or first < row.valid_to)],
        instruments=ledger.instruments(scope, as_of=as_of, on=asked.last_day, enterprise=enterprise),
        certificates=ledger.certificates(scope, as_of=as_of, enterprise=enterprise),
    )


def _instrument_reference(row: Recorded[Instrument], found: InstrumentStatus) -> LedgerReference:
    fact = row.fact
    sign = f"class {fact.accuracy_class.sign}" if fact.accuracy_class else "class not declared"
    until = "no last day declared" if found.last_day is None else f"to {found.last_day}"
    maker = " ".join(word for word in (fact.maker, fact.model) if word)
    text = (
        f"{fact.kind}, {maker or 'maker not declared'}, serial {fact.serial or 'not declared'}, {sign}, at {fact.point}"
    )
    return LedgerReference(
        kind="instrument",
        key=fact.id,
        text=f"{text}; on {found.on}: {found.status.value.replace('_', ' ')}, {until}",
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
    )


def _certificate_reference(row: Recorded[Certificate]) -> LedgerReference:
    fact = row.fact
    until = "prints no last day" if fact.valid_until is None else f"valid to {fact.valid_until}"
    states = {True: "conforms", False: "does not conform", None: "makes no statement of conformity"}[fact.conforms]
    return LedgerReference(
        kind="certificate",
        key=fact.number,
        text=f"{fact.kind.value} of {fact.instrument} by {fact.laboratory} on {fact.performed_on}, {until}, {states}",
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
    )
