"""The k-th system call fails, for every k until the work passes, once and lasting: or is the last: no promise is broken by it."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.kept_up import UPKEEP, journal_of_three_days, wrong_after_upkeep
from tests.faults.kth_call import (
    FEW_ENTRIES,
    Fault,
    Judge,
    broken_rules,
    every_kill,
    every_way,
    fault_points,
    new_journal,
    torn_journal,
    try_faults,
)

SEED = int(os.environ.get("EMG_SEED", "2026"))
pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace (Debian package) is not installed"),
]


@pytest.mark.parametrize("prepare", [new_journal, torn_journal])
def test_whatever_call_fails_no_promise_is_broken(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path / "whole")
    points = fault_points(tmp_path / "whole", tmp_path / "trace")
    # A full disk refuses what needs room; everything else fails as a broken disk does, and what only opens a file
    # fails once or for good in turn. The long run does all of both.
    ways = [fault for fault in every_way(points) if (fault.call in ROOM_NEEDED) == (fault.error == "ENOSPC")]
    ways = [fault for fault in ways if fault.call not in IN_TURN or fault.lasting == (fault.k % 2 == 0)]
    tried = try_faults(tmp_path, ways, prepare)
    broken = {str(fault): (rules, run.said, run.injected) for fault, run, rules in tried if rules}
    assert broken == {}
    reached = [fault for fault, run, _ in tried if run.injected]
    assert len(reached) > 0.95 * len(ways)  # a program that starts differently each time would be hit elsewhere
    print(f"{len(reached)} faults at {len(points)} calls: {count(points)}")


ROOM_NEEDED = {"write", "pwrite64", "mkdir", "fsync"}
IN_TURN = {"openat", "mkdir", "pwrite64"}


def count(points: list[tuple[str, int]]) -> dict[str, int]:
    return {call: sum(each == call for each, _ in points) for call in sorted({call for call, _ in points})}


def test_compression_rotation_and_the_store_may_fail_at_any_call(tmp_path: Path) -> None:
    """One call in eight here, drawn by the seed; the long run fails them all."""
    journal_of_three_days(tmp_path / "whole")
    points = fault_points(tmp_path / "whole", tmp_path / "trace", program=UPKEEP)
    drawn = random.Random(SEED).sample(points, len(points) // 8)
    ways = [Fault(call, k, "ENOSPC" if call in ROOM_NEEDED else "EIO", lasting=k % 2 == 0) for call, k in drawn]
    tried = try_faults(tmp_path, ways, journal_of_three_days, program=UPKEEP, judge=wrong_after_upkeep)
    broken = {str(fault): (wrong, run.said, run.injected) for fault, run, wrong in tried if wrong}
    assert broken == {}, f"seed {SEED}"
    print(f"{sum(bool(run.injected) for _, run, _ in tried)} faults at {len(points)} calls: {count(points)}")


@pytest.mark.parametrize(
    ("prepare", "program", "judge"),
    [
        (new_journal, FEW_ENTRIES, broken_rules),
        (torn_journal, FEW_ENTRIES, broken_rules),
        (journal_of_three_days, UPKEEP, wrong_after_upkeep),
    ],
)
def test_a_kill_at_any_call_leaves_nothing_that_a_start_does_not_mend(
    tmp_path: Path, prepare: Callable[[Path], None], program: Path, judge: Judge
) -> None:
    """One call in six here, drawn by the seed; the long run is killed at each."""
    prepare(tmp_path / "whole")
    points = fault_points(tmp_path / "whole", tmp_path / "trace", program=program)
    drawn = random.Random(SEED).sample(points, len(points) // 6)
    tried = try_faults(tmp_path, every_kill(drawn), prepare, program=program, judge=judge)
    broken = {str(fault): (wrong, run.said) for fault, run, wrong in tried if wrong}
    assert broken == {}, f"seed {SEED}"
    assert sum(run.killed for _, run, _ in tried) > 0.9 * len(drawn)
