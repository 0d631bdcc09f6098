"""Sparkplug B payloads as bytes: Protocol Buffers, as far as a host application needs them.

Source: Sparkplug Specification 3.0.0 (2022-11-16) - §6.4 payload component definition; Protocol Buffers - Encoding
(varint, 64-bit, length-delimited, 32-bit). Data sets, templates, properties and metadata are passed over.
"""

import struct
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from collectors.payloads.said import PayloadRefused, Shown

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}  # datatype: bits
_UNSIGNED = {5: 8, 6: 16, 7: 32, 8: 64}
_BOOLEAN = 11
_NAMES = {
    12: "text",
    13: "a date",
    14: "text",
    15: "a UUID",
    16: "a data set",
    17: "bytes",
    18: "a file",
    19: "a template",
}
_INT, _LONG, _FLOAT, _DOUBLE, _BOOL = 10, 11, 12, 13, 14  # fields of a metric's value
_OTHER_VALUES = range(15, 20)  # text, bytes, data set, template, extension


class Metric(NamedTuple):
    """One metric. `name` or `alias` may be missing; `raw` is the value's field and its number."""

    name: str = ""
    alias: int | None = None
    timestamp_ms: int | None = None
    datatype: int = 0  # 0 = not told: that of the birth holds
    is_null: bool = False
    raw: tuple[int, int | float] | None = None


class Payload(NamedTuple):
    """One payload."""

    timestamp_ms: int | None
    seq: int | None
    metrics: Sequence[Metric]


def decode_payload(data: bytes) -> Payload:
    """The payload in `data`. Raises PayloadRefused."""
    timestamp = seq = None
    metrics = []
    try:
        for field, value in _fields(data):
            if field == 1 and isinstance(value, int):
                timestamp = value
            elif field == 2 and isinstance(value, bytes):
                metrics.append(_metric(value))
            elif field == 3 and isinstance(value, int):
                seq = value
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise PayloadRefused(f"no Sparkplug B payload: {error}") from error
    return Payload(timestamp, seq, metrics)


def encode_flag(name: str, timestamp_ms: int) -> bytes:
    """A payload of one Boolean metric that is true, as commands are given. `timestamp_ms` [ms, UTC]."""
    metric = _bytes(1, name.encode()) + _number(3, timestamp_ms) + _number(4, _BOOLEAN) + _number(_BOOL, 1)
    return _number(1, timestamp_ms) + _bytes(2, metric)


def number_of(metric: Metric, datatype: int) -> Shown:
    """The value of a metric of this datatype, exactly; None where it is null, a sentence where it is no number."""
    if metric.is_null:
        return None
    if metric.raw is None:
        return "found a metric without a value; expected a number"
    field, raw = metric.raw
    if field in _OTHER_VALUES or datatype in _NAMES:
        return f"found {_NAMES.get(datatype, 'a value that is no number')}; expected a number"
    if isinstance(raw, float):
        number = Decimal(raw)
        return number if number.is_finite() else f"found {raw}; expected a number, or null where nothing was shown"
    return Decimal(raw != 0) if field == _BOOL else _whole(raw, datatype)


def _whole(raw: int, datatype: int) -> Shown:
    bits = _SIGNED.get(datatype)
    if bits:  # two's complement, in as many bits or extended to more
        raw &= (1 << bits) - 1
        return Decimal(raw - (raw >> (bits - 1) << bits))
    bits = _UNSIGNED.get(datatype)
    if bits is None or raw >> bits:
        return f"found {raw} of datatype {datatype}; expected a number of that type"
    return Decimal(raw)


def _metric(data: bytes) -> Metric:
    found: dict[int, int | bytes | float] = dict(_fields(data))
    raw: tuple[int, int | float] | None = None
    for field in (_INT, _LONG, _FLOAT, _DOUBLE, _BOOL, *_OTHER_VALUES):
        if field in found:
            value = found[field]
            if field in {_FLOAT, _DOUBLE} and isinstance(value, bytes):
                value = struct.unpack("<f" if field == _FLOAT else "<d", value)[0]
            raw = (field, 0 if isinstance(value, bytes) else value)
    name, alias, timestamp = found.get(1, b""), found.get(2), found.get(3)
    datatype, is_null = found.get(4, 0), found.get(7, 0)
    if not isinstance(name, bytes) or isinstance(alias, bytes) or isinstance(timestamp, bytes):
        raise ValueError("a metric whose name, alias or timestamp is of another type")  # noqa: TRY004 - the message is wrong
    return Metric(
        name.decode("utf-8"),
        None if alias is None else int(alias),
        None if timestamp is None else int(timestamp),
        datatype if isinstance(datatype, int) else 0,
        bool(is_null),
        raw,
    )


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, number or bytes) one by one; fixed-length ones as their bytes."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield field, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in {_FIXED64, _FIXED32}:
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if length > end - at:
            raise ValueError(f"{length} bytes announced at byte {at}, {end - at} are left")
        yield field, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, place behind it); at most 10 bytes, of which 64 bits count."""
    value = shift = 0
    for place in range(at, min(at + 10, len(data))):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + 1
        shift += 7
    raise ValueError(f"a number without an end at byte {at}")


def _number(field: int, value: int) -> bytes:
    return _encoded(field << 3 | _VARINT) + _encoded(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _encoded(field << 3 | _BYTES) + _encoded(len(value)) + value


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
