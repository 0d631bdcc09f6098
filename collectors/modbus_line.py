"""What every Modbus wire has in common: blocks and identifications are read, each told with the place it was met."""

from abc import ABC, abstractmethod

from collectors.blocks import Block
from collectors.modbus_pdu import Identification, Question, data_of, identification_of, identifying, reading
from gateway.errors import LineError, LineGarbled, LineRefused

_MOST_PARTS = 16  # of one device identification


class ModbusLine(ABC):
    """A way to Modbus devices (a RegisterLine); how a question travels is the wire's."""

    @property
    @abstractmethod
    def late(self) -> int:
        """How many answers came after their question was given up."""

    @abstractmethod
    async def connect(self, timeout_s: float) -> None:
        """Open the line unless it is open and clean. Raises LineSilent after `timeout_s` [s]."""

    @abstractmethod
    def close(self) -> None:
        """Close the line; whatever still comes on it is never looked at."""

    @abstractmethod
    async def _answer(self, device_address: int, question: Question, timeout_s: float) -> bytes:
        """The PDU that answers the question. Raises LineSilent, LineGarbled, LineRefused."""

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        """The words of `block` as they came over the wire (big-endian); for "coil" and "discrete" its bits.

        Raises LineSilent after `timeout_s` [s] in all, LineGarbled (never decoded, whatever it says) and
        LineRefused with its code.
        """
        question = reading(block.table, block.address, block.words)
        try:
            return data_of(await self._answer(device_address, question, timeout_s))
        except LineError as error:
            where = f"device {device_address}, {block.table} {block.address}..{block.address + block.words - 1}"
            raise _at(where, error) from None

    async def identify(self, device_address: int, timeout_s: float) -> dict[int, bytes]:
        """Who a device says it is: the objects of its basic identification by number (0 vendor, 1 product, 2 revision).

        Raises LineSilent, LineGarbled and LineRefused (most meters do not know the question), `timeout_s` [s] a part.
        """
        where = f"device {device_address}, identification"
        objects: dict[int, bytes] = {}
        part = Identification({}, 0)
        try:
            for _ in range(_MOST_PARTS):
                if part.next_object is None:
                    return objects
                answer = await self._answer(device_address, identifying(part.next_object), timeout_s)
                part = identification_of(answer)
                objects |= part.objects
            raise LineGarbled(f"more than {_MOST_PARTS} parts")
        except LineError as error:
            raise _at(where, error) from None


def _at(where: str, error: LineError) -> LineError:
    """The same trouble, told with the place where it was met."""
    if isinstance(error, LineRefused):
        return LineRefused(f"{where}: {error}", code=error.code)
    return type(error)(f"{where}: {error}")
