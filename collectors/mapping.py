"""A mapping says, in TOML, what a CSV that nobody here wrote means: which column, unit, zone, label and day end.

What can be declared must be declared; what is missing is a mistake told with its line, never a guess.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, StrictBool, StrictInt, StrictStr

from gateway.domain.instruments import RegisterKind
from gateway.domain.quantities import QUANTITIES
from gateway.domain.units import UNITS
from gateway.errors import ConfigError, Problem
from gateway.toml_form import Form, closest, fill, read_toml, shown
from gateway.toml_lines import TomlLines

IN_TEXT = "in-text"  # zone: every label carries its own offset (%z)
MIDNIGHT, ANYWHERE = "midnight", "anywhere"
SAME_DAY, NEXT_DAY, TWENTY_FOUR = "00:00-of-same-day", "00:00-of-next-day", "24:00"

Text = Annotated[StrictStr, Field(min_length=1)]
Column = Annotated[StrictStr, Field(min_length=1)] | Annotated[StrictInt, Field(ge=1)]


class FormatForm(Form):
    """How the file is written."""

    delimiter: Annotated[StrictStr, Field(min_length=1, max_length=1)] = Field(description="the sign between columns")
    encoding: Text = Field(description="how the bytes become text, e.g. utf-8 or gb18030")
    header: StrictBool = Field(description="true if the first line names the columns")


class IntoForm(Form):
    """Which register of which metering point the file belongs to."""

    point: Text = Field(description="id of the metering point")
    quantity: Text = Field(description="which of its quantities, e.g. active_energy_import")


class TimeForm(Form):
    """What the time column says, and of what."""

    column: Column = Field(description="name of the column, or its number from 1 where there is no header")
    formats: list[Text] = Field(min_length=1, description="strptime formats, tried in this order")
    zone: Text = Field(description="IANA name of the zone in which the labels are written, or in-text with %z")
    label: Literal["start", "end", "instant"] = Field(description="what of the interval the label names")
    interval_s: StrictInt | None = Field(default=None, ge=1, le=86400, description="length of an interval [s]")
    day_end: Literal["00:00-of-same-day", "00:00-of-next-day", "24:00"] | None = Field(
        default=None, description="how the end of a day's last interval is labelled"
    )
    order: Literal["oldest-first", "newest-first"] = Field(default="oldest-first", description="order of the rows")
    first: Text = Field(default=MIDNIGHT, description="where the first interval begins: midnight, anywhere or a time")
    last: Text = Field(default=MIDNIGHT, description="where the last interval ends: midnight, anywhere or a time")
    label_known_from: Text | None = Field(default=None, description="how it is known what the label names")
    zone_differs: Text | None = Field(default=None, description="why the file's zone is not the plant's")
    gaps_known: Text | None = Field(default=None, description="why intervals are missing in the file")


class ValueForm(Form):
    """What the value column says."""

    column: Column = Field(description="name of the column, or its number from 1 where there is no header")
    unit: Text = Field(description="unit of measurement, e.g. kWh")
    decimal_mark: Literal[".", ","] = Field(description="the sign before the decimals")
    kind: RegisterKind = Field(description="cumulative, instantaneous or interval; it is never guessed")
    side: Literal["primary", "secondary"] | None = Field(
        default=None, description="side of the instrument transformers; needed where the meter has CT or PT ratios"
    )


class TicketForm(Form):
    """Where a weighbridge ticket has its number."""

    column: Column = Field(description="name of the column, or its number from 1 where there is no header")


class MappingForm(Form):
    """A mapping as a person writes it."""

    format: FormatForm = Field(description="table [format]: delimiter, encoding, header")
    into: IntoForm = Field(description="table [into]: point, quantity")
    time: TimeForm = Field(description="table [time]: column, formats, zone, label ...")
    value: ValueForm = Field(description="table [value]: column, unit, decimal_mark, kind")
    ticket: TicketForm | None = Field(default=None, description="table [ticket]: column")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping without mistakes. `sha256` names its text, so that a booking says by which mapping it was made."""

    file: str
    text: str
    sha256: str
    format: FormatForm
    into: IntoForm
    time: TimeForm
    value: ValueForm
    ticket: TicketForm | None
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
    problems = [*_words(form, lines), *_time(form, lines), *_columns(form, lines)]
    if problems:
        raise ConfigError(problems)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    text = data.decode("utf-8-sig")
    return Mapping(str(path), text, digest, form.format, form.into, form.time, form.value, form.ticket, lines)


def _words(form: MappingForm, lines: TomlLines) -> list[Problem]:
    """Words of closed lists: encoding, quantity, unit, zone."""
    found: list[Problem] = []
    try:
        "".encode(form.format.encoding)
    except LookupError:
        encoding = shown(form.format.encoding)
        found.append(lines.problem(("format", "encoding"), encoding, "the name of an encoding, e.g. utf-8 or gb18030"))
    if form.into.quantity not in QUANTITIES:
        mend = closest(form.into.quantity, QUANTITIES)
        found.append(lines.problem(("into", "quantity"), shown(form.into.quantity), "a quantity of the list", mend))
    if form.value.unit not in UNITS:
        mend = closest(form.value.unit, UNITS)
        found.append(lines.problem(("value", "unit"), shown(form.value.unit), "a unit of the list", mend))
    elif form.into.quantity in QUANTITIES:
        quantity, dimension = QUANTITIES[form.into.quantity], UNITS[form.value.unit].dimension
        if dimension != quantity.dimension:
            expected = f"a unit of {quantity.dimension}, as {quantity.name} has"
            found.append(lines.problem(("value", "unit"), f"{form.value.unit}, a unit of {dimension}", expected))
    return found


def _time(form: MappingForm, lines: TomlLines) -> list[Problem]:
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
    if spans and form.value.kind is not RegisterKind.INTERVAL:
        expected = '"interval", since the label names the start or end of one'
        found.append(lines.problem(("value", "kind"), shown(form.value.kind.value), expected))
    if form.ticket is not None and (spans or form.value.kind is not RegisterKind.INTERVAL):
        expected = 'a table only with label = "instant" and kind = "interval": an amount booked at an instant'
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


def _columns(form: MappingForm, lines: TomlLines) -> list[Problem]:
    """Names where there is a header, numbers where there is none; each column once."""
    found: list[Problem] = []
    columns = {"time": form.time.column, "value": form.value.column}
    if form.ticket is not None:
        columns["ticket"] = form.ticket.column
    for table, column in columns.items():
        if form.format.header != isinstance(column, str):
            expected = "the column's name, as the header has it" if form.format.header else "the column's number from 1"
            found.append(lines.problem((table, "column"), shown(column), expected))
    if len(set(columns.values())) < len(columns):
        found.append(lines.problem(("value", "column"), shown(form.value.column), "another column than the other keys"))
    return found


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
