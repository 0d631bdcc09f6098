"""The embedded reading store: every reading and the latest values in one SQLite file.

New readings are appended to `hot`, in journal order, and found again by day, series and instant. The day
comes first so that arrivals land on few pages of the index, and because a day is what can later be sealed
into compressed chunks beside `hot`; callers see only the methods below.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

from gateway.contracts import Delivery, StoredReading, Touched
from gateway.domain.scopes import Scope
from gateway.errors import StoreError
from gateway.stores.hot_rows import Batch, Conflict, Row, batch_of, place_after, repeats, standing, stored
from gateway.stores.series_names import SERIES_TABLE, enrol, visible, visible_number
from gateway.stores.store_file import Layout, StoreFile

LAYOUT = Layout(
    holds="readings",
    made_by="emg run SITE",
    mark=0x454D4752,  # "EMGR"
    version=1,
    tables=(
        SERIES_TABLE,
        """CREATE TABLE hot (
            place INTEGER PRIMARY KEY,
            series INTEGER NOT NULL,
            instant INTEGER NOT NULL,
            value ANY,
            quality INTEGER NOT NULL,
            reason TEXT NOT NULL,
            day INTEGER AS (instant / 86400000000) VIRTUAL
        ) STRICT""",
        "CREATE INDEX hot_found ON hot (day, series, instant)",
        "CREATE TABLE days (day INTEGER PRIMARY KEY) STRICT",
        """CREATE TABLE latest (
            series INTEGER PRIMARY KEY,
            place INTEGER NOT NULL,
            instant INTEGER NOT NULL,
            value ANY,
            quality INTEGER NOT NULL,
            reason TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE tally (
            series INTEGER PRIMARY KEY, readings INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE cursor (
            one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, witness BLOB NOT NULL
        ) STRICT""",
        "INSERT INTO cursor VALUES (1, 0, x'')",
    ),
)

_APPEND = "INSERT INTO hot (place, series, instant, value, quality, reason) VALUES (?, ?, ?, ?, ?, ?)"
_DAYS = "INSERT OR IGNORE INTO days SELECT DISTINCT day FROM hot WHERE place BETWEEN ? AND ?"
_LATEST = """INSERT INTO latest (place, series, instant, value, quality, reason) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (series) DO UPDATE SET place = excluded.place, instant = excluded.instant,
    value = excluded.value, quality = excluded.quality, reason = excluded.reason
    WHERE excluded.instant > latest.instant"""
_TALLY = """INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT (series) DO UPDATE SET
    readings = readings + excluded.readings, first = min(first, excluded.first), last = max(last, excluded.last)"""
# CROSS JOIN keeps the days outside: one seek of the index per day, in the order of time.
_SPAN = """SELECT place, series, instant, value, quality, reason FROM days CROSS JOIN hot ON hot.day = days.day
    WHERE days.day BETWEEN :start / 86400000000 AND :end / 86400000000
    AND series = :series AND instant >= :start AND instant < :end ORDER BY days.day, instant, place"""
_BEFORE = """SELECT instant FROM days CROSS JOIN hot ON hot.day = days.day
    WHERE days.day <= :instant / 86400000000 AND series = :series AND instant < :instant AND quality & 16 = 0
    ORDER BY days.day DESC, instant DESC LIMIT 1"""
_FROM = """SELECT instant FROM days CROSS JOIN hot ON hot.day = days.day
    WHERE days.day >= :instant / 86400000000 AND series = :series AND instant >= :instant AND quality & 16 = 0
    ORDER BY days.day, instant LIMIT 1"""
_TOUCHED = """SELECT series, min(instant), max(instant) FROM hot NOT INDEXED
    WHERE place >= ? GROUP BY series"""
_REPEATED = "SELECT day, series, instant FROM hot GROUP BY day, series, instant HAVING count(*) > 1"
_AT = """SELECT place, series, instant, value, quality, reason FROM hot
    WHERE day = ? AND series = ? AND instant = ? ORDER BY place"""


class EmbeddedStore:
    """A Sink and a ReadingStore on one SQLite file (write-ahead log, a commit survives a power cut)."""

    name = "embedded"

    def __init__(self, file: StoreFile) -> None:
        self._file = file
        self._numbers: dict[str, int] = {}

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

    def cursor(self) -> int:
        """The last journal sequence number whose readings are durable here; 0 before the first."""
        with self._file.read() as connection:
            return _cursor(connection)

    def witness(self) -> bytes:
        """The digest that came with the entry the cursor stands on; empty when there was none."""
        with self._file.read() as connection:
            return bytes(connection.execute("SELECT witness FROM cursor").fetchone()[0])

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Store the entries after the cursor and move it, both or neither; others are here already.

        Raises StoreError; then nothing was stored and the cursor stands.
        """
        with self._file.write() as connection:
            cursor = _cursor(connection)
            fresh = [delivery for delivery in deliveries if delivery.sequence > cursor]
            if not fresh:
                return
            sequences = [delivery.sequence for delivery in fresh]
            if any(later <= earlier for earlier, later in pairwise(sequences)):
                raise StoreError(f"{self._file.path}: entries {sequences[:5]}... are not in the order of the journal.")
            unknown = {reading.series for delivery in fresh for reading in delivery.readings} - self._numbers.keys()
            numbers = self._numbers | enrol(connection, sorted(unknown)) if unknown else self._numbers
            _add(connection, batch_of(fresh, numbers))
            connection.execute("UPDATE cursor SET sequence = ?, witness = ?", (sequences[-1], fresh[-1].digest))
        self._numbers = numbers  # only now: a transaction that failed has enrolled nobody

    def latest(self, scope: Scope) -> list[StoredReading]:
        """The newest reading of every series that is not MISSING, by series name."""
        with self._file.read() as connection:
            names = visible(connection, scope)
            rows = connection.execute("SELECT place, series, instant, value, quality, reason FROM latest").fetchall()
        return sorted(stored(names[row[1]], row) for row in rows if row[1] in names)

    def readings(self, scope: Scope, series: str, start: int, end: int) -> list[StoredReading]:
        """Readings of one series in [start, end) [us, UTC] by instant, one per instant.

        Of several readings of the same instant the first journaled usable one stands.
        """
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            return [] if number is None else _standing(connection, series, number, start, end)

    def around(self, scope: Scope, series: str, start: int, end: int) -> list[StoredReading]:
        """As `readings`, from the nearest usable reading before `start` to the nearest at or after `end`."""
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            if number is None:
                return []
            before = connection.execute(_BEFORE, {"series": number, "instant": start}).fetchone()
            after = connection.execute(_FROM, {"series": number, "instant": end}).fetchone()
            first = start if before is None else before[0]
            last = end if after is None else after[0] + 1
            return _standing(connection, series, number, first, last)

    def touched(self, scope: Scope, after_sequence: int) -> tuple[int, list[Touched]]:
        """(newest sequence stored, spans changed by entries after `after_sequence`), by series name."""
        with self._file.read() as connection:
            cursor = _cursor(connection)
            if after_sequence >= cursor:
                return cursor, []
            names = visible(connection, scope)
            if after_sequence <= 0:  # everything: known without looking at every row
                rows = connection.execute("SELECT series, first, last FROM tally").fetchall()
            else:
                rows = connection.execute(_TOUCHED, (place_after(after_sequence),)).fetchall()
        return cursor, sorted(Touched(names[number], first, last) for number, first, last in rows if number in names)

    def series(self, scope: Scope) -> list[str]:
        """The names of all series that have readings here."""
        with self._file.read() as connection:
            return list(visible(connection, scope).values())

    def count(self, scope: Scope) -> int:
        """How many journaled readings are stored, repeats and MISSING ones included."""
        with self._file.read() as connection:
            names = visible(connection, scope)
            tally = connection.execute("SELECT series, readings FROM tally")
            return sum(readings for number, readings in tally if number in names)

    def duplicates(self, scope: Scope) -> int:
        """How many stored readings only repeat, word for word, the one that stands. Looks through the whole file."""
        return sum(duplicates for duplicates, _ in self._repeats(scope))

    def conflicts(self, scope: Scope) -> list[Conflict]:
        """Usable readings that contradict the one that stands at their instant. Looks through the whole file."""
        return [conflict for _, conflicts in self._repeats(scope) for conflict in conflicts]

    def _repeats(self, scope: Scope) -> list[tuple[int, list[Conflict]]]:
        with self._file.read() as connection:
            names = visible(connection, scope)
            repeated = [key for key in connection.execute(_REPEATED) if key[1] in names]
            repeated.sort(key=lambda key: (names[key[1]], key[2]))
            return [repeats(names[key[1]], connection.execute(_AT, key).fetchall()) for key in repeated]


def _cursor(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT sequence FROM cursor").fetchone()[0])


def _add(connection: sqlite3.Connection, batch: Batch) -> None:
    connection.executemany(_APPEND, batch.rows)
    if batch.rows:
        connection.execute(_DAYS, (batch.rows[0][0], batch.rows[-1][0]))
    connection.executemany(_LATEST, batch.newest.values())
    connection.executemany(_TALLY, ((number, *extent) for number, extent in batch.tally.items()))


def _standing(connection: sqlite3.Connection, name: str, number: int, start: int, end: int) -> list[StoredReading]:
    rows: Iterator[Row] = connection.execute(_SPAN, {"series": number, "start": start, "end": end})
    return [stored(name, row) for row in standing(rows)]
