"""Frames between 0x68 and 0x16 with a sum over their bytes, as DL/T 645 and CJ/T 188 have them, without a wire."""

from typing import ClassVar, NamedTuple, Protocol

START, END = 0x68, 0x16
WAKE_UP = b"\xfe" * 4  # goes before every question: it wakes the receiver, and no answer depends on it
FROM_METER = 0x80  # bit of the control code: an answer, not a question
_MOST_BYTES = 512  # that are kept while the end of a frame is waited for


class Layout(NamedTuple):
    """What stands where in a frame: `header` bytes up to the control code, its length byte behind that, then the data.

    `second_start` is the place of the second 0x68; 0 where there is none.
    """

    header: int
    second_start: int = 0


class Frame(NamedTuple):
    """One whole frame: everything between the first 0x68 and the control code, the control code, the data as sent."""

    head: bytes
    control: int
    data: bytes


class Part(NamedTuple):
    """The data that one frame brings, and whether more of them wait to be asked for."""

    data: bytes
    more: bool


class Question(Protocol):
    """One question to one meter, and which frames answer it."""

    layout: ClassVar[Layout]

    def frame(self) -> bytes:
        """The bytes that ask."""
        ...

    def answer(self, frame: Frame) -> Part | None:
        """What the frame brings; None where it is no answer to this very question. Raises LineRefused."""
        ...

    def following(self) -> "Question":
        """The question for the next part of the same data. Raises LineGarbled where there is none."""
        ...


def build(head: bytes, control: int, data: bytes) -> bytes:
    """The bytes of one frame, the wake-up bytes before it. `head` as in Frame."""
    body = bytes([START]) + head + bytes([control, len(data)]) + data
    return WAKE_UP + body + bytes([sum(body) & 0xFF, END])


class FrameFinder:
    """Finds the frames in the bytes of a line, however they are cut and whatever noise is around them.

    A frame is whole when its starts, its length, its sum and its end agree. Nothing of another is handed out.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._bytes = bytearray()
        self._damaged = False

    @property
    def spoilt(self) -> bool:
        """True if something came that begins like a frame and is none, or not yet."""
        return self._damaged or bool(self._bytes)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes as they come; the frames that are whole now, in their order."""
        self._bytes += data
        frames: list[Frame] = []
        unfinished, at = -1, 0
        while (at := self._bytes.find(START, at)) >= 0:
            size = self._size(at)
            if size:
                frames.append(self._frame(at, size))
                unfinished = -1  # a start in the noise before it was none
            elif size is None and unfinished < 0:
                unfinished = at
            self._damaged = self._damaged or size == 0
            at += size or 1
        del self._bytes[: unfinished if unfinished >= 0 else len(self._bytes)]
        del self._bytes[:-_MOST_BYTES]
        return frames

    def _size(self, at: int) -> int | None:
        """Bytes of the frame that begins at `at`; None while its end is to come, 0 where it is none."""
        second, length_at = at + self._layout.second_start, at + self._layout.header + 1
        if second > at and len(self._bytes) > second and self._bytes[second] != START:
            return 0
        if len(self._bytes) <= length_at:
            return None
        end = length_at + 1 + self._bytes[length_at]
        if len(self._bytes) < end + 2:
            return None
        holds = self._bytes[end] == sum(self._bytes[at:end]) & 0xFF and self._bytes[end + 1] == END
        return end + 2 - at if holds else 0

    def _frame(self, at: int, size: int) -> Frame:
        control = at + self._layout.header
        body = bytes(self._bytes[at : at + size])
        return Frame(body[1 : control - at], body[control - at], body[control - at + 2 : -2])
