"""Simulated meters on Modbus TCP: a small server of its own that writes down every answer before it gives it.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b; MODBUS Application Protocol V1.1b3, 6.3, 6.4, 7.
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import Literal, Protocol, Self, cast

from gateway.clocks import Clock
from simulators.truth import TruthLog

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, NO_RESPONSE = 1, 2, 3, 11
_TABLES = {3: "holding", 4: "input"}
_HEADER = struct.Struct(">HHHBB")  # transaction, protocol, length, unit, function
_LONGEST = 254  # unit id and 253 bytes of protocol data


class Device(Protocol):
    """Something that has words to read."""

    def read(self, table: str, address: int, count: int, instant: int) -> bytes | None:
        """`count` words from `address` of "holding" or "input"; None where there are no such addresses."""
        ...


class ModbusServer:
    """Devices by address behind one port. Reads only; pipelined requests are answered in their order.

    An unknown address is answered with exception 2, a device that is not there with silence or exception 11.
    """

    def __init__(
        self,
        devices: Mapping[int, Device],
        *,
        clock: Clock,
        log: TruthLog | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        unknown_addresses: Literal["silence", "exception"] = "silence",
        max_words: int = 125,
    ) -> None:
        self.devices = dict(devices)
        self.host, self.port = host, port
        self.answered = 0
        self._clock, self._log = clock, log
        self._unknown, self._max_words = unknown_addresses, max_words
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.BaseTransport] = set()

    async def start(self) -> int:
        """Listen; the port, chosen by the system where 0 was asked for. Raises OSError where it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self, self._connections), self.host, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.close()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def answer(self, frame: bytes) -> bytes:
        """The answer to one request frame; empty where the device keeps silent."""
        transaction, _, _, unit, function = _HEADER.unpack_from(frame)
        device = self.devices.get(unit)
        if device is None:
            return b"" if self._unknown == "silence" else _exception(transaction, unit, function, NO_RESPONSE)
        table = _TABLES.get(function)
        if table is None:
            return _exception(transaction, unit, function, ILLEGAL_FUNCTION)
        if len(frame) != 12:
            return _exception(transaction, unit, function, ILLEGAL_VALUE)
        address, count = struct.unpack_from(">HH", frame, 8)
        if not 1 <= count <= self._max_words:
            return _exception(transaction, unit, function, ILLEGAL_VALUE)
        now = self._clock.now()
        words = device.read(table, address, count, now)
        if words is None:
            return _exception(transaction, unit, function, ILLEGAL_ADDRESS)
        if self._log is not None:
            self._log.answer(now, self.port, unit, table, address, words)
        self.answered += 1
        return _HEADER.pack(transaction, 0, 3 + len(words), unit, function) + bytes((len(words),)) + words


def _exception(transaction: int, unit: int, function: int, code: int) -> bytes:
    return _HEADER.pack(transaction, 0, 3, unit, function | 0x80) + bytes((code,))


class _Connection(asyncio.Protocol):
    """One client: cuts the stream into frames; hangs up on what is not Modbus."""

    def __init__(self, server: ModbusServer, connections: set[asyncio.BaseTransport]) -> None:
        self._server, self._connections = server, connections
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way back."""
        self._transport = cast("asyncio.Transport", transport)  # of a stream; uvloop's is none of asyncio's classes
        self._connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the client."""
        if self._transport is not None:
            self._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole frame."""
        received, answers = self._received + data, []
        while len(received) >= 8:
            _, protocol, length, _, _ = _HEADER.unpack_from(received)
            if protocol != 0 or not 2 <= length <= _LONGEST:
                self._hang_up()
                return
            if len(received) < 6 + length:
                break
            answers.append(self._server.answer(received[: 6 + length]))
            received = received[6 + length :]
        self._received = received
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
