"""The tables of the ledger: facts about a plant, each with when it holds there and when we learned it.

Every table holds the fields of one kind of fact under their own names, and the same eight columns before
them. `valid_from` and `valid_to` are dates of plant time, half-open; no `valid_to` means until further
notice, and an empty span (`valid_to` = `valid_from`) says that the fact never held. `recorded_at` is
[us, UTC]. A row that `supersedes` another takes its place for everyone who asks from `recorded_at` on;
nothing is ever updated or deleted, which triggers enforce (see migrations).
"""

import json
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.certificates import CertificateKind
from gateway.domain.instruments import AccuracyClass, InstrumentState
from gateway.domain.sites import AccountMethod, MeteringLevel, PointRole

REVISIONS = ("0001",)  # of the schema, oldest first; the last one is what this code reads and writes

V = TypeVar("V")


class AsText(TypeDecorator[V]):
    """A value kept as the text that it is written with: decimals stay exact, enumerations readable."""

    impl = Text
    cache_ok = True

    def __init__(self, read: Callable[[str], V]) -> None:
        super().__init__()
        self.read = read

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ANN401, ARG002 - as inherited
        """The text of a value."""
        if isinstance(value, AccuracyClass):
            return value.sign
        return None if value is None else str(value.value if isinstance(value, StrEnum) else value)

    def process_result_value(self, value: Any, dialect: Dialect) -> V | None:  # noqa: ANN401, ARG002 - as inherited
        """The value of a text."""
        return None if value is None else self.read(value)


class PointIds(TypeDecorator[tuple[str, ...]]):
    """Ids of metering points, in order: a JSON array as text, which every database can compare."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:  # noqa: ANN401, ARG002 - as inherited
        """The ids as a JSON array."""
        return json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...]:  # noqa: ANN401, ARG002 - as inherited
        """The ids of a JSON array."""
        return tuple(json.loads(value))


metadata = MetaData()


def _need(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]] = Text) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _table(name: str, *columns: Column[Any], key: tuple[str, ...]) -> Table:
    return Table(
        name,
        metadata,
        Column("row_id", Integer, primary_key=True),
        Column("supersedes", Integer, ForeignKey(f"{name}.row_id"), nullable=True),
        _need("valid_from", Date),
        Column("valid_to", Date, nullable=True),
        _need("recorded_at", BigInteger),
        _need("recorded_by"),
        _need("reason"),
        *columns,
        CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name=f"ck_{name}_span"),
        CheckConstraint("recorded_by <> '' AND reason <> ''", name=f"ck_{name}_told"),
        Index(f"ix_{name}_key", *key),
        Index(f"ix_{name}_supersedes", "supersedes"),
        sqlite_autoincrement=True,
    )


enterprise = _table("enterprise", _need("id"), _need("name_zh"), _need("name_en"), key=("id",))

metering_point = _table(
    "metering_point",
    _need("enterprise"),
    _need("id"),
    _need("name_zh"),
    _need("name_en"),
    _need("carrier", AsText(EnergyCarrier)),
    _need("level", AsText(MeteringLevel)),
    _need("role", AsText(PointRole)),
    _need("counts"),
    _need("meter"),
    _need("parent"),
    key=("enterprise", "id"),
)

account = _table(
    "account",
    _need("enterprise"),
    _need("carrier", AsText(EnergyCarrier)),
    _need("conversion"),
    _need("method", AsText(AccountMethod)),
    _need("plus", PointIds),
    _need("minus", PointIds),
    _need("stock", PointIds),
    Column("density", AsText(Decimal), nullable=True),
    _need("density_source"),
    Column("ncv", AsText(Decimal), nullable=True),
    _need("ncv_source"),
    key=("enterprise", "carrier", "conversion"),
)

instrument = _table(
    "instrument",
    _need("enterprise"),
    _need("id"),
    _need("point"),
    _need("name_zh"),
    _need("name_en"),
    _need("kind"),
    _need("maker"),
    _need("model"),
    _need("serial"),
    Column("accuracy_class", AsText(AccuracyClass), nullable=True),
    _need("measuring_range"),
    _need("place"),
    _need("state", AsText(InstrumentState)),
    key=("enterprise", "id"),
)

certificate = _table(
    "certificate",
    _need("enterprise"),
    _need("instrument"),
    _need("number"),
    _need("kind", AsText(CertificateKind)),
    _need("laboratory"),
    _need("performed_on", Date),
    Column("valid_until", Date, nullable=True),
    Column("conforms", Boolean, nullable=True),
    Column("expanded_uncertainty_pct", AsText(Decimal), nullable=True),
    Column("k", AsText(Decimal), nullable=True),
    _need("file_sha256"),
    key=("enterprise", "instrument", "number"),
)

production = _table(
    "production",
    _need("enterprise"),
    _need("product"),
    _need("name_zh"),
    _need("name_en"),
    _need("unit"),
    _need("first_day", Date),
    _need("day_after", Date),
    _need("quantity", AsText(Decimal)),
    key=("enterprise", "product", "first_day"),
)

output_value = _table(
    "output_value",
    _need("enterprise"),
    _need("first_day", Date),
    _need("day_after", Date),
    _need("amount", AsText(Decimal)),
    _need("price_basis"),
    key=("enterprise", "price_basis", "first_day"),
)
