"""What a day showed, of every series at once: told by the heads of sealed chunks, by rows where none is sealed."""

import gc
import json
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from gateway.stores import sealing
from gateway.stores.chunks import Head, head_of
from gateway.stores.hot_rows import DAY, by_instant
from gateway.stores.hot_table import HotTable
from gateway.stores.stored_days import sealed_rows


class DayOfSeries(NamedTuple):
    """The usable readings of one series and day (UTC, days since 1970): how many, the first, the last, and the range.

    Instants [us, UTC]; values as in `Reading`: of a counter, last - first is what was counted in between.
    """

    series: str
    day: int
    usable: int
    first: int
    first_value: int | float
    last: int
    last_value: int | float
    lowest: int | float
    highest: int | float


class Overview(NamedTuple):
    """All that is stored: readings, instants at which one is and a usable one stands, first and last instant, range.

    The last four are None where there is nothing.
    """

    readings: int
    instants: int
    usable: int
    first: int | None
    last: int | None
    lowest: int | float | None
    highest: int | float | None


_DAYS = """SELECT name, day, usable, first_usable, first_value, last_usable, last_value, lowest, highest
    FROM chunks CROSS JOIN series ON series.id = chunks.series
    WHERE day BETWEEN ? AND ? AND usable > 0 ORDER BY day, series, first"""
_TOTALS = """SELECT coalesce(sum(readings), 0), coalesce(sum(instants), 0), coalesce(sum(usable), 0),
    min(first), max(last), min(lowest), max(highest) FROM chunks"""
_AMONG = """ WHERE series IN (SELECT value FROM json_each(?))
    AND (day, series) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))"""
# A day that was cut has a chunk of at least that length.
_CUT = "SELECT min(day) FROM chunks WHERE day BETWEEN ? AND ? AND readings >= ?"
_SEALED_UP_TO = "SELECT max(last) FROM chunks WHERE day = ? AND series = ?"
_day_of_series = partial(tuple.__new__, DayOfSeries)  # many thousands at once: faster than the class

_EVER = (-(2**62) // DAY, 2**62 // DAY)


def daily(
    connection: sqlite3.Connection, hot: HotTable, visible: Mapping[int, str], first_day: int, last_day: int
) -> list[DayOfSeries]:
    """One for every series and day that has a usable reading, by day."""
    with _uncollected():
        found: list[DayOfSeries] = list(map(_day_of_series, connection.execute(_DAYS, (first_day, last_day))))
    if len(visible) < connection.execute("SELECT count(*) FROM series").fetchone()[0]:
        allowed = set(visible.values())
        found = [day for day in found if day.series in allowed]
    behind, instead = _fresh(connection, hot, visible, first_day, last_day)
    cut = connection.execute(_CUT, (first_day, last_day, sealing.LONGEST)).fetchone()[0]
    since = min([head.day for head in behind + instead] + ([] if cut is None else [cut]), default=None)
    if since is None:
        return found
    at = bisect_left(found, since, key=attrgetter("day"))
    return found[:at] + _merged(found[at:], visible, behind, instead)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Many thousand tuples that all stay: looking for cycles among them over and over costs as much as making them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _merged(
    found: Iterable[DayOfSeries], visible: Mapping[int, str], behind: Sequence[Head], instead: Sequence[Head]
) -> list[DayOfSeries]:
    """One for every series and day, by day, of parts of days: sealed ones, and those of unsealed rows."""
    replaced = {(visible[head.series], head.day) for head in instead}
    parts = [day for day in found if day[:2] not in replaced]
    parts += [_told(visible[head.series], head) for head in (*behind, *instead) if head.usable]
    days: dict[tuple[str, int], DayOfSeries] = {}
    for part in parts:
        key = part[:2]
        days[key] = _with(days[key], part) if key in days else part
    return sorted(days.values(), key=attrgetter("day"))


def overview(connection: sqlite3.Connection, hot: HotTable, visible: Mapping[int, str]) -> Overview:
    """The whole of what is stored of these series."""
    everything = len(visible) == connection.execute("SELECT count(*) FROM series").fetchone()[0]
    heads, rewritten = _fresh(connection, hot, visible, *_EVER)
    if everything and not rewritten:
        sealed = connection.execute(_TOTALS).fetchone()
    else:
        keys = json.dumps([[head.day, head.series] for head in rewritten])
        sealed = connection.execute(_TOTALS + _AMONG, (json.dumps(list(visible)), keys)).fetchone()
    parts = [Overview(*sealed), *(_overview_of(head) for head in heads + rewritten)]
    columns = [[number for number in column if number is not None] for column in zip(*parts, strict=True)]
    readings, instants, usable, firsts, lasts, lows, highs = columns
    extent = (min(firsts, default=None), max(lasts, default=None), min(lows, default=None), max(highs, default=None))
    return Overview(sum(readings), sum(instants), sum(usable), *extent)


def _fresh(
    connection: sqlite3.Connection, hot: HotTable, visible: Mapping[int, str], first_day: int, last_day: int
) -> tuple[list[Head], list[Head]]:
    """The heads of unsealed rows: (those behind what is sealed of their day, those together with what is sealed)."""
    behind, instead = [], []
    rows = hot.all_rows(connection, start=first_day * DAY, end=(last_day + 1) * DAY)
    for (series, day), same in groupby(rows, key=lambda row: (row[1], row[2] // DAY)):
        if series not in visible:
            continue
        fresh = list(same)
        sealed_up_to = connection.execute(_SEALED_UP_TO, (day, series)).fetchone()[0]
        if sealed_up_to is None or sealed_up_to < fresh[0][2]:
            behind.append(head_of(day, series, fresh))
        else:
            sealed = sealed_rows(connection, series, day * DAY, (day + 1) * DAY)
            instead.append(head_of(day, series, sorted(sealed + fresh, key=by_instant)))
    return behind, instead


def _told(name: str, head: Head) -> DayOfSeries:
    values = (head.first_usable, head.first_value, head.last_usable, head.last_value, head.lowest, head.highest)
    return _day_of_series((name, head.day, head.usable, *values))


def _overview_of(head: Head) -> Overview:
    return Overview(head.readings, head.instants, head.usable, head.first, head.last, head.lowest, head.highest)


def _with(earlier: DayOfSeries, later: DayOfSeries) -> DayOfSeries:
    """Two parts of one day, one after the other."""
    return earlier._replace(
        usable=earlier.usable + later.usable,
        last=later.last,
        last_value=later.last_value,
        lowest=min(earlier.lowest, later.lowest),
        highest=max(earlier.highest, later.highest),
    )
