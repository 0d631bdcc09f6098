"""The bytes that come in on a line, from a socket or a serial port, until somebody takes them."""

import asyncio
from typing import Protocol

from gateway.errors import LineSilent

_MOST_BYTES = 4096  # more than any answer: what comes unasked must not fill the memory


class Outlet(Protocol):
    """What a stream needs of its socket or port."""

    def write(self, data: bytes, /) -> None:
        """Send, without waiting."""
        ...

    def close(self) -> None:
        """Give the line back."""
        ...


class ByteStream(asyncio.Protocol):
    """Both directions of one line; a socket or a serial port feeds it, one reader takes."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._arrived = asyncio.Event()
        self._outlet: Outlet | None = None
        self._lost = ""

    @property
    def usable(self) -> bool:
        """True while there is somebody at the other end, as far as one can know."""
        return self._outlet is not None and not self._lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is open."""
        self.open_to(transport)  # type: ignore[arg-type]  # asyncio hands a stream protocol a transport with `write`

    def open_to(self, outlet: Outlet) -> None:
        """From now on `outlet` sends."""
        self._outlet = outlet

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._bytes += data
        del self._bytes[:-_MOST_BYTES]
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is gone."""
        self._lost = f"the line was lost: {exc or 'closed by the other end'}"
        self._arrived.set()

    def send(self, data: bytes) -> None:
        """Forget whatever came until now, then send. Raises LineSilent when the line is gone."""
        if self._outlet is None or self._lost:
            raise LineSilent(self._lost or "the line is closed")
        self._bytes.clear()
        self._arrived.clear()
        try:
            self._outlet.write(data)
        except OSError as error:
            self.connection_lost(error)
            raise LineSilent(self._lost) from None

    async def take(self) -> bytes:
        """What has come since the last call, as soon as there is something. Raises LineSilent when the line is gone."""
        await self._arrived.wait()
        if not self._bytes:
            raise LineSilent(self._lost)
        taken = bytes(self._bytes)
        self._bytes.clear()
        if not self._lost:
            self._arrived.clear()
        return taken

    def close(self) -> None:
        """Give the line back."""
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None
