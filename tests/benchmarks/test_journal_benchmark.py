"""The journal's benchmark runs, at a size that measures nothing, and says what it is meant to say."""

import json
from pathlib import Path

import pytest

from benchmarks.journal import main


def test_it_runs_and_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    size = ["--readings", "3000", "--rounds", "1", "--folder", str(tmp_path)]
    assert main([*size, "--json", "--results", str(results)]) == 0
    (path,) = results.glob("journal-*.json")
    told = json.loads(path.read_text())
    assert set(told["sides"]) == {
        "journal, batch after batch",
        "journal, 8 batches waiting",
        "bare write + fdatasync",
        "SQLite WAL, FULL",
        "read back",
    }
    assert all(side["readings_per_s"] > 0 for side in told["sides"].values())
    assert told["sides"]["bare write + fdatasync"]["to_bare"] == 1
    assert {"cpu", "cores", "load_1min", "python", "system"} <= set(told["machine"])
    printed = capsys.readouterr().out
    assert all(side in printed for side in told["sides"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]  # it cleans up
