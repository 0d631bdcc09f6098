"""Modbus TCP as this product speaks it: reads only, and no answer is taken for the answer to another question."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Self

from collectors.modbus_connection import Connection, Manners
from collectors.modbus_line import ModbusLine
from collectors.modbus_pdu import Question
from gateway.domain.sites import Line
from gateway.errors import LineSilent
from gateway.tls_context import tls_context

# Transaction ids run through all 65536 in strides, so that no converter that counts by itself, answers with a
# number of its own or is one question out of step ever hits the number of the question that waits.
_BEFORE_FIRST, _STRIDE = 0x4D00, 0x6A35


class _Turns:
    """So many at a time, the others in the order in which they came; asyncio.Semaphore would cost 1 us a question."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._queue: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a place if there is one."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Wait until a place is handed over."""
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # it was given in the very moment of the cancellation
                self.go()
            raise

    def go(self) -> None:
        """Hand the place to the next who waits, or leave it free."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class ModbusTcpLine(ModbusLine):
    """One TCP connection to a meter or to a gateway with several device addresses behind it; `tls` makes it secure.

    At most `pipeline` questions are on their way at a time; others wait their turn, and the time allowed is
    counted from then. A question that is given up leaves the connection open: its late answer is known by its
    transaction number, dropped and counted. Trouble that leaves doubt about what comes next (a frame that fits
    no question, an answer that broke off, two silences in a row) closes it, and the next request opens another;
    on a line on which a strange transaction number was seen, a question given up does so as well. Transaction
    numbers run on across connections. With `echoes_transactions` False any number is accepted (`pipeline` is 1
    then), and the connection is closed whenever a question is given up.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        pipeline: int = 1,
        echoes_transactions: bool = True,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        if pipeline > 1 and not echoes_transactions:
            raise ValueError("answers without transaction numbers cannot be told apart: pipeline must be 1")
        self._host = host
        self._port = port
        self._tls = tls
        self._manners = Manners(echoes=echoes_transactions)
        self._turns = _Turns(pipeline)
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None
        self._transaction = _BEFORE_FIRST

    @classmethod
    def to(cls, line: Line) -> Self:
        """The way to the devices of a line of the site."""
        return cls(
            line.host,
            line.port,
            pipeline=line.pipeline,
            echoes_transactions=line.transaction_ids == "echoed",
            tls=partial(tls_context, line.tls_ca, line.tls_cert, line.tls_key),
        )

    @property
    def late(self) -> int:
        """How many answers came after their question was given up."""
        return self._manners.late

    async def connect(self, timeout_s: float) -> None:
        """Open the connection unless it is open and clean. Raises LineSilent after `timeout_s` [s]."""
        await self._connected(timeout_s)

    async def _answer(self, device_address: int, question: Question, timeout_s: float) -> bytes:
        """The PDU that answers the question."""
        if not self._turns.take():
            await self._turns.wait()
        try:
            connection, left_s = self._connection, timeout_s
            if connection is None or not connection.usable:
                begun = time.monotonic()
                connection = await self._connected(timeout_s)
                left_s -= time.monotonic() - begun
            transaction = self._next_transaction(connection)
            answer = connection.ask(transaction, device_address, question, left_s=left_s, allowed_s=timeout_s)
            try:
                return await answer
            except asyncio.CancelledError:
                connection.give_up(transaction)
                raise
        finally:
            self._turns.go()

    def _next_transaction(self, connection: Connection) -> int:
        transaction = (self._transaction + _STRIDE) & 0xFFFF
        while connection.is_taken(transaction):
            transaction = (transaction + _STRIDE) & 0xFFFF
        self._transaction = transaction
        return transaction

    async def _connected(self, timeout_s: float) -> Connection:
        async with self._opening:
            if self._connection is not None and self._connection.usable:
                return self._connection
            self.close()
            loop = asyncio.get_running_loop()
            nowhere = f"no connection to {self._host} port {self._port}"
            try:
                async with asyncio.timeout(timeout_s):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self._manners), self._host, self._port, ssl=self._tls()
                    )
            except TimeoutError:
                raise LineSilent(f"{nowhere} within {timeout_s:g} s") from None
            except (OSError, UnicodeError) as error:  # UnicodeError: what no name can be
                raise LineSilent(f"{nowhere}: {error}") from None
            self._connection = connection
            return connection

    def close(self) -> None:
        """Close the connection; whatever still comes on it is never looked at."""
        if self._connection is not None:
            self._connection.close(LineSilent("the line was closed"))
            self._connection = None
