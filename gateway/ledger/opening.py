"""Opening a site's ledger: one SQLite file, brought up to date before anybody writes, read-only for all others."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Engine, NullPool, Pool, QueuePool, create_engine, event, inspect, text

from gateway.domain.sites import Site
from gateway.errors import LedgerError
from gateway.ledger.ledger import Ledger, telling
from gateway.ledger.schema import REVISIONS

FILE = "ledger.db"
WAIT_S = 30  # for another writer
TRY_EVERY_S = 0.02


def open_ledger(site: Site, *, read_only: bool) -> Ledger:
    """The ledger of a site, `data_dir/ledger.db`.

    Opened for writing it is created or migrated where needed; opened read-only it is only looked at.
    Raises LedgerError when it is missing, out of date (read-only) or written by newer software.
    """
    path = (site.data_dir / FILE).absolute()
    readers = _engine(path, "ro", QueuePool)

    @contextmanager
    def writing() -> Iterator[Connection]:
        with _writing(path) as connection:
            yield connection

    if read_only:
        _refuse_unready(path, readers, site)
    else:
        _bring_up_to_date(path, readers)
    return Ledger(str(path), site.timezone, readers=readers, writing=None if read_only else writing)


@contextmanager
def rehearsal(site: Site) -> Iterator[Ledger]:
    """A ledger to try entries on: a private copy of what is known now, gone afterwards."""
    path = (site.data_dir / FILE).absolute()
    with TemporaryDirectory(prefix="emg-") as folder:
        if path.exists():
            _revision(path, _engine(path, "ro", NullPool))  # refuses here what it would refuse of the copy
            with closing(_connect(path, "ro")) as source, closing(sqlite3.connect(Path(folder) / FILE)) as copy:
                source.backup(copy)
        yield open_ledger(replace(site, data_dir=Path(folder)), read_only=False)


def _refuse_unready(path: Path, readers: Engine, site: Site) -> None:
    mend = f"`emg run {site.file}` (or any `emg import`) brings it up to date"
    if not path.exists():
        raise LedgerError(f"{path}: there is no ledger yet; {mend}")
    revision = _revision(path, readers)
    if revision != REVISIONS[-1]:
        raise LedgerError(f"{path}: the ledger is of schema {revision or 'none'}, not {REVISIONS[-1]}; {mend}")


def _revision(path: Path, engine: Engine) -> str:
    """The schema of the file, "" when it has none. Raises LedgerError on one that this software does not know."""
    with telling(str(path)), engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        revision = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
    if revision and revision not in REVISIONS:
        raise LedgerError(
            f"{path}: the ledger was written by newer software (schema {revision}; this one knows up to "
            f"{REVISIONS[-1]}); install that or a later version"
        )
    return revision


def _bring_up_to_date(path: Path, readers: Engine) -> None:
    if path.exists() and _revision(path, readers) == REVISIONS[-1]:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{path.parent}: cannot be made: {error.strerror}") from error
    with telling(str(path)), _writing(path) as connection:
        _migrate(connection)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new file's name must survive a power cut as well as its contents
    finally:
        os.close(folder)


def _migrate(connection: Connection) -> None:
    # Loaded here: only the first opening after an installation needs it.
    from alembic import command  # noqa: PLC0415 - as the line above says
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "gateway.ledger:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _writing(path: Path) -> Iterator[Connection]:
    """The only connection that writes: durable when left, undone when left by an error."""
    with _alone(path.with_suffix(".lock")):
        engine = _engine(path, "rwc", NullPool)
        with engine.begin() as connection:
            yield connection


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Holds the writers' lock, across processes and threads; released even by a crash.

    SQLite before 3.51.3 can damage a WAL file when one connection checkpoints while another writes; here
    a connection is opened, writes, checkpoints and closes before the next one may.
    """
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LedgerError(f"{lock}: cannot be opened: {error.strerror}") from error
    try:
        deadline = time.monotonic() + WAIT_S
        while not _locked(handle):
            if time.monotonic() > deadline:
                raise LedgerError(f"{lock}: another process has been writing the ledger for {WAIT_S} s; try again")
            time.sleep(TRY_EVERY_S)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # isolation_level None: SQLAlchemy says BEGIN, so that the schema is migrated in one transaction too.
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, timeout=WAIT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    if mode != "ro":
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    return connection


def _engine(path: Path, mode: str, pool: type[Pool]) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: _connect(path, mode), poolclass=pool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if mode == "ro" else "BEGIN IMMEDIATE")

    return engine
