"""Changing the key that signs checkpoints: an event in the chain, before any checkpoint by the new key."""

from pathlib import Path
from typing import NamedTuple

from gateway.clocks import Clock
from gateway.errors import JournalError
from gateway.journal.entries import EntryKind
from gateway.journal.opening import newest_key
from gateway.journal.segments import segments
from gateway.journal.signing import (
    SigningKey,
    load_key,
    prepare_next,
    private_file,
    rotation_text,
    site_key,
    take_over,
)
from gateway.journal.writer import Journal


class Rotation(NamedTuple):
    """The id of the key before, the key from now on, and the entry that tells the change."""

    before: str
    key: SigningKey
    sequence: int


def rotate(data_dir: Path, *, gateway_id: str, clock: Clock, lost: bool = False) -> Rotation:
    """Give the journal in `data_dir` a new key; a checkpoint by it follows at once. No other writer may run.

    `lost`: the old private key is gone, so it cannot sign for the new one; verification tells that. At every moment
    the key that the newest event names is on the disk: after a crash the next start finishes the change, or there
    was none. Raises JournalError, also while another writer holds the journal.
    """
    directory = data_dir / "journal"
    if not segments(directory):
        raise JournalError(f"{directory}: no journal yet, so no key to change; the first `emg acquire` begins it")
    if lost:
        _refuse_if_here(data_dir)
    old = None if lost else site_key(data_dir)
    with Journal.open(directory, gateway_id=gateway_id, clock=clock, key=old) as journal:
        before = newest_key(directory)
        if before is None:
            raise JournalError(f"{directory}: is not signed with any key yet; the next `emg acquire` begins one")
        new = prepare_next(data_dir)
        body: dict[str, object] = {"event": "key_rotated", "before": before, "key": new.id, "public": new.public.hex()}
        if old is None:
            body["lost"] = True
        else:
            body["signature"] = old.sign(rotation_text(gateway_id, before, new.public)).hex()
        sequence = journal.append_now(EntryKind.EVENT, body)
    take_over(data_dir)
    with Journal.open(directory, gateway_id=gateway_id, clock=clock, key=new) as journal:
        journal.append_checkpoint_now()
    return Rotation(before, new, sequence)


def _refuse_if_here(data_dir: Path) -> None:
    """Raise JournalError when the key that is said to be lost lies there and fits."""
    path = private_file(data_dir)
    if path.exists() and load_key(data_dir).id == newest_key(data_dir / "journal"):
        raise JournalError(f"{path}: the key is here, so it can sign for the next one: run it without --lost")
