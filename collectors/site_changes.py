"""What differs between two setups, in words: by line what its collector is made of, and all the rest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from collectors.acquire_setup import Setup
from gateway.domain.sites import Site
from gateway.errors import Problem
from gateway.toml_form import read_toml
from gateway.toml_lines import Place

TOLD = 8  # names that are told one by one
_BY_LINE = frozenset({"file", "lines", "meters", "series"})


class Changes(NamedTuple):
    """Sentences by line that is touched, and those that concern no single line."""

    lines: Mapping[str, Sequence[str]]
    others: Sequence[str]

    def sentences(self) -> list[str]:
        """All of them, each with its line."""
        return [*(f"line {line}: {what}" for line, told in self.lines.items() for what in told), *self.others]


def changes(old: Setup, new: Setup) -> Changes:
    """What is added, removed and changed; nothing of both where only comments differ."""
    lines = {}
    for line in [*old.site.lines, *(line for line in new.site.lines if line not in old.site.lines)]:
        if told := _line(old, new, line):
            lines[line] = told
    return Changes(lines, list(_others(old.site, new.site)))


def kept_until_restart(old: Site, new: Site) -> list[Problem]:
    """A mistake for each thing that a running program cannot change. Raises ConfigError when the file is unreadable."""
    fixed: list[tuple[Place, Any, Any]] = [
        (("site", "gateway_id"), old.gateway_id, new.gateway_id),
        (("site", "data_dir"), old.data_dir.resolve(), new.data_dir.resolve()),
        (("store",), old.store, new.store),
        (("witness",), old.journal.witness, new.journal.witness),
    ]
    changed = [(place, before, after) for place, before, after in fixed if before != after]
    if not changed:
        return []
    lines = read_toml(new.file)[1]
    return [
        lines.problem(
            place,
            "; ".join(_differences(before, after)),
            "no change of it while `emg acquire` runs",
            "Put it back, or restart `emg acquire` to take it up.",
        )
        for place, before, after in changed
    ]


def _line(old: Setup, new: Setup, line: str) -> list[str]:
    if line not in old.site.lines:
        meters = sum(meter.line == line for meter in new.site.meters.values())
        return [f"added, {new.site.lines[line].kind.value} with {meters} meters"]
    if line not in new.site.lines:
        return ["removed"]
    if old.made_of[line] == new.made_of[line]:
        return []
    before, after = ({key: m for key, m in s.site.meters.items() if m.line == line} for s in (old, new))
    told = [*_differences(old.site.lines[line], new.site.lines[line]), *_table("meter", before, after)]
    names = {meter.profile for meter in before.values()} & {meter.profile for meter in after.values()}
    told += [f"profile {name}: changed" for name in sorted(names) if old.profiles[name] != new.profiles[name]]
    told += _series(
        [series.key for series in old.site.series.values() if series.meter in before],
        [series.key for series in new.site.series.values() if series.meter in after],
    )
    return told or ["read anew"]


def _series(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    for word, found in (
        ("removed", [key for key in before if key not in set(after)]),
        ("added", [key for key in after if key not in set(before)]),
    ):
        if found:
            more = f" and {len(found) - TOLD} more" if len(found) > TOLD else ""
            yield f"series {word}: {', '.join(found[:TOLD])}{more}"


def _others(old: Site, new: Site) -> Iterator[str]:
    for name in (field.name for field in fields(Site) if field.name not in _BY_LINE):
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if isinstance(before, dict):
            yield from _table(name.removesuffix("s"), before, after)
        elif is_dataclass(before):
            yield from (f"{name}: {what}" for what in _differences(before, after))
        elif isinstance(before, tuple):
            yield f"{name}: changed"
        else:
            yield f"{name}: {_shown(before)} -> {_shown(after)}"


def _table(word: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Elements of one table by their id."""
    yield from (f"{word} {key}: removed" for key in before if key not in after)
    yield from (f"{word} {key}: added" for key in after if key not in before)
    for key in before:
        if key in after and before[key] != after[key]:
            yield f"{word} {key}: {', '.join(_differences(before[key], after[key]))}"


def _differences(before: object, after: object) -> list[str]:
    """The keys in which two settings differ."""
    if type(before) is not type(after) or not is_dataclass(before):
        return [f"{_shown(before)} -> {_shown(after)}"]
    told = []
    for name in (field.name for field in fields(before)):
        one, other = getattr(before, name), getattr(after, name)
        if one != other:
            inner = is_dataclass(one) and type(one) is type(other)
            told += [f"{name}.{what}" if inner else f"{name} {what}" for what in _differences(one, other)]
    return told


def _shown(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    return type(value).__name__ if is_dataclass(value) else str(value)
