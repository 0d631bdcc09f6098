"""The benchmark of decoding runs, at a size that measures nothing, and every side gives the same values."""

import json
from pathlib import Path

import pytest

from benchmarks.decoding import PEER, main


def test_it_runs_and_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--answers", "5", "--rounds", "1", "--json", "--results", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("decoding-*.json")
    found = json.loads(path.read_text())
    assert (found["words"], found["values"]) == (125, 30)
    assert set(found["sides"]) == {"ours, one plan", "ours, to readings", PEER}
    assert found["sides"][PEER]["to_pymodbus"] == 1
    printed = capsys.readouterr().out
    assert all(side in printed for side in found["sides"])
