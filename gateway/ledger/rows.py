"""Rows of an imported table as facts of the ledger: certificates, instruments, production, output value."""

import hashlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from gateway.domain.certificates import Certificate, CertificateKind
from gateway.domain.instruments import AccuracyClass, Instrument, InstrumentState
from gateway.domain.periods import Period
from gateway.domain.production import CURRENT_PRICES, OutputValue, Production
from gateway.domain.sites import Site
from gateway.ledger import cells
from gateway.ledger.booking import Booking
from gateway.ledger.cells import Cells, WrongCell
from gateway.ledger.kinds import INSTRUMENTS


class Stated(NamedTuple):
    """A fact that a row states, and from when it holds where the row says so."""

    fact: Certificate | Instrument | Production | OutputValue
    valid_from: date | None = None


def certificate(row: Cells, site: Site, booking: Booking) -> Stated:  # noqa: ARG001 - one signature for all four
    """One certificate of one instrument. The file that it came as is remembered by its SHA-256."""
    instrument = row.take("instrument", cells.text, "")
    owners = _owners(booking, instrument)
    if instrument and not owners:
        mend = "Declare its meter in the site file, or import instruments first."
        row.refuse("instrument", repr(instrument), "the management number of a known instrument", mend)
    performed_on = row.take("performed_on", cells.day, date.min)
    if performed_on > booking.today:
        row.refuse("performed_on", performed_on.isoformat(), f"no day after today, {booking.today.isoformat()}")
    fact = Certificate(
        number=row.take("number", cells.text, ""),
        enterprise=_enterprise(row, owners) if owners else "",
        instrument=instrument,
        kind=row.take("kind", cells.word(cells.KINDS), CertificateKind.VERIFICATION),
        laboratory=row.take("laboratory", cells.text, ""),
        performed_on=performed_on,
        valid_until=row.take("valid_until", cells.day, None),
        conforms=row.take("conforms", cells.word(cells.CONFORMS), None),
        expanded_uncertainty_pct=row.take("expanded_uncertainty_pct", cells.number, None),
        k=row.take("k", cells.number, None),
        file_sha256=row.take("file", lambda name: _digest(row.file.parent / name), ""),
    )
    return Stated(fact)


def instrument(row: Cells, site: Site, booking: Booking) -> Stated:
    """One line of the instrument ledger 计量器具一览表. A blank cell leaves what is known as it is.

    Source: JJF 1356-2012 - 重点用能单位能源计量审查规范 - Annex B (the columns).
    """
    name = row.take("id", cells.text, "")
    valid_from = row.take("valid_from", cells.day, None)
    enterprise = _enterprise(row, _owners(booking, name) or site.enterprises.keys())
    known = _instrument_on(booking, enterprise, name, valid_from or booking.today)
    accuracy_class = row.take("accuracy_class", lambda cell: AccuracyClass(cells.accuracy_class(cell)), None)
    fact = Instrument(
        id=name,
        enterprise=enterprise,
        point=row.take("point", cells.text, known.point),
        name_zh=row.take("name_zh", cells.text, known.name_zh),
        name_en=row.take("name_en", cells.text, known.name_en),
        kind=row.take("kind", cells.text, known.kind),
        maker=row.take("maker", cells.text, known.maker),
        model=row.take("model", cells.text, known.model),
        serial=row.take("serial", cells.text, known.serial),
        accuracy_class=accuracy_class or known.accuracy_class,
        measuring_range=row.take("measuring_range", cells.text, known.measuring_range),
        place=row.take("place", cells.text, known.place),
        state=row.take("state", cells.word(cells.STATES), known.state),
    )
    return Stated(fact, valid_from)


def production(row: Cells, site: Site, booking: Booking) -> Stated:  # noqa: ARG001 - one signature for all four
    """What was made of one product in one period."""
    product = row.take("product", cells.text, "")
    whole = row.take("period", cells.period_in(site.timezone), None)
    name_zh, name_en = row.take("name_zh", cells.text, ""), row.take("name_en", cells.text, "")
    fact = Production(
        enterprise=_enterprise(row, site.enterprises.keys()),
        product=product,
        name_zh=name_zh or name_en or product,
        name_en=name_en or name_zh or product,
        unit=row.take("unit", cells.unit, ""),
        first_day=_first_day(whole),
        day_after=_day_after(whole),
        quantity=row.take("quantity", cells.number, Decimal(0)),
    )
    return Stated(fact)


def output_value(row: Cells, site: Site, booking: Booking) -> Stated:  # noqa: ARG001 - one signature for all four
    """The output value [10^4CNY] of one period on one price basis."""
    whole = row.take("period", cells.period_in(site.timezone), None)
    fact = OutputValue(
        enterprise=_enterprise(row, site.enterprises.keys()),
        first_day=_first_day(whole),
        day_after=_day_after(whole),
        amount=row.take("amount_10k_cny", cells.number, Decimal(0)),
        price_basis=row.take("price_basis", cells.price_basis, CURRENT_PRICES),
    )
    return Stated(fact)


READERS: dict[str, Callable[[Cells, Site, Booking], Stated]] = {
    "certificates": certificate,
    "instruments": instrument,
    "production": production,
    "output-value": output_value,
}


def _enterprise(row: Cells, candidates: AbstractSet[str]) -> str:
    """The enterprise that a row names, or the only one that it can mean."""
    if "enterprise" in row:
        return row.take("enterprise", cells.text, "")
    if len(candidates) == 1:
        return next(iter(candidates))
    mend = "Add the column enterprise (企业)." if candidates else "Declare an enterprise in the site file."
    row.refuse("enterprise", "nothing", f"one of {', '.join(sorted(candidates))}", mend)
    return ""


def _owners(booking: Booking, instrument: str) -> AbstractSet[str]:
    return {known.fact.enterprise for known in booking.known(INSTRUMENTS, id=instrument)} if instrument else set()


def _instrument_on(booking: Booking, enterprise: str, name: str, on: date) -> Instrument:
    rows = booking.known(INSTRUMENTS, enterprise=enterprise, id=name)
    before = [row.fact for row in rows if row.valid_from <= on] or [row.fact for row in rows]
    if before:
        return before[-1]
    return replace(_BLANK, id=name, enterprise=enterprise)


_BLANK = Instrument(
    id="",
    enterprise="",
    point="",
    name_zh="",
    name_en="",
    kind="",
    maker="",
    model="",
    serial="",
    accuracy_class=None,
    measuring_range="",
    place="",
    state=InstrumentState.QUALIFIED,
)


def _first_day(whole: Period | None) -> date:
    return date.min if whole is None else whole.first_day


def _day_after(whole: Period | None) -> date:
    return date.max if whole is None else whole.day_after


def _digest(path: Path) -> str:
    """The SHA-256 of a certificate's file. Raises WrongCell when there is no such file."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        pass
    raise WrongCell(f"a readable file; {path} is none", "Give its path as seen from the folder of this table.")
