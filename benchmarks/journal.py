"""The journal beside a bare append-and-sync loop of the same bytes, and beside SQLite with the same readings.

    python -m benchmarks.journal [--readings N] [--rounds N] [--folder DIR] [--json]

Every side makes each batch of 1,000 readings durable before it goes on (the pipelined journal keeps several waiting,
as the lines of a gateway do). The sides take turns, and the median of the rounds counts.
A line brings the same series again and again, as polled lines do.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from gateway.clocks import SystemClock
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.journal.disk import write_all
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.journal.signing import make_key
from gateway.journal.writer import Journal

BATCH = 1000
SERIES = 500
IN_FLIGHT = 8  # batches that wait at any time in the pipelined run
RESULTS = Path(__file__).parent / "results"
Batches = list[list[Reading]]


def batches(count: int) -> Batches:
    """Batches as lines bring them: totals as counts and powers as floats, each with its two raw words."""
    start = 1_773_129_600 * MICROSECONDS
    made = []
    for number in range(count):
        series, tick = number % SERIES, number // SERIES
        total = series % 2 == 0
        value = 123_456_789 + 37 * number if total else (number * 7919 % 100_003) / 16
        name = f"works/point-{series // 2:03d}/{'active_energy_import' if total else 'active_power'}"
        words = (number * 2_654_435_761 & 0xFFFFFFFF).to_bytes(4, "big")
        made.append(Reading(name, start + tick * MICROSECONDS, value, words=words))
    return [made[at : at + BATCH] for at in range(0, count, BATCH)]


def journal_now(folder: Path, work: Batches) -> float:
    """Seconds for one batch after the other through the journal, signed key and all."""
    with open_journal(folder) as journal:
        begin = time.perf_counter()
        for batch in work:
            journal.append_readings_now("bus-1", batch)
        return time.perf_counter() - begin


def journal_pipelined(folder: Path, work: Batches) -> float:
    """Seconds with several batches waiting at any time."""
    return asyncio.run(pipeline(folder, work))


async def pipeline(folder: Path, work: Batches) -> float:
    journal = open_journal(folder)
    waiting = iter(work)

    async def line() -> None:
        for batch in waiting:
            await journal.append_readings("bus-1", batch)

    begin = time.perf_counter()
    await asyncio.gather(*(line() for _ in range(IN_FLIGHT)))
    took = time.perf_counter() - begin
    await journal.close()
    return took


def open_journal(folder: Path) -> Journal:
    key = make_key(folder)
    return Journal.open(folder / "journal", gateway_id="benchmark", clock=SystemClock(), key=key)


def bare_loop(folder: Path, pieces: list[bytes]) -> float:
    """Seconds for os.write and os.fdatasync of the very bytes that the journal wrote for each batch."""
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        begin = time.perf_counter()
        for piece in pieces:
            write_all(descriptor, piece)
            os.fdatasync(descriptor)
        return time.perf_counter() - begin
    finally:
        os.close(descriptor)


def sqlite_wal(folder: Path, work: Batches) -> float:
    """Seconds for the same readings in SQLite (WAL, synchronous FULL), one transaction a batch; no chain, no names."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(r.series for batch in work for r in batch))}
    with closing(sqlite3.connect(folder / "peer.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE reading (series INT, instant INT, value, quality INT, words BLOB)")
        begin = time.perf_counter()
        for batch in work:
            rows = ((numbers[series], instant, value, 1, words) for series, instant, value, _, _, words in batch)
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO reading VALUES (?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
        return time.perf_counter() - begin


def read_back(folder: Path, count: int) -> float:
    """Seconds to read every reading back: checksums, chain and columns checked."""
    begin = time.perf_counter()
    found = sum(len(readings_of(entry)) for entry in entries(folder / "journal"))
    took = time.perf_counter() - begin
    if found != count:
        raise SystemExit(f"read back {found} of {count} readings")
    return took


def frames_of(folder: Path) -> Iterator[bytes]:
    """The frames of the entries that hold readings, as they lie on the disk (README.md of the journal)."""
    for path in sorted((folder / "journal").glob("*.journal")):
        data, at = path.read_bytes(), 14
        while at < len(data):
            end = at + 48 + int.from_bytes(data[at : at + 4], "big")
            if b'"kind":"readings"' in data[end - 80 : end]:
                yield data[at:end]
            at = end


def measure(folder: Path, readings: int, rounds: int) -> dict[str, object]:
    """All sides in turns; for each the median [readings/s], and the median of its ratios to the bare loop."""
    work = batches(readings)
    gc.freeze()  # the readings are the benchmark's own: no side is to look through them for garbage
    seconds: dict[str, list[float]] = {}
    size = 0
    for number in range(-1, rounds):  # the first one warms up and is not counted
        with tempfile.TemporaryDirectory(dir=folder, prefix=f"journal-{number}-") as name:
            one, two, rest = Path(name, "one"), Path(name, "two"), Path(name)
            sides: dict[str, Callable[[], float]] = {
                "journal, batch after batch": lambda one=one: journal_now(one, work),
                "bare write + fdatasync": lambda one=one, rest=rest: bare_loop(rest, list(frames_of(one))),
                f"journal, {IN_FLIGHT} batches waiting": lambda two=two: journal_pipelined(two, work),
                "SQLite WAL, FULL": lambda rest=rest: sqlite_wal(rest, work),
                "read back": lambda two=two: read_back(two, readings),
            }
            for side, run in sides.items():
                took = run()
                if number >= 0:
                    seconds.setdefault(side, []).append(took)
            size = sum(map(len, frames_of(one)))
    bare = seconds["bare write + fdatasync"]
    sides = {
        side: {
            "readings_per_s": round(readings / median(took)),
            "to_bare": round(median(b / s for b, s in zip(bare, took, strict=True)), 2),
        }
        for side, took in seconds.items()
    }
    return {
        "readings": readings,
        "rounds": rounds,
        "batch": BATCH,
        "bytes_per_reading": round(size / readings, 1),
        "sides": sides,
        "seconds": {side: [round(took, 4) for took in rounds_] for side, rounds_ in seconds.items()},
    }


def machine() -> dict[str, object]:
    """What the figures were measured on, and how busy it was."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines() if Path(path).exists() else []


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--readings", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk that is meant; else the temporary one")
    parser.add_argument("--json", action="store_true", help="also write benchmarks/results/journal-<date>.json")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    now = datetime.now(UTC)
    found = {
        "measured": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "machine": machine(),
        **measure(chosen.folder or Path(tempfile.gettempdir()), chosen.readings, chosen.rounds),
    }
    print(f"{found['measured']}  {found['machine']}")
    print(f"{chosen.readings} readings in batches of {BATCH}, {found['bytes_per_reading']} bytes each on the disk")
    for side, told in found["sides"].items():
        print(f"  {side:28} {told['readings_per_s']:>12,} readings/s  {told['to_bare']:>6.2f} x the bare loop")
    if chosen.json:
        chosen.results.mkdir(parents=True, exist_ok=True)
        path = chosen.results / f"journal-{now:%Y-%m-%d}.json"
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
