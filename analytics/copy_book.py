"""What is still to be copied where: a small file, so that nothing is forgotten when a server or we break off."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

from gateway.contracts import Touched
from gateway.stores.store_file import Layout, StoreFile

LAYOUT = Layout(
    holds="copies",
    made_by="emg settle SITE",
    mend="Move it away with its -wal and -shm: everything settled is copied anew.",
    mark=0x454D4743,  # "EMGC"
    version=1,
    tables=(
        "CREATE TABLE destination (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
        """CREATE TABLE pending (
            destination TEXT NOT NULL, series TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
            PRIMARY KEY (destination, series)
        ) STRICT, WITHOUT ROWID""",
    ),
)
_NOTE = """INSERT INTO pending VALUES (?, ?, ?, ?) ON CONFLICT (destination, series) DO UPDATE SET
    first = min(first, excluded.first), last = max(last, excluded.last)"""


class CopyBook:
    """Spans of series to be copied, by destination. Raises StoreError on trouble with the file."""

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file at `path`, or make it."""
        return cls(StoreFile(path, LAYOUT, read_only=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def note(
        self, destinations: Iterable[str], spans: Sequence[Touched], everything: Callable[[], Sequence[Touched]]
    ) -> None:
        """Note that `spans` are to be copied; `everything`, where a destination was never met before."""
        with self._file.write() as connection:
            for destination in destinations:
                known = connection.execute("SELECT 1 FROM destination WHERE name = ?", (destination,)).fetchone()
                if known is None:
                    connection.execute("INSERT INTO destination VALUES (?)", (destination,))
                connection.executemany(
                    _NOTE, ((destination, *span) for span in (*spans, *(() if known else everything())))
                )

    def pending(self, destination: str) -> list[Touched]:
        """What is still to be copied there, by series name."""
        with self._file.read() as connection:
            rows = connection.execute(
                "SELECT series, first, last FROM pending WHERE destination = ? ORDER BY series", (destination,)
            )
            return [Touched(*row) for row in rows]

    def copied(self, destination: str, series: str, up_to: int) -> None:
        """Note that everything of a series up to the instant `up_to` [us, UTC] is there."""
        with self._file.write() as connection:
            where = (destination, series)
            connection.execute(
                "UPDATE pending SET first = max(first, ?) WHERE destination = ? AND series = ?", (up_to + 1, *where)
            )
            connection.execute("DELETE FROM pending WHERE destination = ? AND series = ? AND first > last", where)
