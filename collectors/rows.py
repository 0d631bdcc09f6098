"""The rows of a table as its mapping describes it: each cell stands or falls alone, and is told by line and column."""

import re
from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, NamedTuple

from collectors.mapping import Mapping
from collectors.mapping_form import SeriesForm
from collectors.tables import BadRow, TableRow, quoted, read_table
from collectors.workbooks import Cell
from gateway.errors import ImportRefused
from gateway.journal.people import check_name

LONGEST_NUMBER = 64  # characters; no instrument shows more
LARGEST_EXPONENT = 999
LONGEST_TICKET = 64  # characters
NOTHING = "nothing"  # found in an empty field
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?")


class Row(NamedTuple):
    """One row. `label` is what the time column says; `values` one for each series of the mapping, in its order.

    A value is a number in the series' unit, why it was not taken, or None where the row is of other series.
    """

    line: int  # 1-based
    label: str | datetime
    values: tuple[Decimal | BadRow | None, ...]
    ticket: str
    person: str


class _Bad(ValueError):
    def __init__(self, column: str | int, found: str, expected: str, mend: str = "") -> None:
        self.column, self.found, self.expected, self.mend = str(column), found, expected, mend
        super().__init__(expected)


class _Places(NamedTuple):
    """Where the columns stand (0-based); `width` is how many a row may have, `needed` how many it must have."""

    time: int
    clock: int | None
    values: tuple[int, ...]
    wheres: tuple[int | None, ...]
    ticket: int | None
    person: int | None
    needed: int
    width: int | None


def read_rows(path: Path, file: IO[bytes], mapping: Mapping) -> Generator[Row | BadRow, None, None]:
    """The rows of an open file in its order; blank ones are passed over.

    Raises ImportRefused when it is not what the mapping says, or its header lacks a column.
    """
    places = None if mapping.format.header else _places(mapping, None)
    for found in read_table(path, file, mapping):
        if places is None:
            if found.line < mapping.format.header_row:
                continue
            if isinstance(found, BadRow) or found.line > mapping.format.header_row:
                said = f"found {found.found}; expected {found.expected}" if isinstance(found, BadRow) else "it is blank"
                raise ImportRefused(f"{path}:{mapping.format.header_row}: the header: {said}.")
            places = _places(mapping, _header(path, mapping, found))
        elif isinstance(found, BadRow):
            yield found
        else:
            try:
                yield _row(found, places, mapping)
            except _Bad as bad:
                yield BadRow(found.line, bad.column, bad.found, bad.expected, bad.mend)


def _header(path: Path, mapping: Mapping, row: TableRow) -> list[str]:
    names = [str(cell).strip() for cell in row.cells]
    for column in _columns(mapping):
        if names.count(str(column)) != 1:
            times = names.count(str(column))
            found = ", ".join(quoted(name) for name in names[:12])
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            raise ImportRefused(
                f"{path}:{row.line}: the header names the column {quoted(str(column))} {times} times; expected once. "
                f"It names {found}{more}. Mend that column, the delimiter or format.header_row in {mapping.file}."
            )
    return names


def _columns(mapping: Mapping) -> Iterator[str | int]:
    yield mapping.time.column
    yield from [] if mapping.time.clock is None else [mapping.time.clock]
    for one in mapping.columns:
        yield one.column
        if one.where is not None:
            yield one.where.column
    yield from (note.column for note in (mapping.ticket, mapping.person) if note is not None)


def _places(mapping: Mapping, names: list[str] | None) -> _Places:
    def place(column: str | int) -> int:
        return column - 1 if isinstance(column, int) else (names or []).index(column)

    needed = 1 + max(place(column) for column in _columns(mapping))
    return _Places(
        time=place(mapping.time.column),
        clock=None if mapping.time.clock is None else place(mapping.time.clock),
        values=tuple(place(one.column) for one in mapping.columns),
        wheres=tuple(None if one.where is None else place(one.where.column) for one in mapping.columns),
        ticket=None if mapping.ticket is None else place(mapping.ticket.column),
        person=None if mapping.person is None else place(mapping.person.column),
        needed=needed,
        width=None if names is None else len(names),
    )


def _row(row: TableRow, places: _Places, mapping: Mapping) -> Row:
    number, cells, ragged = row
    if ragged:
        cells = [*cells, *[""] * (places.needed - len(cells))]
    elif len(cells) != (places.width or len(cells)) or len(cells) < places.needed:
        raise _Bad("(row)", f"{len(cells)} columns", f"{places.width or f'at least {places.needed}'}", _WIDTH)
    values: list[Decimal | BadRow | None] = []
    for form, place, where in zip(mapping.columns, places.values, places.wheres, strict=True):
        if where is not None and form.where is not None and _text(cells[where]) != form.where.equals:
            values.append(None)
            continue
        try:
            values.append(_number(cells[place], form))
        except _Bad as bad:
            values.append(BadRow(number, bad.column, bad.found, bad.expected, bad.mend))
    label = _label(cells[places.time], None if places.clock is None else cells[places.clock], mapping)
    ticket = (
        "" if places.ticket is None or mapping.ticket is None else _ticket(cells[places.ticket], mapping.ticket.column)
    )
    person = (
        "" if places.person is None or mapping.person is None else _person(cells[places.person], mapping.person.column)
    )
    return Row(number, label, tuple(values), ticket, person)


_WIDTH = "Is the delimiter right, and does a text with that sign in it stand in quotes?"
_PERSON = "Write who read it: a reading by hand without a name is no evidence."


def _label(day: Cell, clock: Cell | None, mapping: Mapping) -> str | datetime:
    """What says when: one cell, or the date of one and the time of day of another."""
    if clock is None:
        return day if isinstance(day, datetime) else _text(day)
    if not isinstance(day, datetime):
        return f"{_text(day)} {_text(clock)}"
    if isinstance(clock, Decimal) and 0 <= clock < 1:  # as a sheet stores it
        return day + timedelta(milliseconds=min(round(clock * 86_400_000), 86_399_999))
    for form in ("%H:%M:%S", "%H:%M"):
        with suppress(ValueError):
            moment = datetime.strptime(_text(clock), form).replace(tzinfo=None)  # noqa: DTZ007 - the zone is the mapping's
            return day + timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
    column = mapping.time.clock or ""
    raise _Bad(column, quoted(_text(clock)), "a time of day such as 08:15", "Mend the time of day.")


def _text(cell: Cell) -> str:
    """A cell as a person reads it; a whole number without a point."""
    if isinstance(cell, Decimal):
        return f"{cell:f}" if abs(cell.adjusted()) < LONGEST_NUMBER else str(cell)
    return str(cell).strip()


def _ticket(cell: Cell, column: str | int) -> str:
    text = _text(cell)
    if not text:
        raise _Bad(column, NOTHING, "the number of the ticket or batch", "Write the number that is on the paper.")
    if not text.isprintable() or len(text) > LONGEST_TICKET:
        raise _Bad(column, quoted(text), f"a number of at most {LONGEST_TICKET} printable characters")
    return text


def _person(cell: Cell, column: str | int) -> str:
    text = _text(cell)
    if not text:
        raise _Bad(column, NOTHING, "the name of who read it", _PERSON)
    try:
        check_name(text, "person")
    except ValueError as error:
        raise _Bad(column, quoted(text), f"a name ({error})", _PERSON) from error
    return text


def _number(cell: Cell, form: SeriesForm) -> Decimal:
    if isinstance(cell, Decimal):
        if abs(cell.adjusted()) > LARGEST_EXPONENT:
            raise _Bad(form.column, str(cell), f"a number in {form.unit}")
        return cell
    text = _text(cell)
    if text and text in form.missing:
        raise _Bad(
            form.column, f"{NOTHING} ({quoted(text)})", f"a number in {form.unit}", "The mapping knows this text."
        )
    mark = form.decimal_mark
    plain = text if mark == "." else "".join({",": ".", ".": ","}.get(sign, sign) for sign in text)
    if len(text) > LONGEST_NUMBER or _NUMBER.fullmatch(plain) is None or not plain.isascii():
        expected = f"a number in {form.unit} with the decimal mark {mark!r}"
        if not text:
            raise _Bad(form.column, NOTHING, expected, "Nothing is booked for it; a gap is never a zero.")
        mend = "Write the number alone; a text that says that nothing was read belongs into the mapping's key missing."
        raise _Bad(form.column, quoted(text), expected, mend)
    return Decimal(plain)
