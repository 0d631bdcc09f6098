"""What `emg status` tells: a journal that nobody writes, an alarm that a full disk could still take, every slot."""

import asyncio
import json
from pathlib import Path

import pytest

from collectors.acquire import acquire
from gateway.alarm import NAME, SIZE, Alarm, alarm_of, set_alarm
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.status import journal_age, status_main
from tests.collectors.test_acquire_clock import polled_site
from tests.collectors.test_modbus_polling import device, served
from tests.test_killed_acquire import until_true

SECOND = 1_000_000


def test_an_alarm_is_written_in_place_and_taken_back(tmp_path: Path):
    assert alarm_of(tmp_path) is None
    set_alarm(tmp_path, None)
    before = (tmp_path / NAME).stat()
    set_alarm(tmp_path, Alarm(5, "the disk is full 磁盘已满 " * 400))
    after = (tmp_path / NAME).stat()
    assert (before.st_size, before.st_ino) == (after.st_size, after.st_ino) == (SIZE, after.st_ino)
    alarm = alarm_of(tmp_path)
    assert alarm is not None
    assert alarm.since == 5
    assert alarm.why.startswith("the disk is full 磁盘已满")
    set_alarm(tmp_path, None)
    assert alarm_of(tmp_path) is None


def test_an_alarm_that_cannot_be_written_or_read_harms_nobody(tmp_path: Path):
    set_alarm(tmp_path / "absent", Alarm(5, "why"))
    (tmp_path / NAME).write_bytes(b"{")
    assert alarm_of(tmp_path) is None


@pytest.fixture
async def site(tmp_path: Path) -> Path:
    """A site that was acquired for a while."""
    async with served(device(1)) as port:
        file = polled_site(tmp_path, port)
        loaded, stop = load_site(file), asyncio.Event()
        running = asyncio.create_task(acquire(loaded, SystemClock(), stop))
        now = SystemClock().now
        assert await until_true(lambda: journal_age(loaded, now=now()).sequence > 12, 20)
        stop.set()
        await running
    return file


def status(site: Path, *options: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code = status_main([str(site), "--json", *options])
    return code, json.loads(capsys.readouterr().out)


async def test_a_journal_that_takes_entries_is_not_silent_and_an_old_one_is(site: Path, capsys):
    loaded = load_site(site)
    code, told = status(site, capsys=capsys)
    assert told["journal_silent"] is False
    assert told["alarm"] is None
    assert told["disk_free_bytes"] > 0
    assert code in {0, 1}  # the point itself is late after three periods of 0.2 s
    now = SystemClock().now()
    assert not journal_age(loaded, now=now).silent
    assert journal_age(loaded, now=now + 181 * SECOND).silent


async def test_an_alarm_is_a_finding_and_told_in_words(site: Path, capsys):
    set_alarm(load_site(site).data_dir, Alarm(SystemClock().now(), "No space left on device"))
    assert status_main([str(site)]) == 1
    said = capsys.readouterr().out
    assert "ALARM since" in said
    assert "No space left on device" in said


async def test_every_slot_is_told_when_asked_for(site: Path, capsys):
    _, told = status(site, "--slots", capsys=capsys)
    assert len(told["slots"]) == 5
    for count in told["slots"].values():
        assert count["scheduled"] == count["good"] + count["flagged"] + count["gap"] > 0
        assert (count["unaccounted"], count["doubled"]) == (0, 0)
    assert status_main([str(site), "--slots"]) in {0, 1}
    assert "Slots of 5 polled series; 0 series with a slot" in " ".join(capsys.readouterr().out.split())
