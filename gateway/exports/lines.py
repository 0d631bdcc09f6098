"""Line protocol as a file: what InfluxDB and its relatives import, in microseconds."""

import os
from collections.abc import Iterable
from pathlib import Path

from gateway.domain.readings import Quality, Reading
from gateway.exports.blocks import SeriesBlock
from gateway.journal.disk import sync_directory
from gateway.stores.line_protocol import SeriesLines


def write_lines(path: Path, blocks: Iterable[SeriesBlock]) -> int:
    """Write readings to `path` in one step; the number of rows. Raises OSError. Holds one series in memory."""
    partial = path.with_name(f".{path.name}.partial")
    speaker, rows = SeriesLines(), 0
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for block in blocks:
                for sequence, reading in _readings(block):
                    file.writelines(f"{line}\n" for line in speaker.lines(sequence, [reading]))
                rows += len(block.instants)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)
    return rows


def _readings(block: SeriesBlock) -> Iterable[tuple[int, Reading]]:
    name = block.series.key
    rows = zip(block.instants, block.counts, block.values, block.quality, block.reason, strict=True)
    for sequence, (instant, count, value, quality, reason) in zip(block.columns["sequence"], rows, strict=True):
        yield sequence, Reading(name, instant, value if count is None else count, Quality(quality), reason)
