"""A fleet: 500 meters on 500 connections, each asked three blocks once a second by one `emg acquire`, all journaled.

    python -m benchmarks.modbus_fleet [--devices 500] [--seconds 60] [--loop asyncio,uvloop] [--json]

Every slot is looked at from the meters' side: the simulator, on another core, writes down when it answered. A slot
is on time when all three answers were given within 1 % of the period (10 ms) behind the device's slot and phase
(PTB-A 50.8). The acquiring process is the real one with journal, store and account of slots, kept to one core;
what it counted itself, and how many of the slots are whole in its journal, is told beside.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fleet_plant import PERIOD_US, go_first, phase_us, simulated, write_site
from benchmarks.modbus_client import machine
from collectors.acquire_loop import LOOP
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.line_status import acquire_status

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
ON_TIME_US, BLOCKS, SERIES = 10_000, 3, 7
WARM_UP_S = 8  # connections are opened, the first segments are made


@contextmanager
def acquiring(site: Path, loop: str, core: int) -> "Iterator[subprocess.Popen[bytes]]":
    """`emg acquire` on one core."""
    command = [sys.executable, "-m", "gateway", "acquire", str(site)]
    cores = os.sched_getaffinity(0)
    with (site.parent / "log").open("wb") as log:
        os.sched_setaffinity(0, {core})  # it is handed down
        try:
            process = subprocess.Popen(command, cwd=ROOT, stderr=log, env={**os.environ, LOOP: loop})
        finally:
            os.sched_setaffinity(0, cores)
        go_first(process.pid)
        with process:
            yield process


def journaled_slots(journal: Path, first: int, last: int) -> int:
    """How many slots from `first` up to `last` [us, UTC] have all their values in the journal."""
    found: Counter[tuple[str, int]] = Counter()
    for entry in entries(journal):
        for reading in readings_of(entry):
            if first <= reading.instant < last and reading.value is not None:
                found[reading.series.split("/")[1], reading.instant // PERIOD_US] += 1
    return sum(number == SERIES for number in found.values())


class Usage(NamedTuple):
    """Processor seconds and memory [MB] of the acquiring process, and its niceness."""

    cpu_s: float
    rss_mb: float
    nice: int


def usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(status["VmRSS"].split()[0]) / 1024, int(fields[16]))


def slots_kept(answered: list[list[int]], first: int, last: int) -> Counter[str]:
    """What became of every slot from `first` up to `last` [us, UTC], seen by the meters."""
    found: Counter[str] = Counter()
    offsets = []
    for n, instants in enumerate(answered):
        phase = phase_us(n, len(answered))
        slots: dict[int, list[int]] = {}
        for instant in instants:
            slots.setdefault((instant - phase) // PERIOD_US * PERIOD_US, []).append((instant - phase) % PERIOD_US)
        for slot in range(first, last, PERIOD_US):
            offset = slots.get(slot, [])
            found["scheduled"] += 1
            whole = len(offset) == BLOCKS
            found["on_time"] += whole and max(offset) <= ON_TIME_US
            found["late"] += whole and max(offset) > ON_TIME_US
            found["incomplete"] += not whole
            offsets += offset[-1:]
    offsets.sort()
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1)):
        found[f"offset_{name}_us"] = offsets[min(len(offsets) - 1, int(share * len(offsets)))] if offsets else 0
    return found


def measured(given: argparse.Namespace, loop: str, pipeline: int, folder: Path) -> dict[str, Any]:
    """One run of the acquiring process on one event loop."""
    cores = sorted(os.sched_getaffinity(0))
    with simulated(given.devices, cores[0]) as (ports, pipe):
        site = write_site(folder, ports, pipeline)
        with acquiring(site, loop, cores[-1]) as process:
            try:
                until_all_read(folder / "data", given.devices, process)
                time.sleep(given.warm_up)
                first = (time.time_ns() // 1000 // PERIOD_US + 1) * PERIOD_US
                before, begun = usage(process.pid), time.monotonic()
                time.sleep(given.seconds)
                after, took = usage(process.pid), time.monotonic() - begun
                last = time.time_ns() // 1000 // PERIOD_US * PERIOD_US
                status = acquire_status(folder / "data")
            finally:
                process.terminate()
        pipe.send("what came?")
        found = slots_kept(pipe.recv(), first, last)
    return {
        "loop": loop,
        "pipeline": pipeline,
        "on_time_percent": round(100 * found["on_time"] / found["scheduled"], 4),
        **found,
        "cpu_percent_of_a_core": round(100 * (after.cpu_s - before.cpu_s) / took, 1),
        "rss_mb": round(after.rss_mb, 1),
        "nice": after.nice,
        "journaled_slots": journaled_slots(folder / "data" / "journal", first, last),
        "own_counts": own_counts(status.lines if status else {}),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def until_all_read(data_dir: Path, devices: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        status = acquire_status(data_dir)
        if status and len(status.lines) == devices and all(line["readings"] for line in status.lines.values()):
            return
        time.sleep(0.5)
    raise TimeoutError("emg acquire does not read every device; see its log")


def own_counts(lines: dict[str, Any]) -> dict[str, int]:
    """What the process says itself, over its whole run."""
    devices = [device for line in lines.values() for device in line["devices"].values()]
    names = ("polls", "answered", "slots_on_time", "slots_late", "slots_empty", "slots_passed_over")
    return {name: sum(device[name] for device in devices) for name in names}


def show(found: dict[str, Any]) -> None:
    print(f"{found['devices']} devices, {BLOCKS} blocks each, every second, for {found['seconds']} s; 1 % = 10 ms")
    for run in found["runs"]:
        print(
            f"  {run['loop']:8} pipeline {run['pipeline']} {run['on_time_percent']:8.3f} % "
            f"of {run['scheduled']:,} slots on time, {run['late']} later, "
            f"{run['incomplete']} incomplete, {run['journaled_slots']:,} whole in the journal;\n"
            f"           last answer after {run['offset_p50_us'] / 1000:.1f} ms (half), "
            f"{run['offset_p999_us'] / 1000:.1f} ms (99.9 %); {run['cpu_percent_of_a_core']} % of a core, "
            f"{run['rss_mb']} MB; load {run['load_1min']}"
        )


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=60, help="of each run, after its warm-up")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S, help="seconds that are not looked at")
    parser.add_argument("--loop", default="asyncio,uvloop", help="event loops, comma-separated")
    parser.add_argument("--pipeline", default="1,3", help="questions on their way to a device, comma-separated")
    parser.add_argument("--json", action="store_true", help="print one JSON object and keep it in --results")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--on", type=Path, help="a folder on the disk that is meant; a temporary one without it")
    given = parser.parse_args(argv)
    runs = []
    for pipeline in map(int, given.pipeline.split(",")):
        for loop in given.loop.split(","):
            with tempfile.TemporaryDirectory(dir=given.on) as folder:
                runs.append(measured(given, loop, pipeline, Path(folder)))
    found = {"machine": machine(), "devices": given.devices, "seconds": given.seconds, "runs": runs}
    if given.json:
        given.results.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=1)
        (given.results / f"modbus-fleet-{datetime.now(UTC):%Y-%m-%d}.json").write_text(text + "\n", "utf-8")
        print(text)
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
