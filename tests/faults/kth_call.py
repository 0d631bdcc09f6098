"""The k-th system call on a journal's files fails, for every k there is: strace counts and injects.

A run without a fault shows which calls of which number touch the folder; each of them is then made to fail once, or
from there on. The program is the real interpreter; the file system is real; only the answer of the kernel is false.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries
from gateway.journal.signing import site_key
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal
from tests.journal.journals import make_journal

ROOT = Path(__file__).resolve().parents[2]
FEW_ENTRIES = ROOT / "tests" / "faults" / "few_entries.py"
CALLS = ("write", "pwrite64", "fdatasync", "fsync", "rename", "ftruncate", "openat", "unlink", "mkdir")
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
_DESCRIPTOR = re.compile(r"^\d+ +(?:write|pwrite64|fdatasync|fsync|ftruncate)\((\d+)<")
_OPENED = re.compile(r"= (\d+)<")
_SEGMENT_SYNC = re.compile(r"(?:write|fdatasync|fsync)\(\d+<[^>]*\.journal>")
_CREATED = re.compile(r"openat\(.*O_CREAT.*= \d+<[^>]*\.journal>")
_WRITTEN = re.compile(r"^\d+ +write\((\d+)<[^>]*\.journal>.*= \d+$")
_SYNCED = re.compile(r"^\d+ +f(?:data)?sync\((\d+)<([^>]*)>\) += 0$")
_SAID = "writev(1<"  # how the program speaks
KILLED = "killed"
HANG_S = 30.0


@dataclass(frozen=True)
class Fault:
    """One way to fail: the `k`-th `call` of a thread answers `error`, once or from there on; or it is the end (KILLED)."""

    call: str
    k: int
    error: str
    lasting: bool

    def __str__(self) -> str:
        if self.error == KILLED:
            return f"{self.call}:signal=SIGKILL:when={self.k}"
        return f"{self.call}:error={self.error}:when={self.k}{'+' if self.lasting else ''}"


@dataclass(frozen=True)
class Run:
    """What a faulty run said, what was traced of its calls on the folder, and how long it took [s]."""

    said: list[str]
    errors: str
    returncode: int
    calls: list[str]
    seconds: float

    @property
    def injected(self) -> list[str]:
        return [call for call in self.calls if "(INJECTED)" in call]

    @property
    def killed(self) -> bool:
        return self.returncode == -9


def fault_points(data_dir: Path, trace: Path, *, program: Path = FEW_ENTRIES) -> list[tuple[str, int]]:
    """(call, k) of every call that touches `data_dir` in a run without a fault. The folder is used up by it."""
    run_traced(data_dir, trace, None, program=program)
    counts: dict[tuple[str, str], int] = {}
    found = set()
    for line in trace.read_text(errors="replace").splitlines():
        if (match := _CALL.match(line)) is None:
            continue
        thread, call, words = match.groups()
        number = counts[thread, call] = counts.get((thread, call), 0) + 1
        if str(data_dir) in words:
            found.add((call, number))
    return sorted(found)


def every_way(found: Sequence[tuple[str, int]], errors: Sequence[str] = ("EIO", "ENOSPC")) -> Iterator[Fault]:
    """Each call with each error, once and lasting."""
    for call, k in found:
        for error in errors:
            yield Fault(call, k, error, lasting=False)
            yield Fault(call, k, error, lasting=True)


def every_kill(found: Sequence[tuple[str, int]]) -> list[Fault]:
    """SIGKILL at each call, which is then not made any more."""
    return [Fault(call, k, KILLED, lasting=False) for call, k in found]


def run_traced(
    data_dir: Path, trace: Path, fault: Fault | None, *, product: Path = ROOT, program: Path = FEW_ENTRIES
) -> Run:
    """A program in `data_dir` with one fault, importing from `product`. Raises TimeoutExpired when it hangs."""
    trace.unlink(missing_ok=True)
    inject = [] if fault is None else ["-e", f"inject={fault}"]
    # strace 6.1 injects no signal where the kernel filters the calls for it
    quick = [] if fault is not None and fault.error == KILLED else ["--seccomp-bpf"]
    watch = ["-f", "-qq", "-y", *quick, "-o", str(trace), "-e", f"trace={','.join((*CALLS, 'writev'))}", *inject]
    # the interpreter itself: strace counts the calls of the program it starts, not those of a shim before it
    python = [sys.executable, "-X", "utf8", "-B", str(program), str(data_dir)]
    started = time.monotonic()
    done = subprocess.run(
        ["strace", *watch, *python],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
        env={**os.environ, "PYTHONPATH": str(product)},
    )
    seconds = time.monotonic() - started
    calls = [line for line in trace.read_text(errors="replace").splitlines() if _SAID in line or str(data_dir) in line]
    return Run(done.stdout.splitlines(), done.stderr, done.returncode, calls, seconds)


def broken_rules(run: Run, data_dir: Path) -> list[str]:
    """What a faulty run did that it must not do; empty when it kept to the rules.

    Whatever is acknowledged was synced before, and so was the folder after a segment was made in it. After a failure nothing is acknowledged until the journal was opened anew, and the descriptor that failed is never
    written or synced again. Trouble with a segment is told in a sentence with its file, and every acknowledged entry
    is there afterwards, in a journal that verifies and that opens again.
    """
    rules = {
        "the program ended in disorder": run.returncode not in {0, -9} or bool(run.errors),
        "acknowledged after the stop": any(line.startswith("went on") for line in run.said),
        "acknowledged between a stop and the next opening": _acks_while_stopped(run.said),
        "acknowledged before it was synced": _acks_too_early(run.calls),
        "a failed descriptor was used again": _uses_failed_descriptor(run.calls),
        "a segment failed, and nobody was told": _is_silent(run),
    }
    broken = [rule for rule, is_broken in rules.items() if is_broken]
    return broken + _wrong_on_disk(run, data_dir)


def _acks_while_stopped(said: Sequence[str]) -> bool:
    stopped = False
    for line in said:
        stopped = line.startswith(("stopped", "refused")) or (stopped and not line.startswith("opened"))
        if stopped and line.startswith("acked"):
            return True
    return False


def _uses_failed_descriptor(calls: Sequence[str]) -> bool:
    failed: set[str] = set()
    for call in calls:
        if (used := _DESCRIPTOR.match(call)) is not None:
            if used[1] in failed:
                return True
            if "(INJECTED)" in call and ("sync(" in call or "write" in call):
                failed.add(used[1])
        elif "openat(" in call and (opened := _OPENED.search(call)) is not None:
            failed.discard(opened[1])
    return False


def _acks_too_early(calls: Sequence[str]) -> bool:
    """Looks at the order of the calls: what is written and made is pending until it is synced."""
    written: set[str] = set()
    made = False
    for call in calls:
        if _SAID in call and '"acked ' in call and (written or made):
            return True
        if _CREATED.search(call) is not None:
            made = True
        elif (write := _WRITTEN.match(call)) is not None:
            written.add(write[1])
        elif (synced := _SYNCED.match(call)) is not None:
            written.discard(synced[1])
            made = made and not synced[2].endswith("/journal")
    return False


def _is_silent(run: Run) -> bool:
    on_segment = any(_SEGMENT_SYNC.search(call) for call in run.injected)
    return on_segment and not any(line.startswith(("stopped /", "refused /")) for line in run.said)


def _wrong_on_disk(run: Run, data_dir: Path) -> list[str]:
    """The disk is mended: what is on it now, and does the journal go on?"""
    wrong = []
    acked = {int(words[1]): words[2] for words in (line.split() for line in run.said) if words[0] == "acked"}
    directory = data_dir / "journal"
    key = site_key(data_dir)
    with Journal.open(directory, gateway_id="gw-test", clock=SystemClock(), key=key) as journal:
        last = journal.append_now(EntryKind.EVENT, {"event": "after"})
    found = {entry.sequence: entry.body.get("token") for entry in entries(directory)}
    lost = [sequence for sequence, token in acked.items() if found.get(sequence) != token]
    if lost:
        wrong.append(f"acknowledged entries {lost} are lost")
    report = verify_journal(directory)
    if not report.ok or report.last_sequence != last:
        wrong.append(f"does not verify: {report.problem}")
    return wrong


Tried = tuple[Fault, Run, list[str]]  # the fault, the run, and the rules it broke
Judge = Callable[[Run, Path], list[str]]


def try_faults(
    folder: Path,
    ways: Sequence[Fault],
    prepare: Callable[[Path], None],
    *,
    program: Path = FEW_ENTRIES,
    judge: Judge = broken_rules,
) -> list[Tried]:
    """Each fault in a folder of its own, two at a time."""

    def try_one(fault: Fault) -> Tried:
        data_dir = folder / str(fault).replace(":", "-")
        prepare(data_dir)
        run = run_traced(data_dir, folder / f"{data_dir.name}.trace", fault, program=program)
        broken = judge(run, data_dir)
        if not broken:
            shutil.rmtree(data_dir)
        return fault, run, broken

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(try_one, ways))


def new_journal(data_dir: Path) -> None:
    """Nothing is there yet: the program makes it."""


def torn_journal(data_dir: Path) -> None:
    """A journal whose last entry was not finished: opening it cuts the tail first."""
    (path,) = make_journal(data_dir / "journal", 4)
    path.write_bytes(path.read_bytes()[:-9])
