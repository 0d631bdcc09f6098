"""The embedded reading store compared with its journal: every reading, and everything that is kept made up from them.

Whatever the store answers is made of four things: the rows of each series, the heads of sealed chunks (from which days,
counts and the overview are told unopened), the latest values with the corrections that they heed, and the extents of
blocks not yet sealed. Rows are compared with those of a store made anew from the journal, the rest with the rows.
"""

import sqlite3
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.stores import stored_days
from gateway.stores.chunks import Head, decode, head_of
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.hot_blocks import Block
from gateway.stores.hot_rows import CORRECTED, DAY, INDEX_BITS, MISSING, Row, by_instant, standing
from gateway.stores.hot_table import HotTable, sealing_of
from gateway.stores.rebuilding import NAME, Progress, Source, fresh, fresh_path

TOLD = 1_000  # differences that are told one by one
_STEP_US = 32 * DAY  # of a long series so much is held at a time
_HEADS = f"""SELECT {", ".join(f"chunks.{field}" for field in Head._fields)}, data
    FROM chunks LEFT JOIN bodies ON bodies.body = chunks.body ORDER BY day, series, chunks.first"""  # noqa: S608 - ours
_BLOCKS = "SELECT readings, first, last, oldest, newest, data FROM hot ORDER BY block"
_LATEST = "SELECT place, series, instant, value, quality, reason FROM latest WHERE series = ?"
_UNREADABLE = (zlib.error, ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error)
_LAST = 2**63 - 1


class Compared(NamedTuple):
    """A store beside one made from its journal; `differing` names the series whose answers differ."""

    integrity: str  # "ok", or what SQLite found wrong
    sequence: int  # the entry up to which both were looked at
    series: int
    readings: int  # standing readings of the store
    beyond: int  # of them so many come from entries that the journal no longer holds: nothing to compare them with
    differing: list[str]
    differences: list[str]  # a sentence for each series and day (UTC), as many as are told
    untold: int  # differences beyond those

    @property
    def ok(self) -> bool:
        """True if file and answers are in order."""
        return self.integrity == "ok" and not self.differing and not self.differences


class _Side:
    """One of the two stores at one moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.hot = HotTable()
        self.names: dict[int, str] = dict(connection.execute("SELECT id, name FROM series"))
        self.numbers = {name: number for number, name in self.names.items()}
        self.spans: dict[str, tuple[int, int]] = {}
        for number, _, first, last in self.hot.spans(connection):
            self.widen(number, first, last)

    def widen(self, number: int, first: int, last: int) -> None:
        """Readings of this series lie from `first` to `last` [us, UTC]."""
        if (name := self.names.get(number)) is not None:
            known = self.spans.get(name, (first, last))
            self.spans[name] = (min(first, known[0]), max(last, known[1]))

    def rows(self, series: str, start: int, end: int) -> list[Row]:
        """All rows of a series in [start, end), by instant and place; without the number that only this file knows."""
        number = self.numbers.get(series)
        if number is None:
            return []
        rows = stored_days.span(self.connection, self.hot, number, start, end)
        return [(place, 0, instant, value, bits, reason) for place, _, instant, value, bits, reason in rows]


class _Findings:
    """What differs: the series, and a bounded number of sentences."""

    def __init__(self) -> None:
        self.series: set[str] = set()
        self.told: list[str] = []
        self.untold = 0

    def add(self, series: str, day: int | None, words: str) -> None:
        """One difference of a series and day; of none where it belongs to no series."""
        if series:
            self.series.add(series)
        if len(self.told) == TOLD:
            self.untold += 1
            return
        at = "" if day is None else f" on {_day(day)}"
        self.told.append(f"{series or 'the file'}{at}: {words}")


def compare(site: Site, tell: Progress) -> Compared:
    """The reading store beside one made from the journal up to the same entry. Raises JournalError, StoreError."""
    path = site.data_dir / NAME
    EmbeddedStore.open(path, read_only=True).close()  # it is such a file, and of this layout
    found = _Findings()
    with _moment(path) as connection:
        tell("checking the file")
        integrity = _integrity(connection)
        sequence = int(connection.execute("SELECT sequence FROM cursor").fetchone()[0])
        _check_blocks(connection, found)
        store = _Side(connection)
        unreadable = _check_heads(store, found)
        with fresh(site, tell, up_to=sequence) as source, _moment(fresh_path(site)) as again:
            tell("comparing every answer")
            journal = _Side(again)
            _check_heads(journal, found)
            walk = _Walk(store, journal, source, found, keeps=not site.store.keep_months)
            for series in sorted(walk.series - unreadable):
                walk.compare(series)
            _check_strays(walk, found)
    return Compared(
        integrity,
        sequence,
        len(walk.series),
        walk.readings,
        walk.beyond,
        sorted(found.series),
        found.told,
        found.untold,
    )


class _Walk:
    """Series by series, 32 days at a time. What only the store can know, or let go of by age, is passed over."""

    def __init__(self, store: _Side, again: _Side, source: Source, found: _Findings, *, keeps: bool) -> None:
        self._store, self._again, self._source, self._found = store, again, source, found
        self.series = store.spans.keys() | again.spans.keys()
        self.known, self.journaled = store.names, again.numbers
        self.readings = self.beyond = 0
        self.oldest = -(2**63) if keeps else min((first for first, _ in store.spans.values()), default=0)

    def compare(self, series: str) -> None:
        """All rows of a series, its latest value, and up to where it was corrected."""
        spans = [side.spans[series] for side in (self._store, self._again) if series in side.spans]
        start, last = min(first for first, _ in spans), max(last for _, last in spans)
        latest: Row | None = None
        corrected: int | None = None
        while start <= last:
            end = min(start + _STEP_US, last + 1, _LAST)
            rows = self._step(series, start, end)
            latest = next((row for row in reversed(list(standing(rows))) if not row[4] & MISSING), latest)
            corrected = next((row[2] for row in reversed(rows) if row[4] & CORRECTED), corrected)
            start = end if end < _LAST else _LAST + 1
        self._check_latest(series, latest)
        self._check_corrected(series, corrected)

    def _step(self, series: str, start: int, end: int) -> list[Row]:
        """Compare the rows of [start, end); all that either side knows, by instant and place."""
        there, journal = self._store.rows(series, start, end), self._again.rows(series, start, end)
        standing_here = list(standing(there))
        self.readings += len(standing_here)
        self.beyond += sum(not self._source.holds(row[0] >> INDEX_BITS) for row in standing_here)
        others = Counter(map(_exact, (row for row in there if self._source.holds(row[0] >> INDEX_BITS))))
        expected = Counter(map(_exact, (row for row in journal if row[2] >= self.oldest)))
        young = Counter(map(_exact, journal)) - expected  # let go of by age; a late one may be there all the same
        missing, other = expected - others, others - expected - young
        by_day: dict[int, list[int]] = {}
        for place, differing in enumerate((missing, other)):
            for (_, instant, *_), count in differing.items():
                by_day.setdefault(instant // DAY, [0, 0])[place] += count
        for day, (gone, strange) in sorted(by_day.items()):
            words = f"{gone} readings of the journal are not there as it has them, {strange} others are"
            self._found.add(series, day, words)
        only = set(map(_exact, there))
        return sorted([*there, *(row for row in journal if _exact(row) not in only)], key=by_instant)

    def _check_latest(self, series: str, wanted: Row | None) -> None:
        number = self._store.numbers.get(series, -1)
        row = self._store.connection.execute(_LATEST, (number,)).fetchone()
        kept: Row | None = row and (row[0], 0, *row[2:])
        if wanted is None and kept and kept[2] < self.oldest and not self._source.holds(kept[0] >> INDEX_BITS):
            return  # everything of it has left by age, here and from the journal; the latest value stays
        if kept is None and wanted is not None and wanted[2] < self.oldest:
            return
        if (kept and _exact(kept)) != (wanted and _exact(wanted)):
            day = (kept or wanted or (0, 0, 0))[2] // DAY
            self._found.add(
                series, day, f"the latest value is kept as {_shown(kept)}; its readings say {_shown(wanted)}"
            )

    def _check_corrected(self, series: str, wanted: int | None) -> None:
        number = self._store.numbers.get(series, -1)
        row = self._store.connection.execute("SELECT newest FROM corrected WHERE series = ?", (number,)).fetchone()
        kept = None if row is None else int(row[0])
        if kept is not None and kept < self.oldest and (wanted is None or wanted < kept):
            return  # the correction has left by age
        if kept != wanted:
            day = (wanted if kept is None else kept) or 0
            words = f"it is kept as corrected up to {kept}; its readings say {wanted} [us, UTC]"
            self._found.add(series, day // DAY, words)


def _check_heads(store: _Side, found: _Findings) -> set[str]:
    """Open every chunk and compare it with its head; the series of which one cannot be opened."""
    unreadable: set[str] = set()
    newest = 0
    for *kept, data in store.connection.execute(_HEADS):
        head = Head(*kept)
        series = store.names.get(head.series, f"series {head.series}, which has no name")
        newest = max(newest, head.newest)
        try:
            wanted = head_of(head.day, head.series, decode(data).rows(head.series))
        except _UNREADABLE as error:
            unreadable.add(series)
            found.add(series, head.day, f"its chunk cannot be opened: {error!r}")
            continue
        store.widen(head.series, wanted.first, wanted.last)
        words = [
            f"{field} {value!r} instead of {right!r}"
            for field, value, right in zip(Head._fields, head, wanted, strict=True)
            if (value, type(value)) != (right, type(right))
        ]
        if {wanted.first // DAY, wanted.last // DAY} != {head.day}:
            words.append("readings of another day")
        if words:
            found.add(series, head.day, f"the head of its chunk says {', '.join(words)}")
        elif head.series not in store.names:
            found.add(series, head.day, "a chunk of nobody")
    kept_newest = sealing_of(store.connection).newest
    if kept_newest < newest:
        found.add("", None, f"the newest sealed reading is kept as {kept_newest} instead of {newest}")
    return unreadable


def _check_blocks(connection: sqlite3.Connection, found: _Findings) -> None:
    """Open every block that is not sealed yet, and compare it with what is kept of it unopened. Raises StoreError."""
    for *kept, data in connection.execute(_BLOCKS):
        try:
            rows = Block(data).rows(0, 2**32 - 1)
        except _UNREADABLE as error:
            raise StoreError(f"{NAME}: readings not yet sealed cannot be opened: {error!r}. {_MEND}") from error
        instants, places = [row[2] for row in rows], [row[0] for row in rows]
        wanted = [len(rows), min(instants), max(instants), min(places), max(places)]
        if kept != wanted:
            found.add("", instants[0] // DAY, f"a block of readings is kept as {kept} instead of {wanted}")


_MEND = "`emg db rebuild SITE` makes the store anew from the journal; back the site up first."


def _check_strays(walk: _Walk, found: _Findings) -> None:
    """Latest values and corrections of series that have no reading anywhere."""
    connection = walk._store.connection  # noqa: SLF001 - of this module
    for table, instant in (("latest", "instant"), ("corrected", "newest")):
        for number, at in connection.execute(f"SELECT series, {instant} FROM {table}"):  # noqa: S608 - our own names
            name = walk.known.get(number)
            if name in walk.series or at < walk.oldest:
                continue
            found.add(name or f"series {number}, which has no name", at // DAY, f"kept in {table!r} without a reading")


def _exact(row: Row) -> tuple[int, int, type, int | float | None, int, str]:
    """A row such that 1 and 1.0 are two things."""
    return row[0], row[2], type(row[3]), row[3], row[4], row[5]


def _shown(row: Row | None) -> str:
    return "nothing" if row is None else f"{row[3]!r} of entry {row[0] >> INDEX_BITS}"


def _day(day: int) -> str:
    try:
        return (date(1970, 1, 1) + timedelta(days=day)).isoformat()
    except OverflowError:
        return f"day {day} since 1970"


@contextmanager
def _moment(path: Path) -> Iterator[sqlite3.Connection]:
    """One moment of a file, whoever writes it meanwhile. Raises StoreError."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            yield connection
    except (sqlite3.Error, OverflowError) as error:
        raise StoreError(f"{path}: cannot be compared: {error}. {_MEND}") from error


def _integrity(connection: sqlite3.Connection) -> str:
    try:
        return str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
