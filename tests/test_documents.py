"""What the documents say is run: every python and sh block of every README, and the list of commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.__main__ import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
READMES = sorted(path for path in ROOT.rglob("README.md") if not {".venv", "node_modules"} & set(path.parts))
BLOCKS = [
    pytest.param(path, kind, code, id=f"{path.relative_to(ROOT).as_posix()}-{n}")
    for path in READMES
    for n, (kind, code) in enumerate(BLOCK.findall(path.read_text("utf-8")))
]
RUN_ELSEWHERE = ("sh scripts/",)  # the two commands of the first screen: tests/test_demo.py and this very run


@pytest.mark.parametrize(("path", "kind", "code"), BLOCKS)
def test_a_code_block_of_a_readme_runs(path: Path, kind: str, code: str, tmp_path: Path) -> None:
    if kind == "sh":
        code = "\n".join(line for line in code.splitlines() if not line.startswith(RUN_ELSEWHERE))
        command = ["sh", "-eu", "-c", code]
    else:
        command = [sys.executable, "-W", "error", "-c", code]
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{path}\n{done.stdout}\n{done.stderr}"


def test_every_command_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for command in COMMANDS:
        assert f"emg {' '.join(command)}" in readme, command


def test_help_lists_every_command_and_each_answers_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for command in COMMANDS:
        assert f"emg {' '.join(command)} " in overview
        assert main([*command, "--help"]) == 0, command
        assert "usage" in capsys.readouterr().out.lower(), command


def test_an_unknown_command_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figurs"]) == 2
    assert "did you mean `emg figures`" in capsys.readouterr().err


def test_the_product_speaks_of_itself_alone() -> None:
    foreign = re.compile(r"/(?:work|farm|root)/|\.\./shared|\bsubagent|\bLLM\b|AI assistant", re.IGNORECASE)
    for path in ROOT.rglob("*"):
        if path.suffix in {".md", ".py", ".toml", ".html", ".js", ".css", ".csv"} and ".venv" not in path.parts:
            if path.is_relative_to(ROOT / "tests"):
                continue
            match = foreign.search(path.read_text("utf-8"))
            assert match is None, f"{path}: {match.group() if match else ''}"
