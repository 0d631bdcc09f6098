"""The benchmark of line protocol runs, at a size that measures nothing, and both sides say the same."""

import json
from pathlib import Path

import pytest

from benchmarks.line_protocol import main, said


def test_it_runs_and_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--readings", "2000", "--rounds", "1", "--json", "--results", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("line-protocol-*.json")
    sides = json.loads(path.read_text())["sides"]
    assert set(sides) == {"ours, prefix kept", "influxdb-client Point", "plain f-string"}
    assert all(side["points_per_s"] > 0 for side in sides.values())
    assert sides["influxdb-client Point"]["to_point"] == 1
    printed = capsys.readouterr().out
    assert all(side in printed for side in sides)


def test_two_lines_say_the_same_whatever_the_order_of_their_fields() -> None:
    assert said("a,t=x value=5,n=1i 7") == said("a,t=x n=1i,value=5.0 7")
    assert said("a,t=x value=5,n=1i 7") != said("a,t=x value=5,n=1 7")
