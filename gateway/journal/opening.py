"""What must hold before the writer begins: nobody else writes here, and the journal is this gateway's own."""

import fcntl
import os
import uuid
from pathlib import Path

from gateway.errors import JournalError, JournalHeld
from gateway.journal.entries import Entry, EntryKind, decode_entry
from gateway.journal.segment_files import SegmentFile, frames, open_segment
from gateway.journal.segments import GENESIS, segments

LOCK_NAME = "writer.lock"
_KEY = b'"key":"'
_PIECE = 1024 * 1024


def boot_id() -> str:
    """The kernel's name for the time since it started; a new random one where the kernel tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return str(uuid.uuid4())


def take_lock(directory: Path) -> int:
    """The descriptor that keeps other writers out until it is closed, by the end of the process at the latest.

    Raises JournalHeld naming the process that holds the journal.
    """
    lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise JournalHeld(
            f"{directory}: another writer holds this journal (process {holder}). One journal has one writer: "
            f"stop that process, or hand entries to it through the inbox"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def refuse_other_gateway(directory: Path, gateway_id: str) -> None:
    """Sequence numbers name entries only together with their gateway: two of them never share a chain.

    Raises JournalError when the journal was created by another gateway.
    """
    found = segments(directory)
    if not found or found[0].first != 1:
        return
    with open_segment(found[0].path) as file:
        first = next(frames(file), None)
    if first is None or first.previous != GENESIS:
        return  # unfinished or damaged: recovery decides
    owner = decode_entry(first).body.get("gateway")
    if owner != gateway_id:
        raise JournalError(
            f"{directory}: this is the journal of gateway {owner!r}, not of {gateway_id!r}; "
            f"give each gateway a data_dir of its own"
        )


def newest_key(directory: Path) -> str | None:
    """The id of the key that the newest checkpoint or key event names; None when the journal has no key yet.

    Looks back from the newest segment, as a rule no further: each holds a checkpoint. Raises JournalError.
    """
    for segment in reversed(segments(directory)):
        named = None
        with open_segment(segment.path) as file:
            for frame in frames(file) if _mentions_a_key(file) else ():
                if _KEY in frame.payload:
                    named = _key_named_in(decode_entry(frame)) or named
        if named is not None:
            return named
    return None


def _mentions_a_key(file: SegmentFile) -> bool:
    """True if it is worth while to look for one entry by entry: a segment of readings alone is passed over at once."""
    at = 0
    try:
        while piece := file.read_at(at, _PIECE):
            if _KEY in piece:
                return True
            at += max(len(piece) - len(_KEY) + 1, 1)  # one may lie across the end of a piece
    except OSError as error:
        raise JournalError(f"{file.path}: cannot be read: {error.strerror}") from error
    return False


def _key_named_in(entry: Entry) -> str | None:
    if "inbox" in entry.body:  # whatever it says there, nobody but the journal names a key
        return None
    tells = entry.kind is EntryKind.CHECKPOINT or entry.body.get("event") in {"key_created", "key_rotated"}
    return str(entry.body["key"]) if tells else None


def refuse_other_key(directory: Path, key: str) -> bool:
    """True if the journal is signed with this key (its id), False if with none yet.

    Raises JournalError when it is signed with another.
    """
    newest = newest_key(directory)
    if newest not in {None, key}:
        raise JournalError(
            f"{directory}: this journal is signed with key {newest}, not with {key}. Put that key's file back from "
            f"its copy; if it is lost, `emg journal rotate-key SITE --lost` begins a new key, which verification tells"
        )
    return newest is not None
