"""A meter bus behind a TCP port, as a transparent serial server has it, and behind a pseudo-terminal."""

import asyncio
import os
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from simulators.meter_bus import MeterBus

_CHUNK = 4096


@asynccontextmanager
async def bus_on_tcp(bus: MeterBus, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """The bus behind a TCP port, 0 = any free one; gives the port. Raises OSError where it is taken."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                for piece in bus.hear(data):
                    writer.write(piece)
                    await writer.drain()
        writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(serve, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in list(writers):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def bus_on_pty(bus: MeterBus) -> AsyncIterator[str]:
    """The bus behind a pseudo-terminal; gives the device file to open. It has no parity: that needs a real port."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    loop = asyncio.get_running_loop()

    def serve() -> None:
        with suppress(OSError):
            for piece in bus.hear(os.read(ours, _CHUNK)):
                os.write(ours, piece)

    loop.add_reader(ours, serve)
    try:
        yield os.ttyname(theirs)
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)
