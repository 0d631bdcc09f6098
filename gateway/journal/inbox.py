"""The inbox: whatever is not a collector and must be evidence comes in as a file and goes out with a verdict.

A file is one JSON object per line: first `{"author", "format", "id", "origin"}`, then one `{"body", "kind"}`
per entry. It is journaled whole or refused whole, and once only, whenever the power goes.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gateway.clocks import Clock, SystemClock
from gateway.errors import JournalError
from gateway.journal.correction_bodies import PROPOSED
from gateway.journal.corrections import check_decision
from gateway.journal.disk import make_directory, move_file, remove_file, write_file
from gateway.journal.entries import Entry, EntryKind, canonical_json
from gateway.journal.inbox_file import FORMAT, MAX_BYTES, Malformed, Submission, read_submission
from gateway.journal.reader import entries
from gateway.journal.writer import Journal

FOLDER = "inbox"
DONE = "done"
EVERY_US = 500_000  # how often `watch` looks into the folder
log = logging.getLogger("emg.inbox")


class Verdict(NamedTuple):
    """What became of one file. Refused: no sequence numbers, the reason, and the line (1-based) if one is at fault."""

    file: str
    accepted: bool
    entries: int
    first_sequence: int
    last_sequence: int
    line: int | None
    reason: str


def submit(
    data_dir: Path,
    items: Iterable[tuple[EntryKind, Mapping[str, object]]],
    *,
    origin: str,
    author: str,
    clock: Clock | None = None,
) -> Path:
    """Put entries into the inbox as one file, durably; it is taken in whole, after those submitted earlier.

    `origin` says which program or interface, `author` which person. Raises ValueError when an entry has no
    canonical form or the file would be too large, JournalError when the disk fails.
    """
    stamp = (clock or SystemClock()).now()
    name = f"{stamp:020d}-{secrets.token_hex(4)}.jsonl"
    head = {"author": author, "format": FORMAT, "id": name.removesuffix(".jsonl"), "origin": origin}
    lines = [canonical_json(head)]
    lines += [canonical_json({"body": body, "kind": kind.value}) for kind, body in items]
    data = b"".join(line + b"\n" for line in lines)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data)} bytes in one inbox file; at most {MAX_BYTES}: submit in parts")
    path = data_dir / FOLDER / name
    try:
        make_directory(path.parent)
        write_file(path, data)
    except OSError as error:
        raise JournalError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def take_in(data_dir: Path, journal: Journal) -> list[Verdict]:
    """Journal every waiting file in the order of names; the verdicts of those judged now.

    A malformed file stays where it is, its verdict beside it; it is judged again when it changes. Raises
    JournalError when the journal or the disk fails: what was not finished is finished at the next call.
    """
    folder = data_dir / FOLDER
    verdicts = []
    try:
        make_directory(folder / DONE)
        for path in waiting_files(data_dir):
            with suppress(FileNotFoundError):  # whoever submitted it took it back
                verdicts.append(_take(path, journal))
        for mark in folder.glob(".*.taking"):  # its file was moved, and then the power went
            if not (folder / mark.name[1:].removesuffix(".taking")).exists():
                remove_file(mark)
    except OSError as error:
        raise JournalError(f"{folder}: the inbox cannot be worked on: {error}") from error
    return verdicts


async def watch(data_dir: Path, journal: Journal, clock: Clock) -> None:
    """Take in what comes, for ever, in a thread of its own. Raises JournalError as `take_in` does."""
    while True:
        work = asyncio.ensure_future(asyncio.to_thread(take_in, data_dir, journal))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # the journal must not be closed under a file that is being taken in
            work.exception()  # seen; whoever cancels asks no longer
            raise
        await clock.sleep_until(clock.now() + EVERY_US)


def verdict_of(path: Path, timeout: float) -> Verdict | None:
    """The verdict on a submitted file; None when there is none within `timeout` [s]. The file stays submitted."""
    until = time.monotonic() + timeout
    places = (path.parent / DONE / _verdict_name(path), path.parent / _verdict_name(path))
    while True:
        for place in places:
            told = _read_json(place)
            if told is not None:
                return Verdict(*(told[field] for field in Verdict._fields))
        if time.monotonic() >= until:
            return None
        time.sleep(0.05)


def waiting_files(data_dir: Path) -> list[Path]:
    """The files to judge: neither hidden (half written) nor refused before and unchanged since."""
    folder, found = data_dir / FOLDER, []
    for path in sorted(folder.glob("[!.]*.jsonl")):
        if path.is_file() and not path.is_symlink():
            told = _read_json(path.with_name(_verdict_name(path)))
            if told is None or told.get("judged") != _state(path):
                found.append(path)
    return found


def _take(path: Path, journal: Journal) -> Verdict:
    state = _state(path)
    mark = path.with_name(f".{path.name}.taking")
    try:
        submission = _read_new(path)
        taken = _taken_before(mark, submission, journal)
        if not taken:
            _refuse_undecidable(submission, journal.directory)
    except Malformed as fault:
        verdict = Verdict(path.name, False, 0, 0, 0, fault.line, fault.reason)
        _write_verdict(path.parent, path, verdict, state)
        log.warning("%s: line %s: %s; the file stays, its verdict is beside it", path, fault.line, fault.reason)
        return verdict
    if not taken:
        # Before the first entry: where to look, should the power go before the file is moved away.
        write_file(mark, canonical_json({"after": journal.durable_sequence, "sha256": submission.sha256}))
    missing = submission.count - len(taken)
    if missing:
        last = journal.append_all_now(submission.items(skip=len(taken)))
        taken += range(last - missing + 1, last + 1)
    verdict = Verdict(path.name, True, submission.count, taken[0], taken[-1], None, "")
    _write_verdict(path.parent / DONE, path, verdict, state)
    remove_file(path.with_name(_verdict_name(path)))  # of an earlier, refused content
    move_file(path, path.parent / DONE / path.name)
    remove_file(mark)
    return verdict


def _read_new(path: Path) -> Submission:
    submission = read_submission(path)
    if (path.parent / DONE / path.name).exists():
        raise Malformed(None, "a file of this name was taken in before; submit it under another name")
    return submission


def _taken_before(mark: Path, submission: Submission, journal: Journal) -> list[int]:
    """Sequence numbers of those of the file's entries that are in the journal already: it was interrupted.

    The entries of a file are journaled in its order, and none of it before the mark was durable.
    """
    told = _read_json(mark)
    if told is None:
        return []
    if told["sha256"] != submission.sha256:
        raise Malformed(None, "the file was changed while it was being taken in; submit what is missing as a new file")
    found = entries(journal.directory, after=told["after"])
    return [entry.sequence for entry in found if _source(entry) == submission.sha256]


def _refuse_undecidable(submission: Submission, directory: Path) -> None:
    """Raise Malformed on a decision that may not be taken: nobody approves a correction of one's own."""
    decided: set[int] = set()
    for number, (kind, body) in enumerate(submission.items(skip=0), 2):
        if kind is not EntryKind.CORRECTION or body["correction"] == PROPOSED:
            continue
        try:
            check_decision(directory, body, submission.author)
        except ValueError as error:
            raise Malformed(number, str(error)) from error
        if body["proposal"] in decided:
            raise Malformed(number, f"proposal: entry {body['proposal']} is decided twice in this file")
        decided.add(body["proposal"])


def _source(entry: Entry) -> object:
    told = entry.body.get("inbox")
    return told.get("sha256") if isinstance(told, dict) else None


def _write_verdict(folder: Path, path: Path, verdict: Verdict, state: list[int]) -> None:
    write_file(folder / _verdict_name(path), canonical_json({**verdict._asdict(), "judged": state}) + b"\n")


def _verdict_name(path: Path) -> str:
    return f"{path.stem}.verdict.json"


def _state(path: Path) -> list[int]:
    """What changes when somebody mends the file: size [bytes], time of modification [ns]."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
