"""Modbus TCP as this product speaks it: reads only, one question at a time, and no answer to another question.

The one file that names the wire library. It asks with function codes 3 and 4 and with no other.
"""

import asyncio
import logging
import struct

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from collectors.blocks import Block
from gateway.errors import LineError, LineGarbled, LineRefused, LineSilent

_NEVER_S = 86_400.0  # the library's own timeouts, which ours always precede
_RECEIVE_BYTES = 4096  # asyncio's own choice, 256 KiB per receive, costs more than all else in a request
_HEADER = struct.Struct(">HHHBB")  # transaction, protocol, length, device address, function code
_EXCEPTION = 0x80


class _Gate:
    """Sees every byte on the wire and lets through only the answer to the question that is open.

    The library itself takes an answer with transaction id 0 for any question, waits in silence when an
    answer does not fit, and does not say when the other end hangs up; here each is said at once.
    """

    def __init__(self) -> None:
        self.client: AsyncModbusTcpClient | None = None
        self.spoiled = False  # something came that nobody asked for: what comes next cannot be trusted
        self._asked: tuple[int, int, int, int] | None = None  # transaction, device address, function code, words
        self._part = b""

    def packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - the library calls it so
        """What goes out is noted; what comes in (all bytes since the question) is compared with it."""
        if sending:
            transaction, _, _, address, function = _HEADER.unpack_from(data)
            self._asked = (transaction, address, function, int.from_bytes(data[10:12], "big"))
            self._part = b""
            return data
        if self._asked is None:
            self.spoiled = True
            return b""
        fault = _misfit(data, *self._asked)
        if fault:
            self._fail(LineGarbled(fault))
            return b""
        self._part = data
        return data

    def connection(self, connected: bool) -> None:  # noqa: FBT001 - the library calls it so
        """The other end hung up: a question that is open will not be answered any more."""
        if not connected:
            self.spoiled = True
            if self._asked is not None:
                self._fail(LineSilent("the connection was closed before the answer came"))

    def settled(self) -> None:
        """The question is answered or given up."""
        self._asked = None

    def received(self) -> bytes:
        """The beginning of an answer that never ended."""
        return self._part

    def _fail(self, trouble: LineError) -> None:
        if self.client is not None and not self.client.ctx.response_future.done():
            self.client.ctx.response_future.set_exception(trouble)


def _misfit(data: bytes, transaction: int, address: int, function: int, words: int) -> str:
    """Why these bytes cannot be (the beginning of) the answer; "" when they can."""
    if len(data) < _HEADER.size:
        return ""
    got_transaction, protocol, length, got_address, got_function = _HEADER.unpack_from(data)
    refused = got_function == function | _EXCEPTION
    expected = 3 if refused else 3 + 2 * words
    counted = data[_HEADER.size] if len(data) > _HEADER.size and not refused else 2 * words
    faults = (
        (protocol != 0, f"protocol id {protocol} instead of 0"),
        (got_transaction != transaction, f"transaction {got_transaction} answered where {transaction} was asked"),
        (got_address != address, f"device {got_address} answered where {address} was asked"),
        (not refused and got_function != function, f"function code {got_function} where {function} was asked"),
        (length != expected, f"a frame of {length} bytes where {words} words make {expected}"),
        (counted != 2 * words, f"{counted} bytes of words where {2 * words} were asked"),
        (len(data) > 6 + length, f"{len(data) - 6 - length} bytes more than the answer"),
    )
    return next((sentence for wrong, sentence in faults if wrong), "")


class ModbusTcpLine:
    """One TCP connection to a meter or to a gateway with several device addresses behind it.

    After silence, a garbled answer or a cancelled request the connection is closed, and the next request
    opens another: what comes late comes to a connection that nobody listens to any more. Transaction
    numbers run on across connections. For one task at a time.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._client: AsyncModbusTcpClient | None = None
        self._gate = _Gate()
        self._transaction = 0

    async def connect(self, timeout_s: float) -> None:
        """Open the connection unless it is open and clean. Raises LineSilent after `timeout_s` [s]."""
        if self._client is not None and self._client.connected and not self._gate.spoiled:
            return
        self.close()
        self._gate = _Gate()
        self._client = self._gate.client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            timeout=_NEVER_S,
            retries=0,
            reconnect_delay=0,  # the library never reconnects on its own: only between two requests is it safe
            trace_packet=self._gate.packet,
            trace_connect=self._gate.connection,
        )
        opened = False
        try:
            async with asyncio.timeout(timeout_s):
                opened = await self._client.connect()
        except TimeoutError:
            pass
        finally:
            if not opened:
                self.close()
        if self._client is None:
            raise LineSilent(f"no connection to {self._host} port {self._port}")
        self._client.ctx.next_tid = self._transaction
        if hasattr(self._client.ctx.transport, "max_size"):
            self._client.ctx.transport.max_size = _RECEIVE_BYTES
        self._client.ctx.max_buffer_size = 2 * _RECEIVE_BYTES  # too much is for the gate to judge, not to be dropped

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        """The words of `block` as they came over the wire (big-endian), within `timeout_s` [s] in all.

        Raises LineSilent, LineGarbled (never decoded, whatever it says) and LineRefused with its code.
        """
        where = f"device {device_address}, {block.table} {block.address}..{block.address + block.words - 1}"
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        clean = False
        try:
            async with asyncio.timeout(timeout_s):
                await self.connect(timeout_s)
                answer = await self._ask(device_address, block)
            if task and task.cancelling() > cancels:
                raise asyncio.CancelledError  # Python 3.11's wait_for drops it when the answer comes just then
            clean = True
        except TimeoutError:
            raise self._unanswered(where, timeout_s) from None
        except LineError as error:
            raise type(error)(f"{where}: {error}") from None
        finally:
            self._gate.settled()
            if self._client is not None:
                self._transaction = self._client.ctx.next_tid
            if not clean:
                self.close()
        if answer.isError():
            raise LineRefused(
                f"{where}: refused with exception code {answer.exception_code}", code=answer.exception_code
            )
        return struct.pack(f">{block.words}H", *answer.registers)

    async def _ask(self, device_address: int, block: Block) -> ModbusPDU:
        client = self._client
        if client is None:
            raise LineSilent("the line was closed")
        ask = client.read_holding_registers if block.table == "holding" else client.read_input_registers
        try:
            answer = await ask(block.address, count=block.words, device_id=device_address)
        except ModbusException as error:
            raise LineSilent(str(error)) from None
        if not answer.isError() and len(answer.registers) != block.words:
            raise LineGarbled(f"{len(answer.registers)} words where {block.words} were asked")
        return answer

    def _unanswered(self, where: str, timeout_s: float) -> LineError:
        part = self._gate.received()
        if part:
            return LineGarbled(f"{where}: an answer broke off after {len(part)} bytes ({part.hex()})")
        return LineSilent(f"{where}: no answer within {timeout_s:g} s")

    def close(self) -> None:
        """Close the connection; whatever still comes on it is never looked at."""
        if self._client is not None:
            self._client.close()
            self._client = None


def quiet_wire_log() -> None:
    """For programs that tell of trouble in words of their own: the wire library's log is left out."""
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
