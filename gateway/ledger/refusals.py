"""What the ledger does not take: entries that contradict themselves or what is known already."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from gateway.domain.certificates import Certificate, CertificateKind
from gateway.domain.instruments import Instrument
from gateway.domain.production import OutputValue, Production, is_price_basis
from gateway.domain.readings import is_identifier
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Account, Enterprise, MeteringPoint
from gateway.errors import LedgerError
from gateway.ledger.kinds import ENTERPRISES, INSTRUMENTS, OUTPUT_VALUE, POINTS, PRODUCTION, Fact, Kind
from gateway.ledger.known import Recorded, known

_NAMES = "letters, digits, dot, hyphen and underscore, at most 64, beginning with a letter or digit"


class EntryRefused(LedgerError):
    """The ledger refuses one entry; nothing of it was booked. `column` is the field that is at fault."""

    def __init__(self, column: str, *, found: str, expected: str, mend: str = "") -> None:
        self.column, self.found, self.expected, self.mend = column, found, expected, mend
        text = f"{column}: found {found}; expected {expected}"
        super().__init__(f"{text}. {mend}" if mend else f"{text}.")


def refuse_wrong(connection: Connection, fact: Fact) -> None:
    """Raises EntryRefused when a fact contradicts itself or the ledger."""
    if not isinstance(fact, Enterprise):
        _refuse_unknown(connection, ENTERPRISES, "enterprise", fact.enterprise, id=fact.enterprise)
    _CHECKS[type(fact)](connection, fact)


def _refuse_unknown(connection: Connection, kind: Kind[Any], column: str, found: str, **equals: str) -> None:
    rows = known(connection, kind, EVERYTHING, as_of=None, where=equals)
    if not rows:
        name = kind.table.name.replace("_", " ")
        mend = (
            "Declare it in the site file"
            if kind is not INSTRUMENTS
            else "Declare its meter, or import instruments first"
        )
        raise EntryRefused(column, found=repr(found), expected=f"a known {name}", mend=f"{mend}.")


def _refuse_odd_name(column: str, name: str) -> None:
    if not is_identifier(name):
        raise EntryRefused(column, found=repr(name), expected=_NAMES)


def _enterprise(connection: Connection, fact: Enterprise) -> None:  # noqa: ARG001 - one signature for all
    _refuse_odd_name("id", fact.id)


def _point(connection: Connection, fact: MeteringPoint) -> None:  # noqa: ARG001 - one signature for all
    _refuse_odd_name("id", fact.id)


def _account(connection: Connection, fact: Account) -> None:
    for point in (*fact.plus, *fact.minus, *fact.stock):
        _refuse_unknown(connection, POINTS, "plus, minus, stock", point, enterprise=fact.enterprise, id=point)


def _instrument(connection: Connection, fact: Instrument) -> None:
    _refuse_odd_name("id", fact.id)
    if fact.point:
        _refuse_unknown(connection, POINTS, "point", fact.point, enterprise=fact.enterprise, id=fact.point)


def _certificate(connection: Connection, fact: Certificate) -> None:
    _refuse_unknown(
        connection, INSTRUMENTS, "instrument", fact.instrument, enterprise=fact.enterprise, id=fact.instrument
    )
    if not fact.number.strip():
        raise EntryRefused("number", found="nothing", expected="the number printed on the certificate")
    if fact.valid_until is not None and fact.valid_until < fact.performed_on:
        found, expected = fact.valid_until.isoformat(), f"no day before {fact.performed_on.isoformat()} (performed_on)"
        raise EntryRefused("valid_until", found=found, expected=expected)
    _uncertainty(fact)


def _uncertainty(fact: Certificate) -> None:
    pair = {"expanded_uncertainty_pct": fact.expanded_uncertainty_pct, "k": fact.k}
    for column, value in pair.items():
        if value is not None and fact.kind is not CertificateKind.CALIBRATION:
            mend = "A verification states conformity; book the uncertainty with a calibration."
            raise EntryRefused(column, found=str(value), expected="nothing for a verification", mend=mend)
        if value is not None and not (value.is_finite() and value > 0):
            raise EntryRefused(column, found=str(value), expected="a number above 0")
    missing = [column for column, value in pair.items() if value is None]
    if len(missing) == 1:
        mend = "An expanded uncertainty says nothing without its coverage factor."
        raise EntryRefused(
            missing[0], found="nothing", expected="a number, as the other of the two is given", mend=mend
        )


def _production(connection: Connection, fact: Production) -> None:
    _refuse_odd_name("product", fact.product)
    if not fact.unit.strip():
        raise EntryRefused("unit", found="nothing", expected="the unit of the quantity, e.g. t")
    _refuse_negative("quantity", fact)
    same = {"enterprise": fact.enterprise, "product": fact.product}
    rows = known(connection, PRODUCTION, EVERYTHING, as_of=None, where=same)
    _refuse_overlap(fact, rows)
    others = {row.fact.unit for row in rows if not _same_period(row.fact, fact)} - {fact.unit}
    if others:
        mend = "One product is counted in one unit; convert the quantity or use another product code."
        raise EntryRefused("unit", found=repr(fact.unit), expected=repr(min(others)), mend=mend)


def _output_value(connection: Connection, fact: OutputValue) -> None:
    if not is_price_basis(fact.price_basis):
        raise EntryRefused("price_basis", found=repr(fact.price_basis), expected="current or constant-YYYY")
    _refuse_negative("amount", fact)
    basis = {"enterprise": fact.enterprise, "price_basis": fact.price_basis}
    _refuse_overlap(fact, known(connection, OUTPUT_VALUE, EVERYTHING, as_of=None, where=basis))


def _refuse_negative(column: str, fact: Production | OutputValue) -> None:
    value = fact.quantity if isinstance(fact, Production) else fact.amount
    if not value.is_finite() or value < 0:
        raise EntryRefused(column, found=str(value), expected="a number of 0 or above")


def _same_period(one: Production | OutputValue, other: Production | OutputValue) -> bool:
    return (one.first_day, one.day_after) == (other.first_day, other.day_after)


def _refuse_overlap(
    fact: Production | OutputValue, rows: list[Recorded[Production]] | list[Recorded[OutputValue]]
) -> None:
    """A month booked beside one of its days would be counted twice."""
    if fact.first_day >= fact.day_after:
        found = f"{fact.first_day.isoformat()} to {fact.day_after.isoformat()}"
        raise EntryRefused("period", found=found, expected="a period of at least one day")
    for row in rows:
        held = row.fact
        if not _same_period(held, fact) and held.first_day < fact.day_after and fact.first_day < held.day_after:
            raise EntryRefused(
                "period",
                found=f"[{fact.first_day}, {fact.day_after})",
                expected=f"no overlap with [{held.first_day}, {held.day_after}), booked already",
                mend="Book months or days, not both: they would be counted twice.",
            )


_CHECKS: dict[type[Any], Callable[[Connection, Any], None]] = {
    Enterprise: _enterprise,
    MeteringPoint: _point,
    Account: _account,
    Instrument: _instrument,
    Certificate: _certificate,
    Production: _production,
    OutputValue: _output_value,
}
