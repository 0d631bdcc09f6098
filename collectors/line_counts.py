"""What the acquiring process counts: of each line, each device on it, and of the journal behind them.

Everything is a plain number that one event loop adds to; a look at them from outside costs the field nothing.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from collectors.schedule import RESTED, Backoff
from gateway.domain.readings import Reading
from gateway.errors import LineError, LineGarbled, LineRefused

ROUND_TRIP_US = (1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000)
JITTER_US = (1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 30_000_000)
COMMIT_US = (1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000)
# Source: PTB-A 50.8 - Messgeräte für Elektrizität, Zusatzeinrichtungen: the start of a registration period may be
# off by 1 % of the period.
ON_TIME_PERMILLE = 10


class Histogram:
    """How many values [us] lay at or below each bound, and beyond the last."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[int]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0  # [us]

    def add(self, value: int) -> None:
        """Count a value [us]."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def number(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


@dataclass(slots=True)
class DeviceCounts:
    """One meter of a polled line. Questions asked = answered + silent + garbled + refused."""

    answered: int = 0
    silent: int = 0  # no answer within the time allowed, or none any more
    garbled: int = 0  # an answer that does not fit its question, or fails its checksum
    refused: Counter[int] = field(default_factory=Counter)  # by exception code
    read: int = 0  # slots that brought a value
    on_time: int = 0  # of these, sampled within 1 % of the period behind slot + phase
    empty: int = 0  # slots that brought none: told as missing with their reason
    passed: int = 0  # slots that were passed over: recorded as gaps
    patience: Backoff = RESTED
    durable: int = 0  # newest instant on the disk with a value [us, UTC]; 0: none yet

    @property
    def polls(self) -> int:
        """How many questions were asked and are over."""
        return self.answered + self.silent + self.garbled + self.refused.total()


class LineCounts:
    """One line with its devices; a line that is pushed to has no devices, only readings and refused messages."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceCounts] = {}  # by meter
        self.round_trip = Histogram(ROUND_TRIP_US)  # of answers that fit
        self.jitter = Histogram(JITTER_US)  # how far samples lie from slot + phase
        self.readings = 0  # made durable
        self.durable = 0  # newest instant on the disk with a value [us, UTC]; 0: none yet
        self.not_connected = 0  # attempts that led to no connection
        self.late = 0  # answers that came after their question was given up
        self.rejected = 0  # messages that could not be booked
        self.failed = 0  # times that the line as a whole failed and was started again
        self._by_address: dict[int, DeviceCounts] = {}
        self._by_series: dict[str, DeviceCounts] = {}

    def serve(self, devices: Iterable[tuple[str, int, Sequence[str]]]) -> None:
        """These devices (meter, device address, series) are on the line from now on.

        What was counted of those that stay goes on.
        """
        known, self.devices = self.devices, {}
        self._by_address, self._by_series = {}, {}
        for meter, address, series in devices:
            found = self.devices[meter] = known.get(meter) or DeviceCounts()
            self._by_address[address] = found
            self._by_series |= dict.fromkeys(series, found)

    def answer(self, device_address: int, took_us: int) -> None:
        """A question was answered rightly after `took_us` [us]."""
        self.round_trip.add(took_us)
        if (device := self._by_address.get(device_address)) is not None:
            device.answered += 1

    def trouble(self, device_address: int, error: LineError) -> None:
        """A question was not."""
        device = self._by_address.get(device_address)
        if device is None:
            return
        if isinstance(error, LineRefused):
            device.refused[error.code] += 1
        elif isinstance(error, LineGarbled):
            device.garbled += 1
        else:
            device.silent += 1

    def slot(self, due: int, period_us: int, readings: Sequence[Reading], patience: Backoff) -> None:
        """A device had its turn: it was due at slot + phase [us, UTC], and brought these readings."""
        device = self._by_series.get(readings[0].series) if readings else None
        if device is None:
            return
        device.patience = patience
        instants = {reading.instant for reading in readings if reading.value is not None}
        if not instants:
            device.empty += 1
            return
        device.read += 1
        farthest = max(abs(max(instants) - due), abs(min(instants) - due))
        self.jitter.add(farthest)
        if farthest * 1000 <= ON_TIME_PERMILLE * period_us:
            device.on_time += 1

    def pass_over(self, slots: int, series: Iterable[str]) -> None:
        """So many slots of these series were recorded as a gap."""
        for device in {id(found): found for name in series if (found := self._by_series.get(name))}.values():
            device.passed += slots

    def store(self, readings: Sequence[Reading]) -> None:
        """These readings are on the disk."""
        self.readings += len(readings)
        for reading in readings:
            if reading.value is None:
                continue
            self.durable = max(self.durable, reading.instant)
            device = self._by_series.get(reading.series)
            if device is not None and reading.instant > device.durable:
                device.durable = reading.instant


class AcquireCounts:
    """All lines of the process and the way into the journal, since `since` [us, UTC]."""

    def __init__(self, *, since: int) -> None:
        self.since = since
        self.lines: dict[str, LineCounts] = {}
        self.commit = Histogram(COMMIT_US)  # from handing over until it is durable
        self.waiting = 0  # lists of polled readings that wait for the journal

    def line(self, line: str) -> LineCounts:
        """The counts of a line, begun when first asked for."""
        return self.lines.setdefault(line, LineCounts())
