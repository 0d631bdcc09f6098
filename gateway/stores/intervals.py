"""The interval store: settled intervals and unallocated amounts of every series, each version kept.

Settling again writes a new version only where something changed, so every figure ever shown can be made again
from what was settled at its time.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Self

from gateway.domain.instruments import Carriage
from gateway.domain.intervals import Interval, Unallocated
from gateway.domain.scopes import EVERYTHING, Scope
from gateway.domain.sites import Series
from gateway.errors import StoreError
from gateway.stores.exact_numbers import INT64_MAX
from gateway.stores.interval_rows import (
    FINISH,
    GONE,
    IntervalColumns,
    IntervalVersion,
    Row,
    changes,
    columns_of,
    interval_of,
    intervals_said,
    newest,
    standing,
    unallocated_of,
    unallocated_said,
)
from gateway.stores.series_names import SERIES_TABLE, enrol, visible, visible_number
from gateway.stores.store_file import Layout, StoreFile

LAYOUT = Layout(
    holds="intervals",
    made_by="emg settle SITE",
    mend="Move it away with its -wal and -shm: `emg settle SITE` makes it anew from the readings.",
    mark=0x454D4749,  # "EMGI"
    version=1,
    tables=(
        SERIES_TABLE,
        """CREATE TABLE facts (
            series INTEGER PRIMARY KEY, unit TEXT NOT NULL, resolution TEXT NOT NULL, carriage TEXT NOT NULL,
            interval_s INTEGER
        ) STRICT""",
        """CREATE TABLE interval (
            series INTEGER NOT NULL, start INTEGER NOT NULL, version INTEGER NOT NULL, finish INTEGER NOT NULL,
            counts INTEGER, quality INTEGER NOT NULL, reason TEXT NOT NULL, covered_us INTEGER NOT NULL,
            edge_us INTEGER NOT NULL, edge_counts INTEGER NOT NULL, step INTEGER NOT NULL,
            first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL, gone INTEGER NOT NULL,
            settled_at INTEGER NOT NULL, watermark INTEGER NOT NULL, PRIMARY KEY (series, start, version)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE unallocated (
            series INTEGER NOT NULL, start INTEGER NOT NULL, version INTEGER NOT NULL, finish INTEGER NOT NULL,
            counts INTEGER, reason TEXT NOT NULL, first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
            gone INTEGER NOT NULL, settled_at INTEGER NOT NULL, watermark INTEGER NOT NULL,
            PRIMARY KEY (series, start, version)
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE watermark (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL) STRICT",
        "INSERT INTO watermark VALUES (1, 0)",
    ),
)

_INTERVALS = """SELECT start, version, finish, counts, quality, reason, covered_us, edge_us, edge_counts, step,
    first_sequence, last_sequence, gone FROM interval
    WHERE series = ? AND start >= ? AND start < ? AND settled_at <= ? ORDER BY start, version"""
_BEFORE = "SELECT start, finish, gone FROM interval WHERE series = ? AND start < ? ORDER BY start DESC, version DESC"
_VERSIONS = """SELECT start, version, finish, counts, quality, reason, covered_us, edge_us, edge_counts, step,
    first_sequence, last_sequence, gone, settled_at, watermark FROM interval
    WHERE series = ? AND start = ? ORDER BY version"""
_UNALLOCATED = """SELECT start, version, finish, counts, reason, first_sequence, last_sequence, gone FROM unallocated
    WHERE series = ? AND start < ? AND settled_at <= ? ORDER BY start, version"""
_ADD_INTERVAL = "INSERT INTO interval VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_UNALLOCATED = "INSERT INTO unallocated VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DESCRIBE = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)"


class SeriesFacts(NamedTuple):
    """What turns counts of a series into a quantity: one count is `resolution` [unit]."""

    unit: str
    resolution: Decimal
    carriage: Carriage
    interval_s: int | None  # [s] as the register declares it; None for a cumulative one


class IntervalStore:
    """Intervals of all series in one SQLite file (write-ahead log, a commit survives a power cut)."""

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open the file at `path`; the one writer makes it when it is absent.

        Raises StoreError when it is absent (read-only), foreign, of a newer release, or held by another writer.
        """
        return cls(StoreFile(path, LAYOUT, read_only=read_only))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, series: Series) -> None:
        """Record what a count of this series is. Raises StoreError when it was something else before."""
        register = series.register
        if series.resolution is None:
            raise StoreError(f"{series.key}: a register without a resolution has no counts, hence no intervals.")
        wanted = SeriesFacts(register.unit, series.resolution, register.carriage, register.interval_s)
        with self._file.write() as connection:
            number = enrol(connection, [series.key])[series.key]
            known = _facts(connection, number)
            if known == wanted:
                return
            if known is not None and known[:2] != wanted[:2]:
                raise StoreError(
                    f"{series.key}: a count was {known.resolution} {known.unit} and would now be "
                    f"{wanted.resolution} {wanted.unit}. A change of ratio, resolution or unit needs an "
                    "event that says when it happened; until there is one, undo it in the site file or the profile."
                )
            text = str(wanted.resolution)
            connection.execute(_DESCRIBE, (number, wanted.unit, text, wanted.carriage.value, wanted.interval_s))

    def write(
        self,
        series: str,
        intervals: Iterable[Interval],
        unallocated: Iterable[Unallocated],
        *,
        span: tuple[int, int],
        settled_at: int,
        watermark: int,
    ) -> int:
        """Make these the intervals within `span` and the unallocated amounts that overlap it [us, UTC].

        What is equal stays; what differs gets a new version; what is no longer given is withdrawn, as a version
        of its own. Returns the number of versions written: settling twice gives 0. `watermark` is the journal
        sequence up to which settle had looked. Raises StoreError for a series not described, for intervals that
        are not within the span, and when a stored interval lies across its edge.
        """
        wanted = intervals_said(series, intervals, span)
        amounts = unallocated_said(series, unallocated)
        with self._file.write() as connection:
            number = visible_number(connection, EVERYTHING, series)
            if number is None:
                raise StoreError(f"{series} was never described: its unit and resolution come first.")
            current = newest(connection.execute(_INTERVALS, (number, *span, INT64_MAX)))
            _refuse_straddling(connection, series, number, current.values(), span)
            new = [(number, *row, settled_at, watermark) for row in changes(current, wanted, current)]
            reach = max([span[1], *(start + 1 for start in amounts)])
            known = newest(connection.execute(_UNALLOCATED, (number, reach, INT64_MAX)))
            overlapping = [start for start, row in known.items() if start < span[1] and row[FINISH] > span[0]]
            new_amounts = [(number, *row, settled_at, watermark) for row in changes(known, amounts, overlapping)]
            connection.executemany(_ADD_INTERVAL, new)
            connection.executemany(_ADD_UNALLOCATED, new_amounts)
        return len(new) + len(new_amounts)

    def intervals(self, scope: Scope, series: str, start: int, end: int, *, as_of: int | None = None) -> list[Interval]:
        """The intervals that begin in [start, end) [us, UTC], in the newest version settled at or before `as_of`."""
        return [interval_of(series, row) for row in self._intervals(scope, series, start, end, as_of)]

    def columns(self, scope: Scope, series: str, start: int, end: int, *, as_of: int | None = None) -> IntervalColumns:
        """As `intervals`, column by column: for arithmetic over many."""
        return columns_of(self._intervals(scope, series, start, end, as_of))

    def unallocated(
        self, scope: Scope, series: str, start: int, end: int, *, as_of: int | None = None
    ) -> list[Unallocated]:
        """The unallocated amounts that overlap [start, end) [us, UTC], as settled at or before `as_of`."""
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            if number is None:
                return []
            rows = standing(connection.execute(_UNALLOCATED, (number, end, _limit(as_of))))
        return [unallocated_of(series, row) for row in rows if row[FINISH] > start]

    def versions(self, scope: Scope, series: str, start: int) -> list[IntervalVersion]:
        """Every version of the interval that begins at `start` [us, UTC], oldest first."""
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            rows = [] if number is None else connection.execute(_VERSIONS, (number, start)).fetchall()
        return [
            IntervalVersion(row[1], settled_at, watermark, None if row[GONE] else interval_of(series, row))
            for *row, settled_at, watermark in rows
        ]

    def facts(self, scope: Scope, series: str) -> SeriesFacts:
        """Unit and resolution of a series. Raises StoreError when it is unknown or outside the scope."""
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            found = None if number is None else _facts(connection, number)
        if found is None:
            raise StoreError(f"{series} has no intervals here; `{LAYOUT.made_by}` makes them from its readings.")
        return found

    def series(self, scope: Scope) -> list[str]:
        """The names of all series that were described here."""
        with self._file.read() as connection:
            return list(visible(connection, scope).values())

    def watermark(self) -> int:
        """The journal sequence up to which settle has looked at everything; 0 before the first time."""
        with self._file.read() as connection:
            return int(connection.execute("SELECT sequence FROM watermark").fetchone()[0])

    def set_watermark(self, sequence: int) -> None:
        """Say that settle has looked at everything up to `sequence`: the last step, after all was written."""
        with self._file.write() as connection:
            connection.execute("UPDATE watermark SET sequence = ?", (sequence,))

    def _intervals(self, scope: Scope, series: str, start: int, end: int, as_of: int | None) -> Sequence[Row]:
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            if number is None:
                return []
            return standing(connection.execute(_INTERVALS, (number, start, end, _limit(as_of))))


def _limit(as_of: int | None) -> int:
    return INT64_MAX if as_of is None else as_of


def _facts(connection: sqlite3.Connection, number: int) -> SeriesFacts | None:
    row = connection.execute(
        "SELECT unit, resolution, carriage, interval_s FROM facts WHERE series = ?", (number,)
    ).fetchone()
    return None if row is None else SeriesFacts(row[0], Decimal(row[1]), Carriage(row[2]), row[3])


def _refuse_straddling(
    connection: sqlite3.Connection, series: str, number: int, inside: Iterable[Row], span: tuple[int, int]
) -> None:
    """An interval half in and half out would be counted beside what replaces its half."""
    across = [row[:1] for row in inside if not row[GONE] and row[FINISH] > span[1]]
    seen = None
    for start, finish, gone in connection.execute(_BEFORE, (number, span[0])):
        if start != seen and not gone:
            across += [(start,)] if finish > span[0] else []
            break
        seen = start
    if across:
        raise StoreError(
            f"{series}: the stored interval from {across[0][0]} lies across an edge of the span {span}; "
            "settle a span that holds it whole."
        )
