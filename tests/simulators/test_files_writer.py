"""Weighbridge and surveyor: their files appear whole, and say what happened in the yard."""

import asyncio
import csv
from datetime import UTC, datetime

from gateway.clocks import ReplayClock
from gateway.domain.periods import to_instant
from simulators.files_writer import FilesWriter, place
from simulators.lab import load_lab
from simulators.plant import Plant, booked_at
from simulators.truth import TruthLog, read_truth

EPOCH = to_instant(datetime(2026, 9, 30, 16, 0, tzinfo=UTC))
DAY = 86_400_000_000
PLANT = Plant(load_lab("cement"), epoch=EPOCH)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tickets_of_a_day_stand_in_one_file_in_plant_time(tmp_path):
    writer = FilesWriter(PLANT, ["C-TICKETS"], tmp_path, clock=ReplayClock(EPOCH + DAY))
    (path,) = writer.write(EPOCH, EPOCH + DAY)
    assert path.name == "tickets-20261002T000000.csv"
    rows = rows_of(path)
    tickets = list(PLANT.yard.tickets(EPOCH, EPOCH + DAY))
    assert [row["ticket"] for row in rows] == [ticket.number for ticket in tickets]
    assert all(int(row["gross_kg"]) - int(row["tare_kg"]) == int(row["net_kg"]) for row in rows)
    # Shanghai is eight hours ahead, and the yard opens at six
    first = datetime.fromisoformat(rows[0]["time"])
    assert to_instant(first.replace(tzinfo=UTC)) - 8 * 3_600_000_000 == tickets[0].instant
    assert first.hour >= 6


def test_a_survey_stands_in_whole_kilograms(tmp_path):
    (path,) = FilesWriter(PLANT, ["C-STOCK"], tmp_path, clock=ReplayClock(EPOCH)).write(EPOCH, EPOCH + 1)
    assert path.read_text("utf-8") == "survey,time,stock_kg\nS20261001,2026-10-01 00:00:00,8200000\n"


def test_a_file_is_never_seen_half_written(tmp_path):
    place(tmp_path, "a.csv", "x\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_nothing_happened_means_no_file(tmp_path):
    assert (
        FilesWriter(PLANT, ["C-TICKETS"], tmp_path, clock=ReplayClock(EPOCH)).write(EPOCH, EPOCH + 3_600_000_000) == []
    )
    assert list(tmp_path.iterdir()) == []


async def test_each_ticket_appears_once_as_the_clock_passes_it(tmp_path):
    clock = ReplayClock(EPOCH + 12 * 3_600_000_000)
    with TruthLog(tmp_path / "truth.jsonl") as log:
        writer = FilesWriter(PLANT, ["C-TICKETS"], tmp_path / "drop", clock=clock, log=log)
        running = asyncio.create_task(writer.run(since=EPOCH))
        while clock.now() < EPOCH + 13 * 3_600_000_000:
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    until = clock.now()
    numbers = [row["ticket"] for path in sorted((tmp_path / "drop").iterdir()) for row in rows_of(path)]
    expected = list(PLANT.yard.tickets(EPOCH, until))
    assert numbers in ([t.number for t in expected], [t.number for t in expected[:-1]])
    assert len(numbers) >= 3
    logged = read_truth(tmp_path / "truth.jsonl").rows
    assert [(instant, value * 20) for _, instant, value in logged] == [
        (booked_at(ticket), ticket.net_kg) for ticket in expected[: len(logged)]
    ]
    assert len(logged) == len(numbers)
