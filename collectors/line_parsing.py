"""Line protocol, strictly [1]: one line to its measurement, tags, fields and time; anything else is told.

Numbers are exact decimals, times whole numbers of the file's declared precision. A line ends at its line feed, also
within a quoted text.

Source: [1] InfluxDB - Line protocol reference (measurement, tag set, field set, timestamp; data types; escapes)
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

Value = Decimal | bool | str
US_PER = {"us": 1, "ms": 1000, "s": 1_000_000}
_NAME = re.compile(r"(?:\\[, ]|[^, ])++")
_KEY = re.compile(r"(?:\\[,= ]|[^,= ])++")
_TEXT = re.compile(r'"((?:\\.|[^"\\])*+)"')
_WORD = re.compile(r"[^, ]++")
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_UNESCAPE = re.compile(r"\\([,= ])")
_UNQUOTE = re.compile(r'\\(["\\])')
_INT64 = range(-(2**63), 2**63)


class BadLine(ValueError):
    """What is wrong with a line: where, what was found, what was expected."""

    def __init__(self, place: str, found: str, expected: str) -> None:
        super().__init__(f"{place}: found {found}; expected {expected}")
        self.place, self.found, self.expected = place, found, expected


class Point(NamedTuple):
    """One line. `time` is as written, in the precision of the file; None where the line has none."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, Value]
    time: int | None


def parse_line(line: str) -> Point:
    """One line without its line feed, neither blank nor a comment. Raises BadLine."""
    name = _NAME.match(line)
    if name is None:
        raise BadLine("measurement", _near(line, 0), "a name")
    tags, place = _pairs(line, name.end())
    if line[place : place + 1] != " ":
        raise BadLine("fields", _near(line, place), "a space and the fields")
    fields, place = _fields(line, _behind_spaces(line, place))
    place = _behind_spaces(line, place)
    time: int | None = None
    if place < len(line):
        rest = line[place:].rstrip(" ")
        if _WHOLE.fullmatch(rest) is None or int(rest) not in _INT64:
            raise BadLine("time", repr(rest[:40]), "a whole number, and nothing behind it")
        time = int(rest)
    return Point(_unescaped(name[0]), tags, fields, time)


def _pairs(line: str, place: int) -> tuple[dict[str, str], int]:
    """The tags, and where they end."""
    tags: dict[str, str] = {}
    while line[place : place + 1] == ",":
        key = _KEY.match(line, place + 1)
        value = _KEY.match(line, key.end() + 1) if key is not None and line[key.end() : key.end() + 1] == "=" else None
        if key is None or value is None:
            raise BadLine("tags", _near(line, place), "tag=value, both with something in them")
        if (name := _unescaped(key[0])) in tags:
            raise BadLine("tags", repr(name[:40]), "each tag once")
        tags[name] = _unescaped(value[0])
        place = value.end()
    return tags, place


def _fields(line: str, place: int) -> tuple[dict[str, Value], int]:
    """The fields, and where they end."""
    fields: dict[str, Value] = {}
    while True:
        key = _KEY.match(line, place)
        if key is None or line[key.end() : key.end() + 1] != "=":
            raise BadLine("fields", _near(line, place), "field=value")
        if (name := _unescaped(key[0])) in fields:
            raise BadLine("fields", repr(name[:40]), "each field once")
        fields[name], place = _value(line, key.end() + 1)
        if line[place : place + 1] != ",":
            return fields, place
        place += 1


def _value(line: str, place: int) -> tuple[Value, int]:
    if line[place : place + 1] == '"':
        text = _TEXT.match(line, place)
        if text is None:
            raise BadLine("fields", _near(line, place), "a text that ends with a quote on the same line")
        return _UNQUOTE.sub(r"\1", text[1]), text.end()
    word = _WORD.match(line, place)
    said = word[0] if word is not None else ""
    found: Value | None = _BOOLEANS.get(said)
    if found is None and said[-1:] in {"i", "u"} and _WHOLE.fullmatch(said[:-1]):
        whole = int(said[:-1])
        if whole in (_INT64 if said[-1] == "i" else range(2**64)):
            found = Decimal(whole)
    elif found is None and _NUMBER.fullmatch(said):
        found = Decimal(said)
    if found is None or word is None:
        raise BadLine("fields", repr(said[:40]), 'a number, 1i, 1u, true, false, or "text"')
    return found, word.end()


def _behind_spaces(line: str, place: int) -> int:
    while line[place : place + 1] == " ":
        place += 1
    return place


def _unescaped(text: str) -> str:
    return _UNESCAPE.sub(r"\1", text) if "\\" in text else text


def _near(line: str, place: int) -> str:
    return repr(line[place : place + 40])


def microseconds(time: int, precision: str) -> tuple[int, bool]:
    """(instant [us, UTC], whether something below a microsecond was left off)."""
    if precision == "ns":
        return time // 1000, time % 1000 != 0
    return time * US_PER[precision], False
