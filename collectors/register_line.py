"""What polling needs of a wire, and a wire that counts what is asked on it."""

import time
from typing import Protocol

from collectors.blocks import Block
from collectors.line_counts import LineCounts
from gateway.errors import LineError


class RegisterLine(Protocol):
    """What polling needs of a wire: one question at a time, LineError when it is not rightly answered."""

    async def connect(self, timeout_s: float) -> None:
        """Open the connection unless it is open. Raises LineSilent."""
        ...

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        """The words of `block` (big-endian). Raises LineSilent, LineGarbled, LineRefused."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class LateAnswers(RegisterLine, Protocol):
    """A wire that knows how many answers came after their question was given up."""

    @property
    def late(self) -> int:
        """How many so far."""
        ...


class CountedLine:
    """A wire whose questions and answers are counted; otherwise the wire itself."""

    def __init__(self, wire: LateAnswers, counts: LineCounts) -> None:
        self._wire = wire
        self._counts = counts
        self._late_before = counts.late

    async def connect(self, timeout_s: float) -> None:
        """As the wire. Raises LineSilent, which is counted."""
        try:
            await self._wire.connect(timeout_s)
        except LineError:
            self._counts.not_connected += 1
            raise

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        """As the wire. Raises LineSilent, LineGarbled, LineRefused, which are counted."""
        started = time.perf_counter_ns()
        try:
            words = await self._wire.read(device_address, block, timeout_s)
        except LineError as error:
            self._counts.trouble(device_address, error)
            raise
        finally:
            self._counts.late = self._late_before + self._wire.late
        self._counts.answer(device_address, (time.perf_counter_ns() - started) // 1000)
        return words

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()
