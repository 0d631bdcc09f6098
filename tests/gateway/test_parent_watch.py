"""Who started a program is killed: the program ends too, and what it started in turn."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.parent_watch import VARIABLE, end_with_parent, tether

CHILD = """
import sys, time
from gateway.parent_watch import end_with_parent
end_with_parent()
open(sys.argv[1], "w").write("ready")
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys, time
from gateway.parent_watch import tether
with tether() as tied:
    command = [sys.executable, "-c", {CHILD!r}, sys.argv[1]]
    child = subprocess.Popen(command, pass_fds=(tied.descriptor,), env=tied.environment)
    print(child.pid, flush=True)
    time.sleep(60)
"""


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent_however_that_ends(tmp_path: Path, how: int):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path / "ready"], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    for _ in range(200):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.05)
    assert is_alive(child)
    parent.send_signal(how)
    parent.wait(10)
    parent.stdout.close()
    for _ in range(200):
        if not is_alive(child):
            break
        time.sleep(0.05)
    assert not is_alive(child)


def test_a_program_that_nobody_tied_goes_on_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    end_with_parent()


def test_the_tether_is_not_handed_on_to_other_programs():
    with tether() as tied:
        assert not os.get_inheritable(tied.descriptor)
        assert tied.environment[VARIABLE] == str(tied.descriptor)
