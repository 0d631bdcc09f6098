"""The series of a store file: a number for each name, and the one place where a caller's scope is enforced."""

import sqlite3
from collections.abc import Iterable

from gateway.domain.scopes import Scope

SERIES_TABLE = "CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT"


def visible(connection: sqlite3.Connection, scope: Scope) -> dict[int, str]:
    """Number -> name of every series that `scope` may see, by name."""
    rows = connection.execute("SELECT id, name FROM series ORDER BY name")
    return {number: name for number, name in rows if is_visible(scope, name)}


def visible_number(connection: sqlite3.Connection, scope: Scope, name: str) -> int | None:
    """The number of this series; None when it is unknown and, just the same, when `scope` may not see it."""
    if not is_visible(scope, name):
        return None
    row = connection.execute("SELECT id FROM series WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def enrol(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    """Name -> number of these series; those not seen before get the next numbers."""
    numbers: dict[str, int] = {}
    for name in names:
        connection.execute("INSERT INTO series (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
        numbers[name] = int(connection.execute("SELECT id FROM series WHERE name = ?", (name,)).fetchone()[0])
    return numbers


def is_visible(scope: Scope, name: str) -> bool:
    """True if `scope` may see this series."""
    return scope.allows(_enterprise_of(name))


def _enterprise_of(name: str) -> str:
    """The first part of a series name; a name of one part belongs to an enterprise of that name."""
    return name.partition("/")[0]
