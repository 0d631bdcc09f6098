"""A disk that fails: the writer stops for good, tells everyone who waits, and never tries the same file again."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from gateway.journal.reader import entries
from gateway.journal.verify import verify_journal
from tests.journal.journals import make_journal, open_journal

ROOT = Path(__file__).resolve().parents[2]
APPENDING = ROOT / "tests" / "journal" / "appending.py"
OPENING = """
import sys
from pathlib import Path
from gateway.clocks import SystemClock
from gateway.errors import JournalError
from gateway.journal.writer import Journal
try:
    with Journal.open(Path(sys.argv[1]), gateway_id="gw-test", clock=SystemClock()) as journal:
        print("opened", journal.durable_sequence)
except JournalError as error:
    print("refused", error)
"""
STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace (Debian package) is not installed")


def run(command: list[str]) -> list[str]:
    packages = sysconfig.get_path("purelib")  # the bare interpreter does not look there
    env = {"PYTHONPATH": f"{ROOT}:{packages}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


def python(*words: str | Path) -> list[str]:
    # the interpreter itself: strace counts the calls of the program it starts, not those of a shim before it
    return [str(Path(sys.executable).resolve()), "-X", "utf8", *map(str, words)]


def traced(trace: Path, fault: str, command: list[str], *only: Path) -> list[str]:
    assert STRACE is not None
    calls = fault.split(":", 1)[0]
    paths = [f"--trace-path={path}" for path in only]
    return [STRACE, "-f", "-qq", "-o", str(trace), *paths, "-e", f"trace={calls}", "-e", f"inject={fault}", *command]


def assert_all_acked_are_there(lines: list[str], journal_dir: Path) -> None:
    acked = {int(line.split()[1]): line.split()[2] for line in lines if line.startswith("acked ")}
    found = {entry.sequence: entry.body.get("token") for entry in entries(journal_dir)}
    assert {sequence: found.get(sequence) for sequence in acked} == acked


def test_a_full_disk_stops_the_writer_and_everyone_who_waits_is_told(tmp_path: Path) -> None:
    """The limit of the file size is a real refusal of the kernel (EFBIG), amid a write, without any right of root."""
    lines = run(python(APPENDING, tmp_path, "a", "--limit", "5000"))
    assert lines[-3] == "refused 8"
    assert re.search(r"stopped .*/0+\d+\.journal: entry \d+ could not be made durable \(File too large\)", lines[-2])
    assert lines[-1] == "still stopped"
    report = verify_journal(tmp_path)
    assert report.ok
    assert report.torn_bytes > 0  # the kernel wrote up to the limit
    assert_all_acked_are_there(lines, tmp_path)
    with open_journal(tmp_path) as journal:
        assert journal.durable_sequence == report.last_sequence + 1
    assert [entry.body["event"] for entry in entries(tmp_path, after=report.last_sequence)] == ["torn_tail_cut"]


@needs_strace
@pytest.mark.parametrize("k", [3, 7])
def test_a_failed_sync_is_never_tried_again(tmp_path: Path, k: int) -> None:
    trace, journal_dir = tmp_path / "trace", tmp_path / "journal"
    # only one call fails (the k-th of its thread): a second try would succeed, and would lie
    lines = run(traced(trace, f"fdatasync:error=EIO:when={k}", python(APPENDING, journal_dir, "a")))
    assert lines[-3] == "refused 8"
    assert "could not be made durable (Input/output error)" in lines[-2]
    assert lines[-1] == "still stopped"
    calls = [line for line in trace.read_text().splitlines() if "fdatasync(" in line]
    assert ["EIO" in call for call in calls] == [False] * (len(calls) - 1) + [True]
    assert_all_acked_are_there(lines, journal_dir)
    assert verify_journal(journal_dir).ok
    with open_journal(journal_dir):
        pass
    assert verify_journal(journal_dir).ok


@needs_strace
@pytest.mark.parametrize("call", ["fsync", "fdatasync", "ftruncate", "rename", "write"])
def test_a_disk_that_fails_at_any_moment_of_recovery_loses_nothing(tmp_path: Path, call: str) -> None:
    """The k-th call fails, for every k that there is, while a torn tail is being cut; then all is well again."""
    (path,) = make_journal(tmp_path / "torn", 6)
    path.write_bytes(path.read_bytes()[:-9])
    for k in range(1, 9):
        journal_dir = tmp_path / f"{call}{k}"
        shutil.copytree(tmp_path / "torn", journal_dir)
        fault = f"{call}:error=ENOSPC:when={k}"
        # `write` is also how the program prints; it writes the torn bytes, then the new month's segment
        only = [".00000000000000000006-0.torn.partial", "00000000000000000006.journal"] if call == "write" else []
        paths = (journal_dir / name for name in only)
        (line,) = run(traced(tmp_path / "trace", fault, python("-c", OPENING, journal_dir), *paths))
        failed = "ENOSPC" in (tmp_path / "trace").read_text()
        assert line.startswith("refused" if failed else "opened 6"), line
        assert "No space left on device" in line or not failed
        with open_journal(journal_dir):
            pass
        told = list(entries(journal_dir))
        assert [entry.body["event"] for entry in told[4:]][1:] == ["torn_tail_cut"]
        report = verify_journal(journal_dir)
        assert (report.ok, report.entries) == (True, len(told))
        if not failed:
            assert k > 1
            return
    pytest.fail(f"more than 8 calls of {call}")
