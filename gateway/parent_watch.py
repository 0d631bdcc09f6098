"""A program that was started by another of ours ends with it, however that one ends: a pipe tells it.

The starter keeps one end of a pipe open and hands down the other. The kernel closes the starter's end with the starter,
whatever kills it, and who reads the other end then sees its end.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

VARIABLE = "EMG_PARENT_PIPE"  # the number of the descriptor that a program is to watch


class Tether(NamedTuple):
    """What a child gets: the descriptor to hand down, and the environment that names it."""

    descriptor: int
    environment: dict[str, str]


@contextmanager
def tether() -> Iterator[Tether]:
    """A pipe for children: those that were given it end when this process does, or this context."""
    read_end, write_end = os.pipe()
    try:
        yield Tether(read_end, {**os.environ, VARIABLE: str(read_end)})
    finally:
        os.close(write_end)
        os.close(read_end)


def end_with_parent() -> None:
    """Let this process get SIGTERM when whoever started it with a tether is gone. Does nothing without one."""
    given = os.environ.pop(VARIABLE, "")
    if given.isdecimal():
        threading.Thread(target=_wait, args=(int(given),), name="parent-watch", daemon=True).start()


def _wait(descriptor: int) -> None:
    try:
        while os.read(descriptor, 1):
            pass
    except OSError:
        return  # not a pipe of ours
    os.kill(os.getpid(), signal.SIGTERM)
