"""A copy of every reading in files: one per enterprise and plant day, <folder>/<enterprise>/<YYYY-MM-DD>.csv or .lp.

Rows stand in the order of the journal. The delivery book knows how long each file durably is: what a crash left
behind that is cut off before the next row is written, so nothing is there twice. A file that was changed by somebody
else is found by the comparison and made anew; take copies, and leave the files where they are.
"""

import csv
import io
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gateway.domain.periods import iso
from gateway.domain.readings import quality_words, split_series
from gateway.domain.sites import Series
from gateway.errors import StoreError
from gateway.exports.csv_text import as_text
from gateway.journal.disk import make_directory, sync_directory, write_all
from gateway.sinks.comparing import Compared, DayOfJournal
from gateway.sinks.delivery_book import DeliveryBook
from gateway.sinks.outlet import Item, Refused, Sent
from gateway.sinks.plant_days import PlantDays
from gateway.sinks.rendering import shown
from gateway.stores.line_protocol import SeriesLines

HEAD = ("enterprise", "point", "quantity", "unit", "instant", "value", "quality", "reason", "sequence", "place")
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"  # by which a spreadsheet knows UTF-8
MADE_ANEW = "anew:"  # before the name of a file in the book's marks: the length of the file that is to replace it
PIECE_ROWS = 5_000
log = logging.getLogger("emg.sinks")


class Rows:
    """What is written for readings in one of the two formats."""

    def __init__(self, form: str, known: Mapping[str, Series], timezone: str) -> None:
        self.suffix = ".csv" if form == "csv" else ".lp"
        self._csv = form == "csv"
        self._known, self._timezone = known, timezone
        self._lines = SeriesLines()

    def head(self) -> bytes:
        """What a file begins with."""
        return (BOM + ",".join(HEAD) + "\n").encode() if self._csv else b""

    def rows(self, items: Iterable[Item]) -> bytes:
        """One row for each. Raises StoreError on a name that is no series'."""
        text = io.StringIO(newline="")
        if self._csv:
            csv.writer(text, lineterminator="\n").writerows(map(self._row, items))
        else:
            text.writelines(f"{line}\n" for one in items for line in self._lines.lines(one.sequence, [one.reading]))
        return text.getvalue().encode()

    def _row(self, item: Item) -> list[str | int]:
        reading = item.reading
        value, unit = shown(reading, self._known)
        words = "|".join(quality_words(reading.quality))
        at = iso(reading.instant, self._timezone)
        head = [*split_series(reading.series), as_text(unit), at, value, words, as_text(reading.reason)]
        return [*head, item.sequence, item.place]


class FilesOutlet:
    """The way to one folder."""

    def __init__(self, name: str, folder: Path, rows: Rows, days: PlantDays, book: DeliveryBook) -> None:
        self._name, self._folder, self._rows, self._days, self._book = name, folder, rows, days, book
        self._finish()

    def send(self, items: Sequence[Item]) -> Sent:
        """Append these to their files, durably. Raises StoreError."""
        by_file: dict[str, list[Item]] = defaultdict(list)
        refused: list[Refused] = []
        for item in items:
            if item.reading.series.count("/") != 2:
                refused.append(Refused(item, item.reading.series, "no name of a series"))
                continue
            by_file[self._file(item.reading.series, self._days.name(item.reading.instant))].append(item)
        marks = {name: self._append(name, some) for name, some in by_file.items()}
        return Sent(refused, marks)

    def started(self) -> str:
        """Nothing: what is in a file stays there."""
        return ""

    def close(self) -> None:
        """Every file is closed already."""

    def compare(self, day: DayOfJournal) -> Iterator[Compared]:
        """Compare file by file, row by row; one that differs is made anew from the journal."""
        files: dict[str, set[str]] = defaultdict(set)
        counts = day.counts()
        for series in counts:
            files[self._file(series, day.name)].add(series)
        for name, some in sorted(files.items()):
            readings = sum(counts[series] for series in some)
            if day.pruned:  # the journal cannot say any more what the file must be
                said = f"{self._folder / name} is not as long as it was written"
                wrong = () if self._is_whole(name) else (said,)
                yield Compared(1, readings, wrong, wrong)
                continue
            if self._is_as(name, self._pieces(day.items(frozenset(some)))):
                yield Compared(1, readings)
                continue
            self._make_anew(name, self._pieces(day.items(frozenset(some))))
            mended = self._is_as(name, self._pieces(day.items(frozenset(some))))
            said = f"{self._folder / name} was not as it was written"
            yield Compared(1, readings, (said,), () if mended else (said,))

    def _file(self, series: str, day: str) -> str:
        return f"{series.partition('/')[0]}/{day}{self._rows.suffix}"

    def _pieces(self, items: Iterator[Item]) -> Iterator[bytes]:
        yield self._rows.head()
        piece: list[Item] = []
        for item in items:
            piece.append(item)
            if len(piece) == PIECE_ROWS:
                yield self._rows.rows(piece)
                piece = []
        yield self._rows.rows(piece)

    def _append(self, name: str, items: Sequence[Item]) -> int:
        """Write rows behind what is durable of a file; its new length."""
        path, length = self._folder / name, self._book.mark_of(self._name, name) or 0
        try:
            is_new = not path.exists()
            make_directory(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
            try:
                found = os.fstat(descriptor).st_size
                if found < length:
                    log.error("%s: found %d bytes, %d were written; it goes on behind them", path, found, length)
                length = min(found, length)
                os.ftruncate(descriptor, length)
                os.lseek(descriptor, length, os.SEEK_SET)
                data = (b"" if length else self._rows.head()) + self._rows.rows(items)
                write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_directory(path.parent)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}. Nothing is lost meanwhile.") from error
        return length + len(data)

    def _is_whole(self, name: str) -> bool:
        path = self._folder / name
        return path.is_file() and path.stat().st_size == self._book.mark_of(self._name, name)

    def _is_as(self, name: str, pieces: Iterator[bytes]) -> bool:
        """True if a file is these pieces, byte for byte."""
        path, length = self._folder / name, 0
        try:
            with path.open("rb") as file:
                for piece in pieces:
                    length += len(piece)
                    if file.read(len(piece)) != piece:
                        return False
                return not file.read(1) and length == self._book.mark_of(self._name, name)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error

    def _make_anew(self, name: str, pieces: Iterator[bytes]) -> None:
        """Replace a file; a crash at any moment leaves the old one or the new one, and the book knows which."""
        path = self._folder / name
        partial = path.with_name(f".{path.name}.anew")
        try:
            make_directory(path.parent)
            with partial.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                length = file.tell()
            sync_directory(path.parent)
            self._book.mark(self._name, {MADE_ANEW + name: length})
            self._finish()
        except OSError as error:
            raise StoreError(f"{partial}: cannot be written: {error.strerror}") from error

    def _finish(self) -> None:
        """Put files that were made anew in their places, as far as that was not done yet."""
        for mark, length in self._book.marks(self._name, MADE_ANEW).items():
            if length < 0:
                continue
            path = self._folder / mark.removeprefix(MADE_ANEW)
            partial = path.with_name(f".{path.name}.anew")
            try:
                if partial.exists():
                    partial.replace(path)
                    sync_directory(path.parent)
            except OSError as error:
                raise StoreError(f"{path}: cannot be put in its place: {error.strerror}") from error
            self._book.mark(self._name, {mark: -1, mark.removeprefix(MADE_ANEW): length})
