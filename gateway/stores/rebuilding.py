"""The reading store made again from the journal, and compared with it: a store is a view, the journal the record."""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.contracts import Touched
from gateway.domain.readings import MICROSECONDS
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.opening import take_lock
from gateway.sinks.drain import drain_once
from gateway.stores.embedded import EmbeddedStore

NAME = "readings.db"
_STEP_US = 32 * 86_400 * MICROSECONDS  # of a long series so much is held at a time
Progress = Callable[[str], None]


class Rebuilt(NamedTuple):
    """What was made from the journal."""

    readings: int
    series: int
    sequence: int
    digest: str  # of every answer that the store gives


class Compacted(NamedTuple):
    """The file before and after [bytes]."""

    readings: int
    before: int
    after: int


class Compared(NamedTuple):
    """A store beside one made from its journal; `differing` names the series whose answers differ."""

    integrity: str  # "ok", or what SQLite found wrong
    store: Rebuilt
    journal: Rebuilt
    differing: list[str]

    @property
    def ok(self) -> bool:
        """True if file and answers are in order."""
        return self.integrity == "ok" and not self.differing and self.store == self.journal


def rebuild(site: Site, tell: Progress) -> Rebuilt:
    """Make the reading store anew from the journal, while nobody acquires; readers see the old or the new one.

    Raises JournalError when an acquiring process runs or the journal is damaged, StoreError.
    """
    with _nobody_writes(site), _fresh(site, tell, up_to=None) as fresh:
        made = standing_of(fresh)
        fresh.close()
        _put_in_place(_fresh_path(site), site.data_dir / NAME)
    return made


def compare(site: Site, tell: Progress) -> Compared:
    """The reading store beside one made from the journal up to the same entry. Raises JournalError, StoreError."""
    path = site.data_dir / NAME
    with EmbeddedStore.open(path, read_only=True) as store:
        tell("checking the file")
        integrity = _integrity(path)
        with _fresh(site, tell, up_to=store.cursor()) as fresh:
            tell("comparing every answer")
            mine, again = digests(store), digests(fresh)
            differing = sorted(name for name in mine.keys() | again.keys() if mine.get(name) != again.get(name))
            return Compared(integrity, standing_of(store), standing_of(fresh), differing)


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
    return {span.series: _digest(store, span) for span in store.touched(EVERYTHING, 0)[1]}


def standing_of(store: EmbeddedStore) -> Rebuilt:
    """What a store holds, as one digest over all answers."""
    found = digests(store)
    whole = hashlib.sha256(repr((sorted(found.items()), store.latest(EVERYTHING))).encode())
    return Rebuilt(store.count(EVERYTHING), len(found), store.cursor(), whole.hexdigest())


def _digest(store: EmbeddedStore, span: Touched) -> str:
    digest = hashlib.sha256()
    for start in range(span.first, span.last + 1, _STEP_US):
        end = min(start + _STEP_US, span.last + 1)
        for reading in store.readings(EVERYTHING, span.series, start, end):
            digest.update(repr(tuple(reading[1:])).encode())
    return digest.hexdigest()


def _fresh_path(site: Site) -> Path:
    return site.data_dir / f"{NAME}.rebuilt"


@contextmanager
def _fresh(site: Site, tell: Progress, *, up_to: int | None) -> Iterator[EmbeddedStore]:
    path = _fresh_path(site)
    _remove(path)
    try:
        with EmbeddedStore.open(path) as store:
            tell("reading the journal")
            drain_once(site.data_dir / "journal", store, up_to=up_to)
            yield store
    finally:
        _remove(path)


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

    An old file that is no database any more is replaced: then nobody can be reading it.
    """
    try:
        with closing(sqlite3.connect(fresh)) as source, closing(sqlite3.connect(path, timeout=30)) as target:
            source.backup(target)
    except sqlite3.DatabaseError:
        try:
            _remove(path)
            fresh.replace(path)
        except OSError as error:
            raise StoreError(f"{path}: the rebuilt store cannot be put in place: {error.strerror}") from error


def _integrity(path: Path) -> str:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
