"""Workbooks of foreign writers, read cell by cell, and workbooks that want to hurt."""

# ruff: noqa: DTZ001 - a cell holds wall time; the zone is the mapping's
import io
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
import xlsxwriter
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from collectors.workbooks import BadWorkbook, Cell, sheet_rows


def rows(data: bytes, sheet: str = "Sheet1") -> list[tuple[int, list[Cell]]]:
    return [(number, cells) for number, cells in sheet_rows(io.BytesIO(data), sheet)]


def written(fill: Callable[[Any, Any], object], *, sheet: str = "Sheet1", **options: object) -> bytes:
    """A workbook by XlsxWriter."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, options) as book:
        fill(book, book.add_worksheet(sheet))
    return file.getvalue()


def saved(cells: list[list[object]], *, calendar_1904: bool = False, sheet: str = "Sheet1") -> bytes:
    """A workbook by openpyxl."""
    book = openpyxl.Workbook()
    if calendar_1904:
        book.epoch = CALENDAR_MAC_1904
    page = book.active
    assert page is not None
    page.title = sheet
    for row in cells:
        page.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def exchanged(data: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """The workbook with one part of it changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == part else old.read(name))
    return file.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
PLAIN = saved([["time", "kWh"], ["2026-03-02 08:15", 38.46]])


@pytest.mark.parametrize("calendar_1904", [False, True])
def test_dates_are_those_of_the_workbooks_calendar_to_the_millisecond(calendar_1904: bool) -> None:
    dice = random.Random(4)
    first = datetime(1904, 1, 2) if calendar_1904 else datetime(1900, 3, 1)
    moments = [first + timedelta(milliseconds=dice.randrange(10**13 // 3)) for _ in range(300)]
    data = saved([[moment] for moment in moments], calendar_1904=calendar_1904)
    assert [cells for _, cells in rows(data)] == [[moment] for moment in moments]
    formats = ["yyyy-mm-dd hh:mm", 'yyyy"年"m"月"d"日"', 14, 22, 31, 57, "[$-804]m月d日;@", "[h]:mm:ss"]

    def fill(book: Any, page: Any) -> None:
        for row, form in enumerate(formats):
            page.write_datetime(row, 0, datetime(2026, 3, 2, 8, 15), book.add_format({"num_format": form}))

    assert [cells for _, cells in rows(written(fill, date_1904=calendar_1904))] == [[datetime(2026, 3, 2, 8, 15)]] * 8
    not_dates = ["0.00", '0.0"days"', "[Red]0", "#,##0_);[Red]-0", r"0\m", "@"]

    def fill_numbers(book: Any, page: Any) -> None:
        for row, form in enumerate(not_dates):
            page.write_number(row, 0, 46083.25, book.add_format({"num_format": form}))

    assert [cells for _, cells in rows(written(fill_numbers))] == [[Decimal("46083.25")]] * 6


def test_the_calendar_of_1900_has_its_own_february() -> None:
    # ECMA-376-1, 18.17.4.1: serial 1 is 1 January 1900, 59 is 28 February, 61 is 1 March.
    def fill(book: Any, page: Any) -> None:
        form = book.add_format({"num_format": 14})
        page.write_column(0, 0, [1, 59, 61, 2_958_465], form)

    shown = [cells[0] for _, cells in rows(written(fill))]
    assert shown == [datetime(1900, 1, 1), datetime(1900, 2, 28), datetime(1900, 3, 1), datetime(9999, 12, 31)]


def test_numbers_are_the_15_digits_that_a_spreadsheet_shows() -> None:
    numbers = [38.46, 0.1 + 0.2, -5, 1e-7, 18840211.25, 12345678901234567, 0.0001]
    shown = ["38.46", "0.3", "-5", "1E-7", "18840211.25", "1.23456789012346E+16", "0.0001"]
    for data in (saved([numbers]), written(lambda _, page: page.write_row(0, 0, numbers))):
        assert rows(data)[0][1] == [Decimal(text) for text in shown]


def test_a_formula_counts_by_its_stored_result_and_text_is_never_computed() -> None:
    def fill(book: Any, page: Any) -> None:
        page.write_formula("A1", "=1+1", None, 2)
        page.write_formula("B1", '="a"', None, "a")
        page.write_string("C1", "=cmd|' /C calc'!A0")
        page.write_boolean("D1", True)
        page.write_formula("E1", "=1/0", None, "#DIV/0!")
        page.write_rich_string("A3", "净", book.add_format({"bold": True}), "重", "kg")

    expected = [Decimal(2), "a", "=cmd|' /C calc'!A0", "TRUE", "#DIV/0!"]
    assert rows(written(fill)) == [(1, expected), (3, ["净重kg"])]
    assert rows(saved([["=1+1", 7]])) == [(1, ["", Decimal(7)])]  # openpyxl stores no result


def test_sheets_are_found_by_name_and_inline_texts_read() -> None:
    assert rows(saved([["x"]], sheet="化验 1"), "化验 1") == [(1, ["x"])]
    with pytest.raises(BadWorkbook, match=r"no sheet 'Sheet2' in the workbook; it has 'Sheet1'\. Mend format\.sheet"):
        rows(PLAIN, "Sheet2")
    streamed = written(lambda _, page: page.write_row(0, 0, ["a", 1]), constant_memory=True)
    assert rows(streamed) == [(1, ["a", Decimal(1)])]


def bomb(part: str, size: int, head: bytes = b"") -> bytes:
    return exchanged(PLAIN, part, lambda _: head + b" " * size)


DOCTYPE = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
ROW = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
HOSTILE = {
    "a sheet of 257 MiB": (lambda: bomb(SHEET, 257 * 1024 * 1024), "unpacks to 269484032 bytes; expected at most"),
    "styles of 9 MiB": (lambda: bomb("xl/styles.xml", 9 * 1024 * 1024), "save the rows that are wanted"),
    "entities": (
        lambda: exchanged(PLAIN, SHEET, lambda old: DOCTYPE + old.removeprefix(b"<?xml version='1.0'?>")),
        "declares a document type",
    ),
    "entities in the workbook": (
        lambda: exchanged(PLAIN, "xl/workbook.xml", lambda old: DOCTYPE + old),
        "declares a document type",
    ),
    "a tag without an end": (
        lambda: exchanged(PLAIN, SHEET, lambda _: ROW + b'<row r="1" x="' + b"a" * 3_000_000),
        "bytes without an end of a tag",
    ),
    "a column beyond the last": (
        lambda: exchanged(PLAIN, SHEET, lambda _: ROW + b'<row r="1"><c r="ZZZ1"><v>1</v></c></row>'),
        "a sheet has at most 16384",
    ),
    "more cells than columns": (
        lambda: exchanged(PLAIN, SHEET, lambda _: ROW + b'<row r="1">' + b"<c><v>1</v></c>" * 20_000),
        "more than 16384 cells",
    ),
    "rows backwards": (
        lambda: exchanged(PLAIN, SHEET, lambda _: ROW + b'<row r="9"></row><row r="2"></row>'),
        "row 2 behind row 9",
    ),
    "a text that is not there": (
        lambda: exchanged(PLAIN, SHEET, lambda _: ROW + b'<row><c t="s"><v>99</v></c></row></sheetData></worksheet>'),
        "shared text '99', of which there are",
    ),
    "broken XML": (lambda: exchanged(PLAIN, SHEET, lambda old: old[:-30]), "cannot be read"),
    "half of the file": (lambda: PLAIN[: len(PLAIN) // 2], "cannot be unpacked"),
    "no workbook at all": (lambda: b"PK\x03\x04" + bytes(100), "cannot be unpacked"),
    "5000 parts": (lambda: many_parts(5000), "5000 parts in the workbook"),
}


def many_parts(count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            archive.writestr(f"p{number}", b"")
    return file.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_workbook_that_wants_to_hurt_is_refused_in_little_memory(name: str) -> None:
    make, sentence = HOSTILE[name]
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(BadWorkbook) as refused:
            rows(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sentence in str(refused.value)
    assert most < 16 * 1024 * 1024


def test_a_size_that_lies_unpacks_no_more_than_it_says() -> None:
    data = bytearray(bomb(SHEET, 4 * 1024 * 1024))
    # The size stands 22 bytes into the part's own header (30 bytes) and 24 into its entry of the directory (46).
    struct.pack_into("<I", data, data.index(SHEET.encode()) - 30 + 22, 100)
    struct.pack_into("<I", data, data.rindex(SHEET.encode()) - 46 + 24, 100)
    with pytest.raises(BadWorkbook):
        rows(bytes(data))


def test_whatever_byte_is_broken_nothing_but_a_refusal_comes_of_it() -> None:
    def fill(book: Any, page: Any) -> None:
        for n in range(20):
            page.write_row(n, 0, [f"text {n}", n])
            page.write_datetime(n, 2, datetime(2026, 3, 2), book.add_format({"num_format": "yyyy-mm-dd"}))

    data = written(fill)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    dice = random.Random(9)
    refused = 0
    for _ in range(600):
        name = dice.choice([SHEET, "xl/workbook.xml", "xl/sharedStrings.xml", "xl/styles.xml", "_rels/.rels"])
        old = bytearray(parts[name])
        for _ in range(dice.randrange(1, 4)):
            old[dice.randrange(len(old))] = dice.randrange(256)
        broken = bytes(old)
        try:
            rows(exchanged(data, name, lambda _, new=broken: new))  # type: ignore[misc]
        except BadWorkbook:
            refused += 1
    assert 0 < refused < 600
