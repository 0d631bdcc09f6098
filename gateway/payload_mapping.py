"""What messages that nobody here defined mean, declared in TOML: topic, meter, time, quantities.

One form for every convention that is plain JSON or plain text. What can be declared must be declared; what is
missing is a mistake told with its line, never a guess.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, StrictInt, StrictStr

from gateway.domain.quantities import QUANTITIES
from gateway.domain.units import UNITS
from gateway.errors import ConfigError, Problem
from gateway.toml_form import Form, Number, closest, fill, read_toml, shown
from gateway.toml_lines import Place, TomlLines

SHIPPED = Path(__file__).parent / "payload_mappings"
IN_TEXT, OF_THE_LINE = "in-text", "of-the-line"
RECEIVED = "received"

Text = Annotated[StrictStr, Field(min_length=1)]
Steps = tuple[str | int, ...]  # the way to a value: keys and places in lists
_NAMED = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_STEP = re.compile(r'(?:^|\.)([^.\[\]"]+)|\[(\d{1,4})\]|\["([^"]+)"\]')


class PayloadTimeForm(Form):
    """Where the sampling instant stands, and how it is written."""

    form: Literal["iso", "unix-s", "unix-ms", "received"] = Field(
        description="iso = ISO 8601 text, unix-s and unix-ms = numbers, received = the message has none"
    )
    path: StrictStr = Field(default="", description="JSON path to it, e.g. params.ts")
    zone: StrictStr = Field(
        default="",
        description="of iso: in-text = each has its offset, of-the-line = the line's key 'zone', or an IANA name",
    )


class SequenceForm(Form):
    """Where the publisher's own count stands."""

    path: Text = Field(description="JSON path to it")
    modulus: StrictInt = Field(default=0, ge=0, description="first number that is counted as 0 again; 0 = none")


class PayloadValueForm(Form):
    """One number of a message."""

    path: StrictStr = Field(default="", description='JSON path, e.g. ENERGY.Total, a[0], ["a.b"]; empty = all of it')
    quantity: Text = Field(description="which quantity it is, e.g. active_energy_import")
    unit: Text = Field(description="the unit in which it is written, e.g. Wh")
    meter: StrictStr = Field(default="", description="which meter it belongs to, where that differs in the message")
    when: dict[StrictStr, StrictStr] = Field(
        default_factory=dict, description="parts of the topic that must say this, e.g. { property = 'energy' }"
    )
    words: dict[StrictStr, Number] = Field(
        default_factory=dict, description="numbers for texts and for true and false, e.g. { ON = 1, OFF = 0 }"
    )


class PayloadMappingForm(Form):
    """A payload mapping as a person writes it."""

    source: Text = Field(description="the document by which the messages are known")
    topic: Text = Field(description="levels of the topic, those with a meaning named: tele/{meter}/SENSOR")
    meter: Text = Field(default="{meter}", description="how a meter is called, from named parts of the topic")
    time: PayloadTimeForm = Field(description="table [time]: form, path, zone")
    sequence: SequenceForm | None = Field(default=None, description="table [sequence]: path, modulus")
    value: list[PayloadValueForm] = Field(min_length=1, description="tables [[value]]: path, quantity, unit")


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedValue:
    """One number of a message: the way to it, what it is, and for which topics and meter it holds."""

    steps: Steps
    quantity: str
    unit: str
    meter: str
    when: Mapping[str, str]
    words: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadMapping:
    """A payload mapping without mistakes. `topic` holds the levels, each a text or the name of what stands there."""

    file: Path
    topic: Sequence[tuple[str, str]]  # (text, "") or ("", name)
    time: PayloadTimeForm
    time_steps: Steps
    sequence: Steps | None
    modulus: int
    values: Sequence[MappedValue]

    @property
    def filter(self) -> str:
        """The topic filter that brings these messages."""
        return "/".join("+" if name else text for text, name in self.topic)

    @property
    def needs_zone(self) -> bool:
        """True if the line has to say in which zone the times are written."""
        return self.time.zone == OF_THE_LINE


def mapping_path(name: str, folder: Path) -> Path:
    """The file of a mapping: a shipped one by its name, otherwise a file relative to `folder`."""
    shipped = SHIPPED / f"{name}.toml"
    return shipped if name in shipped_mappings() else folder / name


def shipped_mappings() -> list[str]:
    """The names of the mappings that come with the product."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_payload_mapping(path: Path) -> PayloadMapping:
    """Read a payload mapping. Raises ConfigError with every mistake: file, line, key, found, expected."""
    document, lines = read_toml(path)
    form, problems = fill(PayloadMappingForm, document, at=(), lines=lines)
    if form is None:
        raise ConfigError(problems)
    problems = [*_topic(form, lines), *_time(form, lines), *_values(form, lines)]
    if problems:
        raise ConfigError(problems)
    levels = [(level, _NAMED.fullmatch(level)) for level in form.topic.split("/")]
    return PayloadMapping(
        file=path,
        topic=[("", named[1]) if named else (level, "") for level, named in levels],
        time=form.time,
        time_steps=steps_of(form.time.path),
        sequence=steps_of(form.sequence.path) if form.sequence else None,
        modulus=form.sequence.modulus if form.sequence else 0,
        values=[
            MappedValue(
                steps=steps_of(value.path),
                quantity=value.quantity,
                unit=value.unit,
                meter=value.meter or form.meter,
                when=value.when,
                words=value.words,
            )
            for value in form.value
        ],
    )


def steps_of(path: str) -> Steps:
    """The steps of a JSON path: dotted keys, [n] for a place in a list, ["..."] for a key with dots.

    Raises ValueError for any other text.
    """
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or (at == 0 and path[0] == "."):
            raise ValueError(f'found {path!r}; expected keys and places such as a.b[0] or ["a.b"]')
        steps.append(int(found[2]) if found[2] else found[1] or found[3])
        at = found.end()
    return tuple(steps)


def _topic(form: PayloadMappingForm, lines: TomlLines) -> Iterator[Problem]:
    names = []
    for level in form.topic.split("/"):
        named = _NAMED.fullmatch(level)
        if named:
            names.append(named[1])
        elif not level or any(sign in level for sign in "{}#+"):
            expected = "levels that are plain text or one {name}, no wildcards"
            yield lines.problem(("topic",), shown(form.topic), expected, "The wildcards follow from the names.")
            return
    if len(set(names)) < len(names):
        yield lines.problem(("topic",), shown(form.topic), "each name once")
    yield from _templates(form, names, lines)
    for n, value in enumerate(form.value):
        for name in value.when:
            if name not in names:
                mend = closest(name, names)
                yield lines.problem(("value", n, "when"), shown(name), "names that stand in the topic", mend)


def _templates(form: PayloadMappingForm, names: Sequence[str], lines: TomlLines) -> Iterator[Problem]:
    """How meters are called, from names that are not in the topic."""
    templates: list[tuple[Place, str]] = [(("meter",), form.meter)]
    templates += [(("value", n, "meter"), value.meter) for n, value in enumerate(form.value) if value.meter]
    for place, template in templates:
        for name in _NAMED.findall(template):
            if name not in names:
                yield lines.problem(place, shown(template), "names that stand in the topic", closest(name, names))
        if any(sign in _NAMED.sub("", template) for sign in "{}") or not _NAMED.search(template):
            yield lines.problem(place, shown(template), "a text with a {name} of the topic")


def _time(form: PayloadMappingForm, lines: TomlLines) -> Iterator[Problem]:
    time = form.time
    if (time.form == RECEIVED) == bool(time.path):
        expected = "nothing, for messages without a time" if time.path else "the JSON path to the time"
        yield lines.problem(("time", "path"), shown(time.path) if time.path else "nothing", expected)
    elif time.path:
        yield from _path(time.path, ("time", "path"), lines)
    if time.form != "iso" and time.zone:
        yield lines.problem(("time", "zone"), shown(time.zone), f"nothing: form {time.form} has no zone")
    elif time.form == "iso" and time.zone not in {IN_TEXT, OF_THE_LINE} and not is_zone(time.zone):
        found = shown(time.zone) if time.zone else "nothing"
        yield lines.problem(("time", "zone"), found, f"{IN_TEXT}, {OF_THE_LINE}, or an IANA zone, e.g. Asia/Shanghai")
    if form.sequence is not None:
        yield from _path(form.sequence.path, ("sequence", "path"), lines)


def _values(form: PayloadMappingForm, lines: TomlLines) -> Iterator[Problem]:
    seen: set[tuple[str, str, tuple[tuple[str, str], ...]]] = set()
    for n, value in enumerate(form.value):
        place: Place = ("value", n)
        yield from _path(value.path, (*place, "path"), lines)
        quantity, unit = QUANTITIES.get(value.quantity), UNITS.get(value.unit)
        if quantity is None:
            mend = closest(value.quantity, QUANTITIES)
            yield lines.problem((*place, "quantity"), shown(value.quantity), "a quantity of the list", mend)
        if unit is None:
            mend = closest(value.unit, UNITS)
            yield lines.problem((*place, "unit"), shown(value.unit), "a unit of the list", mend)
        elif quantity is not None and unit.dimension != quantity.dimension:
            expected = f"a unit of {quantity.dimension}, as {quantity.name} has"
            yield lines.problem((*place, "unit"), f"{value.unit}, a unit of {unit.dimension}", expected)
        key = (value.meter, value.quantity, tuple(sorted(value.when.items())))
        if key in seen:
            yield lines.problem((*place, "quantity"), shown(value.quantity), "each quantity of a meter once")
        seen.add(key)


def _path(path: str, place: Place, lines: TomlLines) -> Iterator[Problem]:
    try:
        steps_of(path)
    except ValueError:
        yield lines.problem(place, shown(path), 'a JSON path such as a.b[0] or ["a.b"].c')


def is_zone(name: str) -> bool:
    """True if `name` is an IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return bool(name)
