"""CJ/T 188 as this product speaks it: data are read, and no control code exists here that could do anything else.

Source: CJ/T 188-2004 and CJ/T 188-2018 - 户用计量仪表数据传输技术条件 - §?: frame, control code 01H (read), number of
the question that its answer repeats, state word of a refusal.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from collectors.meter_frames import Frame, Layout, Part, build
from gateway.errors import LineGarbled, LineRefused
from gateway.meter_data import DataManner

READ = 0x01
_ANSWER, _REFUSAL = 0x80, 0xC0  # bits of the control code of an answer


@dataclass(frozen=True, slots=True)
class Cjt188Question:
    """The data of one identifier, asked of the meter with this address; `number` is repeated by its answer.

    `address` is the number whose hexadecimal digits are the fourteen of the meter's address.
    """

    address: int
    identifier: int
    number: int
    manner: DataManner
    layout: ClassVar[Layout] = Layout(header=9)

    @property
    def _head(self) -> bytes:
        return bytes([self.manner.meter_type]) + self.address.to_bytes(7, "little")

    @property
    def _asked(self) -> bytes:
        return self.identifier.to_bytes(2, self.manner.identifier_order) + bytes([self.number])

    def frame(self) -> bytes:
        """The bytes that ask."""
        return build(self._head, READ, self._asked)

    def answer(self, frame: Frame) -> Part | None:
        """What the frame brings; None where type, address, control code, identifier or number are not those asked for.

        Raises LineRefused with the state word.
        """
        if frame.head != self._head:
            return None
        if frame.control == READ | _REFUSAL and frame.data[:1] == bytes([self.number]):
            state = int.from_bytes(frame.data[1:3], "little")
            raise LineRefused(f"refused with state {frame.data[1:].hex(' ').upper() or '(none)'}", code=state)
        if frame.control != READ | _ANSWER or frame.data[:3] != self._asked:
            return None
        return Part(frame.data[3:], more=False)

    def following(self) -> Self:
        """There is none: an answer is one frame. Raises LineGarbled."""
        raise LineGarbled("an answer of CJ/T 188 has one frame")
