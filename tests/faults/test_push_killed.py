"""SIGKILL at any moment while meters push 1,000 readings a second: what was acknowledged is there, once, unaltered."""

import os
from pathlib import Path

from tests.faults.killed_push import kill_pushes

SEED = int(os.environ.get("EMG_SEED", "2026"))
KILLS = int(os.environ.get("EMG_KILLS", "100"))


def test_a_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    figures = kill_pushes(tmp_path, SEED, KILLS)
    print(f"seed {SEED}: {figures}")
    assert figures.lost == 0
    assert figures.wrong == []
    assert figures.acked > 100 * KILLS
