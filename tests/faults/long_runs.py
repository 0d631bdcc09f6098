"""The long runs: what each does, what it measures, and when it has passed."""

import json
import random
import subprocess
import sys
import tempfile
import time
from asyncio import run as run_loop
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from tests.faults.acquiring import fill_for, journal_of, wrong_with
from tests.faults.flipping import draw_flip, flipped, not_salvaged, readings_journal, undetected
from tests.faults.kept_up import UPKEEP, journal_of_three_days, wrong_after_upkeep
from tests.faults.killed_broker import kill_broker
from tests.faults.killed_push import Figures, kill_pushes
from tests.faults.kth_call import (
    FEW_ENTRIES,
    Fault,
    broken_rules,
    every_kill,
    every_way,
    fault_points,
    new_journal,
    torn_journal,
    try_faults,
)
from tests.faults.late_data import settled_two_ways
from tests.faults.loop_disk import LoopDisk
from tests.faults.power_cuts import Cuts, cut_pushes
from tests.faults.pushing import ROOT
from tests.journal.test_tampering import run as tamper

FIRST_DURABLE_S = 2.0  # from exec to the first durable reading
NO_HANG_S = 5.0
ALARM_S, RECOVERED_S = 10.0, 5.0  # from a full disk to the alarm; from a freed disk to the next durable entry
BACKLOG_OPEN_S, BACKLOG_MEMORY = 3.0, 256 << 20

WaysOf = Callable[[list[tuple[str, int]]], list[Fault]]


@dataclass(frozen=True)
class Outcome:
    """What a long run measured, and whether it met every criterion."""

    figures: dict[str, Any]
    passed: bool


class Progress:
    """One line on standard error, written over at most once a second."""

    def __init__(self, name: str) -> None:
        self._name, self._last = name, 0.0

    def __call__(self, told: object) -> None:
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            sys.stderr.write(f"\r{self._name}: {told}\033[K")
            sys.stderr.flush()


def kills(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """SIGKILL at any moment of the push run."""
    done = kill_pushes(folder, seed, rounds, say)
    passed = done.lost == 0 and not done.wrong and max(done.first_durable_s) <= FIRST_DURABLE_S
    return Outcome(_with_spread(done), passed)


def power_cuts(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """Power cuts of an ext4 disk under the push run."""
    done = cut_pushes(folder, random.Random(seed), rounds, say)
    passed = (done.lost, done.forgotten, done.wrong) == (0, 0, []) and max(done.first_durable_s) <= FIRST_DURABLE_S
    return Outcome(_with_spread(done), passed)


def _with_spread(done: Figures | Cuts) -> dict[str, Any]:
    figures = asdict(done)
    times = sorted(figures.pop("first_durable_s"))
    spread = {"starts": len(times), "median": times[len(times) // 2], "longest": times[-1]}
    figures["pushed_s"] = round(figures["pushed_s"], 1)
    figures["rate_per_s"] = round(done.pushed / done.pushed_s)
    return {**figures, "first_durable_s": {key: round(value, 3) for key, value in spread.items()}}


def kth_failures(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """Every call on the files fails, once and for good, as a broken and as a full disk does."""
    return _at_every_call(folder, lambda points: list(every_way(points)), rounds, seed, say)


def kth_kills(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """SIGKILL at every call on the files."""
    return _at_every_call(folder, every_kill, rounds, seed, say)


def _at_every_call(folder: Path, ways_of: WaysOf, rounds: int, seed: int, say: Progress) -> Outcome:
    figures: dict[str, Any] = {"faults": 0, "reached": 0, "broken": {}, "longest_s": 0.0}
    for prepare, program, judge in (
        (new_journal, FEW_ENTRIES, broken_rules),
        (torn_journal, FEW_ENTRIES, broken_rules),
        (journal_of_three_days, UPKEEP, wrong_after_upkeep),
    ):
        where = folder / prepare.__name__
        where.mkdir()
        prepare(where / "whole")
        ways = ways_of(fault_points(where / "whole", where / "trace", program=program))
        random.Random(seed).shuffle(ways)
        ways = ways[:rounds]
        for first in range(0, len(ways), 20):
            for fault, run, broken in try_faults(
                where, ways[first : first + 20], prepare, program=program, judge=judge
            ):
                figures["faults"] += 1
                figures["reached"] += run.killed or bool(run.injected)
                figures["longest_s"] = max(figures["longest_s"], round(run.seconds, 2))
                if broken:
                    figures["broken"][f"{prepare.__name__} {fault}"] = broken
            say(f"{figures['faults']} faults, {len(figures['broken'])} broken rules")
    passed = not figures["broken"] and figures["longest_s"] <= NO_HANG_S and figures["reached"] > 0
    return Outcome(figures, passed)


def bit_flips(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """Single flipped bits in small journals."""
    chance = random.Random(seed)
    figures: dict[str, Any] = {"flips": 0, "undetected": [], "not_salvaged": []}
    while figures["flips"] < rounds:
        directory = folder / str(figures["flips"])
        per_entry = chance.choice((1, 5, 20, 100))
        shape = {"per_entry": per_entry, "segment_bytes": chance.choice((2048, 8192, 1 << 24))}
        good = readings_journal(directory, readings=min(2000, 20 * per_entry), **shape)
        for _ in range(min(250, rounds - figures["flips"])):
            flip = draw_flip(chance, directory)
            with flipped(flip):
                passed, lost = undetected(directory, good), not_salvaged(directory, good, flip)
            figures["flips"] += 1
            figures["undetected"] += [f"{flip}: {who}" for who in passed]
            figures["not_salvaged"] += [f"{flip}: {what}" for what in lost]
            say(f"{figures['flips']} flips, {len(figures['undetected'])} undetected")
    return Outcome(figures, not figures["undetected"] and not figures["not_salvaged"])


def late_data(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """Late, disordered and repeated readings, settled bit by bit and from zero."""
    figures: dict[str, Any] = {"seeds": 0, "different": [], "amount_wrong": []}
    for number in range(seed, seed + rounds):
        bit_by_bit, from_zero, amounts, truth = settled_two_ways(folder / str(number), number)
        figures["seeds"] += 1
        if bit_by_bit != from_zero:
            figures["different"].append(number)
        if amounts != truth:
            figures["amount_wrong"].append(number)
        say(f"{figures['seeds']} seeds, {len(figures['different'])} different")
    return Outcome(figures, not figures["different"] and not figures["amount_wrong"])


def full_disk(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """`emg acquire` on a disk that is full for so many seconds, and is then freed."""
    say(f"full for {rounds} s")
    with LoopDisk(folder / "full") as disk:
        done = run_loop(fill_for(disk, float(rounds)))
        wrong = wrong_with(disk)
        counts = account_slots(entries(journal_of(disk)))
    figures = {
        "full_s": done.full_s,
        "alarm_after_s": round(done.alarm_after_s, 2),
        "went_on_after_s": round(done.went_on_after_s, 2),
        "series": len(counts),
        "scheduled": sum(count.scheduled for count in counts.values()),
        "good": sum(count.good for count in counts.values()),
        "flagged": sum(count.flagged for count in counts.values()),
        "gap": sum(count.gap for count in counts.values()),
        "wrong": wrong,
    }
    in_time = done.alarm_after_s <= ALARM_S and done.went_on_after_s <= RECOVERED_S
    return Outcome(figures, in_time and not wrong and done.returncode == 0)


def backlog(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """A start on a long backlog, plain and compressed, in a process of 256 MiB."""
    figures, passed = {}, True
    for name, options in (("plain", []), ("compressed", ["--compressed"])):
        say(name)
        with tempfile.TemporaryDirectory(dir=folder) as where:
            told = _told("tests.faults.backlog", "--readings", str(rounds), "--folder", where, *options)
        figures[name] = {key: round(value, 3) for key, value in told.items()}
        passed = passed and told["open_s"] <= BACKLOG_OPEN_S and told["memory"] <= BACKLOG_MEMORY
    return Outcome(figures, passed)


def sink_outage(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """A sink that is down for an hour of virtual time and then fails three writes of ten."""
    passed = 0
    for number in range(rounds):
        say(f"{number} of {rounds}")
        test = "tests/sinks/test_trouble.py"
        command = [sys.executable, "-m", "pytest", "-q", test, "-k", "an_hour_down", "--basetemp", str(folder / "t")]
        passed += subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 0
    return Outcome({"runs": rounds, "passed": passed}, passed == rounds)


def tamperings(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """A forger's work on copies of signed journals."""
    say(f"{rounds} tamperings")
    figures = tamper(rounds, seed)
    wrong = figures["missed"] or figures["good_journals_accused"] or figures["first_bad_entry_misnamed"]
    return Outcome(figures, figures["found"] == rounds and not wrong)


def _told(module: str, *words: str) -> dict[str, float]:
    """The last line that a program prints, as JSON."""
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def broker_kills(folder: Path, rounds: int, seed: int, say: Progress) -> Outcome:
    """SIGKILL of the MQTT broker while `emg acquire` takes readings of QoS 1 from it; the moments come by themselves."""
    figures = kill_broker(folder / "plant", rounds, lambda kills: say(f"{kills} kills"))
    whole = figures.journaled + figures.lost == figures.published
    return Outcome(asdict(figures), not figures.wrong and whole and figures.kills == rounds and figures.lost > 0)


Run = Callable[[Path, int, int, Progress], Outcome]
RUNS: dict[str, tuple[Run, int]] = {
    "kills": (kills, 2000),
    "broker-kills": (broker_kills, 20),
    "power-cuts": (power_cuts, 300),
    "kth-failures": (kth_failures, 10_000),
    "kth-kills": (kth_kills, 10_000),
    "bit-flips": (bit_flips, 10_000),
    "tamperings": (tamperings, 10_000),
    "late-data": (late_data, 200),
    "full-disk": (full_disk, 60),
    "backlog": (backlog, 10_000_000),
    "sink-outage": (sink_outage, 10),
}
