"""A copy of every reading for a VictoriaMetrics: `readings_count`, `readings_value` and `readings_quality` [1].

It keeps milliseconds and float64: whole numbers are exact below 2^53, other numbers to about 12 digits. Strings would
become 0, so reasons stay with us. What is sent twice is one sample only where the server runs with
`-dedup.minScrapeInterval=1ms`. Of two values at one instant newer releases keep the greater one: a correction
therefore has the label `corrected` with the number of its journal entry and stands beside what it corrects.

Source: [1] VictoriaMetrics - single-server documentation (How to send data in InfluxDB line protocol; Deduplication;
How to export data in JSON line format; Monitoring)
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlencode

import orjson

from gateway.domain.destinations import InfluxServer
from gateway.domain.readings import Quality
from gateway.errors import StoreError
from gateway.sinks.comparing import Accepted, Compared, Content, DayOfJournal, Held, compare_series
from gateway.sinks.line_sending import send_lines
from gateway.sinks.outlet import Item, Sent
from gateway.stores.influx_http import Answer, AnsweredBadly, connect, outcome
from gateway.stores.influx_writing import LineWriter
from gateway.stores.line_protocol import MEASUREMENT, point_prefix, series_tags

METRICS_LIMIT = 4_194_304  # [bytes] of its page of metrics
ANSWER_PIECE = 65_536
LONGEST_LINE = 67_108_864  # [bytes] of one exported series and day
_STARTED = re.compile(rb"^process_start_time_seconds (\S{1,30})$", re.MULTILINE)
# Values of one block share their decimal exponent: small ones beside great ones lose their last digits.
_RELATIVE, _OF_GREATEST = 1e-11, 1e-15


class VictoriaOutlet:
    """The way to one VictoriaMetrics. `server.database` becomes the label `db`."""

    def __init__(self, server: InfluxServer, token: str) -> None:
        # By the path of version 1 the name of the database becomes a label; by that of version 2 it would be lost.
        self._server = replace(server, version="1")
        self._writer = LineWriter(self._server, token)
        self._asking = connect(self._server, token)
        self._prefixes: dict[tuple[str, int], str] = {}

    def send(self, items: Sequence[Item]) -> Sent:
        """Store these. Raises SinkBusy, SinkDenied, StoreError. It passes over a line that it cannot read."""
        return send_lines(self._writer, self._lines_of, items)

    def started(self) -> str:
        """When the server was started, as it says; "" where its metrics cannot be read. Raises SinkBusy."""
        with self._asking.pool.open("GET", f"{self._server.url}/metrics", headers=self._asking.headers) as response:
            if response.status != 200:
                return ""
            found = _STARTED.search(response.read(METRICS_LIMIT, decode_content=True))
        return found[1].decode() if found else ""

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        self._asking.pool.close()

    def compare(self, day: DayOfJournal) -> Iterator[Compared]:
        """What is there of a day beside the journal, mended where it differs; some series at each step."""
        return compare_series(day, held=self._held, expected=expected_samples, send=self.send, same=same)

    def _lines_of(self, sequence: int, items: Sequence[Item]) -> list[str]:
        lines = []
        for _, _, reading in items:
            revision = sequence if reading.quality & Quality.CORRECTED else 0
            prefix = self._prefixes.get((reading.series, revision)) or self._prefix(reading.series, revision)
            value = "" if reading.value is None else f"value={float(reading.value)!r},"
            if type(reading.value) is int:
                value = f"count={reading.value}i,"
            lines.append(f"{prefix} {value}quality={int(reading.quality)}i {reading.instant}")
        return lines

    def _prefix(self, series: str, revision: int) -> str:
        tags = series_tags(series)
        if revision:  # rare, and each other than the last: not kept
            return point_prefix(MEASUREMENT, {**tags, "corrected": str(revision)})
        found = self._prefixes[series, 0] = point_prefix(MEASUREMENT, tags)
        return found

    def _held(self, series: str, start: int, end: int) -> Iterator[Held]:
        self._flush()
        labels = {"db": self._server.database, **series_tags(series)}
        chosen = ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in labels.items())
        # An instant is kept as the millisecond it lies in; bounds are inclusive.
        span = {"start": f"{start // 1000 / 1000:.3f}", "end": f"{(end - 1) // 1000 / 1000:.3f}"}
        query = urlencode({"match[]": f'{{__name__=~"{MEASUREMENT}_(count|value|quality)",{chosen}}}', **span})
        with self._asking.pool.open(
            "GET", f"{self._server.url}/api/v1/export?{query}", headers=self._asking.headers
        ) as response:
            if response.status != 200:
                said = response.read(ANSWER_PIECE, decode_content=True)
                raise outcome(self._server, Answer(response.status, said, response.headers))
            for line in _lines(response):
                yield from self._samples(line)

    def _samples(self, line: bytes) -> Iterator[Held]:
        try:
            found = orjson.loads(line)
            metric = found["metric"]
            name = f"{metric['__name__'].removeprefix(f'{MEASUREMENT}_')}|{metric.get('corrected', '')}"
            samples = list(zip(found["timestamps"], found["values"], strict=True))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{self._server.url}: found {line[:200]!r} in an export; expected a series.") from error
        for stamp, value in samples:
            yield Held(f"{name}|{stamp}", (value,))

    def _flush(self) -> None:
        """Make visible what it holds in memory; without the right to ask for that, it takes it a second."""
        try:
            self._asking.pool.request("GET", f"{self._server.url}/internal/force_flush", headers=self._asking.headers)
        except AnsweredBadly:
            return


def expected_samples(items: Sequence[Item]) -> Accepted:
    """What must be there: of several values in one millisecond, any one."""
    found: dict[str, list[Content]] = defaultdict(list)
    for sequence, _, reading in items:
        revision = str(sequence) if reading.quality & Quality.CORRECTED else ""
        stamp = f"{revision}|{reading.instant // 1000}"
        found[f"quality|{stamp}"].append((int(reading.quality),))
        if reading.value is not None:
            found[f"{'count' if type(reading.value) is int else 'value'}|{stamp}"].append((float(reading.value),))
    return dict(found)


def same(one: Content, other: Content, greatest: float) -> bool:
    """True if two samples are the same number as far as VictoriaMetrics keeps one."""
    (a,), (b,) = one, other
    if not isinstance(a, int | float) or not isinstance(b, int | float):
        return False
    return math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=_OF_GREATEST * greatest)


def _lines(response: object) -> Iterator[bytes]:
    held = bytearray()
    while more := response.read1(ANSWER_PIECE, decode_content=True):  # type: ignore[attr-defined]
        held += more
        *whole, rest = held.split(b"\n") if b"\n" in more else [held]
        yield from (bytes(line) for line in whole if line)
        held = bytearray(rest)
        if len(held) > LONGEST_LINE:
            raise StoreError(f"found {len(held)} bytes of an export without an end; expected one line per series.")
    if held.strip():
        yield bytes(held)
