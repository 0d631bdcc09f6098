"""Long runs under faults, one JSON per run: `sh scripts/endurance [--only NAME] [--rounds N] [--seed N]`."""

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.faults.long_runs import RUNS, Progress

RESULTS = Path(__file__).resolve().parent / "results"


def endure(name: str, rounds: int | None, seed: int, folder: Path, results: Path) -> bool:
    """One long run in `folder`; writes its JSON into `results` and says whether it passed."""
    run, usual = RUNS[name]
    started = time.monotonic()
    outcome = run(folder, rounds or usual, seed, Progress(name))
    now = datetime.now(UTC)
    told = {
        "run": name,
        "at": now.isoformat(timespec="seconds"),
        "passed": outcome.passed,
        "figures": outcome.figures,
        "rounds": rounds or usual,
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine(),
    }
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{now:%Y-%m-%d}-{name}.json"
    path.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
    sys.stderr.write(f"\r{name}: {'passed' if outcome.passed else 'FAILED'}, {path.name}\033[K\n")
    return outcome.passed


def machine() -> dict[str, Any]:
    """What a figure depends on: processor, memory, load, kernel, versions."""
    return {
        "processors": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "load_1_min": round(os.getloadavg()[0], 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "product": version("energy-metrology-gateway"),
    }


def main() -> int:
    """Run what was asked for, or everything; 0 when all passed."""
    parser = argparse.ArgumentParser(prog="scripts/endurance", description=__doc__)
    parser.add_argument("--only", action="append", choices=RUNS, metavar="NAME", help=f"one of {', '.join(RUNS)}")
    parser.add_argument("--rounds", type=int, help="how many kills, cuts, faults, flips; by default the full number")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--folder", type=Path, help="where the runs work; by default a temporary folder")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    passed = []
    for name in given.only or RUNS:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            passed.append(endure(name, given.rounds, given.seed, Path(folder), given.results))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
