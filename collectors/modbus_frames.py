"""How Modbus wraps its questions and answers: the MBAP header on TCP, address and CRC on a serial line.

Both readers take the bytes as they come, cut anywhere, and say at once what can be no frame. No wire here:
the silence that ends a serial frame is the transport's to watch.
Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b - §3.1.3; MODBUS over Serial Line V1.02 - §2.5.1, §6.2.2
"""

import struct
from collections.abc import Iterator

from collectors.modbus_pdu import IDENTIFICATION, MAX_PDU, READING, REFUSED
from gateway.errors import LineGarbled

Frame = tuple[int, int, bytes]  # transaction, device address, PDU
_HEADER = struct.Struct(">HHHB")  # transaction, protocol, length (of what follows it), device address
_COUNTED_AT = 6  # where the bytes begin that the length counts
_SHORTEST, _LONGEST = 2, 1 + MAX_PDU  # what the length may be: the address and at least a function code
_ONLY_READS = "function code {} is not sent: this product reads and does nothing else"
_BUFFER = 2048  # [bytes] seven of the longest answers


def mbap_frame(transaction: int, device_address: int, pdu: bytes) -> bytes:
    """A question ready for TCP. Raises ValueError for a function code that does more than read."""
    if pdu[0] not in READING:
        raise ValueError(_ONLY_READS.format(pdu[0]))
    return _HEADER.pack(transaction, 0, len(pdu) + 1, device_address) + pdu


class MbapReader:
    """Cuts a TCP stream into frames, in one small buffer that the receiving side fills directly."""

    __slots__ = ("_buffer", "_view", "held")

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self.held = 0  # bytes of a frame that is not whole yet

    def space(self) -> memoryview:
        """Where the next bytes go; never empty, for a frame that is not whole is short."""
        return self._view[self.held :] if self.held else self._view

    def rest(self) -> bytes:
        """The beginning of a frame that is not whole yet."""
        return bytes(self._view[: self.held])

    def take(self, count: int) -> list[Frame]:
        """The frames that are whole now that `count` more bytes were put into the space.

        Raises LineGarbled for what is no Modbus; nothing that comes after it can be told from rubbish.
        """
        filled = self.held + count
        frames: list[Frame] = []
        start = 0
        while filled - start >= _HEADER.size:
            transaction, protocol, length, device_address = _HEADER.unpack_from(self._buffer, start)
            if protocol:
                raise LineGarbled(f"protocol id {protocol} instead of 0")
            if not _SHORTEST <= length <= _LONGEST:
                raise LineGarbled(f"a frame of {length} bytes where {_SHORTEST} to {_LONGEST} are possible")
            end = start + _COUNTED_AT + length
            if end > filled:
                break
            frames.append((transaction, device_address, bytes(self._view[start + _HEADER.size : end])))
            start = end
        self.held = filled - start
        if start and start < filled:
            self._buffer[: filled - start] = self._buffer[start:filled]
        return frames


def _crc_table() -> Iterator[int]:
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = remainder >> 1 ^ 0xA001 if remainder & 1 else remainder >> 1
        yield remainder


_CRC = tuple(_crc_table())


def crc16(data: bytes) -> int:
    """The check of a serial frame over its address and PDU; sent with the low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def rtu_frame(device_address: int, pdu: bytes) -> bytes:
    """A question ready for a serial line. Raises ValueError for a function code that does more than read."""
    if pdu[0] not in READING:
        raise ValueError(_ONLY_READS.format(pdu[0]))
    body = bytes((device_address,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


class RtuReader:
    """Cuts what a serial line brings into answers. After trouble, only silence tells where the next one begins."""

    __slots__ = ("_part",)

    def __init__(self) -> None:
        self._part = b""

    def rest(self) -> bytes:
        """The beginning of an answer that is not whole yet."""
        return self._part

    def ended(self) -> list[tuple[int, bytes]]:
        """The answer that silence has ended, where its own words say that more should come and its CRC does not.

        Of an identification in parts the example of the specification itself announces all objects in each part.
        """
        body, check = self._part[:-2], self._part[-2:]
        if len(body) < 2 or check != crc16(body).to_bytes(2, "little"):
            return []
        self._part = b""
        return [(body[0], body[1:])]

    def take(self, data: bytes) -> list[tuple[int, bytes]]:
        """The answers that are whole now, as (device address, PDU).

        Raises LineGarbled for a wrong CRC and for a function code that no question of ours has.
        """
        part = self._part + data
        answers = []
        while (length := _rtu_length(part)) is not None and length <= len(part):
            body, check = part[: length - 2], part[length - 2 : length]
            expected = crc16(body).to_bytes(2, "little")
            if check != expected:
                raise LineGarbled(f"CRC {check.hex()} where {expected.hex()} belongs to {body.hex()}")
            answers.append((body[0], body[1:]))
            part = part[length:]
        self._part = part
        return answers


def _rtu_length(part: bytes) -> int | None:
    """How many bytes the answer that begins here will have; None while that cannot be told."""
    if len(part) < 3:
        return None
    function = part[1]
    if function & REFUSED:
        return 5
    if function not in READING:
        raise LineGarbled(f"function code {function}, which was not asked")
    if function != IDENTIFICATION:
        return 5 + part[2]
    return _identification_length(part)


def _identification_length(part: bytes) -> int | None:
    """Address, 7 bytes up to the number of objects, each object with its number and length, CRC."""
    place = 8
    for _ in range(part[7] if len(part) > 7 else 256):
        if place + 1 >= len(part):
            return None
        place += 2 + part[place + 1]
    return place + 2
