"""The inbox: whatever is not a collector and must be evidence comes in as a file and goes out with a verdict.

A file is one JSON object per line: first `{"author", "format", "id", "origin"}`, then one `{"body", "kind"}`
per entry. It is journaled whole or refused whole, and once only, whenever the power goes.
"""

import asyncio
import errno
import json
import logging
import os
import secrets
import time
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gateway.clocks import Clock, SystemClock
from gateway.errors import JournalError, JournalStopped
from gateway.journal.correction_bodies import APPROVED, PROPOSED
from gateway.journal.corrections import check_decision, proposals
from gateway.journal.disk import make_directory, move_file, read_file, remove_file, write_file
from gateway.journal.entries import Entry, EntryKind, canonical_json
from gateway.journal.inbox_file import FORMAT, MAX_BYTES, Malformed, Submission, read_submission
from gateway.journal.people import check_name
from gateway.journal.reader import entries
from gateway.journal.recorded import asked_of, check_evidence, check_recorded, recorded
from gateway.journal.writer import Journal

FOLDER = "inbox"
DONE = "done"
EVERY_US = 500_000  # how often `watch` looks into the folder
AGAIN_S = 60.0  # how long a file that could be neither taken in nor refused is let alone, unless it changes
_LARGEST_NOTE = 65536  # [bytes] of a mark or a verdict
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}  # no fault of the file that met it
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


class Trouble(NamedTuple):
    """A file that could be neither taken in nor refused: as it was, why, and when it is tried again [s, monotonic]."""

    state: list[int]
    why: str
    again: float


Troubles = MutableMapping[str, Trouble]


def submit(
    data_dir: Path,
    items: Iterable[tuple[EntryKind, Mapping[str, object]]],
    *,
    origin: str,
    author: str,
    user: str = "",
    clock: Clock | None = None,
) -> Path:
    """Put entries into the inbox as one file, durably; it is taken in whole, after those submitted earlier.

    `origin` says which program or interface, `author` which person, `user` which user of the operating system ran
    the program. Raises ValueError when the author has a name that may not stand, an entry no canonical form or the
    file would be too large, JournalError when the disk fails.
    """
    check_name(author, "author")
    stamp = (clock or SystemClock()).now()
    name = f"{stamp:020d}-{secrets.token_hex(4)}.jsonl"
    head = {"author": author, "format": FORMAT, "id": name.removesuffix(".jsonl"), "origin": origin}
    head |= {"user": user} if user else {}
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


def take_in(data_dir: Path, journal: Journal, troubles: Troubles | None = None) -> list[Verdict]:
    """Journal every waiting file in the order of names; the verdicts of those judged now.

    A malformed file stays where it is, its verdict beside it; it is judged again when it changes. One that meets
    any other trouble stays too, and the others go on; with `troubles` it is told once and let alone for a while.
    Raises JournalError when the journal or the disk fails: what was not finished is finished at the next call.
    """
    folder = data_dir / FOLDER
    verdicts = []
    troubles = {} if troubles is None else troubles
    try:
        make_directory(folder / DONE)
        for path in waiting_files(data_dir):
            with suppress(FileNotFoundError):  # whoever submitted it took it back
                verdicts += _take_or_leave(path, journal, troubles)
        for mark in folder.glob(".*.taking"):  # its file was moved, and then the power went
            if mark.is_file() and not (folder / mark.name[1:].removesuffix(".taking")).exists():
                remove_file(mark)
    except OSError as error:
        raise JournalError(f"{folder}: the inbox cannot be worked on: {error}") from error
    return verdicts


async def watch(data_dir: Path, journal: Journal, clock: Clock) -> None:
    """Take in what comes, for ever, in a thread of its own. Raises JournalError as `take_in` does."""
    troubles: dict[str, Trouble] = {}
    while True:
        work = asyncio.ensure_future(asyncio.to_thread(take_in, data_dir, journal, troubles))
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
            told = _read_json(place) or {}
            if set(Verdict._fields) <= set(told):
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


def _take_or_leave(path: Path, journal: Journal, troubles: Troubles) -> list[Verdict]:
    """The verdict on one file; none when it met trouble that is no fault of its form, and stays."""
    state, left = _state(path), troubles.get(path.name)
    if left is not None and left.state == state and time.monotonic() < left.again:
        return []
    try:
        verdict = _take(path, journal, state)
    except (FileNotFoundError, JournalStopped):
        raise
    except Exception as error:  # whatever it is: one file that nobody thought of does not end the intake of all others
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        expected = isinstance(error, OSError | JournalError)
        why = str(error) if isinstance(error, JournalError) else repr(error)
        troubles[path.name] = Trouble(state, why, time.monotonic() + AGAIN_S)
        if left is None or left.why != why:
            log.error("%a: it cannot be taken in; it stays: %s", str(path), why, exc_info=not expected)
        if expected:
            return []
        # Nothing of it was journaled: from its first entry on nothing but disk and journal can fail.
        verdict = Verdict(path.name, False, 0, 0, 0, None, f"it cannot be taken in: {why}")
        with suppress(OSError, ValueError):  # its very name may be what nobody can write down
            _write_verdict(path.parent, path, verdict, state)
        return [verdict]
    troubles.pop(path.name, None)
    return [verdict]


def _take(path: Path, journal: Journal, state: list[int]) -> Verdict:
    mark = path.with_name(f".{path.name}.taking")
    try:
        submission = _read_new(path)
        taken = _taken_before(mark, submission, journal)
        if not taken:
            _refuse_unfounded(submission, path.parent.parent, journal.directory)
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
    if not os.path.lexists(mark):
        return []
    told = _read_json(mark) or {}
    after = told.get("after")
    if type(after) is not int or not 0 <= after <= journal.durable_sequence or not isinstance(told.get("sha256"), str):
        raise Malformed(
            None,
            f"the mark {mark.name} beside it does not say where in the journal its entries begin, so some may be there "
            "already; look for them, then remove the mark and submit what is missing as a new file",
        )
    if told["sha256"] != submission.sha256:
        raise Malformed(None, "the file was changed while it was being taken in; submit what is missing as a new file")
    found = entries(journal.directory, after=after)
    return [entry.sequence for entry in found if _source(entry) == submission.sha256]


def _refuse_unfounded(submission: Submission, data_dir: Path, directory: Path) -> None:
    """Raise Malformed on a decision that may not be taken, and on a proposal of what is not recorded.

    Nobody approves a correction of one's own. What is approved was checked when it was proposed and is checked again.
    """
    items = enumerate(submission.items(skip=0), 2)
    corrections = [(number, body) for number, (kind, body) in items if kind is EntryKind.CORRECTION]
    decisions = [(number, body) for number, body in corrections if body["correction"] != PROPOSED]
    found = proposals(directory, {body["proposal"] for _, body in decisions})
    claims = [(number, body) for number, body in corrections if body["correction"] == PROPOSED]
    approved = [(number, body["proposal"]) for number, body in decisions if body["correction"] == APPROVED]
    claims += [(number, found[sequence].entry.body) for number, sequence in approved if sequence in found]
    decided: set[int] = set()
    for number, body in decisions:
        try:
            check_decision(found, body, submission.author)
        except ValueError as error:
            raise Malformed(number, str(error)) from error
        if body["proposal"] in decided:
            raise Malformed(number, f"proposal: entry {body['proposal']} is decided twice in this file")
        decided.add(body["proposal"])
    held = recorded(directory, {asked_of(body) for _, body in claims})
    for number, body in claims:
        try:
            check_recorded(held, body)
            check_evidence(data_dir, body["evidence"])
        except ValueError as error:
            raise Malformed(number, str(error)) from error


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
        told = json.loads(read_file(path, _LARGEST_NOTE))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
