"""The weighbridge and the yard's surveyor: CSV files that appear whole in a drop folder."""

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path

from gateway.clocks import Clock
from gateway.domain.periods import to_datetime
from gateway.domain.readings import MICROSECONDS
from gateway.journal.disk import write_file
from simulators.coal_yard import Survey, Ticket
from simulators.plant import Plant, yard_readings
from simulators.truth import TruthLog

# Times are plant time without an offset ("2026-10-05 08:13:20"): the zone is for the mapping to say.
TICKET_COLUMNS = ("ticket", "time", "plate", "gross_kg", "tare_kg", "net_kg")
SURVEY_COLUMNS = ("survey", "time", "stock_kg")


def tickets_csv(tickets: Sequence[Ticket], timezone: str) -> str:
    """Weighbridge tickets as CSV text, one per line."""
    rows = [
        (each.number, _local(each.instant, timezone), each.plate, each.gross_kg, each.tare_kg, each.net_kg)
        for each in tickets
    ]
    return _csv(TICKET_COLUMNS, rows)


def surveys_csv(surveys: Sequence[Survey], timezone: str) -> str:
    """Stock surveys as CSV text, one per line."""
    rows = [(each.number, _local(each.instant, timezone), each.stock_kg) for each in surveys]
    return _csv(SURVEY_COLUMNS, rows)


def place(folder: Path, name: str, text: str) -> Path:
    """Put a file into a folder so that it appears there whole."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / name, text.encode())
    return folder / name


class FilesWriter:
    """Writes what happens at `points` into `folder` as the plant's clock passes it: `tickets-*.csv`, `stock-*.csv`."""

    def __init__(
        self, plant: Plant, points: Collection[str], folder: Path, *, clock: Clock, log: TruthLog | None = None
    ) -> None:
        self.written = 0
        self._plant, self._points, self._folder = plant, points, folder
        self._clock, self._log = clock, log

    def write(self, start: int, end: int) -> list[Path]:
        """Write the tickets and surveys of [start, end) [us, UTC], one file for each kind that there is."""
        made, declared, zone = self._plant.yard, self._plant.lab.yard, self._plant.lab.lab.timezone
        if made is None or declared is None:
            return []
        stamp = f"{to_datetime(end, zone):%Y%m%dT%H%M%S}"
        tickets = list(made.tickets(start, end)) if declared.tickets in self._points else []
        surveys = list(made.surveys(start, end)) if declared.stock in self._points else []
        files = []
        if tickets:
            files.append((f"tickets-{stamp}.csv", tickets_csv(tickets, zone), declared.tickets))
        if surveys:
            files.append((f"stock-{stamp}.csv", surveys_csv(surveys, zone), declared.stock))
        return [self._write(name, text, point, start, end) for name, text, point in files]

    async def run(self, *, since: int | None = None) -> None:
        """Write what happened since `since` [us, UTC], then each new ticket and survey in the second it is made."""
        done = self._clock.now() if since is None else since
        while True:
            now = self._clock.now() // MICROSECONDS * MICROSECONDS
            if now > done:
                self.write(done, now)
                done = now
            await self._clock.sleep_until(now + MICROSECONDS)

    def _write(self, name: str, text: str, point: str, start: int, end: int) -> Path:
        if self._log is not None:
            readings = [each for each in yard_readings(self._plant, start, end) if f"/{point}/" in each.series]
            self._log.file(self._clock.now(), name, readings)
        self.written += 1
        return place(self._folder, name, text)


def _local(instant: int, timezone: str) -> str:
    return f"{to_datetime(instant, timezone):%Y-%m-%d %H:%M:%S}"


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
