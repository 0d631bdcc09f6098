"""Line protocol as a file: what InfluxDB and its relatives import, in microseconds."""

from collections.abc import Iterable
from pathlib import Path

from gateway.domain.readings import Quality, Reading
from gateway.exports.blocks import MODE, SeriesBlock
from gateway.journal.disk import replaced_text
from gateway.stores.line_protocol import SeriesLines


def write_lines(path: Path, blocks: Iterable[SeriesBlock]) -> int:
    """Write readings to `path` in one step; the number of rows. Raises OSError. Holds one series in memory."""
    speaker, rows = SeriesLines(), 0
    with replaced_text(path, mode=MODE) as file:
        for block in blocks:
            for sequence, reading in _readings(block):
                file.writelines(f"{line}\n" for line in speaker.lines(sequence, [reading]))
            rows += len(block.instants)
    return rows


def _readings(block: SeriesBlock) -> Iterable[tuple[int, Reading]]:
    name = block.series.key
    rows = zip(block.instants, block.counts, block.values, block.quality, block.reason, strict=True)
    for sequence, (instant, count, value, quality, reason) in zip(block.columns["sequence"], rows, strict=True):
        yield sequence, Reading(name, instant, value if count is None else count, Quality(quality), reason)
