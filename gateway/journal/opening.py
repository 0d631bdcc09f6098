"""What must hold before the writer begins: nobody else writes here, and the journal is this gateway's own."""

import fcntl
import os
import uuid
from pathlib import Path

from gateway.errors import JournalError
from gateway.journal.entries import decode_entry
from gateway.journal.segments import GENESIS, MAGIC, frames, segments

LOCK_NAME = "writer.lock"


def boot_id() -> str:
    """The kernel's name for the time since it started; a new random one where the kernel tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return str(uuid.uuid4())


def take_lock(directory: Path) -> int:
    """The descriptor that keeps other writers out until it is closed, by the end of the process at the latest.

    Raises JournalError naming the process that holds the journal.
    """
    lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise JournalError(
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
    first = next(frames(found[0].path, len(MAGIC)), None)
    if first is None or first.previous != GENESIS:
        return  # unfinished or damaged: recovery decides
    owner = decode_entry(first).body.get("gateway")
    if owner != gateway_id:
        raise JournalError(
            f"{directory}: this is the journal of gateway {owner!r}, not of {gateway_id!r}; "
            f"give each gateway a data_dir of its own"
        )
