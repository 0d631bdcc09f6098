"""A Modbus TCP server of forty lines for the tests, which sends what it likes."""

import asyncio
from collections.abc import Awaitable, Callable

from collectors.blocks import Block, Span


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
