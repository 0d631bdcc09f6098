"""The tables of the standards: loaded once, checked cell by cell, and cited row by row.

A coefficient, limit or period is data with its edition, source and confidence; none is a constant in code.
A blank cell is "not given", never zero.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

from analytics.standards.layouts import CONFIDENCES, LAYOUTS, Layout, Range
from gateway.domain.figures import TableRow
from gateway.domain.periods import Period
from gateway.errors import Problem, StandardTableError

TO_BE_CONFIRMED = "to be confirmed against the official text"
FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table as printed there, with the line [1-based] it stands on."""

    file: str
    line: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """The cell as text; "" where nothing is given or the table has no such column."""
        return self.cells.get(column, "")

    def number(self, column: str) -> Decimal | None:
        """The cell as an exact decimal; None where nothing is given."""
        return Decimal(self.cells[column]) if self.cells[column] else None

    @property
    def confirmed(self) -> bool:
        """False while the row has not been compared with the official text (待确认)."""
        return not self.text("source").endswith(TO_BE_CONFIRMED)

    @property
    def doubtful(self) -> bool:
        """True if every figure that rests on this row must say so: confidence medium or low."""
        return self.text("confidence") != "high"


class Tables:
    """All tables of one data version; `version` is the SHA-256 over all files."""

    def __init__(self, rows: Mapping[str, tuple[Row, ...]], version: str) -> None:
        self._rows = rows
        self.version = version

    def rows(self, file: str) -> tuple[Row, ...]:
        """All rows of one table, in its order. Raises StandardTableError when there is no such table."""
        if file not in self._rows:
            raise StandardTableError(f"{file}: there is no such table; known: {', '.join(sorted(self._rows))}")
        return self._rows[file]

    def find(self, file: str, **cells: str) -> Row | None:
        """The first row whose cells are these, or None."""
        for row in self.rows(file):
            if all(row.text(column) == value for column, value in cells.items()):
                return row
        return None

    def edition_for(self, standard: str, whole: Period) -> str:
        """The edition in force over all of a period.

        Raises StandardTableError when none is known, or when the period crosses a change of edition.
        """
        last_day = date.fromordinal(whole.day_after.toordinal() - 1)
        at_start, at_end = self._edition_on(standard, whole.first_day), self._edition_on(standard, last_day)
        if at_end is None:
            raise StandardTableError(f"editions.csv: no edition of {standard} is known to hold on {last_day}")
        if at_start != at_end:
            raise StandardTableError(
                f"{standard}: {whole.name} crosses the change from edition {at_start or 'unknown'} to {at_end}; "
                "ask for periods on either side of the change"
            )
        return at_end

    def _edition_on(self, standard: str, day: date) -> str | None:
        # A blank valid_from is an edition whose first day was not collected; its successor ends it.
        for row in self.rows("editions.csv"):
            valid_from, valid_to = row.text("valid_from"), row.text("valid_to")
            if row.text("standard") == standard and (valid_from or valid_to):
                text = day.isoformat()
                if (not valid_from or valid_from <= text) and (not valid_to or text <= valid_to):
                    return row.text("edition")
        return None


def cite(row: Row, *, key: str, value: str, unit: str) -> TableRow:
    """A row as a figure's pedigree names it; `value` [unit] is what the calculation used of it."""
    return TableRow(
        file=row.file,
        key=key,
        edition=row.text("edition"),
        value=value,
        unit=unit,
        source=row.text("source"),
        confidence=row.text("confidence"),
        confirmed=row.confirmed,
    )


def load_tables(folder: Path = FOLDER) -> Tables:
    """Every table in `folder`. Raises StandardTableError with one sentence per damaged cell."""
    rows: dict[str, tuple[Row, ...]] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    for name, layout in sorted(LAYOUTS.items()):
        path = folder / name
        try:
            content = path.read_bytes()
            rows[name] = tuple(_rows(name, content.decode()))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            problems.append(_problem(path, None, "the table", str(error), "a readable UTF-8 CSV file"))
            continue
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        problems.extend(_problems(path, layout, rows[name]))
    if problems:
        raise StandardTableError("\n".join(problem.sentence() for problem in problems))
    return Tables(rows, digest.hexdigest())


def _rows(name: str, content: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(content), strict=True)
    for cells in reader:
        yield Row(name, reader.line_num, {key: (value or "").strip() for key, value in cells.items() if key})


def _problems(path: Path, layout: Layout, rows: tuple[Row, ...]) -> Iterator[Problem]:
    if not rows:
        yield _problem(path, None, "the table", "no row", "at least one row")
        return
    asked = {*layout.key, *layout.filled, *layout.numbers, *layout.dates, "source", "confidence"}
    absent = sorted(asked - set(rows[0].cells))
    if absent:
        yield _problem(path, 1, "columns", f"none named {', '.join(absent)}", f"{', '.join(sorted(asked))}")
        return
    seen: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = tuple(row.text(column) for column in layout.key)
        if key in seen:
            yield _problem(path, row.line, ", ".join(layout.key), repr(key), f"a key not on line {seen[key]} already")
        seen.setdefault(key, row.line)
        yield from _cell_problems(path, layout, row)


def _cell_problems(path: Path, layout: Layout, row: Row) -> Iterator[Problem]:
    for column in (*layout.filled, "source"):
        if not row.text(column):
            yield _problem(path, row.line, column, "nothing", "a value")
    if row.text("confidence") not in CONFIDENCES:
        yield _problem(path, row.line, "confidence", repr(row.text("confidence")), " | ".join(CONFIDENCES))
    for column, limits in layout.numbers.items():
        text = row.text(column)
        if text and not _within(text, limits):
            yield _problem(path, row.line, column, repr(text), f"a number from {limits[0]} to {limits[1]}")
    for column in layout.dates:
        text = row.text(column)
        if text and not _is_date(text):
            yield _problem(path, row.line, column, repr(text), "a date YYYY-MM-DD")


def _within(text: str, limits: Range) -> bool:
    try:
        return limits[0] <= Decimal(text) <= limits[1]
    except InvalidOperation:
        return False


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _problem(path: Path, line: int | None, key: str, found: str, expected: str) -> Problem:
    return Problem(file=str(path), line=line, key=key, found=found, expected=expected)
