"""What the ledger knew at an instant: rows recorded by then that no row recorded by then supersedes."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from gateway.domain.scopes import Scope
from gateway.ledger.kinds import F, Kind

T = TypeVar("T")


class Recorded(NamedTuple, Generic[T]):
    """A fact with its two times: when it holds in the plant, and when, by whom and why it was recorded.

    `valid_from` and `valid_to` are dates of plant time, half-open, None = until further notice;
    `recorded_at` is [us, UTC]; `supersedes` is the row that this one replaced, if any.
    """

    fact: T
    row_id: int
    valid_from: date
    valid_to: date | None
    recorded_at: int
    recorded_by: str
    reason: str
    supersedes: int | None


def known(
    connection: Connection,
    kind: Kind[F],
    scope: Scope,
    *,
    as_of: int | None,
    on: date | None = None,
    where: Mapping[str, object],
) -> list[Recorded[F]]:
    """The standing rows of a kind within a scope, by subject and date.

    `as_of` [us, UTC] = as known then, None = as known now. `on` = only what holds on that day, None = every
    span. `where` are columns and the value each must have (None = any).
    """
    columns = kind.table.c
    later = kind.table.alias("later")
    superseded = exists().where(later.c.supersedes == columns.row_id)
    conditions = [_visible(kind, scope), _holds(kind, on)]
    if as_of is not None:
        superseded = superseded.where(later.c.recorded_at <= as_of)
        conditions.append(columns.recorded_at <= as_of)
    conditions += [columns[name] == value for name, value in where.items() if value is not None]
    found = connection.execute(select(kind.table).where(~superseded, *conditions)).mappings()
    rows = [recorded(kind, dict(row)) for row in found]
    # Sorted here: the order of texts differs between databases.
    return sorted(rows, key=lambda row: (*map(str, kind.key_of(row.fact).values()), row.valid_from, row.row_id))


def history(connection: Connection, kind: Kind[F], fact: F) -> list[Recorded[F]]:
    """Every row ever recorded about the subject of `fact`, in the order of recording."""
    columns = kind.table.c
    same = [columns[name] == value for name, value in kind.key_of(fact).items()]
    found = connection.execute(select(kind.table).where(*same).order_by(columns.row_id)).mappings()
    return [recorded(kind, dict(row)) for row in found]


def recorded(kind: Kind[F], row: dict[str, Any]) -> Recorded[F]:
    """A row of a kind's table as a fact with its two times."""
    return Recorded(
        kind.read(row),
        row["row_id"],
        row["valid_from"],
        row["valid_to"],
        row["recorded_at"],
        row["recorded_by"],
        row["reason"],
        row["supersedes"],
    )


def _visible(kind: Kind[F], scope: Scope) -> ColumnElement[bool]:
    """The one place where reading meets the scope."""
    if scope.enterprises is None:
        return kind.table.c.row_id.is_not(None)
    return kind.table.c[kind.owner].in_(sorted(scope.enterprises))


def _holds(kind: Kind[F], on: date | None) -> ColumnElement[bool]:
    start, end = kind.table.c.valid_from, kind.table.c.valid_to
    if on is None:
        return or_(end.is_(None), end > start)
    return and_(start <= on, or_(end.is_(None), end > on))
