"""One bus of DL/T 645 or CJ/T 188 meters: a question, its answer, and nothing else is taken for one.

The line is held open over the slots. What is neither an answer to the question that waits nor noise (the echo of a
two-wire adapter, another master's traffic, a late answer to an earlier question) is passed over: address, control
code, identifier and, where the protocol has one, the number of the question must be those asked for.
"""

import asyncio
from collections.abc import Mapping
from typing import Self

from collectors.blocks import Block
from collectors.byte_stream import ByteStream
from collectors.cjt188 import Cjt188Question
from collectors.dlt645 import Dlt645Question
from collectors.meter_frames import FROM_METER, FrameFinder, Part, Question
from collectors.meter_points import Spoken, spoken_to
from collectors.serial_stream import open_serial
from gateway.domain.sites import Line, Site
from gateway.errors import LineError, LineGarbled, LineRefused, LineSilent
from gateway.meter_data import DLT645
from gateway.profile import Profile

# From the end of an answer to the next question: a meter on a two-wire bus needs it to let go of the line.
_REST_S = 0.02
_MOST_FOLLOWING = 8  # frames behind the first; the energies of all 63 tariffs that there can be take one
_MOST_SILENCES = 2  # in a row, until the line is opened anew


class MeterLine:
    """The way to the meters of one line of the site (a RegisterLine), one question at a time."""

    def __init__(self, line: Line, spoken: Mapping[int, Spoken]) -> None:
        self._line = line
        self._spoken = spoken
        self._stream: ByteStream | None = None
        self._turn = asyncio.Lock()
        self._number = 0  # of the question, 0 to 255
        self._silences = 0
        self._late = 0
        self._rested_at = 0.0  # by the loop's clock

    @classmethod
    def to(cls, site: Site, line: Line, profiles: Mapping[str, Profile] | None = None) -> Self:
        """The way to the meters of a line. Raises ProfileError."""
        return cls(line, spoken_to(site, line, profiles))

    @property
    def late(self) -> int:
        """How many answers to something else came while a question waited."""
        return self._late

    async def connect(self, timeout_s: float) -> None:
        """Open the line unless it is open. Raises LineSilent after `timeout_s` [s]."""
        await self._connected(timeout_s)

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        """The data of the identifier `block.address`, from the meter whose address has these hexadecimal digits.

        They are as many as the meter's profile says. Raises LineSilent after `timeout_s` [s] without an answer (for
        each frame of it), LineGarbled and LineRefused.
        """
        spoken = self._spoken[device_address]
        digits = 12 if spoken.protocol == DLT645 else 14
        where = f"meter {device_address:0{digits}X}, identifier {block.address:0{8 if digits == 12 else 4}X}"
        async with self._turn:
            try:
                data = await self._data(self._question(device_address, block.address, spoken), timeout_s)
            except LineRefused as error:
                raise LineRefused(f"{where}: {error}", code=error.code) from None
            except LineError as error:
                raise type(error)(f"{where}: {error}") from None
        expected, exact = spoken.lengths[block.address]
        if len(data) < expected or (exact and len(data) > expected):
            least = "" if exact else "at least "
            raise LineGarbled(f"{where}: {len(data)} bytes of data where the profile expects {least}{expected}")
        return data

    def _question(self, address: int, identifier: int, spoken: Spoken) -> Question:
        if spoken.protocol == DLT645:
            return Dlt645Question(address, identifier)
        self._number = (self._number + 1) & 0xFF
        return Cjt188Question(address, identifier, self._number, spoken.manner)

    async def _data(self, question: Question, timeout_s: float) -> bytes:
        """The data of all frames that answer. A meter that always has more must not keep the line for itself."""
        data = b""
        for _ in range(1 + _MOST_FOLLOWING):
            part = await self._ask(question, timeout_s)
            data += part.data
            if not part.more:
                return data
            question = question.following()
        raise LineGarbled(f"more than {_MOST_FOLLOWING} frames follow")

    async def _ask(self, question: Question, timeout_s: float) -> Part:
        stream = await self._connected(timeout_s)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._rested_at - loop.time())
        finder, others = FrameFinder(question.layout), 0
        try:
            async with asyncio.timeout(timeout_s):
                stream.send(question.frame())
                while True:
                    for frame in finder.feed(await stream.take()):
                        if (part := question.answer(frame)) is not None:
                            self._silences = 0
                            return part
                        others += frame.control >= FROM_METER
                        self._late += frame.control >= FROM_METER
        except TimeoutError:
            self._give_up()
            if others or finder.spoilt:
                what = f"{others} answers to something else" if others else "a damaged frame"
                raise LineGarbled(f"no answer within {timeout_s:g} s, but {what}") from None
            raise LineSilent(f"no answer within {timeout_s:g} s") from None
        except LineRefused:
            self._silences = 0
            raise
        finally:
            self._rested_at = loop.time() + _REST_S

    def _give_up(self) -> None:
        """A serial server whose connection is only half open looks like meters that are silent."""
        self._silences += 1
        if self._silences >= _MOST_SILENCES:
            self.close()

    async def _connected(self, timeout_s: float) -> ByteStream:
        if self._stream is not None and self._stream.usable:
            return self._stream
        self.close()
        stream = ByteStream()
        line = self._line
        if line.kind.is_serial:
            open_serial(stream, line.serial_port, baud=line.baud, parity=line.parity)
        else:
            await _open_tcp(stream, line.host, line.port, timeout_s)
        self._stream = stream
        return stream

    def close(self) -> None:
        """Close the line; whatever still comes on it is never looked at."""
        self._silences = 0
        if self._stream is not None:
            self._stream.close()
            self._stream = None


async def _open_tcp(stream: ByteStream, host: str, port: int, timeout_s: float) -> None:
    nowhere = f"no connection to {host} port {port}"
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().create_connection(lambda: stream, host, port)
    except TimeoutError:
        raise LineSilent(f"{nowhere} within {timeout_s:g} s") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: what no name can be
        raise LineSilent(f"{nowhere}: {error}") from None
