"""The form of a mapping as a person writes it: its tables and keys, and what each of them means."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from gateway.domain.instruments import RegisterKind
from gateway.toml_form import Form

MIDNIGHT = "midnight"
Text = Annotated[StrictStr, Field(min_length=1)]
Column = Annotated[StrictStr, Field(min_length=1)] | Annotated[StrictInt, Field(ge=1)]
_COLUMN = "name of the column, or its number from 1 where there is no header"
_POINT = "id of the metering point"
_QUANTITY = "which of its quantities, e.g. active_energy_import"


class FormatForm(Form):
    """How the file is written: delimiter and encoding of a CSV, the sheet of an XLSX workbook, or both."""

    delimiter: Annotated[StrictStr, Field(min_length=1, max_length=1)] | None = Field(
        default=None, description="the sign between the columns of a CSV"
    )
    encoding: Text | None = Field(
        default=None,
        description="how the bytes of a CSV become text, e.g. utf-8 or gb18030; a byte order mark goes first",
    )
    sheet: Text | None = Field(default=None, description="the name of the sheet of an XLSX workbook")
    header: StrictBool = Field(description="true if a row names the columns")
    header_row: StrictInt = Field(
        default=1, ge=1, le=1000, description="which row it is; what stands above is passed over"
    )


class IntoForm(Form):
    """Which register of which metering point the file belongs to."""

    point: Text = Field(description=_POINT)
    quantity: Text = Field(description=_QUANTITY)


class TimeForm(Form):
    """What the time column says, and of what."""

    column: Column = Field(description=_COLUMN)
    clock: Column | None = Field(
        default=None, description="a second column that has the time of day, where the first has the date alone"
    )
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


class AmountForm(Form):
    """What a number of the source is: its unit, its kind, and on which side of the transformers it was measured."""

    unit: Text = Field(description="unit of measurement, e.g. kWh")
    kind: RegisterKind = Field(description="cumulative, instantaneous or interval; it is never guessed")
    side: Literal["primary", "secondary"] | None = Field(
        default=None, description="side of the instrument transformers; needed where the meter has CT or PT ratios"
    )
    round: StrictBool = Field(
        default=False, description="true: a number finer than the register's resolution is rounded to it, half to even"
    )


class ValueForm(AmountForm):
    """What a value column says."""

    column: Column = Field(description=_COLUMN)
    decimal_mark: Literal[".", ","] = Field(description="the sign before the decimals")
    missing: list[StrictStr] = Field(default_factory=list, description="texts that say that nothing was read")


class WhereForm(Form):
    """Which rows are meant, in a file that has the rows of several series one below another."""

    column: Column = Field(description=_COLUMN)
    equals: Text = Field(description="what stands in that column")


class SeriesForm(ValueForm):
    """One of several series of a file: where it is found and where it belongs."""

    point: Text = Field(description=_POINT)
    quantity: Text = Field(description=_QUANTITY)
    where: WhereForm | None = Field(default=None, description="the rows that are meant: column, equals")


class NoteForm(Form):
    """A column that is kept as evidence beside the value: the number of a ticket or batch, or who read."""

    column: Column = Field(description=_COLUMN)


class MappingForm(Form):
    """A mapping as a person writes it."""

    format: FormatForm = Field(description="table [format]: delimiter and encoding, or sheet; header")
    into: IntoForm | None = Field(default=None, description="table [into]: point, quantity")
    time: TimeForm = Field(description="table [time]: column, formats, zone, label ...")
    value: ValueForm | None = Field(default=None, description="table [value]: column, unit, decimal_mark, kind")
    series: list[SeriesForm] = Field(
        default_factory=list, description="tables [[series]] in the place of [into] and [value], for several series"
    )
    ticket: NoteForm | None = Field(default=None, description="table [ticket]: column")
    person: NoteForm | None = Field(default=None, description="table [person]: column")
