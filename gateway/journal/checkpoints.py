"""Checkpoints: the head of the chain, signed, so that whoever keeps one sees what was cut off or rolled back."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from gateway.clocks import Clock
from gateway.domain.readings import MICROSECONDS
from gateway.errors import JournalError
from gateway.journal.chain import Draft
from gateway.journal.entries import EntryKind, canonical_json, encode_payload
from gateway.journal.signing import SigningKey


class Checkpoint(NamedTuple):
    """What one states: entry `sequence` of `gateway` has this `hash` (in hex); said at `at` [us, UTC]."""

    at: int
    gateway: str
    hash: str
    key: str  # id of the key that signed
    sequence: int
    signature: str  # in hex


class Checked(Protocol):
    """A journal that can state its own head."""

    async def append_checkpoint(self) -> Checkpoint:
        """A checkpoint of the last entry, once it is durable."""
        ...


def signed_text(gateway: str, sequence: int, digest: str, at: int) -> bytes:
    """What the signature of a checkpoint is over; `digest` in hex."""
    return f"emg checkpoint 1\n{gateway}\n{sequence}\n{digest}\n{at}\n".encode()


def make_checkpoint(key: SigningKey, *, gateway: str, sequence: int, digest: bytes, at: int) -> Checkpoint:
    """The checkpoint that states that entry `sequence` has the hash `digest`."""
    signature = key.sign(signed_text(gateway, sequence, digest.hex(), at))
    return Checkpoint(at, gateway, digest.hex(), key.id, sequence, signature.hex())


def checkpoint_body(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint as the body of an entry, which carries `at` itself."""
    return {name: value for name, value in checkpoint._asdict().items() if name != "at"}


def checkpoint_draft(key: SigningKey, gateway: str, stamp: dict[str, Any]) -> tuple[Draft, list[Checkpoint]]:
    """The draft of a checkpoint, and where it stands once the draft has its place."""
    made: list[Checkpoint] = []

    def sign(sequence: int, previous: bytes) -> bytes:
        stated = {"sequence": sequence - 1, "digest": previous, "at": stamp["at"]}
        made.append(make_checkpoint(key, gateway=gateway, **stated))
        return encode_payload(EntryKind.CHECKPOINT, body=checkpoint_body(made[0]), **stamp)

    return Draft(stamp["at"], sign), made


def checkpoint_line(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as it leaves the house: one JSON object, without an end of line."""
    return canonical_json(checkpoint._asdict())


async def check_now(journal: Checked, on_checkpoint: Callable[[bytes], None]) -> None:
    """One checkpoint; `on_checkpoint` gets its line after it is durable. Raises JournalError."""
    on_checkpoint(checkpoint_line(await journal.append_checkpoint()))


async def keep_checking(
    journal: Checked, clock: Clock, every_s: int, on_checkpoint: Callable[[bytes], None] = lambda _: None
) -> None:
    """A checkpoint at once, then one every `every_s` [s], and one more when this task is cancelled.

    `on_checkpoint` gets each as its line, after it is durable. Raises JournalError.
    """
    try:
        while True:
            await check_now(journal, on_checkpoint)
            await clock.sleep_until(clock.now() + every_s * MICROSECONDS)
    except asyncio.CancelledError:
        with suppress(JournalError):  # a journal that has stopped has told everybody why
            await check_now(journal, on_checkpoint)
        raise
