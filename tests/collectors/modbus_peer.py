"""Modbus TCP servers of a few lines for the tests, which send what they like, and our line to one of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from collectors.blocks import Block, Span
from collectors.modbus_tcp import ModbusTcpLine


class Server:
    """Forty lines of Modbus TCP: the word at address a of device d is d * 1000 + a; `misbehave` sends what it likes."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.asked: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.misbehave: Callable[[bytes, bytes, asyncio.StreamWriter], Awaitable[None]] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                request = await reader.readexactly(12)
                self.asked.append(request)
                if self.misbehave is None:
                    writer.write(self.right(request))
                else:
                    await self.misbehave(request, self.right(request), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @staticmethod
    def right(request: bytes) -> bytes:
        address, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        words = b"".join((request[6] * 1000 + address + n).to_bytes(2, "big") for n in range(count))
        return request[:4] + (3 + len(words)).to_bytes(2, "big") + request[6:8] + bytes([len(words)]) + words


def block(address: int, words: int, table: str = "holding") -> Block:
    return Block(table, address, words, (Span(table, address, words),))


def truth(device: int, address: int, words: int) -> bytes:
    return b"".join((device * 1000 + address + n).to_bytes(2, "big") for n in range(words))


class Scripted:
    """A server that answers the n-th request (header and PDU) with the n-th of `answers`, made of the request."""

    def __init__(self, *answers: Callable[[bytes], bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readexactly(6)
                request = head + await reader.readexactly(int.from_bytes(head[4:], "big"))
                self.asked.append(request)
                writer.write(self.answers.pop(0)(request))
        except (asyncio.IncompleteReadError, ConnectionError, IndexError):
            pass
        finally:
            writer.close()


def frame(request: bytes, pdu: bytes) -> bytes:
    return request[:4] + (1 + len(pdu)).to_bytes(2, "big") + request[6:7] + pdu


def answers(pdu: bytes) -> Callable[[bytes], bytes]:
    return lambda request: frame(request, pdu)


@asynccontextmanager
async def against(server: Scripted | Server, **options) -> AsyncIterator[ModbusTcpLine]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    line = ModbusTcpLine("127.0.0.1", listener.sockets[0].getsockname()[1], **options)
    try:
        yield line
    finally:
        line.close()
        listener.close()
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)
