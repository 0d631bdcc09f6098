"""A lab file: which simulated meters hang on which line, and what load each of them sees."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.readings import is_identifier
from gateway.domain.sites import MeteringLevel, PointRole
from gateway.errors import ConfigError, Problem
from simulators.meter import FINE_PER_UNIT
from simulators.models import MODELS

LABS = Path(__file__).parent / "labs"
Hours = Annotated[tuple[int, ...], Field(min_length=24, max_length=24)]
Span = Annotated[tuple[int, ...], Field(min_length=2, max_length=2)]
MODBUS, MQTT, FILES = "modbus-tcp", "mqtt", "files"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabSection(_Strict):
    """The lab as a whole. `timezone` is the plant's; another seed gives another truth."""

    name: str
    site: str
    seed: int
    timezone: str

    @field_validator("timezone")
    @classmethod
    def _zone_is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("a zone name such as Asia/Shanghai") from error
        return value


class LabEnterprise(_Strict):
    """The enterprise whose meters these are."""

    id: str
    name_zh: str
    name_en: str


class LabLine(_Strict):
    """One way in: a Modbus port with several device addresses, an MQTT broker, or a drop folder."""

    id: str
    kind: Literal["modbus-tcp", "mqtt", "files"]
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    period_s: int = Field(default=1, ge=1)
    unknown_addresses: Literal["silence", "exception"] = "silence"
    folder: str = ""  # within the drop folder


class LabStops(_Strict):
    """A machine that stands still once in every `every_days` for between the two lengths [h]."""

    every_days: int = Field(ge=1)
    shortest_h: int = Field(ge=0)
    longest_h: int = Field(ge=0)


class LabShape(_Strict):
    """Load by hour of day [% of the mean], noise [%], and what is left of it while `stops` stands still [%]."""

    working_day: Hours
    weekend: Hours
    noise_pct: int = Field(default=0, ge=0, le=100)
    stops: str = ""
    stopped_pct: int = Field(default=0, ge=0)


class LabLoad(_Strict):
    """A load: its mean [unit of the point's total, per hour] through a shape."""

    mean: Decimal = Field(ge=0)
    shape: str


class LabAlso(_Strict):
    """Another total of the same meter that goes with the first: `per` fine units for each of the first's."""

    per: int = Field(ge=1)
    initial: Decimal = Decimal(0)


class LabPoint(_Strict):
    """A metering point, its meter and its load. `initial` [unit] is what the register shows at the epoch."""

    id: str
    name_zh: str
    name_en: str
    carrier: EnergyCarrier
    level: MeteringLevel
    role: PointRole
    counts: str
    parent: str = ""
    line: str
    address: int = Field(default=0, ge=0, le=247)
    model: str = ""
    serial: str = ""
    initial: Decimal = Field(default=Decimal(0), ge=0)
    modulus: int = Field(default=0, ge=0)  # [counts]; 0 = the model's own
    load: LabLoad | None = None
    sum_of: tuple[str, ...] = ()
    loss_pct: Decimal = Field(default=Decimal(0), ge=0, lt=100)
    also: dict[str, LabAlso] = Field(default_factory=dict)
    nominal: dict[str, float] = Field(default_factory=dict)

    @field_validator("id")
    @classmethod
    def _id_is_usable(cls, value: str) -> str:
        if not is_identifier(value):
            raise ValueError("letters, digits, '_', '.', '-', at most 64 of them")
        return value

    @field_validator("model")
    @classmethod
    def _model_is_known(cls, value: str) -> str:
        if value and value not in MODELS:
            raise ValueError(f"one of {', '.join(MODELS)}")
        return value


class LabYard(_Strict):
    """The coal yard: tickets add to what lies there, the belt scale takes from it, surveys measure it."""

    tickets: str
    stock: str
    consumed_by: str
    opening_kg: int = Field(ge=0)
    net_kg: Span
    tare_kg: Span
    division_kg: int = Field(ge=1)
    opens_h: int = Field(ge=0, le=23)
    closes_h: int = Field(ge=1, le=24)
    survey_h: int = Field(default=0, ge=0, le=23)
    plates: Annotated[tuple[str, ...], Field(min_length=1)]


class Lab(_Strict):
    """A whole lab file."""

    lab: LabSection
    enterprise: LabEnterprise
    line: tuple[LabLine, ...]
    stops: dict[str, LabStops] = Field(default_factory=dict)
    shape: dict[str, LabShape] = Field(default_factory=dict)
    point: tuple[LabPoint, ...]
    yard: LabYard | None = None

    def line_named(self, name: str) -> LabLine:
        """The line with this id. Raises StopIteration where there is none."""
        return next(line for line in self.line if line.id == name)

    def points_on(self, line: str) -> list[LabPoint]:
        """The points whose meters hang on this line."""
        return [point for point in self.point if point.line == line]


def load_lab(name: str | Path, *, seed: int | None = None) -> Lab:
    """A lab by file, or by the name of one that comes with the simulator ("cement").

    `seed` replaces the one in the file. Raises ConfigError with one problem per mistake.
    """
    path = lab_file(name)
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text, parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([_problem(path, None, "file", str(error), "a readable TOML file")]) from error
    if seed is not None and isinstance(tables.get("lab"), dict):
        tables["lab"]["seed"] = seed
    try:
        lab = Lab.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(
            [
                _problem(path, _line(text, each["loc"]), _key(each["loc"]), repr(each["input"])[:80], each["msg"])
                for each in error.errors()
            ]
        ) from error
    problems = [
        _problem(path, _line(text, location), _key(location), found, expected)
        for location, found, expected in _contradictions(lab)
    ]
    if problems:
        raise ConfigError(problems)
    return lab


def lab_file(name: str | Path) -> Path:
    """The file of a lab given by path or by name."""
    shipped = LABS / f"{name}.toml"
    return shipped if shipped.is_file() and not Path(name).is_file() else Path(name)


def _contradictions(lab: Lab) -> list[tuple[tuple[str | int, ...], str, str]]:
    """(location, found, expected) of everything in the file that contradicts something else in it."""
    points, lines = [point.id for point in lab.point], {line.id: line for line in lab.line}
    found: list[tuple[tuple[str | int, ...], str, str]] = []
    taken: set[tuple[str, int]] = set()
    for name, shape in lab.shape.items():
        if shape.stops and shape.stops not in lab.stops:
            found.append((("shape", name, "stops"), shape.stops, f"one of {', '.join(lab.stops) or 'no stops'}"))
    for index, point in enumerate(lab.point):
        at = ("point", index)
        if points.index(point.id) != index:
            found.append(((*at, "id"), point.id, "an id that no other point has"))
        if point.line not in lines:
            found.append(((*at, "line"), point.line, f"one of {', '.join(lines)}"))
            continue
        if point.parent and point.parent not in points:
            found.append(((*at, "parent"), point.parent, "the id of another point"))
        found += [((*at, "sum_of"), part, "ids of points that come with a meter") for part in _bad_parts(lab, point)]
        if point.load is not None and point.load.shape not in lab.shape:
            found.append(((*at, "load"), point.load.shape, f"one of {', '.join(lab.shape)}"))
        if lines[point.line].kind == MODBUS:
            if not point.address or (point.line, point.address) in taken:
                found.append(((*at, "address"), str(point.address), "a device address that is free on this line"))
            taken.add((point.line, point.address))
        found += _wrong_meter(point, (*at, "model"), lines[point.line].kind)
    return found


def _bad_parts(lab: Lab, point: LabPoint) -> list[str]:
    """Parts of a sum that do not exist, or that lead back to the point itself."""
    by_id = {each.id: each for each in lab.point}
    bad = [part for part in point.sum_of if part not in by_id]
    seen: set[str] = set()
    waiting = [part for part in point.sum_of if part in by_id]
    while waiting:
        part = waiting.pop()
        if part == point.id:
            return [*bad, part]
        if part not in seen:
            seen.add(part)
            waiting += [each for each in by_id[part].sum_of if each in by_id]
    return bad


def _wrong_meter(point: LabPoint, at: tuple[str | int, ...], kind: str) -> list[tuple[tuple[str | int, ...], str, str]]:
    if kind == FILES:
        return [(at, point.model, "no model: people bring these readings")] if point.model else []
    model = MODELS.get(point.model)
    shown = next((each for each in model.fields if each.quantity == point.counts), None) if model else None
    if model is None or shown is None or not shown.total or shown.unit not in FINE_PER_UNIT:
        return [(at, point.model or "none", f"a model that shows {point.counts} as a total")]
    return []


def _found(error: ErrorDetails) -> str:
    return "nothing" if error["type"] == "missing" else repr(error["input"])[:80]


def _problem(path: Path, line: int | None, key: str, found: str, expected: str) -> Problem:
    return Problem(file=str(path), line=line, key=key, found=found, expected=expected)


def _key(location: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _line(text: str, location: tuple[str | int, ...]) -> int | None:
    """The line on which a key stands, or its table where the key itself is missing; None where neither is found."""
    lines = text.splitlines()
    names = [str(part) for part in location if isinstance(part, str)]
    table = names[0] if names else ""
    if len(location) > 1 and isinstance(location[1], int):
        heads = [n for n, line in enumerate(lines) if line.strip().startswith(f"[[{table}]]")]
        start = heads[location[1]] if location[1] < len(heads) else None
    else:
        wanted = {f"[{table}]", f"[{'.'.join(names[:2])}]"}
        start = next((n for n, line in enumerate(lines) if line.split("#")[0].strip() in wanted), None)
    if start is None:
        return None
    for number in range(start + 1, len(lines)):
        if lines[number].startswith("["):
            break
        if lines[number].split("=")[0].strip() in names[1:]:
            return number + 1
    return start + 1
