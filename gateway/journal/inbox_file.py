"""One file of the inbox: read whole and checked line by line before anything of it is journaled."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gateway.journal.correction_bodies import check_form
from gateway.journal.entries import EntryKind, canonical_json, readings_in
from gateway.journal.segments import MAX_PAYLOAD

FORMAT = 1
MAX_BYTES = 64 * 1024 * 1024
_ROOM = 4096  # left in a payload for what the journal adds to a body
_HEAD = ("author", "format", "id", "origin")
# What only the journal itself can know: the head of its chain, and what has left it.
_KINDS = {kind.value: kind for kind in EntryKind if kind not in {EntryKind.CHECKPOINT, EntryKind.PRUNED}}
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
    lines: list[bytes]  # those of entries, as they stand in the file

    @property
    def count(self) -> int:
        """How many entries the file holds."""
        return len(self.lines)

    def items(self, *, skip: int) -> Iterator[tuple[EntryKind, dict[str, Any]]]:
        """The entries behind the first `skip`, each body with the name and digest of the file, origin and author."""
        for number, line in enumerate(self.lines[skip:], skip + 2):
            value = json.loads(line)
            source = {"file": self.file, "line": number, "sha256": self.sha256}
            told = {**source, "author": self.author, "origin": self.origin}
            yield EntryKind(value["kind"]), {**value["body"], "inbox": told}


def read_submission(path: Path) -> Submission:
    """The file at `path`, every line checked. Raises Malformed naming the first bad line."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Malformed(None, f"the file is larger than {MAX_BYTES} bytes; submit it in parts")
        data = path.read_bytes()
    except OSError as error:
        raise Malformed(None, f"the file cannot be read: {error.strerror}") from error
    head, *lines = data.split(b"\n")
    if not lines or lines.pop():
        raise Malformed(1 + data.count(b"\n"), "the last line does not end: the file is not complete")
    told = _object(head, 1, _HEAD)
    if told["format"] != FORMAT:
        raise Malformed(1, f"found format {told['format']!r}; expected {FORMAT}")
    for key in ("author", "origin"):
        if not isinstance(told[key], str) or not told[key].strip():
            raise Malformed(1, f"found {key} {told[key]!r}; expected a name")
    if not lines:
        raise Malformed(1, "no entry follows the first line")
    for number, line in enumerate(lines, 2):
        _check_entry(line, number)
    digest = hashlib.sha256(data).hexdigest()
    return Submission(file=path.name, sha256=digest, origin=told["origin"], author=told["author"], lines=lines)


def _check_entry(line: bytes, number: int) -> None:
    value = _object(line, number, ("body", "kind"))
    kind, body = _KINDS.get(str(value["kind"])), value["body"]
    if kind is None:
        raise Malformed(number, f"found kind {value['kind']!r:.80}; expected one of {', '.join(_KINDS)}")
    if not isinstance(body, dict) or "inbox" in body:
        raise Malformed(number, "the body must be an object, and its key `inbox` is the journal's own")
    if kind is EntryKind.EVENT and str(body.get("event")) in _OWN_EVENTS:
        raise Malformed(number, f"found event {body['event']!r}: verification rests on it, only the journal tells it")
    try:
        size = len(canonical_json(body))
        if kind is EntryKind.READINGS:
            readings_in(body)
        elif kind is EntryKind.CORRECTION:
            check_form(body)
    except ValueError as error:
        raise Malformed(number, str(error)) from error
    if size > MAX_PAYLOAD - _ROOM:
        raise Malformed(number, f"{size} bytes in one entry; at most {MAX_PAYLOAD - _ROOM}")


def _object(line: bytes, number: int, keys: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object on a line, with exactly these keys."""
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed(number, f"not JSON: {error}") from error
    if not isinstance(value, dict) or sorted(value) != sorted(keys):
        raise Malformed(number, f"found {line!r:.80}; expected a JSON object with the keys {', '.join(keys)}")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
