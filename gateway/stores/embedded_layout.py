"""The tables of a readings file, and how a file of an earlier layout becomes one of today's."""

import sqlite3
from itertools import islice

from gateway.stores.hot_blocks import columns_from
from gateway.stores.hot_table import HOT_TABLE, SEALING_TABLE, HotTable, append
from gateway.stores.sealing import CHUNK_TABLES, EVERY_DAY, begin, step
from gateway.stores.series_names import SERIES_TABLE
from gateway.stores.store_file import Layout

_CORRECTED_TABLE = "CREATE TABLE corrected (series INTEGER PRIMARY KEY, newest INTEGER NOT NULL) STRICT"
_SINCE_2 = (
    HOT_TABLE,
    SEALING_TABLE,
    "INSERT INTO sealing VALUES (1, 0, 0, 0, 0, -2147483648)",
    *CHUNK_TABLES,
    _CORRECTED_TABLE,
)
_AT_ONCE = 100_000  # rows of an old file that are held in memory together


def _from_1(connection: sqlite3.Connection) -> None:
    """Layout 1 kept each reading as a row of `hot`, with an index, and a tally of each series."""
    for statement in ("DROP INDEX hot_found", "DROP TABLE days", "DROP TABLE tally", "ALTER TABLE hot RENAME TO hot_1"):
        connection.execute(statement)
    for statement in _SINCE_2:
        connection.execute(statement)
    hot = HotTable()
    rows = iter(connection.execute("SELECT place, series, instant, value, quality, reason FROM hot_1 ORDER BY place"))
    while some := list(islice(rows, _AT_ONCE)):
        append(connection, columns_from(sorted(some, key=lambda row: row[1])))
        begin(connection, hot, last_day=EVERY_DAY)
        step(connection, hot, most=2**40)
    connection.execute("DROP TABLE hot_1")


LAYOUT = Layout(
    holds="readings",
    made_by="emg run SITE",
    mend="`emg db rebuild SITE` makes it anew from the journal.",
    mark=0x454D4752,  # "EMGR"
    version=2,
    tables=(
        SERIES_TABLE,
        *_SINCE_2,
        """CREATE TABLE latest (
            series INTEGER PRIMARY KEY,
            place INTEGER NOT NULL,
            instant INTEGER NOT NULL,
            value ANY,
            quality INTEGER NOT NULL,
            reason TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE cursor (
            one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, witness BLOB NOT NULL
        ) STRICT""",
        "INSERT INTO cursor VALUES (1, 0, x'')",
    ),
    from_older={1: _from_1},
)
