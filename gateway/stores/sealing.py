"""Sealing: moves readings from the hot table into chunks, in small steps that a kill cannot hurt.

One round of it takes the blocks that are there and, of them, the days that are over (or all, when there are too many
to read quickly). Each step is one transaction that writes the chunks of some series and says so; the last one removes
the blocks. A reading for a day that was sealed before opens that day's chunk, joins it, and the chunk is written anew.
"""

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import lt

from gateway.stores.chunks import decode, encode, head_of
from gateway.stores.hot_blocks import columns_from
from gateway.stores.hot_rows import DAY, Row, by_instant, instant_of, series_of
from gateway.stores.hot_table import HotTable, Sealing, Stretch, append, sealing_of

CHUNK_TABLES = (
    # `day` first: what is sealed together lies together, and a span of days of all series is one piece of the table.
    """CREATE TABLE chunks (
        day INTEGER NOT NULL,
        series INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        readings INTEGER NOT NULL,
        instants INTEGER NOT NULL,
        usable INTEGER NOT NULL,
        first_usable INTEGER,
        last_usable INTEGER,
        first_value ANY,
        last_value ANY,
        lowest ANY,
        highest ANY,
        newest INTEGER NOT NULL,
        body INTEGER NOT NULL,
        PRIMARY KEY (day, series, first)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE bodies (body INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT",
    "CREATE TABLE days (day INTEGER PRIMARY KEY) STRICT",
)
LONGEST = 960  # readings of a chunk; a day of more is cut into several, one after the other
EVERY_DAY = 2**31  # a day after all that can be told in microseconds

_OF_A_DAY = """SELECT first, chunks.body, data FROM chunks JOIN bodies ON bodies.body = chunks.body
    WHERE day = ? AND series = ? ORDER BY first"""
_LEFT = "SELECT coalesce(sum(readings), 0) FROM hot WHERE block <= ? AND first < ?"
_PUT_HEAD = "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # a Head and its body


def begin(connection: sqlite3.Connection, hot: HotTable, *, last_day: int) -> bool:
    """Begin a round that seals all that is there of days up to `last_day`; False when there is nothing of the kind."""
    stretches = hot.stretches(connection, end=_end_of(last_day))
    if not stretches:
        return False
    connection.execute("UPDATE sealing SET block = ?, day = ?, series = 0", (stretches[-1].block, last_day))
    return True


def step(connection: sqlite3.Connection, hot: HotTable, *, most: int) -> None:
    """Seal some series of the round that is under way, about `most` readings of them; the last step ends the round."""
    sealing = sealing_of(connection)
    stretches = [stretch for stretch in hot.stretches(connection) if stretch.block <= sealing.block]
    (highest,) = connection.execute("SELECT coalesce(max(id), 0) FROM series").fetchone()
    (readings,) = connection.execute(_LEFT, (sealing.block, _end_of(sealing.day))).fetchone()
    up_to = sealing.series + max(1, most * highest // max(readings, 1))
    rows = _of_the_round(connection, hot, sealing, stretches, (sealing.series + 1, up_to))
    if rows:
        _put(connection, rows)
        newest = max(sealing.newest, *(row[0] for row in rows))
        connection.execute("UPDATE sealing SET newest = ?", (newest,))
    if up_to >= highest:
        _end(connection, hot, sealing, stretches)
    else:
        connection.execute("UPDATE sealing SET series = ?", (up_to,))


def drop(connection: sqlite3.Connection, day: int) -> int:
    """Remove the chunks of a day; returns how many readings they held."""
    readings = connection.execute("SELECT coalesce(sum(readings), 0) FROM chunks WHERE day = ?", (day,)).fetchone()[0]
    connection.execute("DELETE FROM bodies WHERE body IN (SELECT body FROM chunks WHERE day = ?)", (day,))
    connection.execute("DELETE FROM chunks WHERE day = ?", (day,))
    connection.execute("DELETE FROM days WHERE day = ?", (day,))
    return int(readings)


def forget(connection: sqlite3.Connection, day: int) -> int:
    """Let go of a day's chunks; returns how many readings were in them."""
    readings = connection.execute("SELECT coalesce(sum(readings), 0) FROM chunks WHERE day = ?", (day,)).fetchone()[0]
    connection.execute("DELETE FROM bodies WHERE body IN (SELECT body FROM chunks WHERE day = ?)", (day,))
    connection.execute("DELETE FROM chunks WHERE day = ?", (day,))
    connection.execute("DELETE FROM days WHERE day = ?", (day,))
    return int(readings)


def _of_the_round(
    connection: sqlite3.Connection,
    hot: HotTable,
    sealing: Sealing,
    stretches: Sequence[Stretch],
    series: tuple[int, int],
) -> list[Row]:
    """The rows of the round of these series, by series."""
    end = _end_of(sealing.day)
    rows: list[Row] = []
    for stretch in stretches:
        if stretch.first < end:
            found = hot.block(connection, stretch.block).rows(*series)
            rows += found if stretch.last < end else (row for row in found if row[2] < end)
    rows.sort(key=series_of)
    return rows


def _put(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write the chunks of these rows, together with what is in those chunks already."""
    body = connection.execute("SELECT coalesce(max(body), 0) FROM bodies").fetchone()[0]
    heads, bodies = [], []
    gone: list[tuple[tuple[int, int, int], int]] = []
    days = set()
    for day, series, found in _by_day(rows):
        days.add(day)
        there = connection.execute(_OF_A_DAY, (day, series)).fetchall()
        pieces: Iterator[Sequence[Row]] = _cut(found)
        if there:
            pieces = _joined(series, there, found, gone)
        for piece in pieces:
            body += 1
            heads.append((*head_of(day, series, piece), body))
            bodies.append((body, encode(piece)))
    connection.executemany("DELETE FROM chunks WHERE day = ? AND series = ? AND first = ?", [key for key, _ in gone])
    connection.executemany("DELETE FROM bodies WHERE body = ?", [(old,) for _, old in gone])
    connection.executemany("INSERT INTO bodies VALUES (?, ?)", bodies)
    connection.executemany(_PUT_HEAD, heads)
    connection.executemany("INSERT OR IGNORE INTO days VALUES (?)", [(day,) for day in sorted(days)])


def _by_day(rows: Sequence[Row]) -> Iterator[tuple[int, int, Sequence[Row]]]:
    """(day, series, their rows by instant and place), of rows by series."""
    start = 0
    while start < len(rows):
        series = rows[start][1]
        end = bisect_right(rows, series, lo=start, key=series_of)
        found = rows[start:end]
        instants = [row[2] for row in found]
        if not all(map(lt, instants, instants[1:])):  # as a rule they came in their order
            found = sorted(found, key=by_instant)
        start = end
        while found:
            day = found[0][2] // DAY
            cut = bisect_left(found, (day + 1) * DAY, key=instant_of)
            yield day, series, found[:cut]
            found = found[cut:]


def _joined(
    series: int,
    there: Sequence[tuple[int, int, bytes]],
    rows: Sequence[Row],
    gone: list[tuple[tuple[int, int, int], int]],
) -> Iterator[Sequence[Row]]:
    """What becomes of a day's chunks when `rows` join them: each row goes where its instant lies; others stay."""
    day = rows[0][2] // DAY
    firsts = [first for first, _, _ in there]
    start = 0
    for index, (first, body, data) in enumerate(there):
        until = firsts[index + 1] if index + 1 < len(firsts) else (day + 1) * DAY
        end = bisect_left(rows, until, lo=start, key=instant_of)
        if end > start:
            gone.append(((day, series, first), body))
            yield from _cut(sorted([*decode(data).rows(series), *rows[start:end]], key=by_instant))
        start = end


def _cut(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """These rows of a day in pieces that a chunk can hold; what was read at one instant stays together."""
    start = 0
    while len(rows) - start > LONGEST:
        end = bisect_right(rows, rows[start + LONGEST - 1][2], key=instant_of)
        yield rows[start:end]
        start = end
    if start < len(rows):
        yield rows[start:]


def _end(connection: sqlite3.Connection, hot: HotTable, sealing: Sealing, stretches: Sequence[Stretch]) -> None:
    """Remove what lies in chunks now: whole blocks; of those that reach into later days a new block stays."""
    since = _end_of(sealing.day)
    for stretch in stretches:
        if stretch.first < since:
            if stretch.last >= since:
                everything = hot.block(connection, stretch.block).rows(0, 2**32 - 1)
                append(connection, columns_from([row for row in everything if row[2] >= since]))
            connection.execute("DELETE FROM hot WHERE block = ?", (stretch.block,))
    over = sealing.over if sealing.day == EVERY_DAY else max(sealing.over, sealing.day)
    connection.execute("UPDATE sealing SET block = 0, day = 0, series = 0, over = ?", (over,))


def _end_of(day: int) -> int:
    """The instant at which a day ends, if such an instant can be told."""
    return min((day + 1) * DAY, 2**63 - 1)
