"""What was booked before: the same row again is left out and counted, the same ticket with other content is told.

Tickets and batches are remembered by the journal's own notes; every other row by what the reading store holds of
its instant. A store that does not answer costs the telling only: of two readings of an instant it keeps the first.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from collectors.file_readings import FileReadings, SeriesReadings
from collectors.tables import BadRow, quoted
from gateway.domain.periods import iso
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.reader import entries_of, newest_sequence
from gateway.stores.opening import OpenedStore, open_reading_store

_MEND = "What is booked stands. If it is wrong, correct it (emg correct); if the row is wrong, take it out."


class _Booked(NamedTuple):
    instant: int
    value: int | float | None


class KnownRows:
    """The rows that a site has booked."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._journal = site.data_dir / "journal"
        self._tickets: dict[tuple[str, str], _Booked] = {}
        self._looked_to = 0

    def sift(self, found: FileReadings) -> FileReadings:
        """The file with what was booked before marked, and what contradicts it refused row by row.

        Raises JournalError when the journal cannot be read.
        """
        if any(note.ticket for note in found.notes.values()):
            self._look()
        repeated, left_out = 0, set[tuple[str, int]]()
        bad, findings = list(found.bad), list(found.findings)
        try:
            with open_reading_store(self._site, read_only=True) as store:
                stored = [self._stored(store, part) for part in found.parts]
        except StoreError as error:
            stored = [{} for _ in found.parts]
            if self._site.store.influx is not None or (self._site.data_dir / "readings.db").exists():
                findings.append(f"whether rows were booked before is not known: {error}")
        for part, earlier in zip(found.parts, stored, strict=True):
            for reading, line in zip(part.readings, part.lines, strict=True):
                ticket = found.notes[line].ticket if line in found.notes else ""
                before = self._tickets.get((reading.series, ticket)) if ticket else None
                if before is None and (values := earlier.get(reading.instant)):
                    before = _Booked(reading.instant, reading.value if reading.value in values else values[0])
                if before is None:
                    continue
                left_out.add((reading.series, reading.instant))
                if before == (reading.instant, reading.value):
                    repeated += 1
                else:
                    bad.append(self._contradiction(part, line, reading, before, ticket))
        return found._replace(bad=bad, findings=findings, left_out=frozenset(left_out), repeated=repeated)

    def remember(self, found: FileReadings) -> None:
        """Count the tickets of a file as booked, before the journal's note of them can be read."""
        for part in found.parts:
            for reading, line in zip(part.readings, part.lines, strict=True):
                ticket = found.notes[line].ticket if line in found.notes else ""
                if ticket and (reading.series, reading.instant) not in found.left_out:
                    self._tickets.setdefault((reading.series, ticket), _Booked(reading.instant, reading.value))

    def _look(self) -> None:
        """Read on in the journal, where its notes name tickets."""
        if not self._journal.is_dir():
            return
        newest = newest_sequence(self._journal)
        for entry in entries_of(self._journal, b'"tickets":[', after=self._looked_to):
            source = entry.body.get("import")
            rows = source.get("rows") if isinstance(source, dict) else None
            if not isinstance(rows, dict):
                continue
            with suppress(TypeError, KeyError, ValueError):  # of another form than ours: it names no ticket
                for ticket, instant, value in zip(rows["tickets"], rows["instants"], rows["values"], strict=True):
                    self._tickets.setdefault((rows["series"], ticket), _Booked(instant, value))
        self._looked_to = newest

    def _stored(self, store: OpenedStore, part: SeriesReadings) -> dict[int, list[int | float]]:
        """What the store holds of the instants of a file: the value that stands, and any that was corrected."""
        wanted = {reading.instant: reading.value for reading in part.readings}
        found: dict[int, list[int | float]] = {}
        key = part.series.key
        for reading in store.readings(EVERYTHING, key, min(wanted, default=0), max(wanted, default=-1) + 1):
            if reading.value is not None and reading.instant in wanted:
                found[reading.instant] = [reading.value]
                if reading.value != wanted[reading.instant]:
                    found[reading.instant] += _values(store, key, reading.instant)
        return found

    def _contradiction(self, part: SeriesReadings, line: int, reading: Reading, before: _Booked, ticket: str) -> BadRow:
        what = f"number {quoted(ticket)} with" if ticket else ""
        found = f"{what} {self._shown(part, reading.value)} at {self._when(reading.instant)}".strip()
        expected = f"{self._shown(part, before.value)} at {self._when(before.instant)}, as it was booked before"
        return BadRow(line, part.series.register.quantity, found, expected, _MEND)

    def _shown(self, part: SeriesReadings, value: float | None) -> str:
        resolution, unit = part.series.resolution, part.series.register.unit
        return f"{value * resolution if isinstance(value, int) and resolution else value} {unit}"

    def _when(self, instant: int) -> str:
        return iso(instant, self._site.timezone)


def _values(store: OpenedStore, series: str, instant: int) -> Iterator[int | float]:
    return (version.value for version in store.versions(EVERYTHING, series, instant) if version.value is not None)
