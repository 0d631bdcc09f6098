"""The clock of the machine is set while the program runs: the process tells it, keeps its order, and doubts what it must."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from gateway.domain.readings import Quality
from gateway.journal.entries import Entry, EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from gateway.journal.verify import verify_journal
from tests.collectors.conftest import SITE
from tests.collectors.modbus_lab import PROFILE
from tests.collectors.test_modbus_polling import device, served
from tests.test_killed_acquire import ended, until_true

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
POLLED = """
[[line]]
id = "bus"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
period_s = 0.2
timeout_s = 0.2

[[meter]]
id = "M-1"
line = "bus"
profile = "electricity/lab_lm3"

[[point]]
id = "main"
enterprise = "works"
name_zh = "总表"
name_en = "main meter"
carrier = "electricity"
level = "enterprise"
role = "input"
counts = "active_energy_import"
meter = "M-1"
"""
HOUR_US = 3600 * 1_000_000


def polled_site(folder: Path, port: int) -> Path:
    profile = folder / "profiles" / "electricity" / "lab_lm3.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(PROFILE, "utf-8")
    site = folder / "site.toml"
    site.write_text(SITE.format(zone="Asia/Shanghai") + POLLED.format(port=port), "utf-8")
    return site


async def started(site: Path, clock_file: Path) -> asyncio.subprocess.Process:
    faked = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock_file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    command = (sys.executable, "-m", "gateway", "acquire", str(site))
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, **faked}, stderr=asyncio.subprocess.PIPE)


def set_clock(clock_file: Path, offset_s: int) -> None:
    beside = clock_file.with_suffix(".new")
    beside.write_text(f"{offset_s:+d}s\n")
    beside.replace(clock_file)


def clock_events(journal: Path) -> list[Entry]:
    return [entry for entry in entries(journal) if "order" in entry.body]


def read_behind(journal: Path, event: Entry) -> int:
    """How many values were journaled behind an event."""
    return sum(
        reading.value is not None for entry in entries(journal, after=event.sequence) for reading in readings_of(entry)
    )


@pytest.mark.servers
async def test_a_clock_that_is_set_forward_and_back_is_told_and_nothing_loses_its_order(tmp_path: Path):
    if LIBRARY is None:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    clock_file, journal = tmp_path / "clock", tmp_path / "data" / "journal"
    set_clock(clock_file, 0)

    def told(count: int) -> bool:
        events = clock_events(journal)
        return len(events) >= count and read_behind(journal, events[-1]) >= 15

    async with served(device(1)) as port:
        process = await started(polled_site(tmp_path, port), clock_file)
        try:
            assert await until_true(lambda: sum(len(readings_of(entry)) for entry in entries(journal)) >= 15, 20)
            for number, offset_s in enumerate((100, 100 - 7200, 120), 1):  # forward, back by 2 h, beyond all labels
                set_clock(clock_file, offset_s)
                assert await until_true(lambda number=number: told(number), 20), number
            assert await ended(process) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert verify_journal(journal).ok
    forward, back, restored = clock_events(journal)
    assert [event.body["order"] for event in (forward, back, restored)] == ["kept", "broken", "restored"]
    assert abs(forward.body["step_us"] - 100 * 1_000_000) < 1_000_000
    assert abs(back.body["step_us"] + 2 * HOUR_US) < 1_000_000
    assert abs(restored.body["step_us"] - 2 * HOUR_US - 20 * 1_000_000) < 1_000_000

    counts = account_slots(entries(journal))
    assert counts
    assert {series: count for series, count in counts.items() if not count.exact} == {}
    assert min(count.repeated for count in counts.values()) >= 1
    gaps = [entry.body for entry in entries(journal) if entry.kind is EntryKind.GAP]
    assert any(body["reason"] == "clock.stepped_forward" and body["slots"] > 400 for body in gaps)  # 100 s of 0.2 s
    values = [reading for entry in entries(journal) for reading in readings_of(entry) if reading.value is not None]
    again = [reading for reading in values if reading.instant < back.body["from"] - HOUR_US]
    assert {(reading.quality, reading.reason) for reading in again} == {(Quality.SUSPECT, "clock.stepped_back")}
    beyond = [reading for reading in values if reading.instant > back.body["from"]]
    assert {reading.quality for reading in beyond} == {Quality.GOOD}
