"""A table that somebody offers for import, and the verdict on each of its rows: accepted, unchanged or refused."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Unpack

from gateway.domain.scopes import Scope
from gateway.domain.sites import Site
from gateway.errors import ImportRefused, Problem
from gateway.ledger.booking import Booking, Entry
from gateway.ledger.cells import Cells
from gateway.ledger.headings import REQUIRED, headings_of, recognise
from gateway.ledger.kinds import kind_of
from gateway.ledger.ledger import Ledger
from gateway.ledger.refusals import EntryRefused
from gateway.ledger.rows import READERS, Stated

_COLUMN_OF = {"amount": "amount_10k_cny"}  # where a fact's field has another name than its column


class Outcome(StrEnum):
    """What became of a row."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"  # the ledger knew it so already
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on one row. `line` is where it begins in the file, 1 = the header row."""

    line: int
    outcome: Outcome
    subject: str = ""  # e.g. "certificate A-01 DN-2026-0117 of works"
    problems: tuple[Problem, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """The verdicts on a file, and the headings whose cells were not read."""

    rows: tuple[Verdict, ...]
    not_read: tuple[str, ...]

    def count(self, outcome: Outcome) -> int:
        """How many rows had this outcome."""
        return sum(row.outcome is outcome for row in self.rows)


class _Row(NamedTuple):
    line: int
    cells: Mapping[str, str]
    problem: Problem | None


def import_table(ledger: Ledger, scope: Scope, site: Site, kind: str, file: Path, **entry: Unpack[Entry]) -> Verdicts:
    """Book the good rows of a CSV file in one transaction; the bad ones are told and leave no trace.

    `kind` is "certificates", "instruments", "production" or "output-value". Lines that say different things
    of one subject are all refused. Raises ImportRefused when the file cannot be read as such a table, LedgerError.
    """
    rows, not_read = _read(kind, file)
    with ledger.booking(scope, **entry) as booking:
        lines = _lines_by_subject(kind, file, rows, site, booking)
        verdicts = [_verdict(row, kind, file, site, booking, lines) for row in rows]
    return Verdicts(rows=tuple(verdicts), not_read=not_read)


def _verdict(
    row: _Row, kind: str, file: Path, site: Site, booking: Booking, lines: dict[tuple[object, ...], dict[int, Stated]]
) -> Verdict:
    if row.problem is not None:
        return Verdict(line=row.line, outcome=Outcome.REFUSED, problems=(row.problem,))
    cells = Cells(file, row.line, row.cells, REQUIRED[kind])
    # Read again, as the lines before may have changed what a blank cell means.
    stated = READERS[kind](cells, site, booking)
    if cells.problems:
        return Verdict(line=row.line, outcome=Outcome.REFUSED, problems=tuple(cells.problems))
    subject = kind_of(stated.fact).subject(stated.fact)
    same = lines.get(_subject(stated), {row.line: stated})
    others = ", ".join(str(line) for line in same if line != row.line)
    if len({one.fact for one in same.values()}) > 1:
        cells.refuse("(row)", f"{subject}, otherwise on line {others}", "one line for it", "Keep the right one.")
    else:
        try:
            booked = booking.record(stated.fact, valid_from=stated.valid_from)
        except EntryRefused as refusal:
            column = _COLUMN_OF.get(refusal.column, refusal.column)
            cells.refuse(column, refusal.found, refusal.expected, refusal.mend)
        else:
            outcome = Outcome.ACCEPTED if booked else Outcome.UNCHANGED
            note = f"the same as line {others}" if others else ""
            return Verdict(line=row.line, outcome=outcome, subject=subject, note=note)
    return Verdict(line=row.line, outcome=Outcome.REFUSED, subject=subject, problems=tuple(cells.problems))


def _lines_by_subject(
    kind: str, file: Path, rows: list[_Row], site: Site, booking: Booking
) -> dict[tuple[object, ...], dict[int, Stated]]:
    """What the good rows say, by what they are about and by line: where one subject has two, they may differ."""
    found: dict[tuple[object, ...], dict[int, Stated]] = {}
    for row in rows:
        cells = Cells(file, row.line, row.cells, REQUIRED[kind])
        stated = READERS[kind](cells, site, booking)
        if row.problem is None and not cells.problems:
            found.setdefault(_subject(stated), {})[row.line] = stated
    return found


def _subject(stated: Stated) -> tuple[object, ...]:
    return (*kind_of(stated.fact).key_of(stated.fact).values(), stated.valid_from)


def _read(kind: str, file: Path) -> tuple[list[_Row], tuple[str, ...]]:
    lines = _lines(file)
    if not lines:
        raise ImportRefused(f"{file}: found an empty file; expected a header row and rows under it.")
    at, header = lines[0]
    columns = recognise(kind, header)
    problems = [
        Problem(file=str(file), line=at, key=column, found="no such column", expected=headings_of(kind, column))
        for column in columns.missing
    ] + [
        Problem(file=str(file), line=at, key=heading, found="a second heading of the same column", expected="one")
        for heading in columns.repeated
    ]
    if problems:
        raise ImportRefused("\n".join(problem.sentence() for problem in problems))
    rows = [
        _row(file, line, cells, columns.places, len(header)) for line, cells in lines[1:] if any(map(str.strip, cells))
    ]
    return rows, columns.unknown


def _row(file: Path, line: int, cells: list[str], places: Mapping[str, int], width: int) -> _Row:
    if len(cells) < width or any(map(str.strip, cells[width:])):
        mend = "Put text that contains a comma into double quotes, and a comma for every empty cell."
        found, expected = f"{len(cells)} cells", f"{width}, as in the header row"
        problem = Problem(file=str(file), line=line, key="(row)", found=found, expected=expected, mend=mend)
        return _Row(line, {}, problem)
    return _Row(line, {column: cells[place] for column, place in places.items()}, None)


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """(line where it begins, cells) of every row. Raises ImportRefused when it is no CSV file in UTF-8."""
    try:
        content = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ImportRefused(f"{file}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        mend = "In a spreadsheet, save it as “CSV UTF-8”."
        raise ImportRefused(f"{file}:{line}: found bytes that are not UTF-8; expected UTF-8. {mend}") from error
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for cells in reader:
            rows.append((begins, cells))
            begins = reader.line_num + 1
    except csv.Error as error:
        mend = "Close every double quote; write one inside a text twice."
        raise ImportRefused(f"{file}:{begins}: found {error}; expected a row of a CSV file. {mend}") from error
    return rows
