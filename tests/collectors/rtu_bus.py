"""A Modbus RTU bus for the tests: a pseudo-terminal or a TCP port with devices behind it that send what they like.

The word at address a of device d is d * 1000 + a. Frames take the time on the wire that they would at `baud`; 0: none.
"""

import asyncio
import os
import select
import threading
import time
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pymodbus.framer import FramerRTU

from collectors.modbus_rtu import ModbusRtuLine
from collectors.wire_time import line_wire
from gateway.domain.sites import Line, LineKind

Piece = tuple[float, bytes]  # [s] to wait, and what is then sent
Answering = Callable[[bytes], list[Piece]]


def with_crc(body: bytes) -> bytes:
    """Address and PDU with their check, as pymodbus computes it."""
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def right(question: bytes) -> bytes:
    """The rightful answer to a question for registers."""
    device, function = question[0], question[1]
    address, count = int.from_bytes(question[2:4], "big"), int.from_bytes(question[4:6], "big")
    words = b"".join((device * 1000 + address + n).to_bytes(2, "big") for n in range(count))
    return with_crc(bytes((device, function, len(words))) + words)


class RtuBus(threading.Thread):
    """Serves the far end of a pseudo-terminal in a thread of its own, so that its timing is not the loop's."""

    def __init__(self, answering: Answering, *, baud: int = 0, echo: bool = False) -> None:
        super().__init__(daemon=True)
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.port = os.ttyname(self._theirs)
        self.asked: list[bytes] = []
        self.gaps: list[float] = []  # [s] from the end of an answer to the next question
        self._answering = answering
        self._character_s = 11 / baud if baud else 0.0
        self._echo = echo
        self._free_at = 0.0
        self._ending = False

    def run(self) -> None:
        while not self._ending:
            if not select.select([self._ours], [], [], 0.02)[0]:
                continue
            try:
                question = os.read(self._ours, 256)
            except OSError:
                return
            now = time.perf_counter()
            if self._free_at:
                self.gaps.append(now - self._free_at)
            self.asked.append(question)
            if self._echo:
                os.write(self._ours, question)
            at = now + len(question) * self._character_s
            for wait_s, data in self._answering(question):
                at = max(at + wait_s + len(data) * self._character_s, time.perf_counter())
                _sleep_until(at)
                try:
                    os.write(self._ours, data)
                except OSError:
                    return
            self._free_at = time.perf_counter()

    def vanish(self) -> None:
        """The adapter is pulled out."""
        self._ending = True
        self.join()
        os.close(self._ours)

    def close(self) -> None:
        if not self._ending:
            self.vanish()
        os.close(self._theirs)


def _sleep_until(at: float) -> None:
    """To some ten microseconds: what a sleep is too long would be taken for time on the wire."""
    if (left := at - time.perf_counter() - 0.002) > 0:
        time.sleep(left)
    while time.perf_counter() < at:
        pass


def serial_line(port: str, *, baud: int = 115_200, **given) -> Line:
    return Line(
        id="bus", kind=LineKind.MODBUS_RTU_SERIAL, serial_port=port, baud=baud, parity="none", stop_bits=2, **given
    )


@asynccontextmanager
async def on_pty(
    answering: Answering, *, baud: int = 0, echo: bool = False, **given
) -> AsyncIterator[tuple[ModbusRtuLine, RtuBus]]:
    bus = RtuBus(answering, baud=baud, echo=echo)
    bus.start()
    line = ModbusRtuLine.to(serial_line(bus.port, baud=baud or 115_200, echo=echo, **given))
    try:
        yield line, bus
    finally:
        line.close()
        bus.close()


@asynccontextmanager
async def on_tcp(answering: Answering, **given) -> AsyncIterator[tuple[ModbusRtuLine, list[bytes]]]:
    """The same behind a transparent serial server, which cuts the stream where it likes."""
    asked: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while question := await reader.read(256):
            asked.append(question)
            for wait_s, data in answering(question):
                await asyncio.sleep(wait_s)
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    place = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
    line = ModbusRtuLine.to(Line(id="bus", kind=LineKind.MODBUS_RTU_TCP, baud=115_200, **place, **given))
    try:
        yield line, asked
    finally:
        line.close()
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


def wire_limit_s(line: Line, words: int, questions: int) -> float:
    """What so many questions for so many words occupy the wire at least, devices answering at once."""
    return questions * (line_wire(line).of(words) / 1e9 - 0.01)  # less the turn-around that a plan reckons with
