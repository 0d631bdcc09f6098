"""One Modbus TCP connection: questions out, answers in, and no answer to another question.

Every byte that comes is accounted for: it belongs to a question that waits, to one that was given up (then it
is dropped and counted), or the connection is closed, because what comes next cannot be trusted.
"""

import asyncio
import math
import socket
from dataclasses import dataclass
from typing import NamedTuple, cast

from collectors.modbus_frames import Frame, MbapReader, mbap_frame
from collectors.modbus_pdu import Question, trouble_of
from gateway.errors import LineError, LineGarbled, LineRefused, LineSilent

_SILENCES = 2  # so many in a row without a byte in between, and the other end is taken for dead
_REMEMBERED = 256  # questions given up whose answers may still come
_TIMES = 3  # so many different questions with one transaction id in their answers are no accident
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # [s], [s], probes; Linux's names


@dataclass(slots=True)
class Manners:
    """How the other end of a line behaves, and what was seen of it, over all its connections."""

    echoes: bool = True  # False: its answers carry any transaction id (declared in the site file)
    late: int = 0  # answers that came after their question was given up
    strange: int = -1  # the transaction id last seen that was not asked, -1 before any
    times: int = 0  # in how many answers in a row

    @property
    def numbers_hold(self) -> bool:
        """True while every answer carried the transaction id of a question."""
        return self.echoes and self.strange < 0

    def stranger(self, transaction: int, asked: int) -> LineGarbled:
        """An answer that fits, but for its transaction id."""
        self.times = self.times + 1 if transaction == self.strange else 1
        self.strange = transaction
        if self.times < _TIMES:
            return LineGarbled(f"transaction {transaction} answered where {asked} was asked")
        return LineGarbled(
            f"every answer carries transaction id {transaction}, whatever was asked, so that late answers cannot be "
            'told from others; mend that in the converter, or say transaction_ids = "ignored" for this line'
        )


class _Waiting(NamedTuple):
    """A question on its way."""

    answer: "asyncio.Future[bytes]"
    device_address: int
    question: Question
    deadline: float  # [s] on the loop's clock
    allowed_s: float  # in all


class Connection(asyncio.BufferedProtocol):
    """One connection, until something happens on it that cannot be trusted; then `usable` is False for good."""

    def __init__(self, manners: Manners) -> None:
        self.usable = True
        self._manners = manners
        self._loop = asyncio.get_running_loop()
        self._reader = MbapReader()
        self._transport: asyncio.Transport | None = None
        self._open: dict[int, _Waiting] = {}
        self._given_up: dict[int, None] = {}
        self._silences = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf  # [s] on the loop's clock

    def ask(
        self, transaction: int, device_address: int, question: Question, *, left_s: float, allowed_s: float
    ) -> "asyncio.Future[bytes]":
        """Send a question; the PDU of its answer, or LineError, comes within `left_s` [s] of what was allowed."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        if self._transport is None or not self.usable:
            answer.set_exception(LineSilent("the connection was closed"))
            return answer
        deadline = self._loop.time() + left_s
        self._open[transaction] = _Waiting(answer, device_address, question, deadline, allowed_s)
        self._transport.write(mbap_frame(transaction, device_address, question.pdu))
        if deadline < self._wakes_at:
            self._wake_at(deadline)
        return answer

    def is_taken(self, transaction: int) -> bool:
        """True if an answer with this transaction id may still come, or could be taken for another."""
        return transaction in self._open or transaction in self._given_up or transaction == self._manners.strange

    def give_up(self, transaction: int) -> None:
        """Nobody waits for this answer any more."""
        if self._open.pop(transaction, None) is None:
            return
        if not self._manners.numbers_hold:  # a late answer could not be told from the next one
            self.close(LineSilent("the connection was closed after a question was given up"))
        while len(self._given_up) >= _REMEMBERED:
            del self._given_up[next(iter(self._given_up))]
        self._given_up[transaction] = None

    def close(self, why: LineError) -> None:
        """Close at once; every question that waits ends with `why`, and what still comes is never looked at."""
        self.usable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._open = self._open, {}
        for question in waiting.values():
            _settle(question.answer, why)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The way is open: nothing is held back to be sent together, and a peer that vanished is noticed."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        there = transport.get_extra_info("socket")
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):
                there.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The other end hung up: what is open will not be answered any more."""
        part = self._reader.rest()
        self.close(_broken_off(part) if part else LineSilent("the connection was closed before the answer came"))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go."""
        return self._reader.space()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came: settle the questions that they answer, all of them or, with trouble among them, none."""
        if not self.usable:
            return
        self._silences = 0
        answered: list[tuple[_Waiting, bytes | LineRefused]] = []
        try:
            frames = self._reader.take(nbytes)
            if len(frames) == 1 and not self._reader.held:  # nearly always; worth 1 us of 20
                transaction, device_address, pdu = frames[0]
                waiting = self._open.get(transaction)
                if waiting is not None and _misfit(waiting, device_address, pdu) is None:
                    del self._open[transaction]
                    self._manners.times = 0
                    if not waiting.answer.done():
                        waiting.answer.set_result(pdu)
                    return
            for frame in frames:
                self._sort(frame, answered)
            if self._reader.held and not self._open and not self._given_up:
                self._nothing_more()
        except LineGarbled as trouble:
            for waiting, _ in answered:
                _settle(waiting.answer, trouble)
            self.close(trouble)
            return
        for waiting, result in answered:
            self._manners.times = 0
            _settle(waiting.answer, result)

    def _sort(self, frame: Frame, answered: list[tuple[_Waiting, bytes | LineRefused]]) -> None:
        """Put a frame with the question it answers, or count it as late. Raises LineGarbled where it is neither."""
        transaction, device_address, pdu = frame
        waiting = self._open.get(transaction)
        if waiting is None:
            if transaction in self._given_up:
                self._manners.late += 1
                return
            transaction, waiting = self._unnumbered(frame)
        trouble = _misfit(waiting, device_address, pdu)
        if trouble is None:
            answered.append((waiting, pdu))
        elif isinstance(trouble, LineRefused):
            answered.append((waiting, trouble))
        else:
            raise trouble
        del self._open[transaction]

    def _unnumbered(self, frame: Frame) -> tuple[int, _Waiting]:
        """The question that a frame with a strange transaction id answers. Raises LineGarbled where none may."""
        transaction, device_address, pdu = frame
        if not self._open:
            raise LineGarbled(f"an answer to transaction {transaction}, which was not asked or is answered already")
        asked, waiting = next(iter(self._open.items()))
        if not self._manners.echoes:
            return asked, waiting
        if not isinstance(_misfit(waiting, device_address, pdu), LineGarbled):
            raise self._manners.stranger(transaction, asked)
        raise LineGarbled(f"transaction {transaction} answered where {', '.join(map(str, self._open))} was asked")

    def _nothing_more(self) -> None:
        """Raises LineGarbled for the beginning of something that nobody can have asked for."""
        raise LineGarbled(f"{self._reader.held} bytes more than the answer")

    def _wake_at(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._wakes_at = self._loop.call_at(deadline, self._sweep), deadline

    def _sweep(self) -> None:
        """The one timer of a connection: ends the questions whose time is over, and looks again at the next."""
        self._timer, self._wakes_at = None, math.inf
        now = self._loop.time()
        over = {transaction: waiting for transaction, waiting in self._open.items() if waiting.deadline <= now}
        if over:
            part = self._reader.rest()
            self._silences += 1
            for transaction, waiting in over.items():
                silence = LineSilent(f"no answer within {waiting.allowed_s:g} s")
                _settle(waiting.answer, _broken_off(part) if part else silence)
                self.give_up(transaction)
            if part:
                self.close(_broken_off(part))
            elif self._silences >= _SILENCES:
                self.close(LineSilent(f"the connection was closed: {_SILENCES} questions were met with silence"))
        if self._open:
            self._wake_at(min(waiting.deadline for waiting in self._open.values()))


def _misfit(waiting: _Waiting, device_address: int, pdu: bytes) -> LineGarbled | LineRefused | None:
    """What is wrong with the answer: it does not fit the question, or it is a refusal; None where it is right."""
    if device_address != waiting.device_address:
        return LineGarbled(f"device {device_address} answered where {waiting.device_address} was asked")
    return trouble_of(pdu, waiting.question)


def _settle(answer: "asyncio.Future[bytes]", result: bytes | LineError) -> None:
    if answer.done():  # the one who asked was cancelled
        return
    if isinstance(result, bytes):
        answer.set_result(result)
    else:
        answer.set_exception(result)


def _broken_off(part: bytes) -> LineGarbled:
    return LineGarbled(f"an answer broke off after {len(part)} bytes ({part.hex()})")
