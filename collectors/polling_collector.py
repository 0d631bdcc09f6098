"""A line whose meters are asked, as a collector: its wire opened, counted, and closed with it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from collectors.line_counts import LineCounts
from collectors.modbus_tcp import ModbusTcpLine
from collectors.polling import PolledDevice, SecondLook, poll
from collectors.register_line import CountedLine, LateAnswers
from gateway.clocks import Clock
from gateway.domain.readings import Reading
from gateway.domain.sites import Line


class PollingCollector:
    """One polled line: its devices in turn over one connection, Modbus TCP or what `wire` makes (a Collector)."""

    def __init__(
        self,
        line: Line,
        devices: list[PolledDevice],
        clock: Clock,
        *,
        after: int | None = None,
        look: SecondLook | None = None,
        wire: Callable[[Line], LateAnswers] = ModbusTcpLine.to,
        counts: LineCounts | None = None,
    ) -> None:
        self.line = line.id
        self._line = line
        self._devices = devices
        self._clock = clock
        self._after = after
        self._look = look
        self._wire = wire
        self._counts = counts or LineCounts()
        self._counts.serve((device.meter, device.device_address, device.series) for device in devices)

    async def readings(self) -> AsyncGenerator[list[Reading], None]:
        """One list per device and slot, for as long as it is iterated; then the connection is closed."""
        wire = CountedLine(self._wire(self._line), self._counts)
        named = self._line, self._devices, self._clock
        polled = poll(wire, *named, after=self._after, look=self._look, counts=self._counts)
        try:
            async with aclosing(polled) as lists:
                async for readings in lists:
                    yield readings
        finally:
            wire.close()
