"""DL/T 645-2007 as this product speaks it: data are read, and no control code exists here that could do anything else.

Source: DL/T 645-2007 - 多功能电能表通信协议 - §?: frame, control codes 11H (read) and 12H (read what follows), every
byte of the data sent with 33H added, error word of a refusal.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from collectors.meter_frames import START, Frame, Layout, Part, build
from gateway.errors import LineGarbled, LineRefused

READ, READ_ON = 0x11, 0x12
_ANSWER, _REFUSAL, _MORE = 0x80, 0xC0, 0x20  # bits of the control code of an answer
_ADDED = 0x33  # to every byte of the data on the wire
_LAST_PART = 255
ERRORS = (  # by bit of the error word, from the least significant on
    "another error",
    "it has no such data",
    "wrong password or no permission",
    "the baud rate cannot be changed",
    "too many seasons",
    "too many day schedules",
    "too many tariffs",
)


@dataclass(frozen=True, slots=True)
class Dlt645Question:
    """The data of one identifier (DI3 to DI0 as one number), asked of the meter with this address.

    `address` is the number whose hexadecimal digits are the twelve of the meter's address. `part` is the number of the
    frame that follows, 0 for the first one.
    """

    address: int
    identifier: int
    part: int = 0
    layout: ClassVar[Layout] = Layout(header=8, second_start=7)

    @property
    def _head(self) -> bytes:
        return self.address.to_bytes(6, "little") + bytes([START])

    def frame(self) -> bytes:
        """The bytes that ask."""
        identifier = self.identifier.to_bytes(4, "little")
        data = identifier + bytes([self.part]) if self.part else identifier
        return build(self._head, self._control, bytes((byte + _ADDED) & 0xFF for byte in data))

    @property
    def _control(self) -> int:
        return READ_ON if self.part else READ

    def answer(self, frame: Frame) -> Part | None:
        """What the frame brings; None where address, control code, identifier or number are not those asked for.

        Raises LineRefused with the error word.
        """
        if frame.head != self._head:
            return None
        data = bytes((byte - _ADDED) & 0xFF for byte in frame.data)
        if frame.control == self._control | _REFUSAL and len(data) == 1:
            raise LineRefused(f"refused with error word {data[0]:#04x}: {_told(data[0])}", code=data[0])
        if frame.control & ~_MORE != self._control | _ANSWER:
            return None
        if data[:4] != self.identifier.to_bytes(4, "little"):
            return None
        if self.part and (len(data) < 5 or data[-1] != self.part):
            return None
        return Part(data[4:-1] if self.part else data[4:], more=bool(frame.control & _MORE))

    def following(self) -> Self:
        """The question for the next frame of the same data. Raises LineGarbled behind the last number there is."""
        if self.part == _LAST_PART:
            raise LineGarbled(f"more than {_LAST_PART} frames follow")
        return replace(self, part=self.part + 1)


def _told(word: int) -> str:
    return ", ".join(text for bit, text in enumerate(ERRORS) if word >> bit & 1) or "no reason given"
