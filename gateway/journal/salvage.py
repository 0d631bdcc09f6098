"""Salvage: everything whole of a damaged journal in a new folder, and what is lost named in an event at its end."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway.clocks import Clock
from gateway.errors import JournalError
from gateway.journal.absences import PRUNED, SALVAGED
from gateway.journal.disk import copy_file, make_directory, sync_directory, write_file
from gateway.journal.entries import EntryKind, encode_payload
from gateway.journal.frame_search import Searched, search_file
from gateway.journal.losses import Account, Ranges, runs
from gateway.journal.opening import LOCK_NAME, boot_id
from gateway.journal.permits import signed_permit
from gateway.journal.segment_files import frames, open_segment
from gateway.journal.segments import (
    COMPRESSED,
    GENESIS,
    MAGIC,
    Frame,
    Segment,
    Tail,
    encode_frame,
    entry_hash,
    judge_tail,
    segment_name,
    segments,
)
from gateway.journal.signing import SigningKey

DAMAGED = "damaged"  # folder of the files that were not whole, as they were found


class DamagedFile(NamedTuple):
    """One file that was not whole: how large, its SHA-256 in hex, and how many whole entries it holds."""

    file: str
    bytes: int
    sha256: str
    entries: int


class Salvage(NamedTuple):
    """What a journal holds and what it has lost."""

    entries: int
    newest: int  # the largest sequence number that was given
    lost: Ranges  # (first, last), beyond what earlier salvages name
    damaged: list[DamagedFile]
    torn_bytes: int  # of an entry at the very end that was begun and never acknowledged
    broken: list[int]  # entries that do not carry the hash of the one before: not damage, but a changed journal
    key: str  # id of the key that signs it; empty when none does
    signed: bool = False  # the event that names the loss was signed with it

    @property
    def needed(self) -> bool:
        """True if there is something to salvage around; a torn end alone is the next start's business."""
        return bool(self.lost or self.damaged)


class _Part(NamedTuple):
    """A segment as it was found: its files, the one that is whole (if one is), and all its whole frames in order."""

    paths: list[Path]
    whole: Path | None
    frames: list[Frame]
    searched: list[Searched]

    def damaged(self) -> list[DamagedFile]:
        """Those of its files that are not whole."""
        return [
            DamagedFile(path.name, path.stat().st_size, _digest_of(path), len(found.frames))
            for path, found in zip(self.paths, self.searched, strict=True)
            if not found.intact
        ]

    def put_into(self, folder: Path) -> None:
        """Copy the file that is whole, or write what is; and copy what is not as it is, into a folder of its own."""
        if self.whole is not None:
            copy_file(self.whole, folder / self.whole.name)
        elif self.frames:
            written = [encode_frame(frame.sequence, frame.previous, frame.payload) for frame in self.frames]
            write_file(folder / segment_name(self.frames[0].sequence), b"".join([MAGIC, *written]))
        for path, found in zip(self.paths, self.searched, strict=True):
            if not found.intact:
                copy_file(path, folder / DAMAGED / path.name)


def examine(directory: Path) -> Salvage:
    """What is whole and what is lost; nothing is written. Raises JournalError when it cannot be read."""
    return _walk(directory, None)[0]


def salvage(
    directory: Path, target: Path, *, clock: Clock, key: SigningKey | None = None, gateway_id: str = ""
) -> Salvage:
    """Make the new folder `target` of what is whole in `directory`, which is never changed; what was found.

    Whole files are copied, damaged ones written again without what is lost, and the event `salvaged` stands at the
    end, so that a writer can go on. A journal without damage gives no folder. `target` is there whole or not at all.
    A journal that is signed verifies afterwards only if its `key` signs that event; `gateway_id` says whose it is where
    what is left does not. Raises JournalError when a writer
    is at work in `directory`, when `key` is not the journal's, when `target` exists, or when the disk fails.
    """
    if target.exists():
        raise JournalError(f"{target}: exists already; a salvage makes a new folder")
    with _no_writer(directory):
        return _make(directory, target, clock, key, gateway_id)


def _make(directory: Path, target: Path, clock: Clock, key: SigningKey | None, gateway_id: str) -> Salvage:
    partial = target.absolute().with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a salvage that was interrupted
        make_directory(partial / DAMAGED)
        found, account = _walk(directory, partial)
        other = key is not None and account.key not in {"", key.id}
        if other or not found.needed:
            shutil.rmtree(partial)
        if other:
            raise JournalError(f"{directory}: is signed with key {account.key}; expected the key that was given")
        if not found.needed:
            return found
        account.gateway = account.gateway or gateway_id
        found = found._replace(signed=key is not None and account.key != "")
        _tell(partial, found, account, clock, key)
        for path in directory.glob("*.torn"):
            copy_file(path, partial / path.name)
        sync_directory(partial / DAMAGED)
        sync_directory(partial)
        partial.rename(target)
        sync_directory(partial.parent)
    except OSError as error:
        raise JournalError(f"{target}: the salvage failed: {error}. {directory} is unchanged") from error
    return found


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _no_writer(directory: Path) -> Iterator[None]:
    """Keep writers out, all the while: what one adds behind what was looked at would be in no salvage.

    A copy that has no lock file has no writer either; there none is made, for nothing is written in `directory`.
    """
    if not (directory / LOCK_NAME).exists():
        yield
        return
    lock = os.open(directory / LOCK_NAME, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"{directory}: a writer is at work here; stop the gateway first") from None
        yield
    finally:
        os.close(lock)


def _walk(directory: Path, folder: Path | None) -> tuple[Salvage, Account]:
    """Account for every segment; with a folder, put there what is whole, and the files that are not."""
    listed = segments(directory)
    if not listed:
        raise JournalError(f"{directory}: holds no journal (no file named like {segment_name(1)})")
    account, damaged, torn_bytes = Account(), list[DamagedFile](), 0
    for segment, following in zip(listed, [*listed[1:], None], strict=True):
        try:
            part = _read(segment, None if following is None else following.first - 1)
            for frame in part.frames:
                account.take(frame)
            orderly_end = False
            if following is None:
                torn_bytes = _account_for_the_end(part, segment, account)
                orderly_end = all(found.orderly for found in part.searched) and not account.lost() and not damaged
            if not orderly_end:
                damaged += part.damaged()
            if folder is not None:
                part.put_into(folder)
        except OSError as error:
            raise JournalError(f"{segment.path}: cannot be salvaged: {error.strerror}") from error
    found = Salvage(account.entries, account.newest, account.lost(), damaged, torn_bytes, account.broken, account.key)
    return found, account


def _read(segment: Segment, last: int | None) -> _Part:
    packed = segment.path.with_name(segment.path.name + COMPRESSED)
    paths = [segment.path, packed] if packed.exists() else [segment.path]
    searched = [search_file(path, segment.first, last) for path in paths]
    for path, found in zip(paths, searched, strict=True):
        if found.intact:
            return _Part(paths, path, found.frames, searched)
    frames = {frame.sequence: frame for found in reversed(searched) for frame in found.frames}
    return _Part(paths, None, [frames[number] for number in sorted(frames)], searched)


def _account_for_the_end(part: _Part, segment: Segment, account: Account) -> int:
    """What lies behind the last whole entry: bytes of one that was never acknowledged [bytes], or entries lost."""
    plain = part.searched[0]
    if part.whole is not None or plain.ends:
        return 0
    begun = segment.path.suffix != COMPRESSED and (plain.orderly or plain.frames)
    if begun and judge_tail(plain.rest) is Tail.TORN:
        return len(plain.rest)
    last = account.last.sequence if account.last else 0
    account.miss_end(max(last + 1, segment.first, *(found.newest_named for found in part.searched)))
    return 0


def _tell(folder: Path, found: Salvage, account: Account, clock: Clock, key: SigningKey | None) -> None:
    """Write the event `salvaged`, in a segment of its own, under a number that was never given."""
    stamp: dict[str, Any] = {"at": clock.now(), "monotonic_ns": clock.monotonic_ns(), "boot": boot_id()}
    damaged = [{"file": file.file, "bytes": file.bytes, "sha256": file.sha256} for file in found.damaged]
    bodies: list[Mapping[str, Any]] = [
        {"event": SALVAGED, "lost": found.lost, "frames": found.entries, "damaged": damaged}
    ]
    if unnamed := account.unnamed_stand_ins():
        bodies.append(_pruning(folder, unnamed))
    sequence, previous, written = found.newest + 1, account.last.hash if account.last else GENESIS, MAGIC
    for number, told in enumerate(bodies, sequence):
        body = signed_permit(key, account.gateway, number, told) if key is not None and found.signed else told
        payload = encode_payload(EntryKind.EVENT, body=body, **stamp)
        written += encode_frame(number, previous, payload)
        previous = entry_hash(number, previous, payload)
    write_file(folder / segment_name(sequence), written)


def _pruning(folder: Path, numbers: list[int]) -> dict[str, Any]:
    """The body of an event for stand-ins of pruned entries whose own event is lost."""
    digest, wanted = hashlib.sha256(), set(numbers)
    for segment in segments(folder):
        with open_segment(segment.path) as file:
            for frame in frames(file):
                if frame.sequence in wanted:
                    digest.update(frame.sequence.to_bytes(8, "big") + frame.previous + frame.payload)
    return {"event": PRUNED, "ranges": runs(numbers), "entries": len(numbers), "digest": digest.hexdigest()}
