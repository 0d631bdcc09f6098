"""Which line of a TOML file a key stands on, so that a mistake can be shown where it was made."""

import re
from collections.abc import Sequence

from gateway.errors import Problem

# A place in a TOML document: keys, and the 0-based index after the key of an array of tables.
Place = tuple[str | int, ...]

_KEY = re.compile(r'[ \t]*("(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+)[ \t]*')
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_VALUE_PIECE = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"{3,5}'  # a multi-line string may end in two quotes of its own
    r"|'''[\s\S]*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}\n]"
    r"|[^\"'#\[\]{}\n]+"
    r"|[\s\S]"
)


class TomlLines:
    """The lines of the keys of one TOML file. `file` is the name by which problems call it."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._lines = _scan(text)

    def line(self, place: Place) -> int | None:
        """The 1-based line of the key at `place`, or of the nearest table around it; None for the whole file."""
        for length in range(len(place), 0, -1):
            found = self._lines.get(place[:length])
            if found is not None:
                return found
        return None

    def problem(self, place: Place, found: str, expected: str, mend: str = "") -> Problem:
        """A mistake at `place`, told with its line."""
        return Problem(
            file=self.file, line=self.line(place), key=dotted(place), found=found, expected=expected, mend=mend
        )


def dotted(place: Place) -> str:
    """A place as people write it, tables counted from 1: `meter[2].device_address`."""
    text = ""
    for step in place:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".") or "(file)"


def _scan(text: str) -> dict[Place, int]:
    """Every table header and key of a TOML text that is known to be well-formed, with its line."""
    lines: dict[Place, int] = {}
    counts: dict[Place, int] = {}  # arrays of tables seen so far
    table: Place = ()
    at = 0
    while (at := _end(_BLANK, text, at)) < len(text):
        line = text.count("\n", 0, at) + 1
        brackets = 2 if text.startswith("[[", at) else 1 if text[at] == "[" else 0
        keys, at = _keys(text, at + brackets)
        if not keys:
            break  # not TOML: whatever follows has no line of its own
        if brackets:
            table = _resolve(keys, (), counts, opens=brackets == 2)
            lines.setdefault(table, line)
            at += brackets
        else:
            lines.setdefault(_resolve(keys, table, counts), line)
            at = _after_value(text, at + 1)
    return lines


def _keys(text: str, at: int) -> tuple[list[str], int]:
    """The parts of a dotted key that starts at `at`, and where it ends."""
    parts: list[str] = []
    while match := _KEY.match(text, at):
        parts.append(match[1].strip("\"'"))
        at = match.end()
        if not text.startswith(".", at):
            break
        at += 1
    return parts, at


def _resolve(keys: Sequence[str], table: Place, counts: dict[Place, int], *, opens: bool = False) -> Place:
    """The place that `keys` name below `table`; the newest element where an array of tables is passed."""
    place = table
    for number, key in enumerate(keys):
        place = (*place, key)
        if opens and number == len(keys) - 1:
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place


def _after_value(text: str, at: int) -> int:
    """Where the value that starts at `at` has ended: at a line end outside all brackets."""
    depth = 0
    while match := _VALUE_PIECE.match(text, at):
        piece = match[0]
        at = match.end()
        if piece in ("[", "{"):
            depth += 1
        elif piece in ("]", "}"):
            depth -= 1
        elif piece == "\n" and depth <= 0:
            break
    return at


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
