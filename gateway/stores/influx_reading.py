"""Reads readings back by InfluxQL at `/query`, the dialect that versions 1, 2 and 3 share.

Names of measurement, tags and fields are constants of this product; everything a caller brings goes in as a bound
value. Answers come in chunks and are read one after the other: a long span needs the memory of its readings only.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.contracts import StoredReading
from gateway.domain.destinations import InfluxServer
from gateway.errors import StoreError
from gateway.stores.hot_rows import CORRECTED, DAY, MISSING, quality_of
from gateway.stores.influx_http import escaped
from gateway.stores.influx_query import Questions
from gateway.stores.line_protocol import MEASUREMENT, TAGS, series_tags

EARLIEST, LATEST = -9_223_372_036_854_775, 9_223_372_036_854_775  # instants that InfluxDB can hold [us]

_HELD = """SELECT count(*) FROM "readings" WHERE time >= $first AND time <= $last
    GROUP BY "enterprise", "point", "quantity" """
_COLUMNS = ["time", "count", "value", "quality", "sequence", "reason"]
_WITHIN = """SELECT "count", "value", "quality", "sequence", "reason" FROM "readings"
    WHERE "enterprise" = $enterprise AND "point" = $point AND "quantity" = $quantity
    AND time >= $first AND time <= $last"""
# Usable is a quality without the flag MISSING, said without bit arithmetic, which not every version knows.
_NEAREST = """SELECT "sequence" FROM "readings"
    WHERE "enterprise" = $enterprise AND "point" = $point AND "quantity" = $quantity
    AND time >= $first AND time <= $last
    AND ("quality" < $missing OR ("quality" >= $corrected AND "quality" < $both)) ORDER BY time """
_FLAGS = {"missing": MISSING, "corrected": CORRECTED, "both": CORRECTED + MISSING}
_NEWEST = 'SELECT max("sequence") FROM "readings"'
# Tried one after the other: a near one is found without a look at years of files.
_REACHES = (DAY, 32 * DAY, LATEST - EARLIEST)
_MINUS_ZERO = re.compile(rb"[\[,]-0[,\]]")


class InfluxReader:
    """Asks one database. Raises StoreError on every method when the server or its answer is not in order."""

    def __init__(self, server: InfluxServer, token: str) -> None:
        self._server = server
        self._questions = Questions(server, token)

    def close(self) -> None:
        """Close the connections."""
        self._questions.close()

    def within(self, series: str, first: int, last: int) -> Iterator[StoredReading]:
        """The points of a series from `first` to `last` inclusive [us, UTC], by instant."""
        for row in self._rows(_WITHIN, _COLUMNS, series, first, last, {}):
            yield self._reading(series, row)

    def usable_before(self, series: str, instant: int) -> int | None:
        """The instant of the nearest usable point before `instant` [us, UTC]."""
        return self._nearest(series, "DESC", [(instant - reach, instant - 1) for reach in _REACHES])

    def usable_from(self, series: str, instant: int) -> int | None:
        """The instant of the nearest usable point at or after `instant` [us, UTC]."""
        return self._nearest(series, "ASC", [(instant, instant + reach) for reach in _REACHES])

    def held(self, first: int, last: int) -> dict[str, int]:
        """Series -> how many points there are from `first` to `last` inclusive [us, UTC], whoever wrote them."""
        found: dict[str, int] = {}
        for piece in self._questions.pieces(_HELD, {"first": first * 1000, "last": last * 1000}):  # [ns]
            for group in self._series_in(piece):
                try:
                    tags, counts = group["tags"], group["values"][0][1:]
                    series = "/".join(str(tags[tag]) for tag in TAGS)
                    found[series] = max(found.get(series, 0), *(count or 0 for count in counts))
                except (TypeError, KeyError, IndexError) as trouble:
                    raise self._strange(group) from trouble
        return found

    def newest_sequence(self) -> int:
        """The last journal entry of which there is a point; 0 when there is none. Looks through the whole database."""
        for piece in self._questions.pieces(_NEWEST, {}):
            for found in self._series_in(piece):
                return int(found["values"][0][1])
        return 0

    def _nearest(self, series: str, order: str, spans: list[tuple[int, int]]) -> int | None:
        for first, last in spans:
            for row in self._rows(f"{_NEAREST}{order} LIMIT 1", ["time", "sequence"], series, first, last, _FLAGS):
                return int(row[0])
        return None

    def _rows(
        self, statement: str, columns: list[str], series: str, first: int, last: int, flags: dict[str, int]
    ) -> Iterator[list[Any]]:
        first, last = max(first, EARLIEST), min(last, LATEST)
        if first > last:
            return
        bound = {**series_tags(series), **flags, "first": first * 1000, "last": last * 1000}  # [ns]
        for piece in self._questions.pieces(statement, bound):
            for found in self._series_in(piece):
                if found.get("columns") != columns:
                    raise self._strange(found.get("columns"))
                yield from found["values"]

    def _series_in(self, piece: bytes) -> list[dict[str, Any]]:
        """The series of a piece of an answer; an error in it is raised."""
        try:
            answer = orjson.loads(piece)
            if _MINUS_ZERO.search(piece):  # a parser of whole numbers would lose the sign of this float
                answer = json.loads(piece, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))
            (result,) = answer["results"]
            error = answer.get("error") or result.get("error")
            found: list[dict[str, Any]] = result.get("series", [])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as trouble:
            raise self._strange(piece[:200].decode("utf-8", "replace")) from trouble
        if error:
            raise StoreError(
                f"{self._server.url} answered: {escaped(str(error))}. A database that is not there is made by "
                "`emg db init SITE`."
            )
        return found

    def _reading(self, series: str, row: list[Any]) -> StoredReading:
        try:
            instant, count, value, bits, sequence, reason = row
            found = count if count is not None else (None if value is None else float(value))
            return StoredReading(series, instant, found, quality_of(int(bits)), reason or "", int(sequence))
        except (TypeError, ValueError) as trouble:
            raise self._strange(row) from trouble

    def _strange(self, found: object) -> StoreError:
        return StoreError(
            f"{self._server.url}: found {escaped(repr(found))} in an answer to a query of {MEASUREMENT!r}; expected "
            f"the columns {', '.join(_COLUMNS)}. Does something else write into {self._server.database!r}?"
        )
