"""The journal's one writer: an entry is acknowledged when it is on the disk, and not before."""

import asyncio
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from gateway.clocks import Clock
from gateway.domain.readings import Reading
from gateway.errors import JournalError, JournalStopped
from gateway.journal.chain import ChainEnd, Draft
from gateway.journal.checkpoints import Checkpoint, checkpoint_draft
from gateway.journal.disk import make_directory
from gateway.journal.entries import EntryKind, encode_payload, encode_readings
from gateway.journal.opening import boot_id, refuse_other_gateway, refuse_other_key, take_lock
from gateway.journal.permits import permit_draft
from gateway.journal.reading_columns import by_record_class
from gateway.journal.recovery import Standing, recover, torn_files
from gateway.journal.segments import SEGMENT_BYTES
from gateway.journal.signing import SigningKey

FORMAT = 1


class Journal:
    """Appends entries to the chain in `directory`. Made by `Journal.open`; one per directory at a time.

    A failed write or sync stops it for good: every waiting and further append raises JournalError, and what
    is on the disk is found out by opening the journal anew.
    """

    def __init__(
        self,
        directory: Path,
        lock: int,
        standing: Standing,
        *,
        gateway_id: str,
        clock: Clock,
        segment_bytes: int,
        key: SigningKey | None,
    ) -> None:
        self.directory = directory
        self._gateway_id = gateway_id
        self._key = key
        self._lock = lock
        self._clock = clock
        self._boot = boot_id()
        self._chain = ChainEnd(directory, standing, segment_bytes)
        self._durable = self._chain.sequence
        self._failure = ""  # why nothing is written any more
        self._writing = threading.Lock()  # held while entries are written: they get their place and their disk as one
        self._watching = threading.Lock()  # held for moments: the durable sequence and those who wait for it
        self._watchers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._waiting: list[tuple[list[Draft], asyncio.Future[int]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="journal")

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        gateway_id: str,
        clock: Clock,
        segment_bytes: int = SEGMENT_BYTES,
        key: SigningKey | None = None,
    ) -> Self:
        """The journal in `directory`, made if there is none, ready to append; without `key` no checkpoint can be.

        An unfinished entry at the end is cut off, kept beside as a .torn file, and told in an event. Raises
        JournalError when another writer holds the journal, when it is damaged otherwise, when it belongs to
        another gateway or is signed with another key, or when the disk fails.
        """
        try:
            make_directory(directory)
            lock = take_lock(directory)
        except OSError as error:
            raise JournalStopped(f"{directory}: the journal cannot be opened: {error.strerror}") from error
        journal = None
        try:
            refuse_other_gateway(directory, gateway_id)
            standing = recover(directory)
            has_key = key is None or refuse_other_key(directory, key.id)
            told: dict[str, Any] = {"gateway_id": gateway_id, "clock": clock, "segment_bytes": segment_bytes}
            journal = cls(directory, lock, standing, key=key, **told)
            journal._tell_opening(has_key=has_key)
        except (OSError, JournalError) as error:
            if journal is None:
                os.close(lock)
            else:
                journal.close_now()
            if isinstance(error, JournalError):
                raise
            raise JournalStopped(f"{directory}: the journal cannot be opened: {error.strerror}") from error
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_now()

    @property
    def durable_sequence(self) -> int:
        """The sequence number of the last entry that is on the disk."""
        return self._durable

    async def append(self, kind: EntryKind, body: Mapping[str, object]) -> int:
        """The sequence number of a new entry, once it is durable.

        All that wait are written together, with one sync; the next commit starts when the last has ended.
        Raises ValueError when `body` has no canonical form, JournalError when it could not be made durable.
        """
        return await self._wait_for([self._draft(kind, body)])

    async def append_readings(
        self, line: str, readings: Sequence[Reading], *, telemetry: AbstractSet[str] = frozenset()
    ) -> int:
        """The sequence number of the last entry that brings these readings, once all are durable.

        Those of the series `telemetry` get an entry of their own. While one batch is made durable the next is
        encoded: who wants the full rate keeps several waiting. Raises ValueError, naming reading and series, when
        one cannot be journaled (then none is), JournalError when they could not be made durable.
        """
        return await self._wait_for(self._readings_drafts(line, readings, telemetry))

    def append_readings_now(
        self, line: str, readings: Sequence[Reading], *, telemetry: AbstractSet[str] = frozenset()
    ) -> int:
        """As `append_readings`, for programs without an event loop; blocks until all are durable."""
        return self._commit(self._readings_drafts(line, readings, telemetry))

    async def append_checkpoint(self) -> Checkpoint:
        """A signed checkpoint that states the entry before it, once it is durable. Raises JournalError."""
        draft, made = self._checkpoint_draft()
        await self._wait_for([draft])
        return made[0]

    def append_checkpoint_now(self) -> Checkpoint:
        """As `append_checkpoint`, for programs without an event loop."""
        draft, made = self._checkpoint_draft()
        self._commit([draft])
        return made[0]

    def append_now(self, kind: EntryKind, body: Mapping[str, object]) -> int:
        """As `append`, for programs without an event loop; blocks until the entry is durable."""
        return self.append_all_now([(kind, body)])

    def append_all_now(self, items: Iterable[tuple[EntryKind, Mapping[str, object]]]) -> int:
        """The sequence number of the last of these entries, once all are durable; they follow one another.

        One sync for all (one per segment, should they fill one). Raises ValueError before anything is written
        when a body has no canonical form, JournalError when they could not be made durable.
        """
        return self._commit([self._draft(kind, body) for kind, body in items])

    def append_permits_now(self, bodies: Iterable[Mapping[str, object]]) -> int:
        """As `append_all_now`, for events that say what may leave: each is signed, at its place, with our key."""
        return self._commit([self._permit_draft(body) for body in bodies])

    async def wait_beyond(self, sequence: int) -> int:
        """The durable sequence number as soon as it is greater than `sequence`. Raises JournalError if it ends."""
        while True:
            moved = asyncio.Event()
            with self._watching:
                if self._durable > sequence:
                    return self._durable
                self._refuse_if_stopped()
                self._watchers[moved] = asyncio.get_running_loop()
            try:
                await moved.wait()
            finally:
                with self._watching:
                    self._watchers.pop(moved, None)

    async def close(self) -> None:
        """Write what waits, then close; the journal may be opened again."""
        while self._committing is not None:
            await asyncio.wait([self._committing])
        self.close_now()

    def close_now(self) -> None:
        """Close at once; appends that still wait get JournalError."""
        with self._writing:
            self._stop(f"{self.directory}: the journal is closed")
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1
        self._executor.shutdown()

    def _draft(self, kind: EntryKind, body: Mapping[str, object]) -> Draft:
        stamp = self._stamp()
        return Draft(stamp["at"], encode_payload(kind, body=body, **stamp))

    def _readings_drafts(self, line: str, readings: Sequence[Reading], telemetry: AbstractSet[str]) -> list[Draft]:
        stamp = self._stamp()
        parts = by_record_class(readings, telemetry)
        return [Draft(stamp["at"], encode_readings(line, part, record, **stamp)) for record, part in parts]

    def _checkpoint_draft(self) -> tuple[Draft, list[Checkpoint]]:
        return checkpoint_draft(self._signing_key(), self._gateway_id, self._stamp())

    def _permit_draft(self, body: Mapping[str, object]) -> Draft:
        return permit_draft(self._signing_key(), self._gateway_id, body, self._stamp())

    def _signing_key(self) -> SigningKey:
        if self._key is None:
            raise JournalError(f"{self.directory}: opened without a key, so nothing can be signed")
        return self._key

    def _stamp(self) -> dict[str, Any]:
        return {"at": self._clock.now(), "monotonic_ns": self._clock.monotonic_ns(), "boot": self._boot}

    async def _wait_for(self, drafts: list[Draft]) -> int:
        """The sequence number of the last of these, once all are durable; they follow one another."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._waiting.append((drafts, future))
        if self._committing is None:
            self._committing = loop.create_task(self._commit_waiting())
        return await future

    async def _commit_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        batch: list[tuple[list[Draft], asyncio.Future[int]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                drafts = [draft for those, _ in batch for draft in those]
                try:
                    self._refuse_if_stopped()
                    last = await loop.run_in_executor(self._executor, self._commit, drafts)
                except JournalError as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(JournalStopped(str(error)))
                else:
                    sequence = last - len(drafts)
                    for those, future in batch:
                        sequence += len(those)
                        if not future.done():
                            future.set_result(sequence)
        finally:
            self._committing = None
            for _, future in (*batch, *self._waiting):  # only when this task itself was cancelled
                future.cancel()

    def _commit(self, drafts: Sequence[Draft]) -> int:
        """Give the entries their places, write them, sync; the last sequence number when all are durable."""
        with self._writing:
            self._refuse_if_stopped()
            try:
                self._chain.extend(drafts, self._tell_durable)
            except Exception as error:  # whatever it is, what is written no longer ends where this object believes
                why = error.strerror if isinstance(error, OSError) else repr(error)
                self._stop(
                    f"{self._chain.path or self.directory}: entry {self._durable + 1} could not be made durable "
                    f"({why}); the journal has stopped. Mend the disk and start again"
                )
                raise JournalStopped(self._failure) from error
            return self._chain.sequence

    def _tell_durable(self, sequence: int) -> None:
        with self._watching:
            self._durable = sequence
            self._wake()

    def _stop(self, why: str) -> None:
        """No further write: a file whose sync failed says nothing true any more, so it is never used again."""
        with self._watching:
            self._failure = self._failure or why
            self._wake()
        self._chain.close()

    def _wake(self) -> None:
        for moved, loop in self._watchers.items():
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(moved.set)

    def _refuse_if_stopped(self) -> None:
        if self._failure:
            raise JournalStopped(self._failure)

    def _tell_opening(self, *, has_key: bool) -> None:
        torn = torn_files(self.directory, self._chain.sequence + 1)
        told = {"torn": torn, "torn_bytes": sum(file["bytes"] for file in torn)} if torn else {}
        if self._chain.sequence == 0:
            created = {"event": "journal_created", "format": FORMAT, "gateway": self._gateway_id}
            self.append_now(EntryKind.EVENT, {**created, **told})
        elif torn:
            self.append_now(EntryKind.EVENT, {"event": "torn_tail_cut", **told})
        if self._key is not None and not has_key:
            key = {"event": "key_created", "key": self._key.id, "public": self._key.public.hex()}
            self.append_now(EntryKind.EVENT, key)
