"""The latest value of every series, kept beside what it was taken from so that asking for all of them costs nothing."""

import sqlite3

from gateway.stores import stored_days
from gateway.stores.hot_blocks import BlockColumns, newest, newest_corrections
from gateway.stores.hot_rows import standing
from gateway.stores.hot_table import HotTable

_LATEST = """INSERT INTO latest (place, series, instant, value, quality, reason) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (series) DO UPDATE SET place = excluded.place, instant = excluded.instant,
    value = excluded.value, quality = excluded.quality, reason = excluded.reason
    WHERE excluded.instant > latest.instant"""
_CORRECTED = """INSERT INTO corrected VALUES (?, ?) ON CONFLICT (series) DO UPDATE SET newest = excluded.newest
    WHERE excluded.newest > newest"""


def renew(connection: sqlite3.Connection, hot: HotTable, columns: BlockColumns) -> None:
    """Bring the latest values up to date after a block was appended."""
    candidates = newest(columns)
    connection.executemany(_CORRECTED, newest_corrections(columns).items())
    corrected = dict(connection.execute("SELECT series, newest FROM corrected").fetchall())
    if corrected:  # what was struck out must not come back as the latest
        doubtful = {row[1] for row in candidates if row[1] in corrected and row[2] <= corrected[row[1]]}
        doubtful.update(newest_corrections(columns))
        candidates = [row for row in candidates if row[1] not in doubtful]
        for number in sorted(doubtful):
            _look_for(connection, hot, number)
    connection.executemany(_LATEST, candidates)


def _look_for(connection: sqlite3.Connection, hot: HotTable, number: int) -> None:
    connection.execute("DELETE FROM latest WHERE series = ?", (number,))
    instant = stored_days.nearest_before(connection, hot, number, 2**63 - 1)
    if instant is not None:
        rows = stored_days.span(connection, hot, number, instant, instant + 1)
        connection.execute(_LATEST, next(standing(rows)))
