"""The fleet's benchmark runs, at a size that measures nothing, and says what it is meant to say."""

import json
from pathlib import Path

import pytest

from benchmarks.modbus_fleet import ON_TIME_US, main, phase_us, slots_kept


def test_a_small_fleet_is_read_and_looked_at_from_the_meters_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    size = ["--devices", "4", "--seconds", "3", "--warm-up", "0", "--loop", "asyncio", "--pipeline", "3"]
    assert main([*size, "--json", "--results", str(tmp_path / "results")]) == 0
    found = json.loads(capsys.readouterr().out)
    (path,) = (tmp_path / "results").glob("modbus-fleet-*.json")
    assert json.loads(path.read_text()) == found
    (run,) = found["runs"]
    assert run["scheduled"] in {8, 12}  # two or three whole seconds of four devices
    assert run["on_time"] + run["late"] + run["incomplete"] == run["scheduled"]
    assert run["journaled_slots"] >= run["on_time"]
    assert run["own_counts"]["answered"] >= 3 * run["on_time"]
    assert run["cpu_percent_of_a_core"] >= 0
    assert run["rss_mb"] > 10
    assert {"cpu", "cores", "load_1min", "python", "system"} <= set(found["machine"])


def test_a_slot_is_on_time_up_to_10_ms_behind_its_phase():
    first = 1_790_000_000_000_000
    phase = phase_us(1, 2)  # of the second of two devices: 0.4 s
    answers = [
        [first + n for n in (1_000, 2_000, ON_TIME_US)],
        [first + phase + n for n in (1_000, 2_000, ON_TIME_US + 1)],
    ]
    found = slots_kept(answers, first, first + 2_000_000)
    assert (found["scheduled"], found["on_time"], found["late"], found["incomplete"]) == (4, 1, 1, 2)
