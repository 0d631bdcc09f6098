"""Readings as lines on their way to a server that takes line protocol; what has no line is held back alone."""

from collections.abc import Callable, Sequence
from itertools import groupby

from gateway.errors import StoreError
from gateway.sinks.outlet import Item, Refused, Sent
from gateway.stores.influx_writing import LineWriter

LinesOf = Callable[[int, Sequence[Item]], list[str]]  # the lines of items of one journal entry, one each


def send_lines(writer: LineWriter, lines_of: LinesOf, items: Sequence[Item]) -> Sent:
    """Write items in their order; those that have no line, or that the server refuses by themselves, are refused.

    Raises SinkBusy, SinkDenied, StoreError as LineWriter does.
    """
    lines: list[str] = []
    owners: list[Item] = []
    refused: list[Refused] = []
    for sequence, group in groupby(items, key=lambda item: item.sequence):
        some = list(group)
        try:
            lines += lines_of(sequence, some)
            owners += some
        except StoreError:
            _one_by_one(lines_of, some, lines, owners, refused)
    refused += [Refused(owners[one.number], one.line, one.reason) for one in writer.write(lines)]
    return Sent(refused)


def _one_by_one(
    lines_of: LinesOf, items: Sequence[Item], lines: list[str], owners: list[Item], refused: list[Refused]
) -> None:
    for item in items:
        try:
            lines += lines_of(item.sequence, [item])
            owners.append(item)
        except StoreError as error:
            refused.append(Refused(item, item.reading.series, str(error)))
