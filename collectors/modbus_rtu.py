"""Modbus RTU as this product speaks it, on a serial port or through a transparent serial server.

Serial frames carry no number: that an answer belongs to its question is known by address, function code, length and
CRC alone, and by silence. So one question is asked at a time, after the bus was silent; and a device that did not
answer in its time is not asked again before that time has passed once more, while its neighbours may be. What it says
meanwhile is known by its address, dropped and counted. An answer later than that cannot be told from the next one:
the time allowed must fit the slowest device.
Source: MODBUS over Serial Line V1.02 - §2.4.1, §2.5.1.1
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from collectors.byte_stream import ByteStream
from collectors.modbus_frames import RtuReader, rtu_frame
from collectors.modbus_line import ModbusLine
from collectors.modbus_pdu import IDENTIFICATION, Question, trouble_of
from collectors.serial_stream import open_serial
from collectors.wire_time import WireTime, character_bits, quiet_s, serial_wire
from gateway.domain.sites import Line
from gateway.errors import LineGarbled, LineSilent

_MOST_SILENCES = 2  # in a row, until the line is opened anew: a serial server may be half open
_MOST_WORDS = 125
_IDENTIFIED = bytes((IDENTIFICATION,))
_PIECES_S = 0.05  # what may lie between two pieces of one answer that a serial server sends on

Opener = Callable[[ByteStream, float], Awaitable[None]]  # feeds the stream, within so many seconds; raises LineSilent


class ModbusRtuLine(ModbusLine):
    """One bus with several devices, one question at a time.

    `gap_s` [s]: silence before each question. `wire` tells how long a question and its answer travel, which the time
    allowed does not count. `echo`: the adapter hears itself, so that each question comes back before its answer.
    """

    def __init__(self, opener: Opener, *, wire: WireTime, gap_s: float, echo: bool = False) -> None:
        self._late = 0
        self._opener = opener
        self._wire = wire
        self._gap_s = gap_s
        self._echo = echo
        self._pause_s = max(gap_s, _PIECES_S)
        self._turn = asyncio.Lock()
        self._stream: ByteStream | None = None
        self._silences = 0
        self._heard_at = 0.0  # when the last byte came or went, by the loop's clock
        self._owing: dict[int, float] = {}  # devices that owe an answer, and until when it may still come

    @classmethod
    def to(cls, line: Line) -> Self:
        """The way to the devices of a line of the site."""
        wire = serial_wire(line.baud, turnaround_s=0, character_bits=character_bits(line))
        gap_s = float(line.gap_s) or quiet_s(line)
        return cls(_opener(line), wire=wire, gap_s=gap_s, echo=line.echo)

    @property
    def late(self) -> int:
        """How many answers came after their question was given up."""
        return self._late

    async def connect(self, timeout_s: float) -> None:
        """Open the port or the connection unless it is open. Raises LineSilent after `timeout_s` [s]."""
        await self._connected(timeout_s)

    async def _answer(self, device_address: int, question: Question, timeout_s: float) -> bytes:
        async with self._turn:
            stream = await self._connected(timeout_s)
            loop = asyncio.get_running_loop()
            owed_until = self._owing.pop(device_address, 0.0)
            await self._quiet(stream, max(self._heard_at + self._gap_s, owed_until), timeout_s)
            frame = rtu_frame(device_address, question.pdu)
            allowed_s = timeout_s + self._wire.of(question.data_bytes // 2 or _MOST_WORDS) / 1e9
            reader = RtuReader()
            try:
                async with asyncio.timeout(allowed_s):
                    stream.send(frame)
                    pdu = await self._heard(stream, reader, device_address, frame if self._echo else b"")
            except TimeoutError:
                self._owing[device_address] = loop.time() + allowed_s
                self._give_up()
                if part := reader.rest():
                    raise LineGarbled(f"an answer broke off after {len(part)} bytes ({part.hex()})") from None
                raise LineSilent(f"no answer within {timeout_s:g} s") from None
            except asyncio.CancelledError:
                self._owing[device_address] = loop.time() + allowed_s
                raise
            finally:
                self._heard_at = loop.time()
            if trouble := trouble_of(pdu, question):
                raise trouble
            return pdu

    async def _heard(self, stream: ByteStream, reader: RtuReader, device_address: int, echo: bytes) -> bytes:
        """The PDU with which this device answers; what others still owed is dropped. Raises LineGarbled, LineSilent."""
        while True:
            try:
                async with asyncio.timeout(self._pause_s if reader.rest()[1:2] == _IDENTIFIED else None):
                    data = await stream.take()
            except TimeoutError:
                answers = reader.ended()
            else:
                self._silences = 0
                if echo:
                    data, echo = _without(echo, data)
                answers = reader.take(data)
            for place, (address, pdu) in enumerate(answers):
                if address == device_address:
                    if place + 1 < len(answers) or reader.rest():
                        raise LineGarbled("more bytes than the answer")
                    return pdu
                if self._owing.pop(address, None) is None:
                    raise LineGarbled(f"device {address} answered where {device_address} was asked")
                self._late += 1

    async def _quiet(self, stream: ByteStream, until: float, timeout_s: float) -> None:
        """Wait until `until`, and until the bus was silent for a gap. Raises LineGarbled, LineSilent."""
        loop = asyncio.get_running_loop()
        latest = max(until, loop.time()) + timeout_s
        while (left_s := until - loop.time()) > 0:
            if loop.time() > latest:
                raise LineGarbled(f"the bus is not silent for {self._gap_s * 1e3:.1f} ms within {timeout_s:g} s")
            try:
                async with asyncio.timeout(left_s):
                    await stream.take()
            except TimeoutError:
                continue
            until = max(until, loop.time() + self._gap_s)

    def _give_up(self) -> None:
        self._silences += 1
        if self._silences >= _MOST_SILENCES:
            self.close()

    async def _connected(self, timeout_s: float) -> ByteStream:
        if self._stream is not None and self._stream.usable:
            return self._stream
        self.close()
        stream = ByteStream()
        await self._opener(stream, timeout_s)
        self._stream = stream
        return stream

    def close(self) -> None:
        """Give the port or the connection back; whatever still comes on it is never looked at."""
        self._silences = 0
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _without(echo: bytes, data: bytes) -> tuple[bytes, bytes]:
    """(what came behind the echo, what of the echo is still to come). Raises LineGarbled when it is another."""
    heard = data[: len(echo)]
    if not echo.startswith(heard):
        raise LineGarbled(f"heard {heard.hex()} where the echo of our own question, {echo.hex()}, was to come")
    return data[len(heard) :], echo[len(heard) :]


def _opener(line: Line) -> Opener:
    async def serial_port(stream: ByteStream, _: float) -> None:
        open_serial(stream, line.serial_port, baud=line.baud, parity=line.parity, stop_bits=line.stop_bits)

    async def serial_server(stream: ByteStream, timeout_s: float) -> None:
        nowhere = f"no connection to {line.host} port {line.port}"
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().create_connection(lambda: stream, line.host, line.port)
        except TimeoutError:
            raise LineSilent(f"{nowhere} within {timeout_s:g} s") from None
        except (OSError, UnicodeError) as error:  # UnicodeError: what no name can be
            raise LineSilent(f"{nowhere}: {error}") from None

    return serial_port if line.kind.is_serial else serial_server
