"""Meters on a DL/T 645 or CJ/T 188 bus that show what they are told to show, and fail as they are told to fail.

Written from the protocols' documents with a codec of its own, so that two readings of one document meet on the wire.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Shows = Callable[[int], bytes | None]  # the data of an identifier as the display shows them now; None: no such data


class Fault(StrEnum):
    """What may go wrong with one answer."""

    SILENT = "silent"  # no answer
    REFUSES = "refuses"  # an error word (DL/T 645) or a state (CJ/T 188) in its place
    FLIPPED = "flipped"  # one bit is turned over on the way
    CUT = "cut"  # it breaks off in the middle
    OTHER_METER = "other_meter"  # well-formed, from another address
    OTHER_DATA = "other_data"  # well-formed, another identifier
    OTHER_NUMBER = "other_number"  # well-formed, another number of the question, or of the frame that follows
    LATE = "late"  # comes after the next question, before the answer to that
    NOISE = "noise"  # behind bytes that mean nothing
    ECHO = "echo"  # behind the question itself, as a two-wire adapter hears it
    SLOW = "slow"  # byte by byte


@dataclass(slots=True)
class BusMeter:
    """One meter: `digits` of its address, what it shows, and how it speaks.

    `meter_type` 0 is a DL/T 645 meter; any other is the byte T of CJ/T 188. `most` [bytes]: data of one frame, the rest
    follows when it is asked for. `big` sends the identifier of CJ/T 188 with its first digits first.
    """

    digits: str
    shows: Shows
    meter_type: int = 0
    big: bool = False
    most: int = 200

    @property
    def address(self) -> bytes:
        """The address as it goes over the wire: two digits a byte, the last ones first."""
        return bytes.fromhex(self.digits)[::-1]


class Asked(NamedTuple):
    """One question as it came: of which meter, for which identifier, with which number (0 where there is none)."""

    digits: str
    identifier: int
    number: int


@dataclass(slots=True)
class MeterBus:
    """All meters behind one port. `faults` are worked off answer by answer; when they run out all is well.

    `asked` is what came, `wrong` what came that no reading master sends: write commands end up there, unanswered.
    """

    meters: list[BusMeter]
    faults: Iterator[Fault | None] = field(default_factory=lambda: iter(()))
    asked: list[Asked] = field(default_factory=list)
    wrong: list[bytes] = field(default_factory=list)
    _bytes: bytes = b""
    _late: list[bytes] = field(default_factory=list)

    def hear(self, data: bytes) -> list[bytes]:
        """What goes out in answer to these bytes, in the pieces in which it goes out."""
        self._bytes += data
        pieces: list[bytes] = []
        while (whole := self._next_frame()) is not None:
            pieces += self._late
            self._late = []
            pieces += self._answers(whole)
        return pieces

    def _next_frame(self) -> bytes | None:
        start = self._bytes.find(b"\x68")
        rest = self._bytes[start:] if start >= 0 else b""
        length_at = 9 if rest[7:8] == b"\x68" else 10
        if len(rest) <= length_at or len(rest) < length_at + 3 + rest[length_at]:
            return None
        end = length_at + 3 + rest[length_at]
        self._bytes = rest[end:]
        return rest[:end]

    def _answers(self, frame: bytes) -> list[bytes]:
        if frame[-1] != 0x16 or frame[-2] != sum(frame[:-2]) % 256:
            self.wrong.append(frame)
            return []
        for meter in self.meters:
            head = bytes([meter.meter_type]) if meter.meter_type else b""
            tail = b"" if meter.meter_type else b"\x68"
            if frame[1:].startswith(head + meter.address + tail):
                return self._answer_of(meter, frame)
        return []

    def _answer_of(self, meter: BusMeter, frame: bytes) -> list[bytes]:
        answer = (_cjt188 if meter.meter_type else _dlt645)(meter, frame, next(self.faults, None))
        if answer.asked is None:
            self.wrong.append(frame)
            return []
        self.asked.append(answer.asked)
        return self._spoilt(answer, frame)

    def _spoilt(self, answer: "_Answer", question: bytes) -> list[bytes]:
        whole, fault = b"\xfe\xfe" + answer.frame, answer.fault
        if fault is Fault.LATE:
            self._late.append(whole)
        if fault in {Fault.LATE, Fault.SILENT}:
            return []
        if fault is Fault.FLIPPED:
            place = 2 + len(answer.frame) // 2 + len(self.asked) % 5
            return [whole[:place] + bytes([whole[place] ^ 1 << len(self.asked) % 8]) + whole[place + 1 :]]
        if fault is Fault.CUT:
            return [whole[: len(whole) // 2]]
        if fault is Fault.NOISE:
            return [b"\x00\x68\xff\x16\x68\x68", whole]
        if fault is Fault.ECHO:
            return [question, whole]
        return [bytes([byte]) for byte in whole] if fault is Fault.SLOW else [whole]


class _Answer(NamedTuple):
    frame: bytes
    asked: Asked | None
    fault: Fault | None = None


def _closed(body: bytes) -> bytes:
    return body + bytes([sum(body) % 256, 0x16])


def _dlt645(meter: BusMeter, frame: bytes, fault: Fault | None) -> _Answer:
    control, sent = frame[8], bytes((byte - 0x33) % 256 for byte in frame[10:-2])
    if control not in {0x11, 0x12} or len(sent) != (4 if control == 0x11 else 5):
        return _Answer(b"", None)
    identifier, part = int.from_bytes(sent[:4], "little"), sent[4] if control == 0x12 else 0
    asked = Asked(meter.digits, identifier, part)
    data = meter.shows(identifier)
    address = bytes([meter.address[0] ^ 1]) + meter.address[1:] if fault is Fault.OTHER_METER else meter.address
    if data is None or fault is Fault.REFUSES or part * meter.most >= max(len(data), 1):
        return _Answer(_framed645(address, control | 0xC0, b"\x02"), asked, fault)
    some = data[part * meter.most :][: meter.most]
    more = 0x20 if (part + 1) * meter.most < len(data) else 0
    named = identifier ^ (0x0100 if fault is Fault.OTHER_DATA else 0)
    number = bytes([part ^ (fault is Fault.OTHER_NUMBER)]) if part else b""
    return _Answer(
        _framed645(address, control | 0x80 | more, named.to_bytes(4, "little") + some + number), asked, fault
    )


def _framed645(address: bytes, control: int, data: bytes) -> bytes:
    sent = bytes((byte + 0x33) % 256 for byte in data)
    return _closed(b"\x68" + address + b"\x68" + bytes([control, len(sent)]) + sent)


def _cjt188(meter: BusMeter, frame: bytes, fault: Fault | None) -> _Answer:
    control, sent = frame[9], frame[11:-2]
    if control != 0x01 or len(sent) != 3:
        return _Answer(b"", None)
    identifier = int.from_bytes(sent[:2], "big" if meter.big else "little")
    asked = Asked(meter.digits, identifier, sent[2])
    data = meter.shows(identifier)
    head = bytes([0x68, meter.meter_type]) + meter.address
    if fault is Fault.OTHER_METER:
        head = head[:2] + bytes([head[2] ^ 1]) + head[3:]
    number = sent[2] ^ 1 if fault is Fault.OTHER_NUMBER else sent[2]
    if data is None or fault is Fault.REFUSES:
        return _Answer(_closed(head + bytes([0xC1, 3, number, 0x04, 0x00])), asked, fault)
    named = bytes([sent[0] ^ (fault is Fault.OTHER_DATA), sent[1]])
    return _Answer(_closed(head + bytes([0x81, 3 + len(data)]) + named + bytes([number]) + data), asked, fault)


def digits_of(number: int, count: int, *, sign: bool = False) -> bytes:
    """`number` as `count` bytes of two decimal digits each, the last ones first; with `sign`, the topmost bit is it.

    Raises ValueError when it has more digits than that.
    """
    text = f"{abs(number):0{2 * count}d}"
    if len(text) > 2 * count or (number < 0 and not sign):
        raise ValueError(f"{number} does not fit into {count} bytes")
    found = bytearray.fromhex(text)[::-1]
    if number < 0:
        found[-1] |= 0x80
    return bytes(found)


def shown(values: Mapping[int, bytes]) -> Shows:
    """A display that shows these data; changing the mapping changes the display."""
    return values.get
