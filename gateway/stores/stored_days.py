"""What the embedded store knows of one series: chunks of sealed days and rows not yet sealed, read as one."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from gateway.stores.chunks import decode
from gateway.stores.hot_rows import DAY, MISSING, Row, by_instant, place_after, standing
from gateway.stores.hot_table import HotTable, sealing_of

# CROSS JOIN keeps the days outside: one seek per day, in the order of time.
_SPAN = """SELECT data, chunks.first, chunks.last, readings = instants
    FROM days CROSS JOIN chunks ON chunks.day = days.day JOIN bodies ON bodies.body = chunks.body
    WHERE days.day BETWEEN :from AND :to
    AND series = :series AND chunks.first < :end AND chunks.last >= :start ORDER BY days.day, chunks.first"""
_BEFORE = """SELECT last_usable, last_usable < :limit, data FROM days CROSS JOIN chunks ON chunks.day = days.day
    JOIN bodies ON bodies.body = chunks.body
    WHERE days.day <= :day AND series = :series AND usable > 0 AND first_usable < :limit
    ORDER BY days.day DESC, chunks.first DESC LIMIT 1"""
_FROM = """SELECT first_usable, first_usable >= :limit, data FROM days CROSS JOIN chunks ON chunks.day = days.day
    JOIN bodies ON bodies.body = chunks.body
    WHERE days.day >= :day AND series = :series AND usable > 0 AND last_usable >= :limit
    ORDER BY days.day, chunks.first LIMIT 1"""
_CHANGED = "SELECT series, data FROM chunks JOIN bodies ON bodies.body = chunks.body WHERE newest >= ?"
_REPEATED = "SELECT series, data FROM chunks JOIN bodies ON bodies.body = chunks.body WHERE readings > instants"
_MEETING = """SELECT data, chunks.first FROM days CROSS JOIN chunks ON chunks.day = days.day
    JOIN bodies ON bodies.body = chunks.body
    WHERE days.day BETWEEN :from AND :to AND series = :series
    AND chunks.first <= :end AND chunks.last >= :start AND readings = instants"""


def span(connection: sqlite3.Connection, hot: HotTable, series: int, start: int, end: int) -> list[Row]:
    """Every row of one series with an instant in [start, end), by instant and place."""
    rows = sealed_rows(connection, series, start, end)
    fresh = hot.rows(connection, series, start, end)
    if not fresh or not rows or rows[-1][2] < fresh[0][2]:
        return rows + fresh
    return sorted(rows + fresh, key=by_instant)


def sealed_rows(connection: sqlite3.Connection, series: int, start: int, end: int) -> list[Row]:
    """As `span`, of the chunks alone."""
    rows: list[Row] = []
    for data, first, last, _ in sealed_bodies(connection, series, start, end):
        found = decode(data).rows(series)
        rows += found if start <= first and last < end else (row for row in found if start <= row[2] < end)
    return rows


def sealed_bodies(
    connection: sqlite3.Connection, series: int, start: int, end: int
) -> Iterator[tuple[bytes, int, int, bool]]:
    """(body, first and last instant, one reading to each instant?) of the chunks that reach into [start, end)."""
    bounds = {"series": series, "start": start, "end": end, "from": start // DAY, "to": end // DAY}
    return connection.execute(_SPAN, bounds)


def nearest_before(connection: sqlite3.Connection, hot: HotTable, series: int, limit: int) -> int | None:
    """The newest instant before `limit` at which a usable reading of the series stands."""
    instant: int
    fresh = hot.rows(connection, series, -(2**63), limit)
    sealed = _sealed_before(connection, series, limit)
    for instant, rows in groupby(reversed(fresh), key=lambda row: row[2]):
        if sealed is not None and sealed > instant:
            return sealed
        if _usable_at(connection, series, instant, rows):
            return instant
        if sealed == instant:
            sealed = _sealed_before(connection, series, instant)
    return sealed


def nearest_from(connection: sqlite3.Connection, hot: HotTable, series: int, limit: int) -> int | None:
    """The oldest instant at or after `limit` at which a usable reading of the series stands."""
    instant: int
    fresh = hot.rows(connection, series, limit, 2**63 - 1)
    sealed = _sealed_from(connection, series, limit)
    for instant, rows in groupby(fresh, key=lambda row: row[2]):
        if sealed is not None and sealed < instant:
            return sealed
        if _usable_at(connection, series, instant, rows):
            return instant
        if sealed == instant:
            sealed = _sealed_from(connection, series, instant + 1)
    return sealed


def changed(
    connection: sqlite3.Connection, hot: HotTable, visible: Mapping[int, str], place: int
) -> dict[int, tuple[int, int]]:
    """Series number -> (first, last) instant of its readings that have no place before `place`."""
    spans: dict[int, tuple[int, int]] = {}

    def widen(series: int, first: int, last: int) -> None:
        known = spans.get(series, (first, last))
        spans[series] = (min(first, known[0]), max(last, known[1]))

    for series, _, first, last in hot.spans(connection, place=place):
        widen(series, first, last)
    if place <= place_after(0):  # everything: known without opening a chunk
        for series, first, last in connection.execute(
            "SELECT series, min(first), max(last) FROM chunks GROUP BY series"
        ):
            widen(series, first, last)
    elif sealing_of(connection).newest >= place:
        for series, data in connection.execute(_CHANGED, (place,)):
            if series in visible:
                columns = decode(data)
                found = [at for at, of in zip(columns.instants, columns.places, strict=True) if of >= place]
                widen(series, min(found), max(found))
    return spans


def repeated(connection: sqlite3.Connection, hot: HotTable, visible: Mapping[int, str]) -> Iterator[list[Row]]:
    """The rows, by place, of every series and instant that has more than one."""
    candidates: dict[int, list[Row]] = {}
    for series, data in connection.execute(_REPEATED):
        if series in visible:
            candidates.setdefault(series, []).extend(decode(data).rows(series))
    for series, rows in groupby(hot.all_rows(connection), key=lambda row: row[1]):
        if series in visible:
            fresh = list(rows)
            candidates.setdefault(series, []).extend(fresh)
            instants = {row[2] for row in fresh}
            start, end = fresh[0][2], fresh[-1][2]
            bounds = {"series": series, "start": start, "end": end, "from": start // DAY, "to": end // DAY}
            for data, _ in connection.execute(_MEETING, bounds):
                candidates[series].extend(row for row in decode(data).rows(series) if row[2] in instants)
    for series in sorted(candidates, key=visible.__getitem__):
        for _, same in groupby(sorted(candidates[series], key=by_instant), key=lambda row: row[2]):
            rows_at = list(same)
            if len(rows_at) > 1:
                yield rows_at


def counts(connection: sqlite3.Connection, hot: HotTable) -> dict[int, int]:
    """Series number -> how many readings are stored."""
    found = dict(connection.execute("SELECT series, sum(readings) FROM chunks GROUP BY series").fetchall())
    for series, readings, _, _ in hot.spans(connection):
        found[series] = found.get(series, 0) + readings
    return found


def _sealed_before(connection: sqlite3.Connection, series: int, limit: int) -> int | None:
    found = connection.execute(_BEFORE, {"series": series, "limit": limit, "day": limit // DAY}).fetchone()
    if found is None:
        return None
    if found[1]:
        return int(found[0])
    return max(row[2] for row in _usable(decode(found[2]).rows(series)) if row[2] < limit)


def _sealed_from(connection: sqlite3.Connection, series: int, limit: int) -> int | None:
    found = connection.execute(_FROM, {"series": series, "limit": limit, "day": limit // DAY}).fetchone()
    if found is None:
        return None
    if found[1]:
        return int(found[0])
    return min(row[2] for row in _usable(decode(found[2]).rows(series)) if row[2] >= limit)


def _usable(rows: Iterable[Row]) -> Iterator[Row]:
    return (row for row in standing(rows) if not row[4] & MISSING)


def _usable_at(connection: sqlite3.Connection, series: int, instant: int, fresh: Iterable[Row]) -> bool:
    rows = [*sealed_rows(connection, series, instant, instant + 1), *fresh]
    return any(_usable(sorted(rows, key=by_instant)))
