"""Readings as rows, and which of several at one instant stands."""

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from gateway.contracts import StoredReading
from gateway.domain.readings import Quality

# (place, series number, instant, value, quality, reason)
Row = tuple[int, int, int, int | float | None, int, str]

DAY = 86_400_000_000  # [us]
INDEX_BITS = 24  # a place is the identity of a reading, sequence * 2^24 + index in the entry: unique, in journal order
MISSING = Quality.MISSING.value
CORRECTED = Quality.CORRECTED.value

instant_of = itemgetter(2)
series_of = itemgetter(1)
by_instant = itemgetter(2, 0)  # of rows of one series: by instant, of one instant by place
by_series = itemgetter(1, 2, 0)


class Conflict(NamedTuple):
    """Two usable readings of one series and instant that differ: `standing` is used, `other` is kept."""

    standing: StoredReading
    other: StoredReading


class Refusal(NamedTuple):
    """A reading that the server behind a store will never take: its line and what the server said of it."""

    series: str
    instant: int
    sequence: int
    line: str
    said: str


class Refused(NamedTuple):
    """How many readings a server refused for good, and the newest of them, the newest first."""

    total: int = 0
    newest: Sequence[Refusal] = ()


def place_after(sequence: int) -> int:
    """The first place that an entry after `sequence` can have."""
    return (sequence + 1) << INDEX_BITS


class _Qualities(dict[int, Quality]):
    """The flags of each stored number, made once."""

    def __missing__(self, bits: int) -> Quality:
        self[bits] = quality = Quality(bits)
        return quality


QUALITIES = _Qualities()


def quality_of(bits: int) -> Quality:
    """The flags of a stored number."""
    return QUALITIES[bits]


def stored(name: str, row: Row) -> StoredReading:
    """A row as a caller gets it."""
    place, _, instant, value, bits, reason = row
    return StoredReading(name, instant, value, QUALITIES[bits], reason, place >> INDEX_BITS)


def is_plain(qualities: Iterable[int]) -> bool:
    """True if these readings are usable and correct nothing: which of them stand is then a matter of order alone."""
    return max(qualities, default=0) < MISSING


def standing(rows: Iterable[Row]) -> Iterator[Row]:
    """One row per instant, of rows of one series by instant and place.

    It is the newest correction, also when that says that there is no value; else the first usable one, else the first.
    """
    kept: Row | None = None
    for row in rows:
        if kept is None:
            kept = row
        elif row[2] != kept[2]:
            yield kept
            kept = row
        elif row[4] & CORRECTED or (kept[4] & MISSING and not kept[4] & CORRECTED and not row[4] & MISSING):
            kept = row
    if kept is not None:
        yield kept


def repeats(name: str, rows: Sequence[Row]) -> tuple[int, list[Conflict]]:
    """(identical repeats, conflicts) among the rows of one series and instant, by place.

    A gap that was filled, or reported after it was filled, contradicts nothing; nor does a correction, which settles
    what contradicted before.
    """
    as_read = [row for row in rows if not row[4] & CORRECTED]
    if not as_read:
        return 0, []
    kept = next(standing(as_read))
    duplicates = 0
    conflicts: list[Conflict] = []
    for row in as_read:
        if row is kept or (row[4] & MISSING and not kept[4] & MISSING):
            continue
        if _content(row) == _content(kept):
            duplicates += 1
        elif not row[4] & MISSING:
            conflicts.append(Conflict(stored(name, kept), stored(name, row)))
    return duplicates, conflicts if len(as_read) == len(rows) else []


def _content(row: Row) -> tuple[type, int | float | None, int, str]:
    return type(row[3]), row[3], row[4], row[5]
