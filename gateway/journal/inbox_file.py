"""One file of the inbox: read whole and checked line by line before anything of it is journaled."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gateway.journal.correction_bodies import check_form
from gateway.journal.disk import read_file
from gateway.journal.entries import EntryKind, canonical_json, readings_in
from gateway.journal.people import LONGEST, check_name
from gateway.journal.segments import MAX_PAYLOAD

FORMAT = 1
MAX_BYTES = 64 * 1024 * 1024
_ROOM = 4096  # left in a payload for what the journal adds to a body
_DEEPEST = 64  # objects and lists within one another: every reader of the journal can follow
_HEAD = ("author", "format", "id", "origin")
# What only the journal itself can know, the head of its chain and what has left it; and only the recorder, what it
# did not read: readings and gaps of a line account for its slots.
_OWN_KINDS = {EntryKind.CHECKPOINT, EntryKind.PRUNED, EntryKind.GAP}
_KINDS = {kind.value: kind for kind in EntryKind if kind not in _OWN_KINDS}
_OWN_EVENTS = {
    "journal_created",
    "key_created",
    "key_rotated",
    "payloads_pruned",
    "salvaged",
    "segments_retired",
    "torn_tail_cut",
}


class Malformed(Exception):
    """Why a file is refused, and at which line (1-based; None: the file as a whole)."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A file whose every line was found good."""

    file: str
    sha256: str
    origin: str
    author: str
    user: str  # of the operating system, whose program handed it in; "" if it does not say
    lines: list[bytes]  # those of entries, as they stand in the file

    @property
    def count(self) -> int:
        """How many entries the file holds."""
        return len(self.lines)

    def items(self, *, skip: int) -> Iterator[tuple[EntryKind, dict[str, Any]]]:
        """The entries behind the first `skip`, each body with the file's name and digest, and what its head says."""
        for number, line in enumerate(self.lines[skip:], skip + 2):
            value = json.loads(line)
            source = {"file": self.file, "line": number, "sha256": self.sha256}
            told = {**source, "author": self.author, "origin": self.origin}
            told |= {"user": self.user} if self.user else {}
            yield EntryKind(value["kind"]), {**value["body"], "inbox": told}


def read_submission(path: Path) -> Submission:
    """The file at `path`, every line checked. Raises Malformed naming the first bad line, FileNotFoundError."""
    try:
        data = read_file(path, MAX_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Malformed(None, f"the file cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise Malformed(None, f"the file is larger than {MAX_BYTES} bytes; submit it in parts")
    head, *lines = data.split(b"\n")
    if not lines or lines.pop():
        raise Malformed(1 + data.count(b"\n"), "the last line does not end: the file is not complete")
    told = _read_head(head)
    if not lines:
        raise Malformed(1, "no entry follows the first line")
    for number, line in enumerate(lines, 2):
        _check_entry(line, number)
    return Submission(file=path.name, sha256=hashlib.sha256(data).hexdigest(), **told, lines=lines)


def _read_head(line: bytes) -> dict[str, str]:
    """Author, origin and user, as the first line has them."""
    told = _object(line, 1, _HEAD, or_not=("user",))
    if told["format"] != FORMAT:
        raise Malformed(1, f"found format {told['format']!r:.80}; expected {FORMAT}")
    names = {"author": told["author"], "origin": told["origin"], "user": told.get("user", "")}
    try:
        check_name(names["author"], "author")
    except ValueError as error:
        raise Malformed(1, str(error)) from error
    for key, name in names.items():
        if not isinstance(name, str) or len(name) > LONGEST or not (name.strip() or key == "user"):
            raise Malformed(1, f"found {key} {name!r:.80}; expected a name of at most {LONGEST} characters")
    return names


def _check_entry(line: bytes, number: int) -> None:
    value = _object(line, number, ("body", "kind"))
    kind, body = _KINDS.get(str(value["kind"])), value["body"]
    if kind is None:
        own = "; only the gateway itself makes such an entry" if value["kind"] in [*_OWN_KINDS] else ""
        raise Malformed(number, f"found kind {value['kind']!r:.80}{own}; expected one of {', '.join(_KINDS)}")
    if not isinstance(body, dict) or "inbox" in body:
        raise Malformed(number, "the body must be an object, and its key `inbox` is the journal's own")
    if _is_too_deep(body):
        raise Malformed(number, f"objects and lists lie more than {_DEEPEST} deep within one another")
    try:
        size = len(canonical_json(body))
        if kind is EntryKind.READINGS:
            readings_in(body)
        elif kind is EntryKind.EVENT:
            _check_event(body.get("event"))
        elif kind is EntryKind.CORRECTION:
            check_form(body)
    except ValueError as error:
        raise Malformed(number, str(error)) from error
    if size > MAX_PAYLOAD - _ROOM:
        raise Malformed(number, f"{size} bytes in one entry; at most {MAX_PAYLOAD - _ROOM}")


def _check_event(name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"found event {name!r:.80}; expected its name, as text")
    if name in _OWN_EVENTS:
        raise ValueError(f"found event {name!r}: verification rests on it, only the journal tells it")


def _is_too_deep(body: dict[str, Any]) -> bool:
    level: list[Any] = [body]
    for _ in range(_DEEPEST):
        parts = (inner.values() if isinstance(inner, dict) else inner for inner in level)
        level = [one for part in parts for one in part if isinstance(one, dict | list)]
    return bool(level)


def _object(line: bytes, number: int, keys: tuple[str, ...], or_not: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON object on a line, with exactly these keys; those of `or_not` may be there."""
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed(number, f"not JSON: {error}") from error
    if not isinstance(value, dict) or not set(keys) <= set(value) <= {*keys, *or_not}:
        raise Malformed(number, f"found {line!r:.80}; expected a JSON object with the keys {', '.join(keys)}")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
