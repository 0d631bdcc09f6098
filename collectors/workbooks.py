"""One sheet of an XLSX workbook as rows of cells, read as a stream by the standard library alone [1].

What opens the file may be anybody's: sizes are looked at before a byte is unpacked, no entity is resolved, no
formula is computed (the result stored beside it counts), and only the parts that hold values are read. A number is
taken as its 15 significant digits, which is all that a spreadsheet keeps and shows; a number whose cell has the
format of a date is a date of the workbook's own calendar, which counts from 1900 or from 1904.

Source: [1] ECMA-376-1:2016 - Office Open XML, part 1 - 18.2 workbook, 18.3 worksheets, 18.4 shared strings,
18.8.30 number formats
"""

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import IO, NamedTuple

from collectors.workbook_xml import Collector, Element, NotXml, elements

Cell = str | Decimal | datetime
LARGEST_SHEET = 256 * 1024 * 1024  # [bytes] unpacked
LARGEST_TEXTS = 64 * 1024 * 1024  # [bytes] unpacked: texts that cells share
LARGEST_PART = 8 * 1024 * 1024  # [bytes] unpacked: any other part
MOST_PARTS = 4096
MOST_TEXTS = 1_000_000
WIDEST = 16_384  # columns that a sheet can have
_SIGNIFICANT = Context(prec=15)
_SPREADSHEET_DAYS = 2_958_466  # the first day behind 9999-12-31
# Formats that are dates without saying so: 27 to 36 and 50 to 58 are those of Chinese, Japanese and Korean versions.
_DATE_FORMATS = {*range(14, 23), *range(27, 37), 45, 46, 47, *range(50, 59)}
_NOT_A_PATTERN = re.compile(r'"[^"]*"|\[(?!h+\]|m+\]|s+\])[^\]]*\]|\\.|_.|\*.', re.IGNORECASE)
_REFERENCE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")


class BadWorkbook(ValueError):
    """Why a file gives no rows; its text says what was found and what was expected."""


class SheetRow(NamedTuple):
    """A row that has cells. `cells` reaches to its last filled one; "" where there is nothing."""

    number: int  # 1-based, as the spreadsheet shows it
    cells: list[Cell]


def sheet_rows(file: IO[bytes], name: str) -> Iterator[SheetRow]:
    """The rows of the sheet called `name`, in their order. Raises BadWorkbook, before or between rows."""
    with _opened(file) as archive:
        book = _Workbook(archive)
        path = book.sheet(name)
        shared, dates = book.shared_texts(), book.date_styles()
        with _part(archive, path, LARGEST_SHEET) as part:
            yield from _rows(part, _CellReader(shared, dates, 1904 if book.from_1904 else 1900))


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            if len(archive.infolist()) > MOST_PARTS:
                raise BadWorkbook(f"{len(archive.infolist())} parts in the workbook; expected at most {MOST_PARTS}")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise BadWorkbook(f"a workbook that cannot be unpacked ({error}); save it anew as .xlsx") from error
    except NotXml as error:
        raise BadWorkbook(f"a workbook whose parts cannot be read ({error}); save it anew as .xlsx") from error


@contextmanager
def _part(archive: zipfile.ZipFile, path: str, largest: int) -> Iterator[IO[bytes]]:
    """A part of the workbook. Never more than its stated size is unpacked, and never more than `largest` bytes."""
    try:
        info = archive.getinfo(path)
    except KeyError:
        raise BadWorkbook(f"no part {path!r:.80}; expected an XLSX workbook") from None
    if info.file_size > largest:
        raise BadWorkbook(
            f"the part {path!r:.80} unpacks to {info.file_size} bytes; expected at most {largest}: save the rows that "
            "are wanted as a workbook of their own, or as several"
        )
    with archive.open(info) as part:
        yield part


class _Workbook:
    """The parts around the sheets: their names, shared texts, styles and calendar."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._path = self._target("_rels/.rels", "officeDocument", "") or "xl/workbook.xml"
        folder, name = posixpath.split(self._path)
        self._folder, self._links = folder, f"{folder}/_rels/{name}.rels"
        self._sheets: dict[str, str] = {}  # name -> id of the relation
        self.from_1904 = False
        for element in self._elements(self._path):
            if element.name == "workbookPr":
                self.from_1904 = element.attributes.get("date1904", "0") in {"1", "true"}
            elif element.name == "sheet":
                self._sheets[element.attributes.get("name", "")] = element.attributes.get("id", "")

    def sheet(self, name: str) -> str:
        """The part that holds the sheet of this name."""
        if name not in self._sheets:
            known = ", ".join(repr(one[:60]) for one in list(self._sheets)[:12]) or "none"
            raise BadWorkbook(f"no sheet {name!r} in the workbook; it has {known}. Mend format.sheet in the mapping")
        return self._target(self._links, "worksheet", self._folder, self._sheets[name]) or ""

    def shared_texts(self) -> list[str]:
        """The texts that cells name by number."""
        path = self._target(self._links, "sharedStrings", self._folder)
        if path is None:
            return []
        texts: list[str] = []
        with _part(self._archive, path, LARGEST_TEXTS) as part:
            for element in elements(part, {"si"}):
                texts.append(element.text)
                if len(texts) > MOST_TEXTS:
                    raise BadWorkbook(f"more than {MOST_TEXTS} texts in the workbook; save it as several")
        return texts

    def date_styles(self) -> set[int]:
        """The styles (by number) whose cells are dates."""
        path = self._target(self._links, "styles", self._folder)
        if path is None:
            return set()
        own: dict[int, str] = {}
        dates: set[int] = set()
        count, within = 0, False
        for element in self._elements(path):
            if element.name == "numFmt":
                own[_number(element.attributes.get("numFmtId"))] = element.attributes.get("formatCode", "")
            elif element.name in {"cellXfs", "cellStyleXfs"}:
                within, count = element.name == "cellXfs" and element.begins, 0
            elif element.name == "xf" and within:
                code = _number(element.attributes.get("numFmtId"))
                if _is_date(own[code]) if code in own else code in _DATE_FORMATS:
                    dates.add(count)
                count += 1
        return dates

    def _target(self, links: str, kind: str, folder: str, relation: str = "") -> str | None:
        """The part that a relation leads to, by its kind and, where given, its id."""
        for element in self._elements(links):
            said = element.attributes
            fits = said.get("Type", "").endswith(f"/{kind}") and relation in {"", said.get("Id")}
            if element.name == "Relationship" and fits and said.get("TargetMode") != "External":
                return posixpath.normpath(posixpath.join("/", folder, said.get("Target", ""))).lstrip("/")
        return None

    def _elements(self, path: str) -> Iterator[Element]:
        with _part(self._archive, path, LARGEST_PART) as part:
            yield from elements(part, {"cellXfs", "cellStyleXfs"}, begins=True)


class _CellReader:
    """From what stands in a cell's element to a text, an exact number or a date."""

    def __init__(self, shared: list[str], dates: set[int], calendar: int) -> None:
        self._shared, self._dates, self._calendar = shared, dates, calendar

    def value(self, kind: str, style: int, text: str) -> Cell:
        """The value of a cell; text as it stands for what is neither number nor date."""
        if kind == "s" and text:
            return self._shared_text(text)
        if kind == "n" and text:
            return self._number_or_date(style, text)
        if kind == "b":
            return {"1": "TRUE", "0": "FALSE"}.get(text, text)
        if kind == "d":
            with suppress(ValueError):
                return datetime.fromisoformat(text).replace(tzinfo=None)
        return text

    def _shared_text(self, text: str) -> str:
        number = _number(text)
        if not 0 <= number < len(self._shared):
            raise BadWorkbook(f"a cell with the shared text {text!r:.20}, of which there are {len(self._shared)}")
        return self._shared[number]

    def _number_or_date(self, style: int, text: str) -> Cell:
        try:
            number = _SIGNIFICANT.create_decimal(text)
        except InvalidOperation:
            return text
        if not number.is_finite():
            return text
        return self._date(number) if style in self._dates and 1 <= number < _SPREADSHEET_DAYS else number

    def _date(self, serial: Decimal) -> datetime:
        """Days since the calendar's beginning, to the millisecond: 15 digits say no more [1, 18.17.4.1]."""
        milliseconds = int((serial * 86_400_000).to_integral_value())
        if self._calendar == 1904:
            return datetime(1904, 1, 1) + timedelta(milliseconds=milliseconds)  # noqa: DTZ001 - wall time
        # The calendar of 1900 has a 29 February 1900 that never was: what lies before it counts from a day later.
        first = datetime(1899, 12, 31) if serial < 60 else datetime(1899, 12, 30)  # noqa: DTZ001 - wall time
        return first + timedelta(milliseconds=milliseconds)


def _rows(part: IO[bytes], reader: _CellReader) -> Iterator[SheetRow]:
    for number, cells in Collector(part).rows():
        row: list[Cell] = []
        for reference, kind, style, text in cells:
            place = len(row) if not reference else _column(reference)
            if place >= WIDEST:
                raise BadWorkbook(f"row {number}: a cell in column {place + 1}; a sheet has at most {WIDEST}")
            if place < len(row):
                raise BadWorkbook(f"row {number}: cells out of their order; save the workbook anew")
            row += [""] * (place - len(row))
            row.append(reader.value(kind, style, text))
        yield SheetRow(number, row)


def _column(reference: str) -> int:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise BadWorkbook(f"a cell called {reference!r:.20}; expected a name such as B12")
    place = 0
    for letter in match[1]:
        place = place * 26 + ord(letter) - 64
    return place - 1


def _number(text: str | None) -> int:
    return int(text) if text is not None and re.fullmatch("[0-9]{1,9}", text) else -1


def _is_date(code: str) -> bool:
    """True if a number format shows a date or a time: it has one of their letters outside quotes and brackets."""
    return re.search("[ymdhs]", _NOT_A_PATTERN.sub("", code.split(";", 1)[0]), re.IGNORECASE) is not None
