"""Meters that push, the sessions in which a writer takes from them until it is struck down.

A meter sends its next reading only when the one before was acknowledged, and sends it again to the next writer when
it was not. What it sends follows from its number alone, so that whoever takes account needs no second record of the truth.
"""

import math
import os
import random
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.killing import kill_group

ROOT = Path(__file__).resolve().parents[2]
WRITER = ROOT / "tests" / "faults" / "push_writer.py"
# 2020-01-01T00:00:00Z: date -u -d 2020-01-01 +%s. A reading every two hours: a day passes in less than a second,
# and what is two days old is sealed by the store meanwhile.
FIRST_US = 1_577_836_800_000_000
PERIOD_US = 7_200_000_000
Key = tuple[str, int]  # series, instant


@dataclass
class Meters:
    """`count` meters that push `rate` readings per second together."""

    count: int = 50
    rate: float = 1000.0
    acked: set[Key] = field(default_factory=set)
    sent: list[int] = field(default_factory=list)  # per meter, the number of its newest reading sent; -1 before any
    waits: list[bool] = field(default_factory=list)  # per meter, True while its newest reading is not acknowledged
    due: list[float] = field(default_factory=list)  # per meter, when it sends next [s, monotonic]

    def __post_init__(self) -> None:
        self.sent = [-1] * self.count
        self.waits = [False] * self.count
        self.due = [0.0] * self.count

    @property
    def period(self) -> float:
        """How long a meter rests between two readings [s]; the meters take turns."""
        return self.count / self.rate

    def connect(self, now: float) -> bytes:
        """What a new writer gets first: everything that was not acknowledged, again."""
        self.due = [now + n / self.rate for n in range(self.count)]
        return b"".join(self.line(n, self.sent[n]) for n in range(self.count) if self.waits[n])

    def push(self, now: float) -> bytes:
        """The readings that are due now, of meters that wait for nothing."""
        lines = []
        for n in range(self.count):
            if now >= self.due[n] and not self.waits[n]:
                self.sent[n] += 1
                self.waits[n] = True
                self.due[n] += self.period * math.ceil((now - self.due[n]) / self.period + 1e-9)
                lines.append(self.line(n, self.sent[n]))
        return b"".join(lines)

    def acknowledge(self, series: str, instant: int) -> None:
        """A promise was made: it is kept in mind for ever."""
        n, number = self.place(series, instant)
        assert number <= self.sent[n], f"{series} {instant} was acknowledged and never sent"
        self.acked.add((series, instant))
        if number == self.sent[n]:
            self.waits[n] = False

    def line(self, n: int, number: int) -> bytes:
        series, instant = f"works/meter-{n}/active_energy_import", FIRST_US + number * PERIOD_US + n
        return f"line-{n % 4} {series} {instant} {value_at(n, number)}\n".encode()

    @staticmethod
    def place(series: str, instant: int) -> tuple[int, int]:
        """(meter, number of the reading) of a series and instant."""
        n = int(series.split("/")[1].removeprefix("meter-"))
        number, rest = divmod(instant - FIRST_US - n, PERIOD_US)
        assert rest == 0, f"{series}: no meter sent an instant {instant}"
        return n, number


def value_at(n: int, number: int) -> int:
    """What meter `n` shows at its reading `number`: rising, and different for every meter."""
    return n * 1_000_003 + number * 7


@dataclass
class Session:
    """One writer's life: what it said, how it ended, and how long the first durable reading took from exec [s]."""

    said: list[str]
    errors: str
    returncode: int
    first_durable_s: float | None
    acks: int
    pushed_s: float  # from the first acknowledgement to the end

    def newest(self, word: str) -> int:
        """The last number that the writer stated with `word` (opened, stored); 0 when it never did."""
        return max((int(text.split()[1]) for text in self.said if text.startswith(f"{word} ")), default=0)


@dataclass(frozen=True)
class Moment:
    """When a writer is struck down [s]: so long after exec, or so long after its first acknowledgement."""

    after_exec: float | None = None
    after_first: float | None = None
    never: bool = False  # no strike: the meters fall silent, and the writer ends in peace

    def has_come(self, now: float, started: float, first: float | None) -> bool:
        if self.after_exec is not None:
            return now >= started + self.after_exec
        if first is None or self.after_first is None:
            return False
        return now >= first + self.after_first


def draw_moment(chance: random.Random) -> Moment:
    """A quarter of the strikes fall into start and recovery, the others into the work."""
    if chance.random() < 0.25:
        return Moment(after_exec=chance.uniform(0.0, 0.3))
    return Moment(after_first=chance.uniform(0.0, 0.4))


def writer_command(data_dir: Path, *options: str) -> list[str]:
    # the interpreter itself: strace counts the calls of the program it starts, not those of a shim before it
    return [sys.executable, "-X", "utf8", str(WRITER), str(data_dir), *options]


def push_until(
    command: Sequence[str],
    meters: Meters,
    moment: Moment,
    *,
    strike: Callable[[], None] | None = None,
    product: Path = ROOT,
    limit_s: float = 30.0,
) -> Session:
    """Let the meters push to a new writer until `moment`; then SIGKILL, and hear what it had said.

    `strike` is a power cut, before the kill: what the writer says after it began, nobody hears any more. A writer
    that ends by itself ends the session. `product` is the folder from which the writer imports.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(product)},
    )
    talk = _Talk(process, meters)
    talk.send(meters.connect(started))
    struck, ended = False, started
    while talk.listen(0.002):
        now = time.monotonic()
        ended = ended if struck else now
        if not struck and (moment.has_come(now, started, talk.first) or now > started + limit_s):
            if strike is not None:
                talk.fall_deaf()
                strike()
            kill_group(process)
            struck = True
        elif moment.never and not any(meters.waits):
            talk.end_input()
        elif not moment.never and not struck and talk.is_open:
            talk.send(meters.push(now))
    process.wait()
    talk.close()
    errors = talk.errors.decode(errors="replace")
    if talk.first is None:
        return Session(talk.said, errors, process.returncode, None, 0, 0.0)
    return Session(talk.said, errors, process.returncode, talk.first - started, talk.acks, ended - talk.first)


class _Talk:
    """Both ends of a writer's pipes: its input, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], meters: Meters) -> None:
        self._process, self._meters = process, meters
        self._rest, self.errors, self._unsent = bytearray(), bytearray(), bytearray()
        self.said: list[str] = []
        self.acks, self.first, self.is_open, self._is_deaf = 0, None, False, False
        self._selector = selectors.DefaultSelector()
        for pipe, take in ((process.stdout, self._hear), (process.stderr, self.errors.extend)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, take)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)

    def send(self, data: bytes) -> None:
        self._unsent += data
        assert self._process.stdin is not None
        try:
            del self._unsent[: os.write(self._process.stdin.fileno(), self._unsent)]
        except (BlockingIOError, BrokenPipeError):
            return

    def end_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def listen(self, seconds: float) -> bool:
        """Hear what there is; False when the writer has ended."""
        for key, _ in self._selector.select(seconds):
            piece = os.read(key.fd, 1 << 16)
            key.data(piece)
            if not piece:
                self._selector.unregister(key.fileobj)
        return bool(self._selector.get_map())

    def fall_deaf(self) -> None:
        """Hear what was said until now, and no word after it."""
        while self._selector.get_map() and self._selector.select(0):
            self.listen(0)
        self._is_deaf = True

    def close(self) -> None:
        self._selector.close()
        self.end_input()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _hear(self, piece: bytes) -> None:
        if self._is_deaf:
            return
        self._rest += piece
        *whole, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        for line in whole:
            words = line.decode().split()
            if words[0] == "acked":
                self.first = self.first or time.monotonic()
                self.acks += 1
                self._meters.acknowledge(words[1], int(words[2]))
            else:
                self.is_open = self.is_open or words[0] == "opened"
                self.said.append(line.decode())
