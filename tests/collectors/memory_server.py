"""A Modbus TCP server of a few lines whose memory a test can change between two questions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TABLES = {3: "holding", 4: "input"}
Words = dict[tuple[str, int], int]


def words_at(text: str, address: int, table: str = "holding") -> Words:
    """Words written in hexadecimal, from `address`."""
    raw = bytes.fromhex(text)
    return {(table, address + n): int.from_bytes(raw[2 * n : 2 * n + 2], "big") for n in range(len(raw) // 2)}


class MemoryServer:
    """Devices by address; what is not in a device's memory is refused (code 2), what is no device is silent."""

    def __init__(self, devices: dict[int, Words] | None = None, *, objects: dict[int, bytes] | None = None) -> None:
        self.devices = devices or {}
        self.objects = objects or {}
        self.port = 0
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.serving: list[asyncio.Task[None] | None] = []
        self.asked: list[tuple[int, int, int, int]] = []  # device, function, address, count
        self.before: Callable[[int, int], None] = lambda _device, _address: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self.serving.append(asyncio.current_task())
        try:
            while True:
                head = await reader.readexactly(7)
                pdu = await reader.readexactly(int.from_bytes(head[4:6], "big") - 1)
                if (answer := self._answer(head[6], pdu)) is not None:
                    writer.write(head[:4] + (1 + len(answer)).to_bytes(2, "big") + head[6:7] + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, device: int, pdu: bytes) -> bytes | None:
        address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        self.asked.append((device, pdu[0], address, count))
        if device not in self.devices:
            return None
        if pdu[0] == 43:
            return self._identification()
        self.before(device, address)
        memory, table = self.devices[device], TABLES.get(pdu[0], "")
        words = [memory.get((table, address + n)) for n in range(count)]
        if None in words:
            return bytes((pdu[0] | 0x80, 2))
        raw = b"".join(word.to_bytes(2, "big") for word in words if word is not None)
        return bytes((pdu[0], len(raw))) + raw

    def _identification(self) -> bytes:
        if not self.objects:
            return bytes((43 | 0x80, 1))
        told = b"".join(bytes((number, len(text))) + text for number, text in self.objects.items())
        return bytes((43, 14, 1, 1, 0, 0, len(self.objects))) + told


@asynccontextmanager
async def running(memory: MemoryServer) -> AsyncIterator[MemoryServer]:
    """The server on a free loopback port."""
    server = await asyncio.start_server(memory.serve, "127.0.0.1", 0)
    memory.port = server.sockets[0].getsockname()[1]
    try:
        yield memory
    finally:
        for writer in memory.writers:
            writer.close()
        await asyncio.gather(*(task for task in memory.serving if task is not None))
        server.close()
