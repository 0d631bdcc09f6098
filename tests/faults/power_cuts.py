"""The push run under power cuts, for the tests and for the long runs."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gateway.stores.embedded import EmbeddedStore
from tests.faults.accounting import Account
from tests.faults.loop_disk import LoopDisk
from tests.faults.pushing import ROOT, Meters, Moment, Session, draw_moment, push_until, writer_command

ROUNDS_PER_DISK = 15


@dataclass
class Cuts:
    """What the power cuts did. `lost`: acknowledged by the journal; `forgotten`: committed by the store, and gone."""

    cuts: int = 0
    acked: int = 0
    lost: int = 0
    forgotten: int = 0
    wrong: list[str] = field(default_factory=list)
    first_durable_s: list[float] = field(default_factory=list)
    pushed_s: float = 0.0  # how long meters pushed, and how many readings were acknowledged in that time
    pushed: int = 0

    def __str__(self) -> str:
        longest = max(self.first_durable_s, default=0.0)
        rate = self.pushed / self.pushed_s if self.pushed_s else 0.0
        return (
            f"{self.cuts} power cuts, {self.acked} acknowledged at {rate:.0f} a second, {self.lost} lost, {self.forgotten} forgotten by the "
            f"store, {len(self.wrong)} otherwise wrong; first durable reading after {longest:.2f} s at the latest"
        )


def cut_pushes(
    folder: Path, chance: random.Random, cuts: int, progress: Callable[[Cuts], None] = lambda _: None
) -> Cuts:
    """Cut the power of `cuts` writers, and look at the disk after each; a new disk every 15 cuts."""
    figures = Cuts()
    while figures.cuts < cuts:
        rounds = min(ROUNDS_PER_DISK, cuts - figures.cuts)
        with LoopDisk(folder / f"after-{figures.cuts}") as disk:
            meters = Meters()
            account = Account(disk.path / "data", meters)
            for number in range(1, rounds + 1):
                session = cut_once(disk, account, draw_moment(chance))
                _take_stock(figures, account, session, store=number % 3 == 0)
                progress(figures)
            figures.wrong += account.look_at_store() + account.altered
            figures.acked += len(meters.acked)
    return figures


def cut_once(disk: LoopDisk, account: Account, moment: Moment, *options: str, product: Path = ROOT) -> Session:
    """One writer's life on the disk, ended by a cut; the disk is mounted again, as it is after the power came back."""
    command = writer_command(account.data_dir, *options)
    session = push_until(command, account.meters, moment, strike=disk.cut_power, product=product)
    disk.unmount()
    disk.mount()
    return session


def forgotten_by_store(data_dir: Path, session: Session) -> int:
    """How many journal entries the store had said it committed, and does not know any more; its file must be whole."""
    path = data_dir / "readings.db"
    stated = session.newest("stored")
    if not path.exists():
        return stated
    with EmbeddedStore.open(path) as store:
        known = store.cursor()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
    return max(0, stated - known)


def _take_stock(figures: Cuts, account: Account, session: Session, *, store: bool) -> None:
    figures.cuts += 1
    told = f"power cut {figures.cuts}: {session.said[-3:]} {session.errors}"
    assert "Traceback" not in session.errors, told  # that compression failed may be logged
    if session.first_durable_s is not None:
        figures.first_durable_s.append(session.first_durable_s)
        figures.pushed_s += session.pushed_s
        figures.pushed += session.acks
    figures.lost += len(account.look(bare=figures.cuts % 10 == 0))
    if store or figures.lost:
        figures.forgotten += forgotten_by_store(account.data_dir, session)
