"""The stores' benchmark runs, at a size that measures nothing, and compares the answers of the sides it has."""

import json
from pathlib import Path

import pytest

from benchmarks import stores
from benchmarks.store_sides import BareSqlite


def run(tmp_path: Path, sides: str) -> int:
    size = ["--readings", "10000", "--rounds", "2", "--folder", str(tmp_path), "--sides", sides]
    return stores.main([*size, "--json", "--results", str(tmp_path / "results")])


def test_it_runs_and_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "ours,bare,duckdb") == 0
    (path,) = (tmp_path / "results").glob("stores-*.json")
    told = json.loads(path.read_text())
    assert set(told["sides"]) == {"ours, hot", "ours, all in", "bare SQLite table", "DuckDB"}
    assert told["answers"]["latest"][0] == stores.METERS
    assert told["answers"]["total"][0] == 10_000
    printed = capsys.readouterr().out
    for name, side in told["sides"].items():
        assert name in printed
        assert side["readings_per_s"] > 0
        assert set(side.get("ms", stores.QUESTIONS)) == set(stores.QUESTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]  # it cleans up


def test_a_side_that_answers_otherwise_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BareSqlite, "reads", lambda _: {"latest": lambda: (1.0,)})
    with pytest.raises(SystemExit, match=r"bare SQLite table answers .*; expected"):
        run(tmp_path, "ours,bare")
