"""The database of the InfluxDB store together with the file beside it: what stands there, and what arrivals change."""

from collections.abc import Iterator, Mapping, Sequence

from gateway.contracts import StoredReading
from gateway.domain.destinations import InfluxServer
from gateway.domain.scopes import EVERYTHING
from gateway.stores.hot_rows import DAY, MISSING, Row, standing, stored
from gateway.stores.influx_arrivals import Arrivals, Change, change_of, newest_of, row_of
from gateway.stores.influx_reading import InfluxReader
from gateway.stores.influx_side import again_within, latest_row
from gateway.stores.series_names import visible_number
from gateway.stores.store_file import StoreFile

_APART = DAY  # [us] late instants farther apart than this are looked up one by one


class InfluxDatabase:
    """Reads the database, and puts right what overwriting cannot hold. Raises StoreError on trouble with either."""

    def __init__(self, file: StoreFile, server: InfluxServer, token: str) -> None:
        self._file = file
        self._reader = InfluxReader(server, token)

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()

    def standing(self, series: str, first: int, last: int) -> Iterator[StoredReading]:
        """What stands from `first` to `last` inclusive [us, UTC]: where more than one came, our file says which."""
        again = self._again(series, first, last)
        for found in self._reader.within(series, first, last):
            rows = again.get(found.instant)
            yield stored(series, next(standing(rows))) if rows else found

    def around(self, series: str, start: int, end: int) -> Iterator[StoredReading]:
        """What stands from the nearest usable reading before `start` to the nearest at or after `end` [us, UTC]."""
        before, after = self._reader.usable_before(series, start), self._reader.usable_from(series, end)
        return self.standing(series, start if before is None else before, end - 1 if after is None else after)

    def changes(self, arrived: Arrivals, cursor: int, newest: Mapping[str, int]) -> list[Change]:
        """What stands where after these arrivals, in the order of the journal.

        What is newer than `newest` of its series meets nothing in the database; a series that is not named there
        is looked up wherever something arrived.
        """
        changes: list[Change] = []
        for series, instants in arrived.rows.items():
            known = newest.get(series)
            late = sorted(at for at in instants if known is None or at <= known)
            found, before = self._lookup(series, late) if late else ({}, {})
            changes += (
                change_of(series, rows, before.get(at, ()), found.get(at), cursor=cursor)
                for at, rows in instants.items()
            )
        return sorted(changes, key=lambda change: change.row[0])

    def latest_after(self, changes: Sequence[Change]) -> dict[str, Row | None]:
        """Of each series with another newest usable reading after these were written, that one; None: none is left."""
        by_series: dict[str, dict[int, Row]] = {}
        for change in changes:
            by_series.setdefault(change.series, {})[change.row[2]] = change.row
        with self._file.read() as connection:
            before = {series: latest_row(connection, series) for series in by_series}
        latest: dict[str, Row | None] = {}
        for series, rows in by_series.items():
            known, newest = before[series], newest_of(rows)
            if newest is not None and (known is None or newest[2] >= known[2]):
                latest[series] = newest
            elif known is not None and known[2] in rows and rows[known[2]][4] & MISSING:  # it was struck out
                at = self._reader.usable_before(series, known[2])
                latest[series] = None if at is None else row_of(next(self.standing(series, at, at)))
        return latest

    def newest_sequence(self) -> int:
        """The last journal entry of which the database holds a point; looks through all of it."""
        return self._reader.newest_sequence()

    def _lookup(self, series: str, instants: list[int]) -> tuple[dict[int, StoredReading], dict[int, list[Row]]]:
        """What the database holds at these instants, and all that came for those for which more than one came."""
        wanted = set(instants)
        found = {
            reading.instant: reading
            for first, last in _clusters(instants)
            for reading in self._reader.within(series, first, last)
            if reading.instant in wanted
        }
        again = self._again(series, instants[0], instants[-1])
        return found, {at: rows for at, rows in again.items() if at in wanted}

    def _again(self, series: str, first: int, last: int) -> dict[int, list[Row]]:
        with self._file.read() as connection:
            number = visible_number(connection, EVERYTHING, series)
            return {} if number is None else again_within(connection, number, first, last)


def _clusters(instants: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, last) of groups of ascending instants that lie close together."""
    first = last = instants[0]
    for instant in instants:
        if instant - last > _APART:
            yield first, last
            first = instant
        last = instant
    yield first, last
