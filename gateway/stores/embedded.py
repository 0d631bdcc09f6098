"""The embedded reading store: every reading and the latest values in one SQLite file.

New readings are appended to the hot table, a block for each delivery. Housekeeping moves them into sealed chunks, one
for each series and day, whose heads answer what a day showed without being opened. Callers see only the methods below.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Self

from gateway.contracts import Delivery, StoredReading, Touched
from gateway.domain.readings import Quality
from gateway.domain.scopes import EVERYTHING, Scope
from gateway.errors import StoreError
from gateway.stores import day_figures, latest_values, sealing, stored_days
from gateway.stores.day_figures import DayOfSeries, Overview
from gateway.stores.embedded_layout import LAYOUT
from gateway.stores.hot_blocks import columns_of
from gateway.stores.hot_rows import DAY, QUALITIES, Conflict, Refused, place_after, repeats, standing, stored
from gateway.stores.hot_table import HotTable, append, sealing_of
from gateway.stores.series_columns import SeriesColumns, columns_of_series
from gateway.stores.series_names import enrol, is_visible, visible, visible_number
from gateway.stores.store_file import StoreFile

# When the hot table is sealed whatever the day: reading looks through all of it. [readings, blocks]
FULL_AT_REST = (20_000, 400)
FULL = (200_000, 2_000)  # while deliveries follow one another: larger steps cost less
STEP = 30_000  # readings that one step of sealing takes: a delivery may have to wait for it
_OPEN_DAYS = 1  # besides the newest day

_reading = partial(tuple.__new__, StoredReading)  # many at once: faster than the class
# Nearly all are GOOD without a reason: two columns fewer to fetch.
_LATEST_GOOD = "SELECT series, instant, value, place >> 24 FROM latest WHERE quality = ? AND reason = ''"
_LATEST_OTHER = """SELECT series, instant, value, place >> 24, quality, reason FROM latest
    WHERE NOT (quality = ? AND reason = '')"""


class EmbeddedStore:
    """A Sink and a ReadingStore on one SQLite file (write-ahead log, a commit survives a power cut)."""

    name = "embedded"

    def __init__(self, file: StoreFile) -> None:
        self._file = file
        self._numbers: dict[str, int] = {}
        self._hot = HotTable()
        self._names: Mapping[int, str] = {}
        self._newest_series: int | None = None

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open the file at `path`; the one writer makes it when it is absent, and brings an older layout up to date.

        Raises StoreError when it is absent or of an older layout (read-only), foreign, of a newer release, or held by
        another writer.
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
        with self._write() as connection:
            cursor = _cursor(connection)
            fresh = [delivery for delivery in deliveries if delivery.sequence > cursor]
            if not fresh:
                return
            sequences = [delivery.sequence for delivery in fresh]
            if any(later <= earlier for earlier, later in pairwise(sequences)):
                raise StoreError(f"{self._file.path}: entries {sequences[:5]}... are not in the order of the journal.")
            unknown = {reading.series for delivery in fresh for reading in delivery.readings} - self._numbers.keys()
            numbers = self._numbers | enrol(connection, sorted(unknown)) if unknown else self._numbers
            columns = columns_of(fresh, numbers)
            if columns is not None:
                append(connection, columns)
                latest_values.renew(connection, self._hot, columns)
            connection.execute("UPDATE cursor SET sequence = ?, witness = ?", (sequences[-1], fresh[-1].digest))
        self._numbers = numbers  # only now: a transaction that failed has enrolled nobody
        if self._is_full(FULL):
            self._seal(sealing.EVERY_DAY)

    def rest(self) -> bool:
        """One small step of housekeeping, when there is nothing to deliver; False when there is nothing to do."""
        if self._is_full(FULL_AT_REST):
            return self._seal(sealing.EVERY_DAY)
        with self._file.read() as connection:
            progress = sealing_of(connection)
            newest_instant = connection.execute("SELECT max(last) FROM hot").fetchone()[0]
        over = progress.over if newest_instant is None else newest_instant // DAY - _OPEN_DAYS - 1
        # Once for each day: what comes late for a day that was sealed waits for the next.
        return (progress.block > 0 or over > progress.over) and self._seal(over)

    def seal(self, *, now: int | None = None, most: int = STEP) -> bool:
        """Seal about `most` readings of days that are over, in one transaction; False when there are none.

        A day is over when it lies two or more before the day of `now` [us, UTC], or of the newest reading not sealed.
        """
        if now is None:
            with self._file.read() as connection:
                now = connection.execute("SELECT max(last) FROM hot").fetchone()[0]
        return now is not None and self._seal(now // DAY - _OPEN_DAYS - 1, most=most)

    def retain(self, before: int) -> int:
        """Let go of whole days that end at or before `before` [us, UTC]; returns how many readings left.

        The journal keeps them, and the latest values stay.
        """
        while self._seal(before // DAY - 1):
            pass
        gone = 0
        with self._file.read() as connection:
            days = [day for (day,) in connection.execute("SELECT day FROM days WHERE day < ?", (before // DAY,))]
        for day in days:
            with self._file.write() as connection:
                gone += sealing.forget(connection, day)
        return gone

    def compact(self) -> None:
        """Seal everything that is there and give the room that is left to the disk. Takes its time."""
        while self._seal(sealing.EVERY_DAY):
            pass
        self._file.vacuum()

    def latest(self, scope: Scope) -> list[StoredReading]:
        """The newest reading of every series that is not MISSING, by series name."""
        usual = Quality.GOOD
        with self._file.read() as connection:
            names = self._visible(connection, scope)
            rows = {row[0]: row for row in connection.execute(_LATEST_GOOD, (int(usual),))}
            others = connection.execute(_LATEST_OTHER, (int(usual),)).fetchall()
        found: list[StoredReading] = [
            _reading((name, row[1], row[2], usual, "", row[3]))
            for number, name in names.items()
            if (row := rows.get(number)) is not None
        ]
        if others:
            found += [
                _reading((names[number], instant, value, QUALITIES[bits], reason, sequence))
                for number, instant, value, sequence, bits, reason in others
                if number in names
            ]
            found.sort()
        return found

    def readings(self, scope: Scope, series: str, start: int, end: int) -> list[StoredReading]:
        """Readings of one series in [start, end) [us, UTC] by instant, one per instant.

        Of several readings of the same instant the newest correction stands, else the first journaled usable one.
        """
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            return [] if number is None else self._standing(connection, series, number, start, end)

    def around(self, scope: Scope, series: str, start: int, end: int) -> list[StoredReading]:
        """As `readings`, from the nearest usable reading before `start` to the nearest at or after `end`."""
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            if number is None:
                return []
            before = stored_days.nearest_before(connection, self._hot, number, start)
            after = stored_days.nearest_from(connection, self._hot, number, end)
            first = start if before is None else before
            last = end if after is None else after + 1
            return self._standing(connection, series, number, first, last)

    def versions(self, scope: Scope, series: str, instant: int) -> list[StoredReading]:
        """Every reading of the series that was journaled for this instant, in the order of the journal.

        What was read stays beside what corrects it; which one stands, `readings` says.
        """
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            rows = [] if number is None else stored_days.span(connection, self._hot, number, instant, instant + 1)
        return [stored(series, row) for row in rows]

    def columns(self, scope: Scope, series: str, start: int, end: int) -> SeriesColumns:
        """As `readings`, as columns: for analysis, and many points."""
        with self._file.read() as connection:
            number = visible_number(connection, scope, series)
            return columns_of_series(connection, self._hot, number, start, end)

    def daily(self, scope: Scope, first_day: int, last_day: int) -> list[DayOfSeries]:
        """What each day (UTC, since 1970) showed, of every series that has a usable reading on it; by day."""
        with self._file.read() as connection:
            return day_figures.daily(connection, self._hot, self._visible(connection, scope), first_day, last_day)

    def overview(self, scope: Scope) -> Overview:
        """How much is stored, of which time, and between which values."""
        with self._file.read() as connection:
            return day_figures.overview(connection, self._hot, self._visible(connection, scope))

    def touched(self, scope: Scope, after_sequence: int) -> tuple[int, list[Touched]]:
        """(newest sequence stored, spans changed by entries after `after_sequence`), by series name."""
        with self._file.read() as connection:
            cursor = _cursor(connection)
            if after_sequence >= cursor:
                return cursor, []
            names = self._visible(connection, scope)
            spans = stored_days.changed(connection, self._hot, names, place_after(after_sequence))
        return cursor, sorted(Touched(names[number], *span) for number, span in spans.items() if number in names)

    def series(self, scope: Scope) -> list[str]:
        """The names of all series that have readings here."""
        with self._file.read() as connection:
            return list(self._visible(connection, scope).values())

    def count(self, scope: Scope) -> int:
        """How many journaled readings are stored, repeats and MISSING ones included."""
        with self._file.read() as connection:
            names = self._visible(connection, scope)
            counts = stored_days.counts(connection, self._hot)
        return sum(readings for number, readings in counts.items() if number in names)

    def duplicates(self, scope: Scope) -> int:
        """How many stored readings only repeat, word for word, the one that stands. Looks through the whole file."""
        return sum(duplicates for duplicates, _ in self._repeats(scope))

    def refused(self, scope: Scope, most: int = 100) -> Refused:  # noqa: ARG002 - as every reading store has it
        """None: this store refuses no single reading for good."""
        return Refused()

    def conflicts(self, scope: Scope) -> list[Conflict]:
        """Usable readings that contradict the one that stands at their instant, until a correction settles it.

        Looks through the whole file.
        """
        return [conflict for _, conflicts in self._repeats(scope) for conflict in conflicts]

    def _repeats(self, scope: Scope) -> list[tuple[int, list[Conflict]]]:
        with self._file.read() as connection:
            names = self._visible(connection, scope)
            return [repeats(names[rows[0][1]], rows) for rows in stored_days.repeated(connection, self._hot, names)]

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._file.write() as connection:
                yield connection
        except BaseException:
            self._hot.forget()
            raise

    def _visible(self, connection: sqlite3.Connection, scope: Scope) -> Mapping[int, str]:
        """Number -> name of every series that `scope` may see, by name."""
        newest = connection.execute("SELECT max(id) FROM series").fetchone()[0]
        if newest != self._newest_series:
            self._names, self._newest_series = visible(connection, EVERYTHING), newest
        if scope.enterprises is None:
            return self._names
        return {number: name for number, name in self._names.items() if is_visible(scope, name)}

    def _is_full(self, full: tuple[int, int]) -> bool:
        with self._file.read() as connection:
            readings, blocks = connection.execute("SELECT coalesce(sum(readings), 0), count(*) FROM hot").fetchone()
        return bool(readings > full[0] or blocks > full[1])

    def _seal(self, last_day: int, *, most: int = STEP) -> bool:
        with self._write() as connection:
            if not sealing_of(connection).block and not sealing.begin(connection, self._hot, last_day=last_day):
                return False
            sealing.step(connection, self._hot, most=most)
        return True

    def _standing(
        self, connection: sqlite3.Connection, name: str, number: int, start: int, end: int
    ) -> list[StoredReading]:
        return [stored(name, row) for row in standing(stored_days.span(connection, self._hot, number, start, end))]


def _cursor(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT sequence FROM cursor").fetchone()[0])
