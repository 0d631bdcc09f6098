"""Every event that the product journals stands in the journal's README with the keys it has, and no other does."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "gateway" / "journal" / "README.md"
ROOMS = ("gateway", "collectors", "analytics", "api", "simulators")
NAMING = {
    "event",
    "note",
    "begin",
    "_tell",
    "_tell_schedules",
}  # methods of a recording whose first argument is the name of an event
ROW = re.compile(r"^\| `([a-z_.]+)` \|.*\|$", re.MULTILINE)


def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text("utf-8")) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def named_by(tree: ast.Module) -> Iterator[ast.expr]:
    """What stands where the name of an event is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
            yield from (value for key, value in zip(keys, node.values, strict=True) if key == "event")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in NAMING:
            recording = node.func.value
            if isinstance(recording, ast.Name) and recording.id in {"recording", "self"}:
                yield from node.args[:1]


def texts_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(name, text) of each constant of a module, also where several are given at once."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield name.id, value.value


def written() -> set[str]:
    """The names of all events that the product's source gives, directly or by a constant of its module or another."""
    found, every = set(), trees()
    constants: dict[str, set[str]] = {}
    for name, text in (pair for tree in every for pair in texts_of(tree)):
        constants.setdefault(name, set()).add(text)
    for tree in every:
        own = dict(texts_of(tree))
        for given in named_by(tree):
            if isinstance(given, ast.Constant) and given.value and isinstance(given.value, str):
                found.add(given.value)
            elif isinstance(given, ast.Name) and given.id.isupper():
                found |= {own[given.id]} if given.id in own else constants[given.id]
    return found


def listed() -> set[str]:
    text = README.read_text("utf-8")
    table = text[text.index("| event | when |") :]
    return set(ROW.findall(table[: table.index("\n\n")]))


def test_the_readme_lists_every_event_that_is_written_and_no_other() -> None:
    found = written()
    assert {"journal_created", "salvaged", "acquire_stopped", "message_refused", "labels_again"} <= found
    assert listed() == found
