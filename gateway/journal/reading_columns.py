"""A batch of readings as columns: how it stands in a READINGS entry, checked strictly and a column at a time.

A gateway writes hundreds of thousands of readings in a second on a machine that has other work: no statement
here is executed once per reading, except to name the one that is refused.
"""

import math
import re
from binascii import Error as NotHex
from binascii import unhexlify
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, NamedTuple

from gateway.domain.instruments import RecordClass
from gateway.domain.readings import EARLIEST, IDENTIFIER, INSTANTS, LATEST, Quality, Reading, is_instant

Value = int | float | None

LOWEST, HIGHEST = -(2**63), 2**63 - 1
_QUALITIES = {number: Quality(number) for number in range(1, 32)}  # a correction has entries of another kind
_NUMBERS = {quality.value for quality in _QUALITIES.values()}
_SERIES = re.compile("/".join([f"(?:{IDENTIFIER.pattern})"] * 3))
_NOTHING = type(None)
_reading: Callable[[Iterable[Any]], Reading] = partial(tuple.__new__, Reading)  # Reading._make without its call


class Columns(NamedTuple):
    """A batch of at least one reading. None for a column that is left out: all GOOD, all without reason or words."""

    names: Sequence[str]  # each series once
    of: Sequence[int]  # for each reading the index of its series in `names`
    instant: Sequence[int]  # [us, UTC]
    value: Sequence[Value]
    quality: Sequence[int] | None
    reason: Sequence[str] | None
    words: Sequence[bytes] | None


def columns_of(readings: Sequence[Reading]) -> Columns:
    """The columns of a batch. Raises ValueError, naming reading and series, for one that may not be journaled."""
    if not readings:
        raise ValueError("a batch of readings holds none; expected at least one")
    try:
        series, instants, values, qualities, reasons, words = zip(*readings, strict=True)
        names = {name: index for index, name in enumerate(dict.fromkeys(series))}
    except (TypeError, ValueError) as error:
        raise ValueError(f"a batch of {len(readings)} is not one of readings: {error}") from error
    every = len(readings)
    columns = Columns(
        list(names),
        list(map(names.__getitem__, series)),
        instants,
        values,
        None if qualities.count(Quality.GOOD) == every else qualities,
        None if reasons.count("") == every else reasons,
        None if words.count(b"") == every else words,
    )
    if columns.quality is not None:
        _check_types(columns, "quality", columns.quality, {Quality}, "flags 1 to 31")
        columns = columns._replace(quality=list(map(int, columns.quality)))
    if columns.words is not None:
        _check_types(columns, "words", columns.words, {bytes}, "bytes")
    _check(columns)
    return columns


def body_of(line: str, columns: Columns, record_class: RecordClass) -> dict[str, Any]:
    """The columns as the body of an entry, keys sorted."""
    body: dict[str, Any] = {"class": record_class.value} if record_class is RecordClass.TELEMETRY else {}
    body |= {"instant": list(columns.instant), "line": line, "of": list(columns.of)}
    if columns.quality is not None:
        body["quality"] = list(columns.quality)
    if columns.reason is not None:
        body["reason"] = list(columns.reason)
    body |= {"series": list(columns.names), "value": list(columns.value)}
    if columns.words is not None:
        body["words"] = list(map(bytes.hex, columns.words))
    return body


def columns_in(body: Mapping[str, Any], *, journaled: bool = False) -> Columns:
    """The columns that a body holds. Raises ValueError, saying what was found, when it is not as `body_of` makes it.

    What is `journaled` may have any 64-bit instant: older journals took them, and must stay readable.
    """
    if not isinstance(body.get("line"), str) or body.get("class", "telemetry") != "telemetry":
        raise ValueError("a body of readings has a line, and no class other than telemetry")
    given: dict[str, Any] = {key: body.get(key) for key in ("of", "instant", "value")}
    given |= {key: body[key] for key in ("quality", "reason", "words") if key in body}
    names, of = body.get("series"), given["of"]
    if not isinstance(names, list) or not all(isinstance(column, list) for column in given.values()):
        raise ValueError(f"a body of readings has lists under series, {', '.join(given)}")
    lengths = {key: len(column) for key, column in given.items()}
    if len(set(lengths.values())) != 1 or not of:
        raise ValueError(f"the columns of a body of readings are of one length and not empty; found {lengths}")
    if set(map(type, of)) != {int} or min(of) < 0 or max(of) >= len(names):
        raise ValueError(f"of: expected indices from 0 to {len(names) - 1} of the series; found others")
    columns = Columns(names, of, given["instant"], given["value"], given.get("quality"), given.get("reason"), None)
    if columns.quality is not None:
        _check_types(columns, "quality", columns.quality, {int}, "flags 1 to 31")
    _check(columns, journaled=journaled)
    return columns._replace(words=_decode_words(columns, body["words"])) if "words" in body else columns


def readings_of_columns(columns: Columns) -> list[Reading]:
    """The readings that stand in checked columns."""
    numbers, reasons, words = columns.quality, columns.reason, columns.words
    rows = zip(
        map(columns.names.__getitem__, columns.of),
        columns.instant,
        columns.value,
        repeat(Quality.GOOD) if numbers is None else map(_QUALITIES.__getitem__, numbers),
        repeat("") if reasons is None else reasons,
        repeat(b"") if words is None else words,
        strict=False,  # `repeat` has no end
    )
    return list(map(_reading, rows))


def _decode_words(columns: Columns, words: Sequence[Any]) -> list[bytes]:
    try:
        return list(map(unhexlify, words))
    except (NotHex, TypeError, ValueError):
        _refuse(columns, "words", words, _is_hex, "pairs of hexadecimal digits")
        raise


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError unless each of these is the name of a series, and none stands there twice."""
    if not all(map(_is_series, names)):
        wrong = next(name for name in names if not _is_series(name))
        raise ValueError(f"found series {wrong!r:.200}; expected enterprise/point/quantity, each an identifier")
    if len(set(names)) != len(names):
        raise ValueError("found a series twice; expected enterprise/point/quantity, each series once")


def _check(columns: Columns, *, journaled: bool = False) -> None:
    """Raise ValueError on what would not come back as it went in, or says of itself what cannot be."""
    check_names(columns.names)
    if set(map(type, columns.instant)) != {int} or not _in_range(columns.instant):
        _refuse(columns, "instant", columns.instant, _is_instant, "microseconds as a 64-bit integer")
    if not journaled and not (min(columns.instant) >= EARLIEST and max(columns.instant) <= LATEST):
        _refuse(columns, "instant", columns.instant, is_instant, f"{INSTANTS}, {EARLIEST} to {LATEST} us")
    kinds = set(map(type, columns.value))
    if not _are_values(columns.value, kinds):
        _refuse(columns, "value", columns.value, _is_value, "a 64-bit integer, a finite float or nothing")
    if columns.quality is not None and not _NUMBERS.issuperset(columns.quality):
        _refuse(columns, "quality", columns.quality, _NUMBERS.__contains__, "flags 1 to 31")
    if _NOTHING in kinds:
        _check_missing(columns)
    if columns.reason is not None:
        _check_types(columns, "reason", columns.reason, {str}, "text")


def _check_missing(columns: Columns) -> None:
    numbers = columns.quality or repeat(1)
    claims = [value is None and bool(number & 1) for value, number in zip(columns.value, numbers, strict=False)]
    if any(claims):
        at = claims.index(True)
        raise ValueError(f"{_where(columns, at)}: found no value and quality GOOD; expected MISSING and its reason")


def _check_types(columns: Columns, what: str, column: Sequence[Any], kinds: set[type], expected: str) -> None:
    if not set(map(type, column)) <= kinds:
        _refuse(columns, what, column, lambda found: type(found) in kinds, expected)


def _refuse(columns: Columns, what: str, column: Sequence[Any], good: Callable[[Any], bool], expected: str) -> None:
    """Raise ValueError naming the first of a column that is not good."""
    for at, found in enumerate(column):
        if not good(found):
            raise ValueError(f"{_where(columns, at)}: found {what} {found!r:.200}; expected {expected}")


def _where(columns: Columns, at: int) -> str:
    return f"reading {at + 1} of the entry, {columns.names[columns.of[at]]}"


@lru_cache(maxsize=1 << 16)
def _matches(name: str) -> bool:
    return _SERIES.fullmatch(name) is not None


def _is_series(name: object) -> bool:
    return type(name) is str and _matches(name)


def _in_range(numbers: Sequence[int | float]) -> bool:
    return min(numbers) >= LOWEST and max(numbers) <= HIGHEST


def _are_values(values: Sequence[Any], kinds: set[type]) -> bool:
    if not kinds <= {int, float, _NOTHING}:
        return False
    numbers = list(filter(None, values))  # a zero is always good
    if not numbers or (_in_range(numbers) and all(map(math.isfinite, numbers))):
        return True
    return all(map(_is_value, values))  # a float may lie beyond the range of integers


def _is_value(value: object) -> bool:
    if type(value) is int:
        return LOWEST <= value <= HIGHEST
    return value is None or (type(value) is float and math.isfinite(value))


def _is_instant(value: object) -> bool:
    return type(value) is int and LOWEST <= value <= HIGHEST


def _is_hex(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch("(?:[0-9A-Fa-f]{2})*", text) is not None


def by_record_class(
    readings: Sequence[Reading], telemetry: AbstractSet[str]
) -> list[tuple[RecordClass, Sequence[Reading]]]:
    """The readings parted into those of evidence and those of `telemetry` (names of series); no part is empty."""
    evidence = [reading for reading in readings if reading[0] not in telemetry] if telemetry else readings
    if len(evidence) == len(readings):
        return [(RecordClass.EVIDENCE, readings)] if readings else []
    rest = [reading for reading in readings if reading[0] in telemetry]
    parts = [(RecordClass.EVIDENCE, evidence), (RecordClass.TELEMETRY, rest)]
    return [(record_class, part) for record_class, part in parts if part]
