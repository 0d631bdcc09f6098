"""What Modbus asks and answers, without any wire: questions that only read, and a strict reading of the answers.

There is no code here that makes any other question, and the framing sends no function code but these.
Source: MODBUS Application Protocol Specification V1.1b3 - §6.1 to §6.4, §6.21, §7
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from gateway.errors import LineGarbled, LineRefused

FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}  # by the table that is read
IDENTIFICATION = 43  # Encapsulated Interface Transport, used for device identification (MEI type 14) alone
READING = frozenset({*FUNCTIONS.values(), IDENTIFICATION})
MAX_BITS, MAX_WORDS = 2000, 125
MAX_PDU = 253  # [bytes]
REFUSED = 0x80  # added to the function code of an answer that is an exception
_MEI_TYPE = 14
_ADDRESSES = 65536

# V1.1b3 assigns all of these but 7, which older devices still answer (negative acknowledge); 9 is nobody's.
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge: it takes longer",
    6: "server device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}


class Question(NamedTuple):
    """One request and what its answer must look like. `data_bytes` is 0 where the length is the device's to choose."""

    pdu: bytes
    function: int
    data_bytes: int


class Identification(NamedTuple):
    """What a device says it is: objects by their number (0 vendor, 1 product, 2 revision; §6.21), as they came.

    `next_object` is the number to go on with where the device has more to tell, None at the end.
    """

    objects: dict[int, bytes]
    next_object: int | None


@lru_cache(maxsize=4096)
def reading(table: str, address: int, count: int) -> Question:
    """The question for `count` words (bits, for "coil" and "discrete") of `table` from `address` (0-based).

    Raises ValueError for a table, an address or a count that Modbus does not have.
    """
    function = FUNCTIONS.get(table)
    if function is None:
        raise ValueError(f"table {table!r} is unknown; Modbus has {', '.join(FUNCTIONS)}")
    bits = table in {"coil", "discrete"}
    most = MAX_BITS if bits else MAX_WORDS
    if not 1 <= count <= most:
        raise ValueError(f"{count} of {table} in one request; Modbus allows 1 to {most}")
    if not 0 <= address <= _ADDRESSES - count:
        raise ValueError(f"{table} {address}..{address + count - 1}; addresses end at {_ADDRESSES - 1}")
    return Question(struct.pack(">BHH", function, address, count), function, -(-count // 8) if bits else 2 * count)


def identifying(first_object: int = 0) -> Question:
    """The question who a device is: its basic objects from number `first_object` (0 to 255)."""
    return Question(bytes((IDENTIFICATION, _MEI_TYPE, 1, first_object)), IDENTIFICATION, 0)


def trouble_of(pdu: bytes, question: Question) -> LineGarbled | LineRefused | None:
    """Why `pdu` is no rightful answer to the question: it does not fit, or it is an exception; None if it is one."""
    _, function, data_bytes = question
    announced = pdu[1] if len(pdu) > 1 else 0
    if pdu[0] == function and data_bytes:
        if announced == data_bytes == len(pdu) - 2:
            return None
        return LineGarbled(
            f"{announced} bytes of data announced in an answer of {len(pdu)} bytes where {data_bytes} were asked"
        )
    if pdu[0] == function:
        return None if _objects(pdu) else LineGarbled(f"an identification that does not add up: {pdu.hex()}")
    if pdu[0] != function | REFUSED:
        return LineGarbled(f"function code {pdu[0]} where {function} was asked")
    if len(pdu) != 2:
        return LineGarbled(f"an exception of {len(pdu)} bytes where 2 make one")
    meaning = EXCEPTIONS.get(announced, "a code that is not assigned")
    return LineRefused(f"refused with exception code {announced} ({meaning})", code=announced)


def data_of(pdu: bytes) -> bytes:
    """The words (big-endian) or bits (the first in bit 0 of the first byte) in a rightful answer."""
    return pdu[2:]


def identification_of(pdu: bytes) -> Identification:
    """The objects in a rightful answer to `identifying`."""
    return Identification(_objects(pdu) or {}, pdu[5] if pdu[4] else None)


def _objects(pdu: bytes) -> dict[int, bytes] | None:
    """The objects by number; None where the bytes do not add up.

    The number of objects announced may exceed those that are there: the example of §6.21 in two parts
    announces three in each.
    """
    if len(pdu) < 7 or pdu[1:3] != bytes((_MEI_TYPE, 1)) or pdu[4] not in {0, 0xFF}:
        return None
    objects: dict[int, bytes] = {}
    place = 7
    while place < len(pdu):
        end = place + 2 + pdu[place + 1] if place + 2 <= len(pdu) else len(pdu) + 1
        if end > len(pdu) or pdu[place] in objects:
            return None
        objects[pdu[place]] = pdu[place + 2 : end]
        place = end
    return objects if 0 < len(objects) <= pdu[6] else None
