"""How long a request occupies its line: what the planner weighs, and what a plan says of itself."""

from typing import NamedTuple

from gateway.domain.sites import Line

_SECOND = 1_000_000_000
# Source: MODBUS over Serial Line V1.02 - §2.5.1.1: a character is 11 bits; frames are 3.5 characters apart,
# above 19200 baud a fixed 1.75 ms
_CHARACTER_BITS = 11
_GAP_CHARACTERS_HALVES = 7
_FIXED_GAP_ABOVE_BAUD = 19_200
_FIXED_GAP_NS = 1_750_000
# Request: address, function, first address, quantity, CRC; answer, without its words: address, function, count, CRC
_CHARACTERS = 8 + 5
# Question and answer of DL/T 645: four FE, frame, identifier; as many in CJ/T 188: one start less, one number more
_METER_CHARACTERS = 2 * (4 + 12 + 4)


class WireTime(NamedTuple):
    """What one request costs [ns], however short, and what each word of its answer adds [ns]."""

    request_ns: int
    word_ns: int

    def of(self, words: int) -> int:
        """The time of a request for `words` words [ns]."""
        return self.request_ns + words * self.word_ns


# A round trip in a local network against 16 bits at 100 Mbit/s: there, requests cost and words do not.
TCP_WIRE = WireTime(1_000_000, 160)


def serial_wire(baud: int, *, turnaround_s: float = 0.01, character_bits: int = _CHARACTER_BITS) -> WireTime:
    """The wire time of Modbus RTU at `baud` bits/s. `turnaround_s` [s]: what the meter takes before it answers."""
    character = character_bits * _SECOND // baud
    gap = _FIXED_GAP_NS if baud > _FIXED_GAP_ABOVE_BAUD else _GAP_CHARACTERS_HALVES * character // 2
    return WireTime(_CHARACTERS * character + 2 * gap + int(turnaround_s * _SECOND), 2 * character)


def line_wire(line: Line) -> WireTime:
    """The wire time of a Modbus line's requests."""
    if line.kind.is_rtu:
        return serial_wire(line.baud, character_bits=character_bits(line))
    return TCP_WIRE


def character_bits(line: Line) -> int:
    """A start bit, 8 data bits, parity where there is one, and the stop bits."""
    return 9 + (line.parity != "none") + line.stop_bits


def quiet_s(line: Line) -> float:
    """The silence between the frames of Modbus RTU [s]: 3.5 characters, 1.75 ms above 19,200 baud."""
    if line.baud > _FIXED_GAP_ABOVE_BAUD:
        return _FIXED_GAP_NS / _SECOND
    return _GAP_CHARACTERS_HALVES * character_bits(line) / line.baud / 2


def meter_wire_ns(baud: int, data_bytes: int, *, answers_after_s: float = 0.05) -> int:
    """The time [ns] in which a DL/T 645 or CJ/T 188 meter gives `data_bytes` of data at `baud` bits/s.

    `answers_after_s` [s]: what the meter takes before it answers, which DL/T 645 allows to be 0.02 to 0.5 s.
    """
    return (_METER_CHARACTERS + data_bytes) * _CHARACTER_BITS * _SECOND // baud + int(answers_after_s * _SECOND)
