"""The embedded store beside a bare SQLite table, DuckDB, InfluxDB and VictoriaMetrics: the same readings in one run.

    python -m benchmarks.stores [--readings N] [--sides ours,bare,duckdb,influxd,victoria] [--folder DIR] [--json]

Readings are counts of 1,000 meters every 15 minutes, as they come: every meter at one instant, then the next instant;
5,000 in each batch, each batch durable before the next (VictoriaMetrics acknowledges before that). Every side answers
the same four questions, and the answers are compared. `ours, all in` seals as it goes, until all is sealed.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.journal import RESULTS, machine
from benchmarks.store_servers import Influx, Victoria, installed
from benchmarks.store_sides import DAY, BareSqlite, DuckDb, Ours, Plant, Side
from gateway.contracts import Delivery
from gateway.domain.readings import Reading

METERS = 1000
STEP = 900_000_000  # [us]
START = 1_767_225_600_000_000  # 2026-01-01 UTC [us]
ENTRIES = 5  # journal entries of 1,000 readings in a batch
HOT = 200_000  # readings of the hot run: below what the store seals by itself
QUESTIONS = {
    "latest": "latest of all meters",
    "series": "one meter, all points",
    "daily": "consumption of each day and meter, last 30 days",
    "total": "count, minimum and maximum of all",
}


def series_names() -> list[str]:
    return [f"works-{number % 7}/point-{number:04d}/active_energy_import" for number in range(METERS)]


def batches(readings: int) -> Iterator[list[Delivery]]:
    """What the drain would deliver: consumption follows the hour of the day, meters differ a hundredfold."""
    chance = np.random.default_rng(20260101)
    names = series_names()
    rates = np.exp(chance.uniform(np.log(3), np.log(600), METERS))  # counts in a quarter of an hour
    counts = chance.integers(0, 10**8, METERS)
    batch: list[Delivery] = []
    for step in range(readings // METERS):
        at = START + step * STEP
        load = 0.4 + 0.6 * max(0.0, np.sin((step % 96 - 24) / 96 * 2 * np.pi))
        counts += chance.poisson(rates * load)
        taken = [Reading(name, at, value) for name, value in zip(names, counts.tolist(), strict=True)]
        batch.append(Delivery(step + 1, taken, b"digest of the entry, 32 bytes at"))
        if len(batch) == ENTRIES:
            yield batch
            batch = []


def write(side: Side, readings: int, *, settling: bool = True) -> tuple[float, float]:
    """Seconds in which the side took them, and of the processor in this process; making them does not count."""
    took = busy = 0.0

    def timed(run: Callable[[], None]) -> None:
        nonlocal took, busy
        begin, used = time.perf_counter(), time.process_time()
        run()
        took, busy = took + time.perf_counter() - begin, busy + time.process_time() - used

    for batch in batches(readings):
        timed(lambda batch=batch: side.write(batch))
    if settling:
        timed(side.settle)
    return took, busy


def ask(side: Side, rounds: int) -> tuple[dict[str, float], dict[str, tuple[float, ...]]]:
    """(median time [ms], answer) of each question; what takes long is asked fewer times."""
    times, answers = {}, {}
    for question, read in side.reads().items():
        took: list[float] = []
        while len(took) < rounds and sum(took) < 10:
            begin = time.perf_counter()
            answers[question] = read()
            took.append(time.perf_counter() - begin)
        times[question] = round(median(took[1:] or took) * 1e3, 2)  # the first one warms up
    return times, answers


def sides(folder: Path, plant: Plant, last: int, chosen: Sequence[str]) -> dict[str, Callable[[], Side]]:
    """The stores by name; a server only where it is installed."""

    def place(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    every: dict[str, tuple[str, Callable[[], Side]]] = {
        "ours, all in": ("ours", lambda: Ours(place("ours"), plant)),
        "bare SQLite table": ("bare", lambda: BareSqlite(place("bare"), plant)),
        "DuckDB": ("duckdb", lambda: DuckDb(place("duckdb"), plant)),
        "InfluxDB 1.6.7": ("influxd", lambda: Influx(place("influx"), plant)),
        "VictoriaMetrics 1.79": ("victoria", lambda: Victoria(place("victoria"), plant, last)),
    }
    absent = {name for name, word in (("influxd", "influxd"), ("victoria", "victoria-metrics")) if not installed(word)}
    return {name: make for name, (word, make) in every.items() if word in chosen and word not in absent}


def measure(folder: Path, readings: int, rounds: int, chosen: Sequence[str]) -> dict[str, object]:
    """Every side in turn. Raises SystemExit when one of them answers otherwise than ours."""
    readings -= readings % (METERS * ENTRIES)
    last = START + (readings // METERS - 1) * STEP
    plant = Plant(series_names(), max(START // DAY, last // DAY - 30), max(START // DAY, last // DAY - 1))
    told: dict[str, dict[str, object]] = {}
    answers: dict[str, tuple[float, ...]] = {}
    with closing(Ours(_made(folder / "hot"), plant, resting=False)) as hot:
        some = min(HOT, readings)
        told["ours, hot"] = _rates(some, *write(hot, some, settling=False))
    for name, make in sides(folder, plant, last, chosen).items():
        with closing(make()) as side:
            rates = _rates(readings, *write(side, readings))
            times, found = ask(side, rounds)
            size = side.size()
        answers = answers or found
        if found != answers:
            raise SystemExit(f"{name} answers {found}; expected {answers}")
        told[name] = {**rates, "bytes_per_reading": round(size / readings, 2), "ms": times}
        if isinstance(side, Ours):
            told[name]["longest_wait_ms"] = round(side.longest * 1e3, 1)
    return {"readings": readings, "batch": METERS * ENTRIES, "rounds": rounds, "answers": answers, "sides": told}


def _rates(readings: int, took: float, busy: float) -> dict[str, object]:
    """What a busy machine changes, and what it changes little: time of the processor, of this process alone."""
    return {"readings_per_s": round(readings / took), "cpu_us_per_reading": round(busy / readings * 1e6, 2)}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def show(found: dict) -> None:
    """The table, with the ratio of every figure to ours."""
    ours = found["sides"].get("ours, all in", {})
    print(f"{found['readings']:,} readings in batches of {found['batch']:,}; x = times ours (all in)")
    print(
        f"  {'':24}{'readings/s':>14}{'':9}{'CPU us':>8}{'B/reading':>10}"
        + "".join(f"{question + ' ms':>19}" for question in QUESTIONS)
    )
    for name, side in found["sides"].items():
        line = f"  {name:24}{side['readings_per_s']:>14,}"
        line += f" {side['readings_per_s'] / ours['readings_per_s']:>6.2f} x" if ours else f"{'':9}"
        line += f"{side['cpu_us_per_reading']:>8.2f}"
        if "ms" in side:
            line += f"{side['bytes_per_reading']:>10}"
            for question in QUESTIONS:
                mine = ours.get("ms", {}).get(question)
                ratio = f"{side['ms'][question] / mine:>7.1f} x" if mine else ""
                line += f"{side['ms'][question]:>10.2f}{ratio:>9}"
        print(line)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores", description=__doc__)
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7, help="how often each question is asked")
    parser.add_argument("--sides", default="ours,bare,duckdb,influxd,victoria")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk that is meant; else the temporary one")
    parser.add_argument("--json", action="store_true", help="also write benchmarks/results/stores-<date>.json")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="stores-") as folder:
        measured = measure(Path(folder), chosen.readings, chosen.rounds, chosen.sides.split(","))
    found = {"measured": f"{now:%Y-%m-%dT%H:%M:%SZ}", "machine": machine(), **measured}
    print(f"{found['measured']}  {found['machine']}")
    show(found)
    if chosen.json:
        chosen.results.mkdir(parents=True, exist_ok=True)
        path = chosen.results / f"stores-{now:%Y-%m-%d}.json"
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
