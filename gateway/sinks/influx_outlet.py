"""A copy of every reading for an InfluxDB, in the lines of gateway.stores.line_protocol.

Equal series and instant are one point there: the later entry overwrites field by field, so a repeat does no harm.
"""

from collections.abc import Collection, Iterator, Sequence

from gateway.domain.destinations import InfluxServer
from gateway.sinks.comparing import Accepted, Compared, DayOfJournal, Held, compare_series
from gateway.sinks.line_sending import send_lines
from gateway.sinks.outlet import Item, Sent
from gateway.stores.influx_reading import InfluxReader
from gateway.stores.influx_writing import LineWriter
from gateway.stores.line_protocol import SeriesLines


class InfluxOutlet:
    """The way to one database."""

    def __init__(self, server: InfluxServer, token: str, enterprises: Collection[str] = ()) -> None:
        """Of a database that is shared, points of `enterprises` alone (all when there are none) are ours."""
        self._enterprises = frozenset(enterprises)
        self._lines = SeriesLines()
        self._writer = LineWriter(server, token)
        self._reader = InfluxReader(server, token)

    def send(self, items: Sequence[Item]) -> Sent:
        """Store these. Raises SinkBusy, SinkDenied, StoreError."""
        return send_lines(self._writer, self._lines_of, items)

    def started(self) -> str:
        """Nothing: what it has acknowledged, it keeps."""
        return ""

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        self._reader.close()

    def compare(self, day: DayOfJournal) -> Iterator[Compared]:
        """What is there of a day beside the journal, mended where it differs; some series at each step."""
        return compare_series(day, held=self._held, expected=expected_points, send=self.send, there=self._there)

    def _lines_of(self, sequence: int, items: Sequence[Item]) -> list[str]:
        return self._lines.lines(sequence, [item.reading for item in items])

    def _there(self, start: int, end: int) -> dict[str, int]:
        found = self._reader.held(start, end - 1)
        mine = self._enterprises
        return {name: points for name, points in found.items() if not mine or name.partition("/")[0] in mine}

    def _held(self, series: str, start: int, end: int) -> Iterator[Held]:
        for found in self._reader.within(series, start, end - 1):
            yield Held(str(found.instant), (found.value, int(found.quality), found.sequence))


def expected_points(items: Sequence[Item]) -> Accepted:
    """What a database that got these in their order holds: fields of one instant united, the last word wins.

    Reasons are left out: they are shown with control characters replaced.
    """
    counts: dict[int, int] = {}
    values: dict[int, float] = {}
    found: Accepted = {}
    for sequence, _, reading in items:
        if type(reading.value) is int:
            counts[reading.instant] = reading.value
        elif reading.value is not None:
            values[reading.instant] = float(reading.value)
        value = counts.get(reading.instant, values.get(reading.instant))
        found[str(reading.instant)] = [(value, int(reading.quality), sequence)]
    return found
