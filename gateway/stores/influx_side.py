"""The SQLite file beside the database of the InfluxDB store: what a database that overwrites cannot hold.

That is the cursor in the journal, the newest reading of every series, what each entry touched, every reading of an
instant for which more than one came, and the lines that the server refused.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from gateway.stores.hot_rows import INDEX_BITS, Row
from gateway.stores.influx_arrivals import Change, Span
from gateway.stores.series_names import SERIES_TABLE, enrol
from gateway.stores.store_file import Layout

LAYOUT = Layout(
    holds="readings",
    made_by="emg run SITE",
    mend="Move it away with its -wal and -shm: it is made anew from the journal, over the database as it is.",
    mark=0x454D4746,  # "EMGF"
    version=1,
    tables=(
        SERIES_TABLE,
        """CREATE TABLE latest (
            series INTEGER PRIMARY KEY, place INTEGER NOT NULL, instant INTEGER NOT NULL, value ANY,
            quality INTEGER NOT NULL, reason TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE tally (
            series INTEGER PRIMARY KEY, readings INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE span (
            sequence INTEGER NOT NULL, series INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
            PRIMARY KEY (sequence, series)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE again (
            series INTEGER NOT NULL, instant INTEGER NOT NULL, place INTEGER NOT NULL, value ANY,
            quality INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (series, instant, place)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE refused (
            place INTEGER PRIMARY KEY, series INTEGER NOT NULL, instant INTEGER NOT NULL, line TEXT NOT NULL,
            said TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE cursor (
            one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, witness BLOB NOT NULL,
            doubtful INTEGER
        ) STRICT""",
        "INSERT INTO cursor VALUES (1, 0, x'', NULL)",
    ),
)
EXACT_ENTRIES = 50_000  # of so many entries each span is kept; before that they are joined to wider ones
_WIDTHS = ((EXACT_ENTRIES, 1 << 10), (40 * EXACT_ENTRIES, 1 << 16))

_LATEST = "INSERT OR REPLACE INTO latest (place, series, instant, value, quality, reason) VALUES (?, ?, ?, ?, ?, ?)"
_LATEST_OF = """SELECT place, series, instant, value, quality, reason FROM latest
    WHERE series = (SELECT id FROM series WHERE name = ?)"""
_AGAIN = "INSERT OR IGNORE INTO again (place, series, instant, value, quality, reason) VALUES (?, ?, ?, ?, ?, ?)"
_AGAIN_WITHIN = """SELECT place, series, instant, value, quality, reason FROM again
    WHERE series = ? AND instant BETWEEN ? AND ? ORDER BY series, instant, place"""
_TALLY = """INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT (series) DO UPDATE SET
    readings = readings + excluded.readings, first = min(first, excluded.first), last = max(last, excluded.last)"""
_TOUCHED = "SELECT series, min(first), max(last) FROM span WHERE sequence > ? GROUP BY series"
_JOINED = """SELECT max(sequence), series, min(first), max(last) FROM span
    WHERE sequence >= ? AND sequence < ? GROUP BY sequence / ?, series"""


class Cursor(NamedTuple):
    """Where the store stands in the journal. Up to `doubtful` the database may hold points of an earlier life."""

    sequence: int
    witness: bytes
    doubtful: int | None  # None: nobody has looked yet


class Kept(NamedTuple):
    """What one delivery leaves here."""

    changes: Sequence[Change]
    tally: Mapping[str, tuple[int, int, int]]  # series -> (readings, first, last instant)
    spans: Sequence[Span]
    latest: Mapping[str, Row | None]  # None: no usable reading is left
    refused: Sequence[tuple[Change, str, str]]  # (what it was, its line, what the server said)


def cursor_of(connection: sqlite3.Connection) -> Cursor:
    """Where the store stands."""
    return Cursor(*connection.execute("SELECT sequence, witness, doubtful FROM cursor").fetchone())


def again_within(connection: sqlite3.Connection, number: int, first: int, last: int) -> dict[int, list[Row]]:
    """Every reading of the instants in [first, last] for which more than one came, by instant and place."""
    rows = connection.execute(_AGAIN_WITHIN, (number, first, last))
    return {instant: list(group) for instant, group in groupby(rows, key=lambda row: row[2])}


def all_again(connection: sqlite3.Connection, numbers: Iterable[int]) -> Iterator[tuple[int, list[Row]]]:
    """(series number, every reading of an instant for which more than one came)."""
    for number in numbers:
        for rows in again_within(connection, number, -(2**63), 2**63 - 1).values():
            yield number, rows


def latest_row(connection: sqlite3.Connection, series: str) -> Row | None:
    """The newest usable reading of a series."""
    row: Row | None = connection.execute(_LATEST_OF, (series,)).fetchone()
    return row


def touched_after(connection: sqlite3.Connection, sequence: int) -> list[tuple[int, int, int]]:
    """(series number, first, last instant) that entries after `sequence` touched."""
    if sequence <= 0:
        return connection.execute("SELECT series, first, last FROM tally").fetchall()
    return connection.execute(_TOUCHED, (sequence,)).fetchall()


def keep_before(connection: sqlite3.Connection, changes: Iterable[Change], cursor: int) -> None:
    """Keep what the database will forget when it is overwritten, before it is."""
    _keep_again(connection, changes, lambda row: row[0] >> INDEX_BITS <= cursor)


def keep(connection: sqlite3.Connection, kept: Kept, sequence: int, witness: bytes) -> None:
    """Keep what a delivery leaves and move the cursor."""
    numbers = enrol(connection, kept.tally)
    _keep_again(connection, kept.changes, lambda _: True)
    connection.executemany(_TALLY, ((numbers[series], *found) for series, found in kept.tally.items()))
    connection.executemany(
        "INSERT OR REPLACE INTO span VALUES (?, ?, ?, ?)",
        ((span.sequence, numbers[span.series], span.first, span.last) for span in kept.spans),
    )
    for series, row in kept.latest.items():
        if row is None:
            connection.execute("DELETE FROM latest WHERE series = ?", (numbers[series],))
        else:
            connection.execute(_LATEST, _numbered(row, numbers[series]))
    connection.executemany(
        "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)",
        ((change.row[0], numbers[change.series], change.row[2], line, said) for change, line, said in kept.refused),
    )
    connection.execute("UPDATE cursor SET sequence = ?, witness = ?", (sequence, witness))


def join_spans(connection: sqlite3.Connection, *, done: int, cursor: int) -> None:
    """Join spans of entries that lie far back, as far as that was not `done`: settle has long looked at them.

    Who asks for less than a joined span covers gets all of it: more is settled again than changed, never less.
    """
    for age, width in _WIDTHS:
        first, limit = max(0, done - age) // width * width, max(0, cursor - age) // width * width
        if first >= limit:
            continue
        joined = connection.execute(_JOINED, (first, limit, width)).fetchall()
        connection.execute("DELETE FROM span WHERE sequence >= ? AND sequence < ?", (first, limit))
        connection.executemany("INSERT INTO span VALUES (?, ?, ?, ?)", joined)


def _keep_again(connection: sqlite3.Connection, changes: Iterable[Change], wanted: Callable[[Row], bool]) -> None:
    numbers = enrol(connection, {change.series for change in changes if change.rows})
    connection.executemany(
        _AGAIN,
        (_numbered(row, numbers[change.series]) for change in changes for row in change.rows if wanted(row)),
    )


def _numbered(row: Row, number: int) -> Row:
    return (row[0], number, *row[2:])
