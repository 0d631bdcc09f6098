"""The hot table: blocks of readings in the order they came, until they are sealed.

A block that was read stays in memory: blocks never change, and housekeeping keeps them few.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from gateway.stores.hot_blocks import Block, BlockColumns, pack
from gateway.stores.hot_rows import DAY, Row, by_instant, by_series

HOT_TABLE = """CREATE TABLE hot (
    block INTEGER PRIMARY KEY AUTOINCREMENT,
    readings INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    oldest INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT"""
SEALING_TABLE = """CREATE TABLE sealing (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    block INTEGER NOT NULL, day INTEGER NOT NULL, series INTEGER NOT NULL,
    newest INTEGER NOT NULL, over INTEGER NOT NULL
) STRICT"""

_BLOCKS = (
    "SELECT block, first, last, oldest, newest FROM hot WHERE first < ? AND last >= ? AND newest >= ? ORDER BY block"
)
_APPEND = "INSERT INTO hot (readings, first, last, oldest, newest, data) VALUES (?, ?, ?, ?, ?, ?)"
_FIRST_OF_ALL, _LAST_OF_ALL = -(2**63), 2**63 - 1
_ALL_SERIES = 2**32 - 1


class Sealing(NamedTuple):
    """How far sealing has come: what is in blocks up to `block`, up to `day` and up to number `series` lies in chunks.

    `block` is 0 when no sealing is under way. `newest` is the highest place in any chunk, `over` the last day that was
    sealed because it was over.
    """

    block: int
    day: int
    series: int
    newest: int
    over: int


class Stretch(NamedTuple):
    """A block in the file, unopened: its number, instants and places."""

    block: int
    first: int
    last: int
    oldest: int
    newest: int


def sealing_of(connection: sqlite3.Connection) -> Sealing:
    """How far sealing has come in this moment of the file."""
    return Sealing(*connection.execute("SELECT block, day, series, newest, over FROM sealing").fetchone())


def append(connection: sqlite3.Connection, columns: BlockColumns) -> None:
    """Put readings into the hot table as one block."""
    places, instants = columns.places, columns.instants
    extent = (len(places), min(instants), max(instants), min(places), max(places))
    connection.execute(_APPEND, (*extent, pack(columns)))


class HotTable:
    """Reads the blocks of the hot table, and leaves out what lies in chunks already."""

    def __init__(self) -> None:
        self._open: dict[int, Block] = {}

    def forget(self) -> None:
        """Forget the blocks that were read: a transaction failed, and their numbers may be given again."""
        self._open = {}

    def rows(self, connection: sqlite3.Connection, number: int, start: int, end: int) -> list[Row]:
        """The rows of one series with instants in [start, end), by instant and place."""
        found = list(self.unordered(connection, number, number, start=start, end=end))
        found.sort(key=by_instant)
        return found

    def all_rows(
        self, connection: sqlite3.Connection, *, start: int = _FIRST_OF_ALL, end: int = _LAST_OF_ALL
    ) -> list[Row]:
        """The rows of all series with instants in [start, end), by series and instant."""
        found = list(self.unordered(connection, 0, _ALL_SERIES, start=start, end=end))
        found.sort(key=by_series)
        return found

    def unordered(
        self,
        connection: sqlite3.Connection,
        lowest: int,
        highest: int,
        *,
        start: int = _FIRST_OF_ALL,
        end: int = _LAST_OF_ALL,
        place: int = 0,
        but: Collection[int] = (),
    ) -> Iterator[Row]:
        """The rows of the series with numbers `lowest` to `highest` that are not in chunks yet, in no order.

        Blocks named in `but` are passed over.
        """
        sealing = sealing_of(connection)
        for stretch in self.stretches(connection, start=start, end=end, place=place):
            if stretch.block in but:
                continue
            block = self.block(connection, stretch.block)
            if stretch.block > sealing.block:
                parts = [(lowest, highest, start)]
            else:
                after = max(start, (sealing.day + 1) * DAY)
                parts = [
                    (lowest, min(highest, sealing.series), after),
                    (max(lowest, sealing.series + 1), highest, start),
                ]
            for low, high, since in parts:
                rows = block.rows(low, high)
                if since <= stretch.first and stretch.last < end and place <= stretch.oldest:
                    yield from rows
                else:
                    yield from (row for row in rows if since <= row[2] < end and row[0] >= place)

    def spans(self, connection: sqlite3.Connection, *, place: int = 0) -> Iterator[tuple[int, int, int, int]]:
        """(series, readings, first, last instant) of all that `unordered` would give, in pieces."""
        sealing = sealing_of(connection)
        whole = [
            stretch
            for stretch in self.stretches(connection, place=place)
            if stretch.block > sealing.block and stretch.oldest >= place
        ]
        for stretch in whole:
            yield from self.block(connection, stretch.block).spans()
        apart = {stretch.block for stretch in whole}
        for row in self.unordered(connection, 0, _ALL_SERIES, place=place, but=apart):
            yield row[1], 1, row[2], row[2]

    def stretches(
        self, connection: sqlite3.Connection, *, start: int = _FIRST_OF_ALL, end: int = _LAST_OF_ALL, place: int = 0
    ) -> Sequence[Stretch]:
        """The blocks that may hold readings in [start, end), of no place before `place`, unopened."""
        return list(map(Stretch._make, connection.execute(_BLOCKS, (end, start, place))))

    def block(self, connection: sqlite3.Connection, number: int) -> Block:
        """One block."""
        found = self._open.get(number)
        if found is None:
            oldest = connection.execute("SELECT min(block) FROM hot").fetchone()[0]
            for gone in [known for known in self._open if known < oldest]:
                del self._open[gone]
            data = connection.execute("SELECT data FROM hot WHERE block = ?", (number,)).fetchone()[0]
            found = self._open[number] = Block(data)
        return found
