"""The push run under SIGKILL, for the tests and for the long runs."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.accounting import Account
from tests.faults.pushing import Meters, Moment, draw_moment, push_until, writer_command

ROUNDS_PER_FOLDER = 25  # then a new gateway: first starts are killed too, and verification stays short
BARE_EVERY = 10
STORE_EVERY = 5


@dataclass
class Figures:
    """What the kills did. `first_durable_s`: from exec to the first durable reading, one per start that got so far."""

    kills: int = 0
    acked: int = 0
    repeated: int = 0  # journaled twice: the acknowledgement was lost by the kill, and the meter sent again
    lost: int = 0
    wrong: list[str] = field(default_factory=list)
    first_durable_s: list[float] = field(default_factory=list)
    pushed_s: float = 0.0  # how long meters pushed, and how many readings were acknowledged in that time
    pushed: int = 0

    def plus(self, other: "Figures") -> "Figures":
        """Both together."""
        return Figures(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        longest = max(self.first_durable_s, default=0.0)
        rate = self.pushed / self.pushed_s if self.pushed_s else 0.0
        return (
            f"{self.kills} kills, {self.acked} acknowledged at {rate:.0f} a second, {self.lost} lost, {len(self.wrong)} doubled or altered, "
            f"{self.repeated} sent again; first durable reading after {longest:.2f} s at the latest"
        )


def kill_pushes(folder: Path, seed: int, kills: int, progress: Callable[[Figures], None] = lambda _: None) -> Figures:
    """Kill `kills` writers, look at the disk after each, and let the last of each folder end in peace.

    Two gateways run side by side, each with its own meters: what waits for a kill leaves the processor to the other.
    """
    figures = Figures()

    def one_folder(first: int) -> Figures:
        rounds = min(ROUNDS_PER_FOLDER, kills - first)
        return _kill_in_one_folder(folder / f"after-{first}", random.Random(f"{seed}/{first}"), rounds, first)

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(one_folder, range(0, kills, ROUNDS_PER_FOLDER)):
            figures = figures.plus(done)
            progress(figures)
    return figures


def _kill_in_one_folder(data_dir: Path, chance: random.Random, rounds: int, before: int) -> Figures:
    figures = Figures()
    meters = Meters()
    account = Account(data_dir, meters)
    for number in range(1, rounds + 1):
        session = push_until(writer_command(data_dir), meters, draw_moment(chance))
        told = f"kill {before + number}: {session.said[-3:]} {session.errors}"
        assert session.returncode == -9, told
        assert not session.errors, told
        figures.kills += 1
        if session.first_durable_s is not None:
            figures.first_durable_s.append(session.first_durable_s)
            figures.pushed_s += session.pushed_s
            figures.pushed += session.acks
        lost = account.look(bare=number % BARE_EVERY == 0)
        assert not lost, f"{told}: lost {lost[:5]}"
        if number % STORE_EVERY == 0:
            figures.wrong += account.look_at_store()
    last = push_until(writer_command(data_dir), meters, Moment(never=True))
    assert (last.returncode, last.errors, last.said[-1:]) == (0, "", ["closed"]), f"{last.said} {last.errors}"
    assert len(meters.acked) == sum(number + 1 for number in meters.sent)
    figures.lost += len(account.look(bare=True))
    figures.wrong += account.look_at_store() + account.altered
    figures.acked += len(meters.acked)
    figures.repeated += sum(times - 1 for times in account.journaled.values())
    return figures
