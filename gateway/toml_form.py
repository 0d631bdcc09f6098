"""Reads a TOML file that a person wrote against a form, and tells every mistake with its line."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.errors import ConfigError, Problem
from gateway.toml_lines import Place, TomlLines


class Form(BaseModel):
    """A table of a TOML file: its keys are exactly these."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


_Form = TypeVar("_Form", bound=Form)


def _exact_number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("a number")  # noqa: TRY004 - pydantic collects ValueError, not TypeError
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("a finite number")
    return number


# A number kept exactly as it was written; text and true/false are refused.
Number = Annotated[Decimal, BeforeValidator(_exact_number), WithJsonSchema({"type": "number"})]


def read_toml(path: Path, *, name: str = "") -> tuple[dict[str, Any], TomlLines]:
    """(document with decimals kept exact, its lines). Raises ConfigError when it cannot be read as TOML."""
    file = name or str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(file, f"bytes that are not UTF-8 at byte {error.start}") from error
    try:
        return tomllib.loads(text, parse_float=Decimal), TomlLines(file, text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        where = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
        line = int(where[1]) if where and where[1] else text.count("\n") + 1
        what = said[: where.start()] if where else said
        column = f", column {where[2]}" if where and where[2] else ""
        problem = Problem(
            file=file,
            line=line,
            key="(TOML)",
            found=f"{what}{column}",
            expected="well-formed TOML",
            mend="Text stands in quotes, each key stands once, and a table begins with its [name].",
        )
        raise ConfigError([problem]) from error


def _unreadable(file: str, why: str) -> ConfigError:
    return ConfigError(
        [Problem(file=file, line=None, key="(file)", found=why, expected="a readable TOML file in UTF-8")]
    )


def fill(form: type[_Form], data: object, *, at: Place, lines: TomlLines) -> tuple[_Form | None, list[Problem]]:
    """(the filled form, nothing wrong) or (None, every mistake of this table)."""
    try:
        return form.model_validate(data), []
    except ValidationError as error:
        return None, _merged(_told(form, details, at, lines) for details in error.errors(include_url=False))


def closest(word: object, known: Iterable[str]) -> str:
    """The question "Did you mean ...?", or the known words when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(names)}." if 0 < len(names) <= 24 else ""


def shown(value: object) -> str:
    """A value as it stands in the file, for the "found" of a problem."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    if isinstance(value, Mapping):
        return "a table"
    return "a list" if isinstance(value, list) else str(value)


def _merged(problems: Iterable[Problem]) -> list[Problem]:
    """One problem per key: where several forms of a value are allowed, what each expects is joined."""
    told: dict[str, Problem] = {}
    for problem in problems:
        before = told.get(problem.key)
        if before is not None and before.expected != problem.expected:
            problem = replace(before, expected=f"{before.expected} or {problem.expected}")  # noqa: PLW2901 - it grew
        told[problem.key] = problem
    return list(told.values())


def _told(form: type[Form], details: ErrorDetails, at: Place, lines: TomlLines) -> Problem:
    """One complaint of the form as a problem."""
    inner, owner, meaning = _walk(form, details["loc"])
    kind = details["type"]
    place = (*at, *inner)
    if kind == "missing":
        return lines.problem(place, "nothing", meaning or "a value", f"Add the key {str(inner[-1])!r}.")
    if kind == "extra_forbidden":
        keys = [field.alias or name for name, field in owner.model_fields.items()]
        return lines.problem(
            place, f"the unknown key {str(inner[-1])!r}", f"one of {', '.join(keys)}", closest(inner[-1], keys)
        )
    mend = str(details.get("ctx", {}).get("mend", ""))
    if kind in {"enum", "literal_error"}:
        mend = closest(details["input"], re.findall(r"'([^']+)'", str(details["ctx"]["expected"])))
        meaning = ""  # the admissible words say it already
    return lines.problem(place, shown(details["input"]), _expected(details["msg"], meaning), mend)


_PLAIN = {"string": "text in quotes", "integer": "a whole number", "list": "a list"}


def _expected(said: str, meaning: str) -> str:
    """What should stand there: the check's own words, with the meaning of the key."""
    said = said.removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a valid ")
    said = "a table" if said.startswith("dictionary") else _PLAIN.get(said, said)
    return f"{said} ({meaning})" if meaning else said


def _walk(form: type[Form], loc: tuple[int | str, ...]) -> tuple[Place, type[Form], str]:
    """(the place in the file, the innermost form around it, the meaning of the key).

    What pydantic adds to a location to name the branch of a union is not in the file and left out.
    """
    place: list[int | str] = []
    owner = form
    meaning = ""
    kind: Any = form
    for step in loc:
        inner = next((one for one in _alternatives(kind) if _is_form(one)), None)
        holder = next((one for one in _alternatives(kind) if get_origin(one) in {list, dict}), None)
        if inner is not None:
            owner = inner
            field = _fields(owner).get(str(step))
            kind, meaning = (field.annotation, field.description or "") if field else (None, "")
            place.append(step)
        elif holder is not None and isinstance(step, int) == (get_origin(holder) is list) and step != "[key]":
            kind = get_args(holder)[-1]
            place.append(step)
    return tuple(place), owner, meaning


def _alternatives(kind: object) -> list[Any]:
    """The types that an annotation allows, without None and without what is only annotated."""
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return [one for part in get_args(kind) if part is not type(None) for one in _alternatives(part)]
    return [kind]


def _is_form(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Form)


def _fields(form: type[Form]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in form.model_fields.items()}
