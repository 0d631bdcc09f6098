"""A TCP proxy between a collector and a meter that does to each reply what bad lines and bad gateways do."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, Self

_MBAP = 6  # transaction, protocol and length: what comes before the bytes that the length counts


class Fault(Protocol):
    """What happens to one reply."""

    async def deliver(self, frame: bytes, way: "Way") -> None:
        """Bring `frame` to the client, or fail to."""
        ...


class Way:
    """The way back to one client, with what a fault may keep on it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._later: set[asyncio.Task[None]] = set()
        self.held = b""  # a reply kept back until after the next one

    async def send(self, data: bytes) -> None:
        """Send bytes on."""
        with contextlib.suppress(ConnectionError, RuntimeError):  # RuntimeError: our direction is closed already
            self._writer.write(data)
            await self._writer.drain()

    def send_later(self, data: bytes, seconds: float) -> None:
        """Send bytes after a while, without holding up what comes next."""

        async def wait_and_send() -> None:
            await asyncio.sleep(seconds)
            await self.send(data)

        task = asyncio.create_task(wait_and_send())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def reset(self) -> None:
        """End the connection with an RST."""
        there = self._writer.get_extra_info("socket")
        if there is not None:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def half_close(self) -> None:
        """Say that nothing more will come, and go on listening."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def close(self) -> None:
        """End the connection in order, and forget what was to be sent later."""
        for task in list(self._later):
            task.cancel()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Garbage:
    """Bytes that are no frame come instead of the reply."""

    async def deliver(self, frame: bytes, way: Way) -> None:
        """As many bytes, none of them as it was."""
        await way.send(bytes(byte ^ 0xA5 for byte in frame))


class ByDevice:
    """Behind one converter, each device has a fault of its own; replies of the others arrive as they are."""

    def __init__(self, faults: Mapping[int, Fault]) -> None:
        self._faults = dict(faults)

    async def deliver(self, frame: bytes, way: Way) -> None:
        """As the fault of the device that replied."""
        await self._faults.get(frame[_MBAP], _PASS).deliver(frame, way)


class Pass:
    """The reply arrives as it is."""

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Send it on, and after it what was kept back."""
        await way.send(frame + way.held)
        way.held = b""


class Delay:
    """The reply comes late and everything behind it waits."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Wait, then send."""
        await asyncio.sleep(self.seconds)
        await way.send(frame)


class LateReply:
    """The reply comes after the client has given up, between other replies."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Send it some time."""
        way.send_later(frame, self.seconds)


class Drop:
    """The reply never comes."""

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Nothing."""


class Reset:
    """The connection is reset instead."""

    async def deliver(self, frame: bytes, way: Way) -> None:  # noqa: ARG002 - the reply is lost
        """RST."""
        way.reset()


class HalfClose:
    """The meter's side closes its direction instead of replying."""

    async def deliver(self, frame: bytes, way: Way) -> None:  # noqa: ARG002 - the reply is lost
        """FIN."""
        way.half_close()


class Trickle:
    """The reply comes in drops of `step` bytes."""

    def __init__(self, step: int = 1, pause: float = 0.0) -> None:
        self.step, self.pause = step, pause

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Drop by drop."""
        for place in range(0, len(frame), self.step):
            await way.send(frame[place : place + self.step])
            await asyncio.sleep(self.pause)


class CutAt:
    """Only the first `length` bytes come, then the connection ends."""

    def __init__(self, length: int) -> None:
        self.length = length

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Cut."""
        await way.send(frame[: self.length])
        await way.close()


class SwapWithNext:
    """The reply comes after the next one."""

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Keep it back."""
        way.held += frame


class Twice:
    """The reply comes two times."""

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Send it again."""
        await way.send(frame + frame)


class ConstantTransaction:
    """A gateway that always answers with the same transaction id."""

    def __init__(self, transaction: int) -> None:
        self.transaction = transaction

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Write its own id over the client's."""
        await way.send(struct.pack(">H", self.transaction) + frame[2:])


class ShiftedTransaction:
    """A gateway that answers with a transaction id that is off by some."""

    def __init__(self, by: int) -> None:
        self.by = by

    async def deliver(self, frame: bytes, way: Way) -> None:
        """Write another id over the client's."""
        (transaction,) = struct.unpack_from(">H", frame)
        await way.send(struct.pack(">H", (transaction + self.by) % 65536) + frame[2:])


_PASS = Pass()


def seeded(seed: int, share: float, faults: Iterable[Fault]) -> Iterator[Fault]:
    """Endless: each reply meets one of `faults` with the chance `share`, otherwise passes. The seed repeats it."""
    draw, kinds = random.Random(seed), list(faults)  # noqa: S311 - no secret is made here
    while True:
        yield draw.choice(kinds) if draw.random() < share else Pass()


class FaultProxy:
    """Stands between a client and `host`:`port`; each reply meets the next of `faults`, then all pass."""

    def __init__(self, host: str, port: int, faults: Iterable[Fault] = ()) -> None:
        self.port = 0
        self.met: list[str] = []  # the kinds of fault that happened, in order
        self._host, self._upstream = host, port
        self._faults = iter(faults)
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen on a free port of the loopback; the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
            for client in list(self._clients):
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def script(self, faults: Iterable[Fault]) -> None:
        """What the next replies meet, in order; afterwards all pass."""
        self._faults = iter(faults)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        way = Way(writer)
        try:
            meter_reader, meter_writer = await asyncio.open_connection(self._host, self._upstream)
        except OSError:
            way.reset()
            return
        asking = asyncio.create_task(_forward(reader, meter_writer))
        try:
            await self._replies(meter_reader, way)
        except asyncio.CancelledError:
            pass  # the proxy is being stopped
        finally:
            asking.cancel()
            meter_writer.close()
            await way.close()

    async def _replies(self, reader: asyncio.StreamReader, way: Way) -> None:
        """Cut the meter's stream into frames and let each meet its fault."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(_MBAP)
                (length,) = struct.unpack_from(">H", head, 4)
                frame = head + await reader.readexactly(length)
                fault = next(self._faults, None) or Pass()
                self.met.append(type(fault).__name__)
                await fault.deliver(frame, way)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The client's requests, as they are, until it goes."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    writer.close()
