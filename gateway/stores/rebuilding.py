"""The reading store made again from the journal: a store is a view, the journal the record.

A journal may hold less than its store does: what left by age, what a salvage could not save. Such readings are neither
compared (`verifying`) nor thrown away unasked.
"""

import fcntl
import hashlib
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from gateway.contracts import Delivery, StoredReading, Touched
from gateway.domain.readings import EARLIEST, LATEST, MICROSECONDS
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.opening import take_lock
from gateway.sinks.drain import drain_once
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.store_file import NO_DATABASE, claim_writer

NAME = "readings.db"
_STEP_US = 32 * 86_400 * MICROSECONDS  # of a long series so much is held at a time
Progress = Callable[[str], None]


class Rebuilt(NamedTuple):
    """What was made from the journal."""

    readings: int
    series: int
    sequence: int
    digest: str  # of every answer that the store gives
    lost: int  # standing readings of the store before that the journal no longer holds


class Compacted(NamedTuple):
    """The file before and after [bytes]."""

    readings: int
    before: int
    after: int


class Source:
    """A store that is being filled from the journal, and which entries brought it readings."""

    name = "rebuilt"

    def __init__(self, store: EmbeddedStore) -> None:
        self.store = store
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def cursor(self) -> int:
        """That of the store."""
        return self.store.cursor()

    def witness(self) -> bytes:
        """That of the store."""
        return self.store.witness()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Store the entries and remember those that have readings. Raises StoreError."""
        self.store.deliver(deliveries)
        for sequence in (delivery.sequence for delivery in deliveries if delivery.readings):
            if self._lasts and self._lasts[-1] == sequence - 1:
                self._lasts[-1] = sequence
            else:
                self._firsts.append(sequence)
                self._lasts.append(sequence)

    def holds(self, sequence: int) -> bool:
        """True if the journal still holds the readings of this entry."""
        at = bisect_right(self._firsts, sequence) - 1
        return at >= 0 and sequence <= self._lasts[at]


def rebuild(site: Site, tell: Progress, *, lose: bool = False) -> Rebuilt:
    """Make the reading store anew from the journal, while nobody acquires; readers see the old or the new one.

    Readings that only the old store holds are thrown away with `lose` alone. Raises JournalError when an acquiring
    process runs or the journal is damaged, StoreError.
    """
    path = site.data_dir / NAME
    with _nobody_writes(site), fresh(site, tell, up_to=None) as source:
        tell("looking for readings that only the store holds")
        lost = _only_in(path, source)
        if lost and not lose:
            raise StoreError(
                f"{path}: {lost} of its readings come from entries that the journal no longer holds (they left by age, "
                "or a salvage could not save them); a store made anew would be without them. Back the site up first; "
                "`emg db rebuild SITE --lose` then goes on without them."
            )
        store = source.store
        found = digests(store)
        whole = hashlib.sha256(repr((sorted(found.items()), store.latest(EVERYTHING))).encode())
        made = Rebuilt(store.count(EVERYTHING), len(found), store.cursor(), whole.hexdigest(), lost)
        store.close()
        _put_in_place(fresh_path(site), path)
    return made


def compact(site: Site, tell: Progress) -> Compacted:
    """Seal all that the reading store holds and give unused room back, while nobody acquires.

    Raises JournalError when an acquiring process runs, StoreError.
    """
    path = site.data_dir / NAME
    with _nobody_writes(site), EmbeddedStore.open(path) as store:
        before = path.stat().st_size
        tell("sealing and giving room back")
        store.compact()
        return Compacted(store.count(EVERYTHING), before, path.stat().st_size)


def digests(store: EmbeddedStore) -> dict[str, str]:
    """For each series a digest over all its standing readings, with quality, reason and sequence."""
    found = {}
    for span in store.touched(EVERYTHING, 0)[1]:
        digest = hashlib.sha256()
        for reading in _readings(store, span):
            digest.update(repr(tuple(reading[1:])).encode())
        found[span.series] = digest.hexdigest()
    return found


def _only_in(path: Path, source: Source) -> int:
    """How many standing readings of the old store come from entries that the journal no longer holds."""
    if not path.is_file():
        return 0
    with suppress(StoreError), EmbeddedStore.open(path, read_only=True) as old:
        spans = old.touched(EVERYTHING, 0)[1]
        return sum(not source.holds(reading.sequence) for span in spans for reading in _readings(old, span))
    return 0  # it cannot be read: there is nothing to save


def _steps(span: Touched) -> range:
    """Where the steps begin; never over more than the instants that a reading may have, whatever an old store says."""
    return range(max(span.first, EARLIEST), min(span.last, LATEST) + 1, _STEP_US)


def _readings(store: EmbeddedStore, span: Touched) -> Iterator[StoredReading]:
    for start in _steps(span):
        yield from store.readings(EVERYTHING, span.series, start, min(start + _STEP_US, span.last + 1))


def fresh_path(site: Site) -> Path:
    """Where a store is made anew."""
    return site.data_dir / f"{NAME}.rebuilt"


@contextmanager
def fresh(site: Site, tell: Progress, *, up_to: int | None) -> Iterator[Source]:
    """A store of its own, filled from the journal and removed afterwards; one at a time. Raises StoreError."""
    path = fresh_path(site)
    lock = os.open(path.with_name("rebuilding.lock"), os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreError(f"{path}: another `emg db rebuild` or `emg db verify` is at work; let it finish") from None
    try:
        _remove(path)  # of one that was killed
        with EmbeddedStore.open(path) as store:
            source = Source(store)
            tell("reading the journal")
            drain_once(site.data_dir / "journal", source, up_to=up_to)
            yield source
    finally:
        _remove(path)
        os.close(lock)


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm", ".writer"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


@contextmanager
def _nobody_writes(site: Site) -> Iterator[None]:
    lock = take_lock(site.data_dir / "journal")
    try:
        yield
    finally:
        os.close(lock)


def _put_in_place(fresh: Path, path: Path) -> None:
    """Copy page by page in one transaction of the old file, so that its readers are never between two files.

    An old file that is no database any more is replaced: then nobody can be reading it. Raises StoreError.
    """
    try:
        writer = claim_writer(path)
        try:
            _copy_over(fresh, path)
        finally:
            os.close(writer)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: the rebuilt store cannot be put in place: {error}. The old one stands") from error


def _copy_over(fresh: Path, path: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{fresh.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(path, timeout=30)) as target,
        ):
            source.backup(target)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in NO_DATABASE:
            raise
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        fresh.replace(path)
