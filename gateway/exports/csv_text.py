"""CSV for people and spreadsheets: values in the register's unit as exact decimals, times with their offset."""

import csv
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from gateway.domain.periods import iso
from gateway.domain.readings import quality_words
from gateway.exports.blocks import MODE, Kind, SeriesBlock
from gateway.journal.disk import replaced_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_HEAD = ("enterprise", "point", "quantity", "unit")
_ENDS = {
    Kind.READINGS: ("instant", "value", "quality", "reason", "sequence"),
    Kind.INTERVALS: ("start", "end", "value", "quality", "reason", "covered_s", "first_sequence", "last_sequence"),
}


def write_csv(path: Path, kind: Kind, blocks: Iterable[SeriesBlock], timezone: str) -> int:
    """Write the blocks to `path` in one step, UTF-8 with a mark that spreadsheets know; the number of rows.

    Raises OSError. Holds one series in memory.
    """
    rows = 0
    with replaced_text(path, mode=MODE, encoding="utf-8-sig") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_HEAD, *_ENDS[kind]])
        for block in blocks:
            writer.writerows(_rows(block, kind, timezone))
            rows += len(block.instants)
    return rows


def as_text(text: str) -> str:
    """Text that a spreadsheet shows and does not compute."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def shown(count: int | None, value: float | None, resolution: Decimal | None) -> str:
    """A value in the register's unit: exact for counts, the shortest text for floats, empty when missing."""
    if count is not None and resolution is not None:
        return str(count * resolution)
    return "" if value is None else repr(value)


def _rows(block: SeriesBlock, kind: Kind, timezone: str) -> Iterable[list[str | int]]:
    series = block.series
    head = [series.enterprise, series.point, series.register.quantity, as_text(block.unit)]
    for number, instant in enumerate(block.instants):
        value = shown(block.counts[number], block.values[number], block.resolution)
        said = [value, "|".join(quality_words(block.quality[number])), as_text(block.reason[number])]
        begin = iso(instant, timezone)
        if kind is Kind.READINGS:
            yield [*head, begin, *said, block.columns["sequence"][number]]
        else:
            covered_s = block.columns["covered_us"][number] // 1_000_000
            ends = (block.columns["first_sequence"][number], block.columns["last_sequence"][number])
            yield [*head, begin, iso(block.columns["end"][number], timezone), *said, covered_s, *ends]
