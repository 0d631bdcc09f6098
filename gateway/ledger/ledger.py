"""The ledger: what is known of enterprises, points, instruments, certificates and production, and since when."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from typing import Unpack

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gateway.domain.certificates import Certificate
from gateway.domain.instruments import Instrument
from gateway.domain.periods import to_datetime
from gateway.domain.production import OutputValue, Production
from gateway.domain.scopes import Scope
from gateway.domain.sites import Account, Enterprise, MeteringPoint
from gateway.errors import LedgerError
from gateway.ledger.booking import Booking, Entry
from gateway.ledger.kinds import (
    ACCOUNTS,
    CERTIFICATES,
    ENTERPRISES,
    INSTRUMENTS,
    OUTPUT_VALUE,
    POINTS,
    PRODUCTION,
    F,
    Kind,
)
from gateway.ledger.known import Recorded, known

Writing = Callable[[], AbstractContextManager[Connection]]


@contextmanager
def telling(name: str) -> Iterator[None]:
    """Turns what the database complains of into a LedgerError that names the ledger."""
    try:
        yield
    except DBAPIError as error:
        raise LedgerError(f"{name}: {error.orig}") from error


class Ledger:
    """Reads and writes of one ledger, each within the caller's scope.

    In every read `as_of` [us, UTC] asks for what was known then (None: for what is known now) and `on` for
    what holds on that day of plant time (None: for every span). Open one with `gateway.ledger.opening`.
    """

    def __init__(self, name: str, timezone: str, *, readers: Engine, writing: Writing | None) -> None:
        self._name = name
        self._timezone = timezone
        self._readers = readers
        self._writing = writing

    def close(self) -> None:
        """Let go of the file."""
        self._readers.dispose()

    def day_of(self, instant: int) -> date:
        """The plant's date at an instant [us, UTC]."""
        return to_datetime(instant, self._timezone).date()

    def enterprises(self, scope: Scope, *, as_of: int | None, on: date | None) -> list[Recorded[Enterprise]]:
        """The enterprises 用能单位, by id."""
        return self._known(ENTERPRISES, scope, as_of, on)

    def points(
        self, scope: Scope, *, as_of: int | None, on: date | None, enterprise: str | None = None
    ) -> list[Recorded[MeteringPoint]]:
        """The metering points; `parent` makes them a tree."""
        return self._known(POINTS, scope, as_of, on, enterprise=enterprise)

    def accounts(
        self, scope: Scope, *, as_of: int | None, on: date | None, enterprise: str | None = None
    ) -> list[Recorded[Account]]:
        """How consumption is accounted, one entry per enterprise, carrier and conversion row."""
        return self._known(ACCOUNTS, scope, as_of, on, enterprise=enterprise)

    def instruments(
        self, scope: Scope, *, as_of: int | None, on: date | None, enterprise: str | None = None
    ) -> list[Recorded[Instrument]]:
        """The measuring instruments 计量器具一览表, by management number."""
        return self._known(INSTRUMENTS, scope, as_of, on, enterprise=enterprise)

    def certificates(
        self, scope: Scope, *, as_of: int | None, enterprise: str | None = None, instrument: str | None = None
    ) -> list[Recorded[Certificate]]:
        """The certificates of all instruments, or of one; also those that have run out."""
        return self._known(CERTIFICATES, scope, as_of, None, enterprise=enterprise, instrument=instrument)

    def production(
        self, scope: Scope, *, as_of: int | None, enterprise: str, first_day: date, day_after: date
    ) -> list[Recorded[Production]]:
        """The entries whose whole period lies in [first_day, day_after) of plant time; none overlap."""
        rows = self._known(PRODUCTION, scope, as_of, None, enterprise=enterprise)
        return [row for row in rows if first_day <= row.fact.first_day and row.fact.day_after <= day_after]

    def output_value(
        self, scope: Scope, *, as_of: int | None, enterprise: str, first_day: date, day_after: date
    ) -> list[Recorded[OutputValue]]:
        """The entries whose whole period lies in [first_day, day_after); none of one price basis overlap."""
        rows = self._known(OUTPUT_VALUE, scope, as_of, None, enterprise=enterprise)
        return [row for row in rows if first_day <= row.fact.first_day and row.fact.day_after <= day_after]

    @contextmanager
    def booking(self, scope: Scope, **entry: Unpack[Entry]) -> Iterator[Booking]:
        """One transaction for many entries: all that it recorded is durable when it is left, or none of it.

        Raises LedgerError when the ledger was opened read-only or cannot be written.
        """
        if self._writing is None:
            raise LedgerError(f"{self._name} was opened read-only; nothing can be recorded in it")
        with telling(self._name), self._writing() as connection:
            yield Booking(connection, scope, self.day_of(entry["recorded_at"]), entry)

    def record_enterprise(
        self, scope: Scope, fact: Enterprise, *, valid_from: date | None = None, **entry: Unpack[Entry]
    ) -> bool:
        """Record an enterprise. As all of these: False when it was known so already; see `Booking.record`."""
        with self.booking(scope, **entry) as booking:
            return booking.record(fact, valid_from=valid_from)

    def record_point(
        self, scope: Scope, fact: MeteringPoint, *, valid_from: date | None = None, **entry: Unpack[Entry]
    ) -> bool:
        """Record a metering point, from `valid_from` on."""
        with self.booking(scope, **entry) as booking:
            return booking.record(fact, valid_from=valid_from)

    def record_account(
        self, scope: Scope, fact: Account, *, valid_from: date | None = None, **entry: Unpack[Entry]
    ) -> bool:
        """Record how a fuel or medium is accounted, from `valid_from` on."""
        with self.booking(scope, **entry) as booking:
            return booking.record(fact, valid_from=valid_from)

    def record_instrument(
        self, scope: Scope, fact: Instrument, *, valid_from: date | None = None, **entry: Unpack[Entry]
    ) -> bool:
        """Record the state of a measuring instrument, from `valid_from` on."""
        with self.booking(scope, **entry) as booking:
            return booking.record(fact, valid_from=valid_from)

    def record_certificate(self, scope: Scope, fact: Certificate, **entry: Unpack[Entry]) -> bool:
        """Record a certificate; one of the same instrument and number is corrected by it."""
        with self.booking(scope, **entry) as booking:
            return booking.record(fact)

    def record_production(self, scope: Scope, fact: Production, **entry: Unpack[Entry]) -> bool:
        """Record what was made in a period; an entry of the same product and period is corrected by it."""
        with self.booking(scope, **entry) as booking:
            return booking.record(fact)

    def record_output_value(self, scope: Scope, fact: OutputValue, **entry: Unpack[Entry]) -> bool:
        """Record the output value of a period; an entry of the same basis and period is corrected by it."""
        with self.booking(scope, **entry) as booking:
            return booking.record(fact)

    def _known(
        self, kind: Kind[F], scope: Scope, as_of: int | None, on: date | None, **equals: str | None
    ) -> list[Recorded[F]]:
        with telling(self._name), self._readers.connect() as connection:
            return known(connection, kind, scope, as_of=as_of, on=on, where=equals)
