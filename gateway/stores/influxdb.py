"""The InfluxDB reading store: readings in a database of version 1, 2 or 3, and a small file beside it.

A database of this kind overwrites: the last point written for a series and instant stands. Here the first usable
reading stands, and an approved correction before it. So what is newer than everything known of its series goes
straight out; what comes late or again is looked up first and written only where it is to stand. Every reading of
such an instant is kept in the file beside the database (`influx_side.py`), which also holds the cursor.
"""

import logging
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Self

from gateway.contracts import Delivery, StoredReading, Touched
from gateway.domain.destinations import InfluxServer
from gateway.domain.scopes import Scope
from gateway.errors import StoreError
from gateway.stores.hot_rows import Conflict, Refusal, Refused, repeats, stored
from gateway.stores.influx_arrivals import Arrivals, Change, arrivals_of, lines_of, tally_of
from gateway.stores.influx_database import InfluxDatabase
from gateway.stores.influx_reading import EARLIEST
from gateway.stores.influx_side import (
    LAYOUT,
    Cursor,
    Kept,
    again_within,
    all_again,
    cursor_of,
    join_spans,
    keep,
    keep_before,
    touched_after,
)
from gateway.stores.influx_writing import LineWriter
from gateway.stores.line_protocol import SeriesLines
from gateway.stores.series_names import visible, visible_number
from gateway.stores.store_file import StoreFile

log = logging.getLogger("emg.store")


class InfluxStore:
    """A Sink and a ReadingStore on an InfluxDB server and one SQLite file beside it."""

    name = "influxdb"

    def __init__(self, file: StoreFile, server: InfluxServer, token: str) -> None:
        self._file = file
        self._writer = LineWriter(server, token)
        self._database = InfluxDatabase(file, server, token)
        self._lines = SeriesLines()
        self._newest: dict[str, int] = {}  # series -> newest instant that ever came [us, UTC]; of the one writer
        self._tried: int | None = None  # the last sequence that this process tried to write
        self._joined = 0
        if not file.read_only:
            with file.read() as connection:
                rows = connection.execute("SELECT name, last FROM tally JOIN series ON series.id = tally.series")
                self._newest = dict(rows)

    @classmethod
    def open(cls, path: Path, server: InfluxServer, token: str, *, read_only: bool = False) -> Self:
        """Open the file at `path` that belongs to the database; the one writer makes it when it is absent.

        Nothing is asked of the server before the first reading is. Raises StoreError when the file is absent
        (read-only), foreign, of a newer release, or held by another writer.
        """
        return cls(StoreFile(path, LAYOUT, read_only=read_only), server, token)

    def close(self) -> None:
        """Close file and connections."""
        self._writer.close()
        self._database.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cursor(self) -> int:
        """The last journal sequence number whose readings are durable here; 0 before the first."""
        return self._cursor().sequence

    def witness(self) -> bytes:
        """The digest that came with the entry the cursor stands on; empty when there was none."""
        return self._cursor().witness

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Store the entries after the cursor and move it; others are here already.

        Raises StoreError (SinkBusy, SinkDenied among them); then the cursor stands, and some points may be written:
        whoever delivers again begins with the same entries, and gives at least as many.
        """
        cursor = self._cursor()
        fresh = [delivery for delivery in deliveries if delivery.sequence > cursor.sequence]
        if not fresh:
            return
        sequences = [delivery.sequence for delivery in fresh]
        if any(later <= earlier for earlier, later in pairwise(sequences)):
            raise StoreError(f"{self._file.path}: entries {sequences[:5]}... are not in the order of the journal.")
        arrived = arrivals_of(fresh)
        changes = self._database.changes(arrived, cursor.sequence, self._certain(arrived, cursor))
        self._tried = max(self._tried or 0, sequences[-1])
        refused = self._write(changes, cursor.sequence)
        tally = tally_of(arrived)
        kept = Kept(changes, tally, arrived.spans, self._database.latest_after(changes), refused)
        with self._file.write() as connection:
            keep(connection, kept, sequences[-1], fresh[-1].digest)
            join_spans(connection, done=self._joined, cursor=sequences[-1])
        self._joined = sequences[-1]
        for series, (_, _, last) in tally.items():
            self._newest[series] = max(last, self._newest.get(series, last))

    def latest(self, scope: Scope) -> list[StoredReading]:
        """The newest reading of every series that is not MISSING, by series name."""
        with self._file.read() as connection:
            names = visible(connection, scope)
            rows = connection.execute("SELECT place, series, instant, value, quality, reason FROM latest").fetchall()
        return sorted((stored(names[row[1]], row) for row in rows if row[1] in names), key=lambda found: found.series)

    def readings(self, scope: Scope, series: str, start: int, end: int) -> list[StoredReading]:
        """Readings of one series in [start, end) [us, UTC] by instant, one per instant: the one that stands."""
        return [] if self._number(scope, series) is None else list(self._database.standing(series, start, end - 1))

    def around(self, scope: Scope, series: str, start: int, end: int) -> list[StoredReading]:
        """As `readings`, from the nearest usable reading before `start` to the nearest at or after `end`."""
        if self._number(scope, series) is None:
            return []
        return list(self._database.around(series, start, end))

    def versions(self, scope: Scope, series: str, instant: int) -> list[StoredReading]:
        """Every reading that came for an instant [us, UTC], in the order of the journal, also what no longer stands."""
        number = self._number(scope, series)
        if number is None:
            return []
        with self._file.read() as connection:
            rows = again_within(connection, number, instant, instant).get(instant)
        return [stored(series, row) for row in rows or ()] or list(self._database.standing(series, instant, instant))

    def touched(self, scope: Scope, after_sequence: int) -> tuple[int, list[Touched]]:
        """(newest sequence stored, spans changed by entries after `after_sequence`), by series name.

        Far behind the newest entry spans are wider than what changed, never narrower.
        """
        with self._file.read() as connection:
            cursor = cursor_of(connection).sequence
            if after_sequence >= cursor:
                return cursor, []
            names = visible(connection, scope)
            rows = touched_after(connection, after_sequence)
        return cursor, sorted(Touched(names[number], first, last) for number, first, last in rows if number in names)

    def series(self, scope: Scope) -> list[str]:
        """The names of all series that have readings here."""
        with self._file.read() as connection:
            return list(visible(connection, scope).values())

    def count(self, scope: Scope) -> int:
        """How many journaled readings came, repeats and MISSING ones included."""
        with self._file.read() as connection:
            names = visible(connection, scope)
            tally = connection.execute("SELECT series, readings FROM tally")
            return sum(readings for number, readings in tally if number in names)

    def duplicates(self, scope: Scope) -> int:
        """How many readings only repeat, word for word, another of their instant."""
        return sum(duplicates for duplicates, _ in self._repeats(scope))

    def conflicts(self, scope: Scope) -> list[Conflict]:
        """Usable readings that contradict the one that stands at their instant."""
        return [conflict for _, conflicts in self._repeats(scope) for conflict in conflicts]

    def refused(self, scope: Scope, most: int = 100) -> Refused:
        """How many readings the server refused for good, and the newest of them; the journal alone holds them."""
        with self._file.read() as connection:
            names = visible(connection, scope)
            counts = connection.execute("SELECT series, count(*) FROM refused GROUP BY series")
            total = sum(number for series, number in counts if series in names)
            newest = connection.execute(
                "SELECT series, instant, place >> 24, line, said FROM refused ORDER BY place DESC"
            )
            seen = (Refusal(names[row[0]], *row[1:]) for row in newest if row[0] in names)
            return Refused(total, list(islice(seen, most)))

    def _certain(self, arrived: Arrivals, cursor: Cursor) -> dict[str, int]:
        """Beyond which instant [us, UTC] the database certainly holds nothing of a series that arrived.

        After a start or a failure it may hold what was written last, and a new file may stand beside an old
        database: then nothing is certain.
        """
        doubtful = cursor.doubtful
        if doubtful is None:
            doubtful = self._database.newest_sequence()
            with self._file.write() as connection:
                connection.execute("UPDATE cursor SET doubtful = ?", (doubtful,))
        if self._tried is None or cursor.sequence < max(self._tried, doubtful):
            return {}
        return {series: self._newest.get(series, EARLIEST) for series in arrived.rows}

    def _write(self, changes: Sequence[Change], cursor: int) -> list[tuple[Change, str, str]]:
        """Write what is to stand. Returns what the server refused, with its line and the server's words."""
        written = [change for change in changes if change.write]
        overwriting = [change for change in written if change.found is not None and change.rows]
        if overwriting:
            with self._file.write() as connection:
                keep_before(connection, overwriting, cursor)
        refused = self._writer.write(lines_of(self._lines, written))
        if refused:
            said = f"{self._file.path} keeps them; the first is {refused[0].line}: {refused[0].reason}"
            log.warning(
                "the server of the reading store refuses %d of %d readings. %s", len(refused), len(written), said
            )
        return [(written[line.number], line.line, line.reason) for line in refused]

    def _repeats(self, scope: Scope) -> list[tuple[int, list[Conflict]]]:
        with self._file.read() as connection:
            names = visible(connection, scope)
            return [repeats(names[number], rows) for number, rows in all_again(connection, names)]

    def _number(self, scope: Scope, series: str) -> int | None:
        with self._file.read() as connection:
            return visible_number(connection, scope, series)

    def _cursor(self) -> Cursor:
        with self._file.read() as connection:
            return cursor_of(connection)
