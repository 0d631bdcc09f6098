"""The delivery book: one small file that says how far every sink has got, and what stands in its way."""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from gateway.errors import StoreError
from gateway.sinks.outlet import Refused, Sent
from gateway.stores.store_file import Layout, StoreFile

FILE = "sinks.db"  # in the data folder
LAYOUT = Layout(
    holds="deliveries",
    made_by="emg run SITE",
    mend="Move it away with its -wal and -shm: each sink is then sent everything that the journal has; move the folder "
    "of a sink of kind files away too, or its files begin anew.",
    mark=0x454D4753,  # "EMGS"
    version=1,
    tables=(
        """CREATE TABLE sink (
            name TEXT PRIMARY KEY, sequence INTEGER NOT NULL, witness BLOB NOT NULL, delivered INTEGER NOT NULL,
            succeeded INTEGER, error TEXT NOT NULL, failing_since INTEGER, retry_at INTEGER, state TEXT NOT NULL,
            target TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE quarantine (
            id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, sequence INTEGER NOT NULL, place INTEGER NOT NULL,
            series TEXT NOT NULL, instant INTEGER NOT NULL, content TEXT NOT NULL, reason TEXT NOT NULL,
            at INTEGER NOT NULL, UNIQUE (sink, sequence, place)
        ) STRICT""",
        # Which entries brought readings of a plant day (its ordinal), and up to which of them it was compared.
        """CREATE TABLE day (
            sink TEXT NOT NULL, day INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
            compared INTEGER NOT NULL DEFAULT 0, at INTEGER, readings INTEGER, wrong INTEGER, left_wrong INTEGER,
            verdict TEXT, PRIMARY KEY (sink, day)
        ) STRICT""",
        """CREATE TABLE mark (
            sink TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (sink, name)
        ) STRICT""",
    ),
)

log = logging.getLogger("emg.sinks")
_ENROL = "INSERT OR REPLACE INTO sink VALUES (?, 0, x'', 0, NULL, '', NULL, NULL, 'running', ?)"
_MOVE = "UPDATE sink SET sequence = ?, witness = ?, delivered = delivered + ? WHERE name = ?"
_ANSWERED = """UPDATE sink SET succeeded = ?, error = '', failing_since = NULL, retry_at = NULL, state = 'running'
    WHERE name = ?"""
_FAIL = """UPDATE sink SET error = ?, failing_since = coalesce(failing_since, ?), retry_at = ?, state = ?
    WHERE name = ?"""
_SPAN = """INSERT INTO day (sink, day, first, last) VALUES (?, ?, ?, ?) ON CONFLICT (sink, day) DO UPDATE SET
    first = min(first, excluded.first), last = max(last, excluded.last)"""
_HOLD = """INSERT INTO quarantine (sink, sequence, place, series, instant, content, reason, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sink, sequence, place) DO UPDATE SET
    content = excluded.content, reason = excluded.reason, at = excluded.at"""


class Standing(NamedTuple):
    """How one sink stands. Instants [us, UTC]; `error` is "" while it takes what it is given."""

    name: str
    sequence: int
    witness: bytes
    delivered: int  # readings, repeats included
    succeeded: int | None
    error: str
    failing_since: int | None
    retry_at: int | None
    state: str  # "running" | "busy" | "denied" | "stopped"
    target: str  # what it was drained to


class Quarantined(NamedTuple):
    """A reading that a sink refuses for good: held back alone, shown, and sent again when somebody asks for it."""

    id: int
    sink: str
    sequence: int
    place: int  # its index in the entry
    series: str
    instant: int
    content: str
    reason: str
    at: int


class Moved(NamedTuple):
    """One step of a sink: the entry it stands on now, how many readings went, and which days they belong to."""

    sequence: int
    witness: bytes
    readings: int
    spans: Mapping[int, tuple[int, int]]  # day -> (first, last sequence number that brought readings of it)


class DayRow(NamedTuple):
    """One plant day of a sink: the entries that brought its readings, and what the last comparison found."""

    sink: str
    day: int  # its ordinal
    first: int
    last: int
    compared: int  # the value of `last` when it was compared; 0 = never
    at: int | None  # [us, UTC]
    readings: int | None
    wrong: int | None  # series or files that differed
    left: int | None  # of these, those that still differ
    verdict: str | None


def is_being_written(data_dir: Path) -> bool:
    """True if an acquiring process holds the book at this moment."""
    try:
        lock = os.open(data_dir / f"{FILE}.writer", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


class DeliveryBook:
    """The file `sinks.db`: written by the acquiring process, read by anybody."""

    def __init__(self, file: StoreFile) -> None:
        self.file = file

    @classmethod
    def open(cls, data_dir: Path, *, read_only: bool = False) -> Self:
        """Open or make the file. Raises StoreError when it is absent (read-only), foreign, or held by another."""
        return cls(StoreFile(data_dir / FILE, LAYOUT, read_only=read_only))

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enrol(self, name: str, target: str) -> None:
        """Begin to keep this sink. One whose target has changed begins anew: the other place has nothing yet.

        What the old place refused goes with it: the new one is given these readings too.
        """
        with self.file.write() as connection:
            known = connection.execute("SELECT target FROM sink WHERE name = ?", (name,)).fetchone()
            if known is None or known[0] != target:
                for table in ("day", "mark"):
                    connection.execute(f"DELETE FROM {table} WHERE sink = ?", (name,))  # noqa: S608 - our own names
                dropped = connection.execute("DELETE FROM quarantine WHERE sink = ?", (name,)).rowcount
                if dropped:
                    said = "sink %s leads elsewhere now: %d readings that the old place refused are sent to the new one"
                    log.warning(said, name, dropped)
                connection.execute(_ENROL, (name, target))

    def begin_anew(self, name: str) -> None:
        """Forget how far a sink has got, and what it holds back: everything is sent again."""
        target = self.standing(name).target
        with self.file.write() as connection:
            for table in ("day", "mark", "quarantine"):
                connection.execute(f"DELETE FROM {table} WHERE sink = ?", (name,))  # noqa: S608 - our own names
            connection.execute(_ENROL, (name, target))

    def standing(self, name: str) -> Standing:
        """How a sink stands. Raises StoreError when it is not kept here."""
        found = self.standings().get(name)
        if found is None:
            raise StoreError(f"{self.file.path}: there is no sink {name!r} here; `emg run SITE` enrols it.")
        return found

    def standings(self) -> dict[str, Standing]:
        """How every sink stands, by name."""
        with self.file.read() as connection:
            return {row[0]: Standing(*row) for row in connection.execute("SELECT * FROM sink")}

    def moved(self, name: str, steps: Sequence[Moved]) -> None:
        """Keep the new cursor, and which days were touched on the way to it."""
        with self.file.write() as connection:
            _move(connection, name, steps)

    def delivered(self, name: str, steps: Sequence[Moved], sent: Sent, *, at: int) -> None:
        """The sink took what it was given: keep the cursor, what was refused and the marks, all of it or nothing.

        `steps` is empty where the cursor has to wait.
        """
        with self.file.write() as connection:
            _move(connection, name, steps)
            connection.execute(_ANSWERED, (at, name))
            connection.executemany(_HOLD, _held(name, sent.refused, at))
            _mark(connection, name, sent.marks)

    def answered(self, name: str, *, at: int) -> None:
        """Nothing stands in its way any more."""
        with self.file.write() as connection:
            connection.execute(_ANSWERED, (at, name))

    def failed(self, name: str, error: str, state: str, *, at: int, retry_at: int | None) -> None:
        """The sink did not take what it was given: why, since when, and when it is tried again."""
        with self.file.write() as connection:
            connection.execute(_FAIL, (error, at, retry_at, state, name))

    def quarantine(self, name: str | None = None) -> list[Quarantined]:
        """What is held back, of one sink or of all, in the order it came."""
        with self.file.read() as connection:
            rows = connection.execute("SELECT * FROM quarantine WHERE ? IS NULL OR sink = ? ORDER BY id", (name, name))
            return [Quarantined(*row) for row in rows]

    def held(self, name: str) -> int:
        """How many readings a sink holds back."""
        with self.file.read() as connection:
            return int(connection.execute("SELECT count(*) FROM quarantine WHERE sink = ?", (name,)).fetchone()[0])

    def release(self, ids: Iterable[int]) -> None:
        """These were sent again and taken."""
        with self.file.write() as connection:
            connection.executemany("DELETE FROM quarantine WHERE id = ?", [(one,) for one in ids])

    def day(self, name: str, day: int) -> DayRow | None:
        """One day of a sink; None when it has nothing of it."""
        with self.file.read() as connection:
            row = connection.execute("SELECT * FROM day WHERE sink = ? AND day = ?", (name, day)).fetchone()
            return None if row is None else DayRow(*row)

    def untouched(self, name: str, day: int) -> DayRow:
        """The row of a day of which a sink was given nothing: what comes later comes behind its cursor."""
        return DayRow(name, day, self.standing(name).sequence + 1, 0, 0, None, None, None, None, None)

    def days(self, name: str) -> list[DayRow]:
        """The days of a sink, in their order."""
        with self.file.read() as connection:
            rows = connection.execute("SELECT * FROM day WHERE sink = ? ORDER BY day", (name,))
            return [DayRow(*row) for row in rows]

    def due(self, name: str, before: int) -> list[int]:
        """The days before `before` that were touched since they were compared, in their order."""
        with self.file.read() as connection:
            rows = connection.execute(
                "SELECT day FROM day WHERE sink = ? AND day < ? AND last > compared ORDER BY day", (name, before)
            )
            return [day for (day,) in rows]

    def compared(self, row: DayRow) -> None:
        """Keep what a comparison of a day has found."""
        with self.file.write() as connection:
            connection.execute(
                "INSERT INTO day VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sink, day) DO UPDATE SET "
                "compared = excluded.compared, at = excluded.at, readings = excluded.readings, "
                "wrong = excluded.wrong, left_wrong = excluded.left_wrong, verdict = excluded.verdict",
                row,
            )

    def mark_of(self, name: str, key: str) -> int | None:
        """A number kept with the cursor of a sink; None when there is none."""
        with self.file.read() as connection:
            row = connection.execute("SELECT number FROM mark WHERE sink = ? AND name = ?", (name, key)).fetchone()
            return None if row is None else int(row[0])

    def marks(self, name: str, begins: str) -> dict[str, int]:
        """All whose name begins so."""
        with self.file.read() as connection:
            rows = connection.execute("SELECT name, number FROM mark WHERE sink = ?", (name,))
            return {key: number for key, number in rows if key.startswith(begins)}

    def mark(self, name: str, marks: Mapping[str, int]) -> None:
        """Keep numbers beside the cursor without moving it."""
        with self.file.write() as connection:
            _mark(connection, name, marks)


def _move(connection: sqlite3.Connection, name: str, steps: Sequence[Moved]) -> None:
    for step in steps:
        connection.execute(_MOVE, (step.sequence, step.witness, step.readings, name))
        connection.executemany(_SPAN, [(name, day, *span) for day, span in step.spans.items()])


def _held(name: str, refused: Iterable[Refused], at: int) -> list[tuple[str, int, int, str, int, str, str, int]]:
    return [
        (name, item.sequence, item.place, item.reading.series, item.reading.instant, content, reason, at)
        for item, content, reason in refused
    ]


def _mark(connection: sqlite3.Connection, name: str, marks: Mapping[str, int]) -> None:
    connection.executemany(
        "INSERT INTO mark VALUES (?, ?, ?) ON CONFLICT (sink, name) DO UPDATE SET number = excluded.number",
        [(name, key, number) for key, number in marks.items()],
    )
