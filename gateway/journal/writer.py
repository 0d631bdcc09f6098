"""The journal's one writer: an entry is acknowledged when it is on the disk, and not before."""

import asyncio
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from gateway.clocks import Clock
from gateway.errors import JournalError
from gateway.journal.disk import make_directory, sync_directory, write_all
from gateway.journal.entries import EntryKind, encode_payload
from gateway.journal.opening import boot_id, refuse_other_gateway, take_lock
from gateway.journal.recovery import Standing, month_of, recover, torn_files
from gateway.journal.segments import MAGIC, SEGMENT_BYTES, encode_frame, entry_hash, segment_name

FORMAT = 1


class _Draft(NamedTuple):
    """An entry that waits for its place in the chain."""

    at: int
    payload: bytes


class Journal:
    """Appends entries to the chain in `directory`. Made by `Journal.open`; one per directory at a time.

    A failed write or sync stops it for good: every waiting and further append raises JournalError, and what
    is on the disk is found out by opening the journal anew.
    """

    def __init__(self, directory: Path, lock: int, standing: Standing, clock: Clock, segment_bytes: int) -> None:
        self.directory = directory
        self._lock = lock
        self._clock = clock
        self._boot = boot_id()
        self._segment_bytes = segment_bytes
        self._path, self._size, self._month, self._sequence, self._hash = standing
        self._descriptor = -1 if self._path is None else os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._durable = self._sequence
        self._failure = ""  # why nothing is written any more
        self._writing = threading.Lock()  # held while entries are written: they get their place and their disk as one
        self._watching = threading.Lock()  # held for moments: the durable sequence and those who wait for it
        self._watchers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._waiting: list[tuple[_Draft, asyncio.Future[int]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="journal")

    @classmethod
    def open(cls, directory: Path, *, gateway_id: str, clock: Clock, segment_bytes: int = SEGMENT_BYTES) -> Self:
        """The journal in `directory`, made if there is none, ready to append.

        An unfinished entry at the end is cut off, kept beside as a .torn file, and told in an event. Raises
        JournalError when another writer holds the journal, when it is damaged otherwise, when it belongs to
        another gateway, or when the disk fails.
        """
        try:
            make_directory(directory)
            lock = take_lock(directory)
        except OSError as error:
            raise JournalError(f"{directory}: the journal cannot be opened: {error.strerror}") from error
        journal = None
        try:
            refuse_other_gateway(directory, gateway_id)
            journal = cls(directory, lock, recover(directory), clock, segment_bytes)
            journal._tell_opening(gateway_id)
        except (OSError, JournalError) as error:
            if journal is None:
                os.close(lock)
            else:
                journal.close_now()
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"{directory}: the journal cannot be opened: {error.strerror}") from error
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
        draft = self._draft(kind, body)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._waiting.append((draft, future))
        if self._committing is None:
            self._committing = loop.create_task(self._commit_waiting())
        return await future

    def append_now(self, kind: EntryKind, body: Mapping[str, object]) -> int:
        """As `append`, for programs without an event loop; blocks until the entry is durable."""
        return self.append_all_now([(kind, body)])

    def append_all_now(self, items: Iterable[tuple[EntryKind, Mapping[str, object]]]) -> int:
        """The sequence number of the last of these entries, once all are durable; they follow one another.

        One sync for all (one per segment, should they fill one). Raises ValueError before anything is written
        when a body has no canonical form, JournalError when they could not be made durable.
        """
        return self._commit([self._draft(kind, body) for kind, body in items])

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

    def _draft(self, kind: EntryKind, body: Mapping[str, object]) -> _Draft:
        at = self._clock.now()
        monotonic_ns = self._clock.monotonic_ns()
        return _Draft(at, encode_payload(kind, at=at, monotonic_ns=monotonic_ns, boot=self._boot, body=body))

    async def _commit_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        batch: list[tuple[_Draft, asyncio.Future[int]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    self._refuse_if_stopped()
                    last = await loop.run_in_executor(self._executor, self._commit, [draft for draft, _ in batch])
                except JournalError as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(JournalError(str(error)))
                else:
                    for sequence, (_, future) in enumerate(batch, last - len(batch) + 1):
                        if not future.done():
                            future.set_result(sequence)
        finally:
            self._committing = None
            for _, future in (*batch, *self._waiting):  # only when this task itself was cancelled
                future.cancel()

    def _commit(self, drafts: Sequence[_Draft]) -> int:
        """Give the entries their places, write them, sync; the last sequence number when all are durable."""
        with self._writing:
            self._refuse_if_stopped()
            try:
                self._write(drafts)
            except OSError as error:
                self._stop(
                    f"{self._path or self.directory}: entry {self._durable + 1} could not be made durable "
                    f"({error.strerror}); the journal has stopped. Mend the disk and start again"
                )
                raise JournalError(self._failure) from error
            return self._sequence

    def _write(self, drafts: Sequence[_Draft]) -> None:
        pending: list[bytes] = []
        for draft in drafts:
            frame = encode_frame(self._sequence + 1, self._hash, draft.payload)
            if self._segment_ends(draft.at, len(frame)):
                self._flush(pending)
                pending = []
                self._begin_segment(draft.at)
            pending.append(frame)
            self._size += len(frame)
            self._hash = entry_hash(self._sequence + 1, self._hash, draft.payload)
            self._sequence += 1
        self._flush(pending)

    def _segment_ends(self, at: int, size: int) -> bool:
        full = self._size > len(MAGIC) and self._size + size > self._segment_bytes
        return self._descriptor < 0 or full or month_of(at) != self._month

    def _begin_segment(self, at: int) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._path = self.directory / segment_name(self._sequence + 1)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        write_all(self._descriptor, MAGIC)
        sync_directory(self.directory)
        self._size, self._month = len(MAGIC), month_of(at)

    def _flush(self, pending: list[bytes]) -> None:
        if not pending:
            return
        write_all(self._descriptor, b"".join(pending))
        os.fdatasync(self._descriptor)
        with self._watching:
            self._durable = self._sequence
            self._wake()

    def _stop(self, why: str) -> None:
        """No further write: a descriptor whose sync failed says nothing true any more, so it is never used again."""
        with self._watching:
            self._failure = self._failure or why
            self._wake()
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):
                os.close(descriptor)

    def _wake(self) -> None:
        for moved, loop in self._watchers.items():
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(moved.set)

    def _refuse_if_stopped(self) -> None:
        if self._failure:
            raise JournalError(self._failure)

    def _tell_opening(self, gateway_id: str) -> None:
        torn = torn_files(self.directory, self._sequence + 1)
        told = {"torn": torn, "torn_bytes": sum(file["bytes"] for file in torn)} if torn else {}
        if self._sequence == 0:
            created = {"event": "journal_created", "format": FORMAT, "gateway": gateway_id}
            self.append_now(EntryKind.EVENT, {**created, **told})
        elif torn:
            self.append_now(EntryKind.EVENT, {"event": "torn_tail_cut", **told})
