"""A mapping of points that another system kept: which measurement, tags and field belong to which metering point."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, StrictStr

from collectors.amounts import series_of
from collectors.mapping import Wanted, words
from collectors.mapping_form import AmountForm, Text
from gateway.domain.instruments import RegisterKind
from gateway.domain.readings import MICROSECONDS
from gateway.domain.sites import Series, Site
from gateway.errors import ConfigError, Problem
from gateway.toml_form import Form, fill, read_toml, shown
from gateway.toml_lines import TomlLines


class SourceForm(AmountForm):
    """One series of the other system, and the register of ours that it belongs to."""

    measurement: Text = Field(description="name of the measurement")
    field: Text = Field(description="name of the field")
    tags: dict[StrictStr, StrictStr] = Field(default_factory=dict, description="tags that a point must have, by name")
    may_vary: list[StrictStr] = Field(
        default_factory=list, description="tags that may change from point to point: of one meter all the same"
    )
    point: Text = Field(description="id of the metering point")
    quantity: Text = Field(description="which of its quantities, e.g. active_energy_import")
    label: Literal["start", "end"] | None = Field(
        default=None, description="what of an interval the time of a point names; with kind interval only"
    )


class HistoryForm(Form):
    """A mapping as a person writes it."""

    precision: Literal["ns", "us", "ms", "s"] | None = Field(
        default=None, description="of the times in a file of lines; a server tells its own"
    )
    series: list[SourceForm] = Field(min_length=1, description="tables [[series]]: measurement, tags, field, point ...")


@dataclass(frozen=True, slots=True)
class HistoryMapping:
    """A mapping without mistakes."""

    file: str
    text: str
    sha256: str
    precision: str | None
    sources: tuple[SourceForm, ...]
    wanted: tuple[Wanted, ...]  # one for each of `sources`
    lines: TomlLines


def load_history_mapping(path: Path) -> HistoryMapping:
    """Read a mapping file. Raises ConfigError with every mistake: file, line, key, found, expected."""
    document, lines = read_toml(path)
    form, problems = fill(HistoryForm, document, at=(), lines=lines)
    if form is None:
        raise ConfigError(problems)
    wanted = tuple(Wanted(s.point, s.quantity, s, ("series", n), ("series", n)) for n, s in enumerate(form.series))
    problems = [problem for one in wanted for problem in words(one, lines)]
    for number, source in enumerate(form.series):
        for key, text in (("measurement", source.measurement), ("field", source.field), *source.tags.items()):
            if not text.isprintable() or not key.isprintable():
                place = ("series", number, key if key in {"measurement", "field"} else "tags")
                problems.append(lines.problem(place, ascii(text), "printable text"))
    if problems:
        raise ConfigError(problems)
    data = path.read_bytes()
    digest, text = hashlib.sha256(data).hexdigest(), data.decode("utf-8-sig")
    return HistoryMapping(str(path), text, digest, form.precision, tuple(form.series), wanted, lines)


def history_targets(mapping: HistoryMapping, site: Site) -> list[Series]:
    """The series that a mapping books into, in its order. Raises ConfigError where the site has none that fits."""
    found: list[Series] = []
    problems: list[Problem] = []
    for source, one in zip(mapping.sources, mapping.wanted, strict=True):
        try:
            found.append(series_of(one, site, mapping.lines))
        except ConfigError as error:
            problems += error.problems
            continue
        spans = found[-1].register.kind is RegisterKind.INTERVAL and bool(found[-1].register.interval_s)
        if spans != (source.label is not None):
            expected = '"start" or "end"' if spans else "nothing, for a register that has no interval"
            said = shown(source.label) if source.label else "nothing"
            problems.append(mapping.lines.problem(one.key("label"), said, expected))
        if found[-1].by_hand:
            expected = "a point that no person reads: a history says nothing of who; import a file with a column for it"
            problems.append(mapping.lines.problem(one.key("point"), repr(one.point), expected))
    if problems:
        raise ConfigError(problems)
    return found


def shift_us(source: SourceForm, series: Series) -> int:
    """What is added to the time of a point to get its reading's instant [us]: an interval is named by its start."""
    return -(series.register.interval_s or 0) * MICROSECONDS if source.label == "end" else 0
