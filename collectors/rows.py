"""The rows of a CSV as its mapping describes it: each stands or falls alone, and is told by line and column."""

import csv
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from collectors.mapping import Mapping
from gateway.errors import ImportRefused

LONGEST_NUMBER = 64  # characters; no instrument shows more
NOTHING = "nothing"  # found in an empty field
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?")


class Row(NamedTuple):
    """One row. `label` is the text of the time column, `value` a number in the mapping's unit."""

    line: int  # 1-based
    label: str
    value: Decimal
    ticket: str


class BadRow(NamedTuple):
    """One row that was not taken, and why."""

    line: int
    column: str
    found: str
    expected: str

    def sentence(self, file: str) -> str:
        """The row as one sentence."""
        return f"{file}:{self.line}: column {self.column}: found {self.found}; expected {self.expected}."


class _Bad(ValueError):
    def __init__(self, column: str | int, found: str, expected: str) -> None:
        self.column, self.found, self.expected = str(column), found, expected
        super().__init__(expected)


class _Columns(NamedTuple):
    """Where the columns stand (0-based), and how many each row has; None = as many as needed."""

    time: int
    value: int
    ticket: int | None
    width: int | None


def read_rows(path: Path, content: bytes, mapping: Mapping) -> Iterator[Row | BadRow]:
    """The rows of a file's `content` in its order; blank lines are passed over. A record is one line.

    Raises ImportRefused when its header lacks a column.
    """
    # Bytes that the encoding does not know stay recognisable, so that they cost their own row only.
    encoding = "utf-8-sig" if mapping.format.encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else None
    text = content.decode(encoding or mapping.format.encoding, errors="surrogateescape")
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
    columns = _find_columns(path, mapping, next(lines)[1] if mapping.format.header else None)
    for number, line in lines:
        if not line.strip():
            continue
        try:
            yield _row(number, _fields(line, mapping), columns, mapping)
        except _Bad as bad:
            yield BadRow(number, bad.column, bad.found, bad.expected)


def _fields(line: str, mapping: Mapping) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=mapping.format.delimiter, strict=True))
    except csv.Error as error:
        raise _Bad("(row)", quoted(line), f"well-formed CSV ({error})") from error


def _find_columns(path: Path, mapping: Mapping, header: str | None) -> _Columns:
    wanted = [mapping.time.column, mapping.value.column, *([mapping.ticket.column] if mapping.ticket else [])]
    if header is None:
        places = [column - 1 for column in wanted if isinstance(column, int)]
        width = None
    else:
        try:
            names = [name.strip() for name in _fields(header, mapping)]
        except _Bad as bad:
            raise ImportRefused(f"{path}:1: the header: found {bad.found}; expected {bad.expected}.") from bad
        for column in wanted:
            if names.count(str(column)) != 1:
                times = names.count(str(column))
                found = ", ".join(quoted(name) for name in names[:12])
                raise ImportRefused(
                    f"{path}:1: the header names the column {quoted(str(column))} {times} times; expected once. "
                    f"It names {found}. Mend [time], [value] or [ticket] column, or the delimiter, in {mapping.file}."
                )
        places = [names.index(str(column)) for column in wanted]
        width = len(names)
    return _Columns(places[0], places[1], places[2] if mapping.ticket else None, width)


def _row(number: int, fields: list[str], columns: _Columns, mapping: Mapping) -> Row:
    needed = 1 + max(columns.time, columns.value, columns.ticket or 0)
    if len(fields) != (columns.width or len(fields)) or len(fields) < needed:
        raise _Bad("(row)", f"{len(fields)} columns", f"{columns.width or f'at least {needed}'}")
    label = fields[columns.time].strip()
    ticket = fields[columns.ticket].strip() if mapping.ticket and columns.ticket is not None else ""
    if mapping.ticket and not ticket:
        raise _Bad(mapping.ticket.column, NOTHING, "the ticket's number")
    return Row(number, label, _number(fields[columns.value].strip(), mapping), ticket)


def _number(text: str, mapping: Mapping) -> Decimal:
    mark = mapping.value.decimal_mark
    plain = text if mark == "." else "".join({",": ".", ".": ","}.get(sign, sign) for sign in text)
    if len(text) > LONGEST_NUMBER or _NUMBER.fullmatch(plain) is None or not plain.isascii():
        expected = f"a number in {mapping.value.unit} with the decimal mark {mark!r}"
        raise _Bad(mapping.value.column, quoted(text) if text else NOTHING, expected)
    return Decimal(plain)


def quoted(text: str) -> str:
    """Text from a file, shortened and with every unprintable sign spelt out."""
    shortened = text if len(text) <= 60 else f"{text[:57]}..."
    return ascii(shortened) if not shortened.isprintable() else repr(shortened)
