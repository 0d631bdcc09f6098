"""SIGKILL as a tool of tests: start a program, kill its whole process group at a moment, keep what it had said.

The moment is a number of seconds drawn by the test from its seeded generator, or a condition, or both,
whichever comes first. A program says that something is durable by printing a line afterwards; what was
printed before the kill is a promise that the test then checks on the disk.
"""

import os
import random
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Killed:
    """What is left of a program: the whole lines it had printed, its error output, and how it ended."""

    lines: list[str]
    errors: str
    returncode: int  # -9 after SIGKILL; otherwise it had ended by itself before
    seconds: float  # from the first line (or the start, if it printed none) to the end

    @property
    def by_signal(self) -> bool:
        return self.returncode == -signal.SIGKILL


def run_until_killed(
    command: Sequence[str | Path],
    *,
    seconds: float,
    until: Callable[[list[str]], bool] | None = None,
    start_limit: float = 20.0,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Killed:
    """Run `command` in a process group of its own and SIGKILL the group `seconds` after its first line.

    `until` is asked with the lines so far, at every line and every 10 ms; True kills at once. A program that
    prints nothing is killed after `start_limit`. The group is reaped before this returns.
    """
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=None if env is None else {**os.environ, **env},
        cwd=cwd,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said, errors = bytearray(), bytearray()
    started, first_line_at = time.monotonic(), None
    with selectors.DefaultSelector() as selector:
        for pipe, kept in ((process.stdout, said), (process.stderr, errors)):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, kept)
        while selector.get_map():
            for key, _ in selector.select(0.01):
                piece = os.read(key.fd, 1 << 16)
                key.data.extend(piece)
                if not piece:
                    selector.unregister(key.fileobj)
            now = time.monotonic()
            if first_line_at is None and b"\n" in said:
                first_line_at = now
            limit = started + start_limit if first_line_at is None else first_line_at + seconds
            if now >= limit or (until is not None and until(_whole_lines(said))):
                kill_group(process)
    process.wait()
    with process.stdout, process.stderr:
        pass
    return Killed(
        lines=_whole_lines(said),
        errors=errors.decode(errors="replace"),
        returncode=process.returncode,
        seconds=time.monotonic() - (first_line_at or started),
    )


def kill_repeatedly(
    command: Callable[[int], Sequence[str | Path]],
    *,
    seed: int,
    rounds: int,
    between: tuple[float, float] = (0.05, 0.3),
    env: dict[str, str] | None = None,
) -> Iterator[tuple[int, Killed]]:
    """(round, what is left) for `rounds` runs, each killed at a moment that `seed` decides.

    `command` makes the command line of a round. The caller checks the disk between two rounds.
    """
    chance = random.Random(seed)
    for number in range(rounds):
        yield number, run_until_killed(command(number), seconds=chance.uniform(*between), env=env)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the process and all its descendants that stayed in its group; no harm when they are gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _whole_lines(said: bytes | bytearray) -> list[str]:
    return bytes(said).decode(errors="replace").split("\n")[:-1]
