"""What `emg acquire` promises of itself: it says what runs, holds up no sample, and ends when it must not go on."""

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import gateway
from collectors.acquire import Acquisition, acquire, first_error
from collectors.acquire_identity import ROOMS, identity, software_digest
from collectors.acquire_line import MOST_WAITING, read_polled
from collectors.recording import NOT_RUNNING, Recording
from gateway.clocks import SystemClock
from gateway.domain.readings import Reading
from gateway.domain.sites import Site
from gateway.errors import JournalError
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import STARTED, account_slots
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal
from tests.collectors.modbus_lab import lab_site
from tests.collectors.test_modbus_polling import device, served
from tests.test_killed_acquire import until_true

ROOT = Path(gateway.__path__[0]).parent


def site_in(folder: Path, **options: object) -> Site:
    (folder / "site.toml").write_text("# declared in the test\n")
    return lab_site(folder, [1], **options)


async def recording_in(site: Site, journal: Journal) -> Recording:
    return await Acquisition(site, SystemClock(), ExitStack())._begin(journal, NOT_RUNNING)


def test_the_software_digest_is_what_the_tools_of_the_system_say():
    files = " ".join(room for room in ROOMS if (ROOT / room).is_dir())
    command = f"find {files} -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert software_digest(ROOT) == said.split()[0]


@pytest.mark.parametrize("change", ["software", "site", "profile"])
def test_one_byte_changed_in_software_site_or_profile_changes_what_the_start_says(tmp_path: Path, change: str):
    site = site_in(tmp_path)
    before = identity(site)
    if change == "software":
        copy = tmp_path / "installed"
        shutil.copytree(ROOT / "gateway" / "domain", copy / "gateway" / "domain")
        digest = software_digest(copy)
        with (copy / "gateway" / "domain" / "units.py").open("ab") as file:
            file.write(b"\n")
        assert software_digest(copy) != digest
        return
    path = tmp_path / {"site": "site.toml", "profile": "profiles/electricity/lab_lm3.toml"}[change]
    path.write_bytes(path.read_bytes() + b"\n")
    after = identity(site)
    assert {key for key in before if before[key] != after[key]} == {"site_sha256" if change == "site" else "profiles"}


async def test_a_start_says_what_runs_and_what_is_polled_on_which_grid(tmp_path: Path):
    site = site_in(tmp_path, period_s="10")
    with Journal.open(site.data_dir / "journal", gateway_id="lab", clock=SystemClock()) as journal:
        await recording_in(site, journal)
    started = list(entries(site.data_dir / "journal"))[-1].body
    assert started["event"] == "acquire_started"
    assert {"boot", "python", "software", "software_sha256", "site_sha256", "profiles", "mappings"} <= started.keys()
    (profile,) = started["profiles"].values()
    assert profile["file"].endswith("lab_lm3.toml")
    assert started["schedule"] == {"bus": {"period_us": 10_000_000, "phase_us": 0, "series": list(site.series)}}


class Scripted:
    """A collector that yields one reading a second of its own time, as fast as it is asked, and counts them."""

    line = "bus"

    def __init__(self, lists: int, start: int) -> None:
        self.lists, self.start, self.yielded = lists, start, 0

    async def readings(self) -> AsyncGenerator[list[Reading], None]:
        while self.yielded < self.lists:
            self.yielded += 1
            instant = self.start + self.yielded * 1_000_000
            yield [Reading("e/p1/frequency", instant, float(self.yielded))]
            await asyncio.sleep(0)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], threading.Event]:
    """Makes every sync of a file wait for the event that it returns."""

    def begin() -> threading.Event:
        released, sync = threading.Event(), os.fdatasync

        def wait_then_sync(descriptor: int) -> None:
            released.wait(20)
            sync(descriptor)

        monkeypatch.setattr(os, "fdatasync", wait_then_sync)
        return released

    return begin


async def test_a_commit_that_hangs_delays_no_sample_until_a_bounded_number_waits(tmp_path: Path, slow_disk):
    site = site_in(tmp_path, period_s="1", quantities=("frequency",))
    journal = Journal.open(site.data_dir / "journal", gateway_id="lab", clock=SystemClock())
    recording = await recording_in(site, journal)
    released = slow_disk()
    collector = Scripted(3 * MOST_WAITING, SystemClock().now())
    reading = asyncio.create_task(read_polled(collector, recording))
    await until_true(lambda: collector.yielded > MOST_WAITING, 10)
    await asyncio.sleep(0.2)
    # the one list that is on its way, and those that wait
    assert collector.yielded == MOST_WAITING + 1
    released.set()
    await reading
    await journal.close()
    found = [entry for entry in entries(site.data_dir / "journal") if entry.kind is EntryKind.READINGS]
    assert [r.value for entry in found for r in readings_of(entry)] == [float(n + 1) for n in range(3 * MOST_WAITING)]
    assert len(found) < 30  # what waited together is journaled together
    assert account_slots(entries(site.data_dir / "journal"))["e/p1/frequency"].exact


async def test_what_was_polled_before_the_stop_is_journaled(tmp_path: Path, slow_disk):
    site = site_in(tmp_path, period_s="1", quantities=("frequency",))
    journal = Journal.open(site.data_dir / "journal", gateway_id="lab", clock=SystemClock())
    recording = await recording_in(site, journal)
    released = slow_disk()
    collector = Scripted(10**6, SystemClock().now())
    reading = asyncio.create_task(read_polled(collector, recording))
    await until_true(lambda: collector.yielded > MOST_WAITING, 10)
    reading.cancel()
    await asyncio.sleep(0)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await journal.close()
    found = [r for entry in entries(site.data_dir / "journal") for r in readings_of(entry)]
    assert len(found) == collector.yielded


async def test_a_device_that_is_silent_and_a_stop_and_start_leave_no_slot_open(tmp_path: Path):
    async with served(device(1)) as port:
        site = site_in(tmp_path, port=port, period_s="0.05")
        for _ in range(3):
            stop = asyncio.Event()
            running = asyncio.create_task(acquire(site, SystemClock(), stop))
            await asyncio.sleep(0.7)
            stop.set()
            await running
            await asyncio.sleep(0.2)
    counts = account_slots(entries(site.data_dir / "journal"))
    assert counts.keys() == site.series.keys()
    for series, count in counts.items():
        assert count.exact, series
        assert count.good > 0
        assert count.gap >= 2 * 4  # 0.2 s between the runs
    reasons = {entry.body["reason"] for entry in entries(site.data_dir / "journal") if entry.kind is EntryKind.GAP}
    assert reasons <= {"acquire.not_running", "slot.missed"}


async def test_a_sync_that_fails_is_an_alarm_and_a_gap_and_the_journal_goes_on_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    failures, sync = [], os.fdatasync

    def failing_sync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        sync(descriptor)

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "emg.acquire"]

    monkeypatch.setattr(os, "fdatasync", failing_sync)
    async with served(device(1)) as port:
        site = site_in(tmp_path, port=port, period_s="0.05")
        stop = asyncio.Event()
        running = asyncio.create_task(acquire(site, SystemClock(), stop))
        journal = site.data_dir / "journal"
        assert await until_true(lambda: any(readings_of(entry) for entry in entries(journal)), 20)
        failures += [OSError(errno.EIO, "Input/output error")] * 3  # also while it is opened again
        assert await until_true(lambda: any("the journal is written again" in message for message in told()), 20)
        stop.set()
        await running
    assert any(message.startswith("ALARM") and "Input/output error" in message for message in told())
    assert verify_journal(journal).ok
    assert all(count.exact for count in account_slots(entries(journal)).values())
    reasons = {entry.body["reason"] for entry in entries(journal) if entry.kind is EntryKind.GAP}
    assert "journal.stopped" in reasons


HOLD = """
import sys
from pathlib import Path
from gateway.clocks import SystemClock
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal
data_dir = Path(sys.argv[1])
with Journal.open(data_dir / "journal", gateway_id="lab", clock=SystemClock(), key=site_key(data_dir)):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(site: Site) -> Iterator[subprocess.Popen[str]]:
    """The journal is held until the standard input of the process is closed."""
    command = [sys.executable, "-c", HOLD, str(site.data_dir)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.stdin.close()


def waits(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "waited for" in record.getMessage()]


async def test_a_command_that_holds_the_journal_at_the_start_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    site, stop = site_in(tmp_path), asyncio.Event()
    with held_by_another_process(site) as holder:
        running = asyncio.create_task(acquire(site, SystemClock(), stop))
        assert await until_true(lambda: bool(waits(caplog)), 20)
        assert holder.stdin is not None
        holder.stdin.close()

        def begun() -> bool:
            return any(entry.body.get("event") == STARTED for entry in entries(site.data_dir / "journal"))

        assert await until_true(begun, 20)
        stop.set()
        await running
    (said,) = waits(caplog)
    assert f"process {holder.pid}" in said
    assert verify_journal(site.data_dir / "journal").ok


async def test_a_journal_that_another_writer_keeps_ends_the_program_with_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    site = site_in(tmp_path)
    monkeypatch.setattr("collectors.acquire_opening.HELD_S", 1)
    with held_by_another_process(site) as holder:
        with pytest.raises(JournalError, match="another writer holds this journal") as ended:
            await acquire(site, SystemClock(), asyncio.Event())
        assert f"process {holder.pid}" in str(ended.value)
    assert len(waits(caplog)) == 1  # told once, however often it is tried


async def test_a_stop_is_heard_while_another_writer_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    site, stop = site_in(tmp_path), asyncio.Event()
    with held_by_another_process(site):
        running = asyncio.create_task(acquire(site, SystemClock(), stop))
        assert await until_true(lambda: bool(waits(caplog)), 20)
        stop.set()
        await running


async def test_a_damaged_journal_ends_the_program_with_its_sentence(tmp_path: Path):
    site = site_in(tmp_path)
    with Journal.open(site.data_dir / "journal", gateway_id="lab", clock=SystemClock()) as journal:
        for number in range(3):
            journal.append_now(EntryKind.EVENT, {"event": "test", "number": number})
    (path,) = (site.data_dir / "journal").glob("*.journal")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match="damaged"):
        await acquire(site, SystemClock(), asyncio.Event())
    assert path.read_bytes() == data


def test_an_unusable_data_folder_ends_the_program_with_exit_code_2(tmp_path: Path):
    (tmp_path / "data").write_text("a file where the folder should be")
    subprocess.run([sys.executable, "-m", "gateway", "init", tmp_path / "x"], check=True, capture_output=True)
    shutil.copytree(tmp_path / "x", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data"))
    command = [sys.executable, "-m", "gateway", "acquire", tmp_path / "site.toml"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_the_first_error_of_nested_groups_is_the_one_that_is_told():
    error = JournalError("disk")
    assert first_error(BaseExceptionGroup("outer", [ExceptionGroup("inner", [error])])) is error
