"""A mapping says, in TOML, what a file that nobody here wrote means: which column, unit, zone, label and day end.

What can be declared must be declared; what is missing is a mistake told with its line, never a guess.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collectors.mapping_form import MIDNIGHT, AmountForm, FormatForm, MappingForm, NoteForm, SeriesForm, TimeForm
from gateway.domain.instruments import RegisterKind
from gateway.domain.quantities import QUANTITIES
from gateway.domain.units import UNITS
from gateway.errors import ConfigError, Problem
from gateway.toml_form import closest, fill, read_toml, shown
from gateway.toml_lines import Place, TomlLines

IN_TEXT = "in-text"  # zone: every label carries its own offset (%z)
ANYWHERE = "anywhere"
SAME_DAY, NEXT_DAY, TWENTY_FOUR = "00:00-of-same-day", "00:00-of-next-day", "24:00"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One series that a mapping books into: what its form says, and where the keys of that form stand."""

    point: str
    quantity: str
    says: AmountForm
    at: Place  # of the table that names point and quantity
    says_at: Place  # of the table that says unit and kind

    def key(self, name: str) -> Place:
        """The place of a key in the file."""
        return (*(self.at if name in {"point", "quantity"} else self.says_at), name)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping without mistakes. `sha256` names its text, so that a booking says by which mapping it was made."""

    file: str
    text: str
    sha256: str
    format: FormatForm
    time: TimeForm
    wanted: tuple[Wanted, ...]  # at least one
    columns: tuple[SeriesForm, ...]  # where each of `wanted` stands in the file
    ticket: NoteForm | None
    person: NoteForm | None
    lines: TomlLines

    @property
    def tiles(self) -> bool:
        """True if the rows are intervals that must follow one another without gap or overlap."""
        return self.time.interval_s is not None

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of the labels; None where each carries its own offset."""
        return None if self.time.zone == IN_TEXT else ZoneInfo(self.time.zone)


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file. Raises ConfigError with every mistake: file, line, key, found, expected."""
    document, lines = read_toml(path)
    form, problems = fill(MappingForm, document, at=(), lines=lines)
    if form is None:
        raise ConfigError(problems)
    wanted, columns, problems = _series(form, lines)
    if problems:
        raise ConfigError(problems)
    problems = [*_format(form, lines), *(problem for one in wanted for problem in words(one, lines))]
    problems += [*_time(form, columns, wanted, lines), *_columns(form, columns, wanted, lines)]
    if problems:
        raise ConfigError(problems)
    data = path.read_bytes()
    digest, text = hashlib.sha256(data).hexdigest(), data.decode("utf-8-sig")
    return Mapping(str(path), text, digest, form.format, form.time, wanted, columns, form.ticket, form.person, lines)


def _series(form: MappingForm, lines: TomlLines) -> tuple[tuple[Wanted, ...], tuple[SeriesForm, ...], list[Problem]]:
    """The series of a mapping, in whichever of the two ways it names them."""
    if form.series:
        found = [
            lines.problem((table,), "a table", "nothing beside [[series]], which says the same of each")
            for table, given in (("into", form.into), ("value", form.value))
            if given is not None
        ]
        wanted = [Wanted(s.point, s.quantity, s, ("series", n), ("series", n)) for n, s in enumerate(form.series)]
        return tuple(wanted), tuple(form.series), found
    if form.into is None or form.value is None:
        found = [
            lines.problem((table,), "nothing", f"table [{table}], or tables [[series]] for several series")
            for table, given in (("into", form.into), ("value", form.value))
            if given is None
        ]
        return (), (), found
    only = SeriesForm(**form.into.model_dump(), **form.value.model_dump())
    return (Wanted(only.point, only.quantity, only, ("into",), ("value",)),), (only,), []


def _format(form: MappingForm, lines: TomlLines) -> Iterator[Problem]:
    """A file is a CSV, a workbook, or may be either."""
    said = form.format
    if said.encoding is not None:
        try:
            "".encode(said.encoding)
        except LookupError:
            expected = "the name of an encoding, e.g. utf-8 or gb18030"
            yield lines.problem(("format", "encoding"), shown(said.encoding), expected)
    if said.sheet is None or said.delimiter is not None or said.encoding is not None:
        for key, value in (("delimiter", said.delimiter), ("encoding", said.encoding)):
            if value is None:
                expected = "how a CSV is written (delimiter and encoding), or the sheet of a workbook"
                yield lines.problem(("format", key), "nothing", expected, f"Add the key {key!r}.")
    if not said.header and said.header_row != 1:
        yield lines.problem(("format", "header_row"), shown(said.header_row), "nothing where there is no header")


def words(wanted: Wanted, lines: TomlLines) -> Iterator[Problem]:
    """Words of closed lists that a series of a mapping does not take from them: quantity, unit."""
    quantity, unit = wanted.quantity, wanted.says.unit
    if quantity not in QUANTITIES:
        mend = closest(quantity, QUANTITIES)
        yield lines.problem(wanted.key("quantity"), shown(quantity), "a quantity of the list", mend)
    if unit not in UNITS:
        yield lines.problem(wanted.key("unit"), shown(unit), "a unit of the list", closest(unit, UNITS))
    elif quantity in QUANTITIES and UNITS[unit].dimension != QUANTITIES[quantity].dimension:
        expected = f"a unit of {QUANTITIES[quantity].dimension}, as {quantity} has"
        yield lines.problem(wanted.key("unit"), f"{unit}, a unit of {UNITS[unit].dimension}", expected)


def _time(
    form: MappingForm, columns: tuple[SeriesForm, ...], wanted: tuple[Wanted, ...], lines: TomlLines
) -> list[Problem]:
    """What belongs together in [time], and what excludes one another."""
    time = form.time
    found = [*_zone(form, lines), *_formats(form, lines)]

    def must(key: str, value: object, expected: str, *, given: bool) -> None:
        if given and value is None:
            found.append(lines.problem(("time", key), "nothing", expected, f"Add the key {key!r}."))
        if not given and value is not None:
            found.append(lines.problem(("time", key), shown(value), f"nothing: {expected}", f"Take {key!r} out."))

    spans = time.label != "instant"
    must("interval_s", time.interval_s, "the length of an interval, with label start or end only", given=spans)
    must("day_end", time.day_end, "how a day's last end is labelled, with label end only", given=time.label == "end")
    for column, one in zip(columns, wanted, strict=True):
        if spans and column.kind is not RegisterKind.INTERVAL:
            expected = '"interval", since the label names the start or end of one'
            found.append(lines.problem(one.key("kind"), shown(column.kind.value), expected))
        if form.ticket is not None and (spans or column.kind is RegisterKind.CUMULATIVE):
            expected = 'a table only with label = "instant": an amount or a value that has a number of its own'
            found.append(lines.problem(("ticket",), "a table", expected))
    for key, value in (("first", time.first), ("last", time.last)):
        if value not in {MIDNIGHT, ANYWHERE} and _iso(value) is None:
            expected = "midnight, anywhere, or a local time such as 2018-01-01T00:15"
            found.append(lines.problem(("time", key), shown(value), expected))
    if spans and ANYWHERE in {time.first, time.last}:
        why = "how it is known that the label names the start or end: nothing in the file proves it then"
        must("label_known_from", time.label_known_from, why, given=True)
    return found


def _zone(form: MappingForm, lines: TomlLines) -> list[Problem]:
    time = form.time
    with_offset = [text for text in time.formats if "%z" in text]
    if time.zone == IN_TEXT:
        missing = len(with_offset) < len(time.formats)
        expected = "%z in every format, since the zone is in the text"
        return [lines.problem(("time", "formats"), shown(time.formats[0]), expected)] if missing else []
    if with_offset:
        return [lines.problem(("time", "zone"), shown(time.zone), '"in-text", since a format has %z')]
    try:
        ZoneInfo(time.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return [lines.problem(("time", "zone"), shown(time.zone), "an IANA zone, e.g. Asia/Shanghai")]
    return []


def _formats(form: MappingForm, lines: TomlLines) -> list[Problem]:
    """Formats that cannot read back what they write, or leave out the date or the minute."""
    sample = datetime(2019, 11, 23, 13, 45).astimezone()
    found = []
    for index, text in enumerate(form.time.formats):
        try:
            back = datetime.strptime(sample.strftime(text), text)  # noqa: DTZ007 - only date and minute are compared
            good = back.replace(tzinfo=None, second=0) == sample.replace(tzinfo=None)
        except ValueError:
            good = False
        if not good:
            expected = "a strptime format with year, month, day, hour and minute, e.g. %d/%m/%Y %H:%M"
            found.append(lines.problem(("time", "formats", index), shown(text), expected))
    return found


def _columns(
    form: MappingForm, columns: tuple[SeriesForm, ...], wanted: tuple[Wanted, ...], lines: TomlLines
) -> list[Problem]:
    """Names where there is a header, numbers where there is none; each column once."""
    notes = [(("time", "column"), form.time.column)]
    notes += [(("time", "clock"), form.time.clock)] if form.time.clock is not None else []
    notes += [
        ((name, "column"), note.column) for name, note in (("ticket", form.ticket), ("person", form.person)) if note
    ]
    values = [(one.key("column"), column.column) for one, column in zip(wanted, columns, strict=True)]
    wheres = [
        ((*one.key("where"), "column"), column.where.column)
        for one, column in zip(wanted, columns, strict=True)
        if column.where is not None
    ]
    found: list[Problem] = []
    for place, column in [*notes, *values, *wheres]:
        if form.format.header != isinstance(column, str):
            expected = "the column's name, as the header has it" if form.format.header else "the column's number from 1"
            found.append(lines.problem(place, shown(column), expected))
    taken = {column for _, column in notes}
    if len(taken) < len(notes):
        found.append(lines.problem(notes[-1][0], shown(notes[-1][1]), "another column than the other keys"))
    told: set[tuple[object, ...]] = set()
    for (place, column), one in zip(values, columns, strict=True):
        meant = (column, one.where and (one.where.column, one.where.equals))
        if column in taken or meant in told:
            found.append(lines.problem(place, shown(column), "another column than the other keys"))
        told.add(meant)
    return found


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
