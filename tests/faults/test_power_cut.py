"""Power cuts on a real file system: what was acknowledged is on the disk, and a writer that does not sync is caught."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries
from tests.faults.accounting import Account
from tests.faults.acquiring import cut_power_under, journal_of, wrong_with
from tests.faults.loop_disk import LoopDisk
from tests.faults.power_cuts import cut_once, cut_pushes, forgotten_by_store
from tests.faults.pushing import Meters, Moment

SEED = int(os.environ.get("EMG_SEED", "2026"))
CUTS = int(os.environ.get("EMG_CUTS", "30"))


@pytest.mark.usefixtures("loop_disks")
def test_thirty_power_cuts_lose_nothing(tmp_path: Path) -> None:
    figures = cut_pushes(tmp_path, random.Random(SEED), CUTS)
    print(f"seed {SEED}: {figures}")
    assert (figures.lost, figures.forgotten, figures.wrong) == (0, 0, [])
    assert figures.acked > 100 * CUTS


def test_a_writer_that_does_not_sync_is_caught(make_disk: Callable[[str], LoopDisk]) -> None:
    """The negative control: the same run without fdatasync and with a lax store loses, and the harness sees it."""
    caught_journal = caught_store = 0
    for number in range(5):
        disk = make_disk(f"lax-{number}")
        account = Account(disk.path / "data", Meters())
        session = cut_once(disk, account, Moment(after_first=0.3), "--lax")
        assert session.acks > 0, session.errors
        try:
            lost = len(account.look(bare=False))
        except (AssertionError, GatewayError):
            lost = session.acks  # not even whole
        caught_journal += lost > 0
        caught_store += session.newest("stored") > 0 and forgotten_by_store(account.data_dir, session) > 0
    print(f"caught without fdatasync: journal {caught_journal} of 5, store {caught_store} of 5")
    assert (caught_journal, caught_store) == (5, 5)


async def test_acquisition_accounts_for_every_slot_over_power_cuts(make_disk: Callable[[str], LoopDisk]) -> None:
    disk = make_disk("acquiring")
    said = await cut_power_under(disk, random.Random(SEED), 4)
    assert not [text for text in said if "Traceback" in text], said
    assert wrong_with(disk) == []
    events = [entry.body["event"] for entry in entries(journal_of(disk)) if entry.kind is EntryKind.EVENT]
    assert events.count("acquire_started") >= 5
    assert events[-1] == "acquire_stopped"
