"""Readings of one series as columns, for analysis and pages: numpy arrays where numpy is installed."""

import importlib
import sqlite3
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from math import nan
from typing import Any, NamedTuple

from gateway.stores.chunks import decode, decode_values
from gateway.stores.hot_rows import Row, by_instant, instant_of, standing
from gateway.stores.hot_table import HotTable
from gateway.stores.stored_days import sealed_bodies


class SeriesColumns(NamedTuple):
    """Instants [us, UTC], values and quality flags of the standing readings, by instant; columns of one length.

    Arrays of numpy, or of the standard library where numpy is not installed. `values` are 64-bit integers when all are
    counts, else floats. Where `qualities` says MISSING there is none: a NaN among floats, a 0 among counts.
    """

    instants: Any
    values: Any
    qualities: Any


def columns_of_series(
    connection: sqlite3.Connection, hot: HotTable, series: int | None, start: int, end: int
) -> SeriesColumns:
    """The standing readings of one series in [start, end); none of a series that is None."""
    if series is None:
        return _columns([], [], bytearray())
    fresh = hot.rows(connection, series, start, end)
    instants: list[int] = []
    values: list[int | float | None] = []
    qualities = bytearray()

    def add(rows: Iterable[Row]) -> None:
        for _, _, instant, value, bits, _ in standing(rows):
            instants.append(instant)
            values.append(value)
            qualities.append(bits)

    done = 0
    for data, first, last, single in sealed_bodies(connection, series, start, end):
        begun, done = done, bisect_right(fresh, last, lo=done, key=instant_of)
        if begun == done and single and start <= first and last < end:  # each of them stands
            found = decode_values(data)
            instants += found.instants
            values += found.values
            qualities += found.qualities
        else:
            rows = [row for row in decode(data).rows(series) if start <= row[2] < end]
            add(sorted(rows + fresh[begun:done], key=by_instant))
    add(fresh[done:])
    return _columns(instants, values, qualities)


def _columns(instants: list[int], values: list[int | float | None], qualities: bytearray) -> SeriesColumns:
    columns = SeriesColumns(array("q", instants), _value_column(values), array("B", qualities))
    numpy = _numpy()
    return columns if numpy is None else SeriesColumns(*map(numpy.asarray, columns))


def _value_column(values: list[Any]) -> "array[int] | array[float]":
    try:
        return array("q", values)  # it takes no float, and no gap
    except TypeError:
        counts = float not in set(map(type, values))
    filled = [(0 if counts else nan) if value is None else value for value in values]
    return array("q", filled) if counts else array("d", filled)


@cache
def _numpy() -> Any:  # noqa: ANN401  # a module that need not be there
    """Numpy, when it is installed: looked for by name, so that the acquiring process does not depend on it."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None
