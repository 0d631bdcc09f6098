"""A file as numbered rows of cells, whichever way it was written: CSV or one sheet of a workbook.

Rows are read one at a time; none is longer than a bound, so that a file of anything at all costs no more memory
than a row of it.
"""

import codecs
import csv
import io
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path
from typing import IO, NamedTuple

from collectors.mapping import Mapping
from collectors.workbooks import BadWorkbook, Cell, sheet_rows
from gateway.errors import ImportRefused

LONGEST_LINE = 65_536  # characters
_WORKBOOK = b"PK\x03\x04"
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .xls, and .xlsx under a password
# What stands at the beginning of a text and says how it is encoded.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\x84\x31\x95\x33", "gb18030"),
)


class BadRow(NamedTuple):
    """One row, or one cell of it, that was not taken, why, and how to mend it."""

    line: int  # 1-based
    column: str
    found: str
    expected: str
    mend: str = ""

    def sentence(self, file: str) -> str:
        """The row as one sentence."""
        text = f"{file}:{self.line}: column {self.column}: found {self.found}; expected {self.expected}."
        return f"{text} {self.mend}".rstrip()


class TableRow(NamedTuple):
    """One row of a table, blank ones left out."""

    line: int  # 1-based
    cells: list[Cell]
    ragged: bool  # of a sheet, which stores no empty cells behind the last filled one


def read_table(path: Path, file: IO[bytes], mapping: Mapping) -> Generator[TableRow | BadRow, None, None]:
    """The rows of an open file, header and all. Raises ImportRefused when it is not what the mapping says."""
    begin = file.read(len(_OLD_WORKBOOK))
    file.seek(0)
    said = mapping.format
    if begin.startswith(_OLD_WORKBOOK):
        raise ImportRefused(
            f"{path}: found a workbook of the old form .xls, or one under a password; expected CSV or .xlsx. "
            "Save it anew as .xlsx without a password."
        )
    if begin.startswith(_WORKBOOK):
        if said.sheet is None:
            raise ImportRefused(
                f"{path}: found a workbook; the mapping {mapping.file} reads CSV. Declare format.sheet, or save the "
                "sheet as CSV."
            )
        yield from _sheet(path, file, said.sheet)
    elif said.encoding is None or said.delimiter is None:
        raise ImportRefused(
            f"{path}: found no workbook; the mapping {mapping.file} names sheet {said.sheet!r}. Save the file as "
            ".xlsx, or declare format.delimiter and format.encoding for a CSV."
        )
    else:
        yield from _csv(path, file, said.encoding, said.delimiter)


def _sheet(path: Path, file: IO[bytes], name: str) -> Iterator[TableRow]:
    try:
        for number, cells in sheet_rows(file, name):
            if any(cells):
                yield TableRow(number, cells, ragged=True)
    except BadWorkbook as error:
        raise ImportRefused(f"{path}: found {error}.") from error


def _csv(path: Path, file: IO[bytes], encoding: str, delimiter: str) -> Iterator[TableRow | BadRow]:
    """A record is one line: one quote too many costs its own line and no other."""
    begin = file.read(4)
    file.seek(0)
    encoding = next((known for mark, known in _MARKS if begin.startswith(mark)), encoding)
    # Bytes that the encoding does not know stay recognisable, so that they cost their own row only.
    text = io.TextIOWrapper(file, encoding, errors="surrogateescape", newline="\n")
    try:
        for number in count(1):
            line = text.readline(LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > LONGEST_LINE and not line.endswith("\n"):
                while line and not line.endswith("\n"):
                    line = text.readline(LONGEST_LINE)
                expected = f"a line of at most {LONGEST_LINE} characters"
                yield BadRow(number, "(row)", "a longer line", expected, "Is this a CSV?")
                continue
            if number == 1:
                line = line.removeprefix("\ufeff")
            if line.strip():
                yield _record(number, line.removesuffix("\n").removesuffix("\r"), delimiter)
    except UnicodeError as error:
        raise ImportRefused(f"{path}: cannot be read as {encoding}: {error}. Mend format.encoding.") from error
    finally:
        text.detach()


def _record(number: int, line: str, delimiter: str) -> TableRow | BadRow:
    try:
        return TableRow(number, [*next(csv.reader([line], delimiter=delimiter, strict=True))], ragged=False)
    except csv.Error as error:
        return BadRow(number, "(row)", quoted(line), f"well-formed CSV ({error})", "Mend the quotes of this line.")


def quoted(text: str) -> str:
    """Text from a file, shortened and with every unprintable sign spelt out."""
    shortened = text if len(text) <= 60 else f"{text[:57]}..."
    return ascii(shortened) if not shortened.isprintable() else repr(shortened)
