"""Tests of the tests: known mistakes, planted into a copy of the product, that the harness must find.

Each is one that a peer has made or that the design forbids. Its place is named by the text that it replaces: when the
product is rewritten there, the plant no longer fits and says so.
"""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import GatewayError
from tests.faults.accounting import Account
from tests.faults.kept_up import UPKEEP, journal_of_three_days, wrong_after_upkeep
from tests.faults.kth_call import Fault, Judge, Run, broken_rules, run_traced
from tests.faults.loop_disk import LoopDisk
from tests.faults.power_cuts import cut_once, forgotten_by_store
from tests.faults.pushing import ROOT, Meters, Moment
from tests.journal.journals import make_journal


@dataclass(frozen=True)
class Planted:
    """A mistake: in `file`, `right` becomes `wrong`; `found_by` names the part of the harness that finds it."""

    name: str
    file: str
    right: str
    wrong: str
    found_by: str  # "power cut" | "failing call" | "torn tail" | "upkeep"


PLANTED = (
    Planted(
        "nothing is synced",
        "gateway/journal/chain.py",
        "os.fdatasync(self._descriptor)",
        "pass",
        "power cut",
    ),
    Planted(
        "synced before it is written",
        "gateway/journal/chain.py",
        'write_all(self._descriptor, b"".join(pending))\n            os.fdatasync(self._descriptor)',
        'os.fdatasync(self._descriptor)\n            write_all(self._descriptor, b"".join(pending))',
        "failing call",
    ),
    Planted(
        "the store may forget its newest commits",
        "gateway/stores/store_file.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        "power cut",
    ),
    Planted(
        "the chain begins anew with every segment",
        "gateway/journal/chain.py",
        "self._size, self._month = len(MAGIC), month_of(at)",
        "self._size, self._month, self._hash = len(MAGIC), month_of(at), bytes(32)",
        "failing call",
    ),
    Planted(
        "a failed sync is tried again by the next who appends",
        "gateway/journal/writer.py",
        "self._refuse_if_stopped()\n            try:",
        "try:",
        "failing call",
    ),
    Planted(
        "the name of a new segment is not synced",
        "gateway/journal/chain.py",
        "sync_directory(self._directory)",
        "pass",
        "failing call",
    ),
    Planted(
        "a failed sync is passed over",
        "gateway/journal/chain.py",
        "os.fdatasync(self._descriptor)",
        "with suppress(OSError):\n                os.fdatasync(self._descriptor)",
        "failing call",
    ),
    Planted(
        "a torn tail stays",
        "gateway/journal/recovery.py",
        "os.ftruncate(descriptor, size)",
        "pass",
        "torn tail",
    ),
    Planted(
        "what was torn off is not kept",
        "gateway/journal/recovery.py",
        "_keep_torn(directory, standing.sequence + 1, rest)",
        "pass",
        "torn tail",
    ),
    Planted(
        "the cursor moves and a reading stays behind",
        "gateway/sinks/drain.py",
        "if up_to is not None and entry.sequence > up_to:",
        "if entry.sequence == 5:\n            continue\n        if up_to is not None and entry.sequence > up_to:",
        "upkeep",
    ),
    Planted(
        "a segment goes before its compressed copy is in place",
        "gateway/journal/compressing.py",
        "        with replaced(target) as new:\n            with PlainFile(path) as file:\n",
        "        with replaced(target) as new:\n            with PlainFile(path) as file:\n                path.unlink()\n",
        "upkeep",
    ),
    Planted(
        "a new key signs before the journal tells it",
        "gateway/journal/rotation.py",
        "new = prepare_next(data_dir)",
        "new = prepare_next(data_dir)\n        take_over(data_dir)\n        prepare_next(data_dir)",
        "upkeep",
    ),
)


def plant(planted: Planted, folder: Path) -> Path:
    """A copy of the product with the mistake in it. Raises AssertionError when its place is not found just once."""
    shutil.copytree(ROOT / "gateway", folder / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / planted.file
    text = path.read_text("utf-8")
    times = text.count(planted.right)
    assert times == 1, f"{planted.file} holds {planted.right!r} {times} times; expected once: adapt the plant"
    path.write_text(text.replace(planted.right, planted.wrong), "utf-8")
    return folder


def found(by: str, product: Path, folder: Path) -> Iterator[str]:
    """What that part of the harness says of the product, one thing after the other; nothing when all is well."""
    finders = {
        "power cut": _by_power_cuts,
        "failing call": _by_failing_calls,
        "torn tail": _by_torn_tail,
        "upkeep": _by_upkeep,
    }
    return finders[by](product, folder)


def _by_power_cuts(product: Path, folder: Path) -> Iterator[str]:
    chance = random.Random(1)
    for number in range(3):
        with LoopDisk(folder / f"cut-{number}") as disk:
            account = Account(disk.path / "data", Meters())
            session = cut_once(disk, account, Moment(after_first=chance.uniform(0.2, 0.4)), product=product)
            said = []
            try:
                said += [f"lost {key}" for key in account.look(bare=False)]
                said += ["forgotten by the store"] * forgotten_by_store(account.data_dir, session)
            except (AssertionError, GatewayError) as error:
                said.append(str(error))
        yield from said


def _by_failing_calls(product: Path, folder: Path) -> Iterator[str]:
    for k in range(2, 8):
        for lasting in (False, True):
            data_dir = folder / f"fault-{k}-{lasting}"
            run = run_traced(data_dir, folder / "trace", Fault("fdatasync", k, "EIO", lasting), product=product)
            yield from _wrong(broken_rules, run, data_dir)


def _by_upkeep(product: Path, folder: Path) -> Iterator[str]:
    for k in range(1, 9):
        data_dir = folder / f"upkeep-{k}"
        journal_of_three_days(data_dir)
        fault = Fault("rename", k, "EIO", lasting=True)
        run = run_traced(data_dir, folder / "trace", fault, product=product, program=UPKEEP)
        yield from _wrong(wrong_after_upkeep, run, data_dir)


def _by_torn_tail(product: Path, folder: Path) -> Iterator[str]:
    data_dir = folder / "torn"
    (path,) = make_journal(data_dir / "journal", 4)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    yield from _wrong(broken_rules, run_traced(data_dir, folder / "trace", None, product=product), data_dir)
    kept = [torn.read_bytes() for torn in (data_dir / "journal").glob("*.torn")]
    if not any(whole[:-9].endswith(torn) for torn in kept):
        yield "the bytes of the unfinished entry are gone"


def _wrong(judge: Judge, run: Run, data_dir: Path) -> list[str]:
    try:
        return judge(run, data_dir)
    except GatewayError as error:
        return [str(error)]
