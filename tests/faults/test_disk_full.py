"""A disk that is full for a while: intake stops with a sentence, nothing acknowledged is lost, and it goes on after."""

import threading
import time
from collections.abc import Callable

import pytest

from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from tests.faults.accounting import Account
from tests.faults.acquiring import fill_for, journal_of, wrong_with
from tests.faults.loop_disk import LoopDisk
from tests.faults.push_writer import STOPPED
from tests.faults.pushing import Meters, Moment, push_until, writer_command

pytestmark = pytest.mark.servers


def test_a_full_disk_costs_time_and_nothing_else(make_disk: Callable[[str], LoopDisk]) -> None:
    disk = make_disk("small")
    meters = Meters()
    account = Account(disk.path / "data", meters)
    command = writer_command(account.data_dir)

    def fill_when_at_work() -> None:
        while len(meters.acked) < 200:
            time.sleep(0.01)
        disk.fill()

    filling = threading.Thread(target=fill_when_at_work, daemon=True)
    filling.start()
    first = push_until(command, meters, Moment(after_first=60), limit_s=90)
    filling.join()
    assert first.returncode == STOPPED, first
    assert "could not be made durable (No space left on device)" in first.said[-1]
    assert first.acks >= 200

    for _ in range(3):  # whoever tries again meanwhile is told the same, and spoils nothing
        during = push_until(command, meters, Moment(after_first=20))
        assert (during.returncode, during.acks, "Traceback" in during.errors) == (STOPPED, 0, False)
        assert "No space left on device" in during.said[-1]
        assert account.look(bare=True) == []

    disk.free()
    last = push_until(command, meters, Moment(never=True))
    assert (last.returncode, last.errors, last.said[-1:]) == (0, "", ["closed"])
    assert len(meters.acked) == sum(number + 1 for number in meters.sent)
    assert account.look(bare=True) == []
    assert account.look_at_store() + account.altered == []


async def test_acquisition_survives_a_full_disk_without_a_restart(make_disk: Callable[[str], LoopDisk]) -> None:
    disk = make_disk("acquiring")
    done = await fill_for(disk, 3.0)
    assert done.returncode == 0, done.said
    assert wrong_with(disk) == []
    counts = account_slots(entries(journal_of(disk)))
    assert all(count.gap > 0 for count in counts.values()), counts
    print(f"alarm after {done.alarm_after_s:.1f} s, went on {done.went_on_after_s:.1f} s after the disk was freed")
