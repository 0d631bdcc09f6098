"""A disk that is full for some seconds: nothing acknowledged is lost, an alarm is raised, and it recovers unaided."""

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.alarm import alarm_of
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from gateway.journal.verify import verify_journal
from simulators.broker import BrokerKind, mosquitto, running_broker
from simulators.demo_folder import DemoState, write_site
from simulators.lab import load_lab
from simulators.plant import Plant
from simulators.simulate import put_on_wire
from simulators.truth import TruthLog, read_truth
from tests.test_killed_acquire import DAY_US, QUARTER_US, acknowledged, acquire, ended, everything_taken, until_true

FULL_S = 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB at tmp_path/data."""
    folder = tmp_path / "data"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=0755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system of fixed size cannot be mounted: needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take every free byte."""
    with path.open("wb", buffering=0) as file:
        size = 65536
        while size:
            try:
                file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2


async def lines_of(process: asyncio.subprocess.Process, said: list[str]) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        said.append(line.decode())  # noqa: PERF401 - each is looked at as soon as it comes


@pytest.mark.servers
async def test_a_full_disk_stops_intake_with_an_alarm_and_costs_nothing_acknowledged(tmp_path: Path, small_disk: Path):
    if mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    clock = SystemClock()
    plant = Plant(load_lab("cement"), epoch=clock.now() // QUARTER_US * QUARTER_US - DAY_US)
    said: list[str] = []
    with TruthLog(tmp_path / "truth.jsonl") as log:
        async with running_broker(tmp_path / "broker", BrokerKind.MOSQUITTO) as broker:
            address = ("127.0.0.1", broker.port)
            wire = await put_on_wire(plant, clock, log=log, broker=address, broker_version="5", drop=tmp_path)
            try:
                state = DemoState(plant.epoch, "2026-01-01", 0, 8460)
                file = write_site(tmp_path, plant, state, wire.ports, broker, "")
                site = load_site(file)
                process = await asyncio.create_subprocess_exec(*acquire(file), stderr=asyncio.subprocess.PIPE)
                hearing = asyncio.create_task(lines_of(process, said))
                assert await until_true(lambda: "connected and subscribed" in "".join(said), 20)
                subscribed_at = clock.now()
                await asyncio.sleep(1)

                fill(small_disk / "filler")
                assert await until_true(lambda: "ERROR emg.acquire: ALARM" in "".join(said), 10), said
                wire.writers["tickets"].write(plant.epoch, plant.epoch + DAY_US)  # lands while nothing is taken in
                await asyncio.sleep(FULL_S)
                assert process.returncode is None
                alarm = alarm_of(site.data_dir)
                assert alarm is not None
                assert "No space left on device" in alarm.why
                assert list((tmp_path / "tickets").glob("*.csv"))  # not acknowledged
                (small_disk / "filler").unlink()

                assert await until_true(lambda: "the journal is written again" in "".join(said), 10), said
                await asyncio.sleep(2)
                assert alarm_of(site.data_dir) is None
            finally:
                await wire.stop()
            taken = await until_true(lambda: everything_taken(tmp_path, site, subscribed_at), 15)
            hearing.cancel()
            assert await ended(process) == 0
    assert taken, "something that was acknowledged is not in the journal"
    journal = site.data_dir / "journal"
    report = verify_journal(journal)
    assert report.ok, report.problem
    assert acknowledged(read_truth(tmp_path / "truth.jsonl"), subscribed_at, site)
    slots = account_slots(entries(journal))
    assert slots
    assert [series for series, count in slots.items() if not count.exact] == []
    gaps = [entry.body for entry in entries(journal) if entry.kind is EntryKind.GAP]
    stopped = [body for body in gaps if body["reason"] == "journal.stopped"]
    assert {series for body in stopped for series in body["series"]} == set(slots)
    assert max(body["slots"] * body["period_us"] for body in stopped) >= (FULL_S - 1) * 1_000_000
