"""`emg import` as a person meets it: verdicts on the screen, sentences on the error stream, exit codes."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from shutil import copytree

import pytest

import gateway
from gateway.__main__ import main
from gateway.config import load_site
from gateway.domain.scopes import EVERYTHING
from gateway.ledger.importing import import_main
from gateway.ledger.opening import open_ledger

YEAR = {"first_day": date(2026, 1, 1), "day_after": date(2027, 1, 1)}


def table(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding, newline="")
    return path


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "sample"
    copytree(Path(gateway.__file__).parent / "samples", folder)
    yield folder / "site.toml"


def test_the_command_prints_verdicts_and_tells_by_its_exit_code(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = table(tmp_path, "product,unit,period,quantity,[note]", "clinker,t,2026-10,80000,[red]x")
    command = ["import", "production", str(good), "--site", str(sample)]
    assert main([*command, "--check", "--json"]) == 0
    tried = json.loads(capsys.readouterr().out)
    assert (tried["accepted"], tried["refused"], tried["check"]) == (1, 0, True)
    assert main([*command, "--by", "Li Wei", "--reason", "monthly report"]) == 0
    told = capsys.readouterr()
    assert "1 rows: 1 accepted, 0 unchanged, 0 refused." in told.out
    assert "'[note]'" in told.err
    with closing(open_ledger(load_site(sample), read_only=True)) as ledger:
        (row,) = ledger.production(EVERYTHING, as_of=None, enterprise="works", **YEAR)
    assert (row.recorded_by, row.reason) == ("Li Wei", "monthly report")

    bad = table(tmp_path, "product,unit,period,quantity", "clinker,t,Oct-26,80000", "[bold]clinker,t,2026-11,1")
    assert import_main(["production", str(bad), "--site", str(sample)]) == 1
    told = capsys.readouterr()
    assert "'Oct-26'" in told.out
    assert "[bold]clinker" in told.out  # a cell is shown as it stands
    assert "import the file again" in told.err
    assert main(["import", "production", str(bad), "--site", str(sample), "--json"]) == 1
    (first, second) = json.loads(capsys.readouterr().out)["rows"]
    assert (first["line"], first["verdict"], first["problems"][0]["column"]) == (2, "refused", "period")
    assert second["problems"][0]["column"] == "product"


def test_the_command_says_why_it_cannot_run(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poor = table(tmp_path, "product,unit", "clinker,t")
    assert import_main(["production", str(poor), "--site", str(sample)]) == 2
    assert "period: found no such column" in capsys.readouterr().err
    assert import_main(["production", str(poor), "--site", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    assert import_main(["prod"]) == 2
    assert "expected certificates | instruments | production | output-value" in capsys.readouterr().err
