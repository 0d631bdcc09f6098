"""What a delivery brings to the InfluxDB store, sorted by series and instant, and what it changes there."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gateway.contracts import Delivery, StoredReading
from gateway.domain.readings import Reading
from gateway.errors import StoreError
from gateway.stores.exact_numbers import comes_back
from gateway.stores.hot_rows import INDEX_BITS, MISSING, Row, quality_of, standing
from gateway.stores.line_protocol import SeriesLines, series_tags


class Span(NamedTuple):
    """From where to where an entry brought readings of a series. Instants [us, UTC], inclusive."""

    sequence: int
    series: str
    first: int
    last: int


class Arrivals(NamedTuple):
    """Readings of a delivery: by series and instant as rows in the order of the journal, and what each entry spans."""

    rows: dict[str, dict[int, list[Row]]]
    spans: list[Span]


class Change(NamedTuple):
    """What stands at an instant after a delivery. `rows` are all that came for it, where there is more than one.

    `found` is what the database holds there; `write` says that it is to hold `row` instead.
    """

    series: str
    row: Row
    rows: list[Row]
    found: StoredReading | None
    write: bool


def arrivals_of(deliveries: Sequence[Delivery]) -> Arrivals:
    """Sort the readings of deliveries. Raises StoreError on a name or a value that would not come back as it was."""
    rows: dict[str, dict[int, list[Row]]] = {}
    spans: list[Span] = []
    for sequence, readings, _ in deliveries:
        if len(readings) >> INDEX_BITS:
            raise StoreError(f"journal entry {sequence} holds {len(readings)} readings; at most {2**INDEX_BITS} fit.")
        extents: dict[str, tuple[int, int]] = {}
        for place, reading in enumerate(readings, sequence << INDEX_BITS):
            series, instant, row = reading.series, reading.instant, _row(reading, place)
            if (at := rows.get(series)) is None:
                series_tags(series)
                at = rows[series] = {}
            at.setdefault(instant, []).append(row)
            first, last = extents.get(series, (instant, instant))
            extents[series] = min(first, instant), max(last, instant)
        spans += (Span(sequence, series, *extent) for series, extent in extents.items())
    return Arrivals(rows, spans)


def tally_of(arrived: Arrivals) -> dict[str, tuple[int, int, int]]:
    """Of each series (readings, first, last instant [us, UTC])."""
    return {series: (sum(map(len, rows.values())), min(rows), max(rows)) for series, rows in arrived.rows.items()}


def change_of(
    series: str, rows: list[Row], before: Sequence[Row], found: StoredReading | None, *, cursor: int
) -> Change:
    """What `rows` change at their instant, where `before` came earlier and the database holds `found`.

    What the database holds from an entry after the cursor was left by a delivery that was cut off: it counts for
    nothing, but has to make place.
    """
    if not before and found is not None and found.sequence <= cursor:
        before = [row_of(found)]
    every = [*before, *rows]
    stands = next(standing(every))
    same = found is not None and _is(found, stands)
    # A server keeps fields that an overwriting point leaves out: what is true then stands in our own file.
    leftover = found is not None and found.value is not None and type(found.value) is not type(stands[3])
    return Change(series, stands, every if len(every) > 1 or leftover else [], found, not same)


def lines_of(lines: SeriesLines, changes: Iterable[Change]) -> list[str]:
    """One line for each change, in their order."""
    made: list[str] = []
    for series, (place, _, instant, value, bits, reason), _, found, _ in changes:
        (line,) = lines.lines(place >> INDEX_BITS, [Reading(series, instant, value, quality_of(bits), reason)])
        if found is not None and found.reason and not reason:
            line = f'{line[: line.rindex(" ")]},reason="" {instant}'
        made.append(line)
    return made


def row_of(found: StoredReading) -> Row:
    """A stored reading as a row. Its index in the entry is not known; alone at its instant, it needs none."""
    return (found.sequence << INDEX_BITS, 0, found.instant, found.value, int(found.quality), found.reason)


def newest_of(changes: Mapping[int, Row]) -> Row | None:
    """The newest usable row of those that stand at these instants."""
    return max((row for row in changes.values() if not row[4] & MISSING), key=lambda row: row[2], default=None)


def _is(found: StoredReading, row: Row) -> bool:
    place, _, _, value, bits, reason = row
    same = type(found.value) is type(value) and repr(found.value) == repr(value)
    return same and (found.quality, found.reason, found.sequence) == (bits, reason, place >> INDEX_BITS)


def _row(reading: Reading, place: int) -> Row:
    """The row of a reading; the number of its series is left to whoever keeps numbers."""
    _, instant, value, quality, reason, _ = reading
    bits = int(quality)
    if value is None:
        bits |= MISSING  # whatever its flags say, there is nothing to use
    elif not comes_back(value):
        raise StoreError(
            f"journal entry {place >> INDEX_BITS}: {reading.series} at {instant}: found {value!r} of type "
            f"{type(value).__name__}; expected an integer of 64 bits, a finite float, or None."
        )
    return (place, 0, instant, value, bits, reason)
