"""The seven kinds of facts in the ledger: which table holds each, and what makes two rows speak of one subject."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from sqlalchemy import Table

from gateway.domain.certificates import Certificate
from gateway.domain.instruments import Instrument
from gateway.domain.production import OutputValue, Production
from gateway.domain.sites import Account, Enterprise, MeteringPoint
from gateway.ledger import schema
from gateway.ledger.spans import Span

Fact = Enterprise | MeteringPoint | Account | Instrument | Certificate | Production | OutputValue
F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True)
class Kind(Generic[F]):
    """One kind of fact.

    `key` names the fields that say which subject a fact is about. `family` names those that decide whether
    the ledger has ever known anything of the sort, so that a first fact may hold from the beginning of time.
    `dates` are the fields of a document's own span ("" = open end): a certificate or a production figure is
    replaced whole, while the state of a point or an instrument changes on a day.
    """

    fact: type[F]
    table: Table
    key: tuple[str, ...]
    family: tuple[str, ...]
    dates: tuple[str, str] | None = None

    @property
    def owner(self) -> str:
        """The column that says whose fact it is: what a scope is compared with."""
        return "id" if self.fact is Enterprise else "enterprise"

    def key_of(self, fact: F) -> dict[str, Any]:
        """The fields that identify the subject."""
        return {name: getattr(fact, name) for name in self.key}

    def span_of(self, fact: F) -> Span | None:
        """The dates that a document carries itself; None for a state."""
        if self.dates is None:
            return None
        start, end = self.dates
        return Span(getattr(fact, start), getattr(fact, end) if end else None)

    def columns_of(self, fact: F) -> dict[str, Any]:
        """A fact as the columns of its table."""
        return {field.name: getattr(fact, field.name) for field in fields(self.fact)}

    def read(self, row: Mapping[str, Any]) -> F:
        """A fact from the columns of its table."""
        return self.fact(**{field.name: row[field.name] for field in fields(self.fact)})

    def subject(self, fact: F) -> str:
        """What a fact is about, for people: "instrument A-01 of cement-works"."""
        parts = [getattr(fact, name) for name in self.key if name != self.owner]
        words = [" + ".join(part) if isinstance(part, tuple) else str(part) for part in parts if part]
        whose = str(getattr(fact, self.owner))
        name = self.table.name.replace("_", " ")
        return f"{name} {' '.join(words)} of {whose}" if words else f"{name} {whose}"


ENTERPRISES = Kind(Enterprise, schema.enterprise, ("id",), ("id",))
POINTS = Kind(MeteringPoint, schema.metering_point, ("enterprise", "id"), ("enterprise", "id"))
# An account is known by what it adds up. One more of a carrier that is accounted already is a change of that
# carrier's accounts, from that day on: it must not count the past a second time.
ACCOUNTS = Kind(
    Account,
    schema.account,
    ("enterprise", "carrier", "conversion", "plus", "stock"),
    ("enterprise", "carrier"),
)
INSTRUMENTS = Kind(Instrument, schema.instrument, ("enterprise", "id"), ("enterprise", "id"))
CERTIFICATES = Kind(
    Certificate,
    schema.certificate,
    ("enterprise", "instrument", "number"),
    ("enterprise", "instrument", "number"),
    dates=("performed_on", ""),
)
PRODUCTION = Kind(
    Production,
    schema.production,
    ("enterprise", "product", "first_day", "day_after"),
    ("enterprise", "product"),
    dates=("first_day", "day_after"),
)
OUTPUT_VALUE = Kind(
    OutputValue,
    schema.output_value,
    ("enterprise", "price_basis", "first_day", "day_after"),
    ("enterprise", "price_basis"),
    dates=("first_day", "day_after"),
)
KINDS: tuple[Kind[Any], ...] = (
    ENTERPRISES,
    POINTS,
    ACCOUNTS,
    INSTRUMENTS,
    CERTIFICATES,
    PRODUCTION,
    OUTPUT_VALUE,
)


def kind_of(fact: F) -> Kind[F]:
    """The kind of a fact. Raises KeyError on anything that the ledger does not hold."""
    return {kind.fact: kind for kind in KINDS}[type(fact)]
