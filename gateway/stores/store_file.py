"""One SQLite file of a store: made once, written by one process, read by any number at the same time."""

import fcntl
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

from gateway.errors import StoreError

BUSY_S = 5.0  # how long a statement waits for a lock before it fails
WRITER_WAIT_S = 10.0  # how long a second writer waits for the first to finish
_WRITER_PRAGMAS = (
    "PRAGMA synchronous = FULL",  # a commit survives a power cut
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -32000",  # [KiB, negative by SQLite's convention]
    # Pages of the present day are written again and again: few large checkpoints write them once.
    "PRAGMA wal_autocheckpoint = 8000",
    "PRAGMA journal_size_limit = 67108864",
)
NO_DATABASE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})  # what SQLite says of a damaged file
_NOT_ALLOWED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_READER_PRAGMAS = ("PRAGMA query_only = 1", "PRAGMA mmap_size = 0", "PRAGMA cache_size = -16000")


class Layout(NamedTuple):
    """What a kind of store file is: `mark` is its application id, `tables` the statements that make it.

    `mend` says what to do when the file is damaged.
    `from_older` brings a file of an earlier version to the next, inside a transaction: version -> what does it.
    """

    holds: str  # "readings" | "intervals"
    made_by: str  # the command that makes the file
    mend: str
    mark: int
    version: int
    tables: tuple[str, ...]
    from_older: Mapping[int, Callable[[sqlite3.Connection], None]] = MappingProxyType({})


class StoreFile:
    """An open store file. Safe to share between threads; one statement sequence runs at a time."""

    def __init__(self, path: Path, layout: Layout, *, read_only: bool) -> None:
        """Open or make the file. Raises StoreError when it is absent, foreign, newer, or held by another writer."""
        self.path = path
        self.read_only = read_only
        self._layout = layout
        self._lock = threading.RLock()
        self._writer: int | None = None
        if path.exists() and not path.is_file():
            raise StoreError(f"{path} is not a plain file; move it away and `{layout.made_by}` makes one.")
        if read_only and not path.exists():
            raise StoreError(_absent(path, layout))
        with self._told():
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = claim_writer(path)
            try:
                self._connection = _connect(path, layout, read_only=read_only)
            except BaseException:
                self._release()
                raise

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is durable afterwards, or nothing. Raises StoreError."""
        if self.read_only:
            raise StoreError(f"{self.path} is open for reading only")
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One moment of the file: statements inside see the same state of it. Raises StoreError."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def vacuum(self) -> None:
        """Give room that is no longer used back to the disk; needs as much again while it works. Raises StoreError."""
        with self._lock, self._told():
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file, after what is running; closing twice does no harm."""
        with self._lock:
            self._connection.close()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._told():
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever SQLite or the disk refuses becomes one sentence that names the file."""
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError, UnicodeEncodeError, zlib.error) as error:
            raise StoreError(
                f"{self.path}: the {self._layout.holds} store failed: {error}. "
                f"Nothing is lost: the journal keeps every reading.{_advice(error, self._layout)}"
            ) from error

    def _release(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None


def _advice(error: Exception, layout: Layout) -> str:
    """How to mend what SQLite complains of, where that is known."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in NO_DATABASE:
        return f" The file is damaged. {layout.mend}"
    if code in _NOT_ALLOWED:
        return " The user of this program must be allowed to read and write it, and in its folder."
    return ""


def _absent(path: Path, layout: Layout) -> str:
    return f"{path} does not exist: there are no {layout.holds} yet. `{layout.made_by}` makes it."


def claim_writer(path: Path) -> int:
    """Hold the right to write this store file, as a descriptor; the system gives it back even after a kill.

    SQLite before 3.51.3 can damage a WAL file that two connections write and checkpoint: only one may. Raises
    StoreError when another process keeps it longer than 10 s.
    """
    lock = os.open(path.with_name(f"{path.name}.writer"), os.O_RDWR | os.O_CREAT, 0o644)
    give_up = time.monotonic() + WRITER_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                os.close(lock)
                raise StoreError(f"{path} is being written by another process; let it finish or stop it.") from None
            time.sleep(0.05)
        else:
            return lock


def _connect(path: Path, layout: Layout, *, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
    try:
        _prepare(connection, path, layout, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, layout: Layout, *, read_only: bool) -> None:
    version = _known_version(connection, path, layout)
    if read_only and version == 0:
        raise StoreError(_absent(path, layout))
    if read_only and version < layout.version:
        raise StoreError(
            f"{path} has layout {version}, written by an earlier release; this one reads {layout.version}. "
            f"`{layout.made_by}` brings it up when it starts; nothing in it is lost."
        )
    if not read_only and connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreError(f"{path}: this file system allows no write-ahead log; put data_dir on a local disk.")
    for pragma in _READER_PRAGMAS if read_only else _WRITER_PRAGMAS:
        connection.execute(pragma)
    if version == 0:
        _make(connection, path, layout)
    elif version < layout.version and not read_only:
        _bring_up(connection, layout, version)


def _known_version(connection: sqlite3.Connection, path: Path, layout: Layout) -> int:
    """The layout version of the file; 0 when nothing is in it yet. Raises StoreError on a foreign or newer file."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if version == 0 and tables == 0:
        return 0
    if mark != layout.mark:
        raise StoreError(f"{path} is not a file of {layout.holds}; move it away and `{layout.made_by}` makes one.")
    if version > layout.version:
        raise StoreError(
            f"{path} has layout {version}, written by a newer release; this one knows up to {layout.version}. "
            "Install the newer release."
        )
    return version


def _bring_up(connection: sqlite3.Connection, layout: Layout, version: int) -> None:
    """Bring a file of an earlier layout up to date: a kill leaves it as it was, and the next start does it again."""
    connection.execute("BEGIN IMMEDIATE")
    for older in range(version, layout.version):
        layout.from_older[older](connection)
    connection.execute(f"PRAGMA user_version = {layout.version:d}")
    connection.execute("COMMIT")


def _make(connection: sqlite3.Connection, path: Path, layout: Layout) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in layout.tables:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {layout.mark:d}")
    connection.execute(f"PRAGMA user_version = {layout.version:d}")
    connection.execute("COMMIT")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name of a new file must outlive a power cut too
    finally:
        os.close(folder)
