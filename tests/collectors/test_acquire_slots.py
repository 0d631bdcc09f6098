"""Every scheduled slot of a polled series is good, flagged or in a recorded gap, whatever happens to the program."""

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing, suppress
from pathlib import Path

import pytest

from collectors.acquire import Acquisition
from collectors.acquire_line import read_polled
from collectors.polling import poll, polled_devices
from collectors.recording import NOT_RUNNING, Recording
from collectors.slot_account import NOTED
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Site
from gateway.errors import LineSilent
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import SlotCount, account_slots
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal
from tests.collectors.modbus_lab import SECOND, lab_site
from tests.collectors.test_modbus_polling import WORDS
from tests.gateway.clocks import SettableClock

T0 = 1_790_000_400 * SECOND
HOUR = 3600 * SECOND
SEEDS = range(int(os.environ.get("EMG_SEED", "1")), int(os.environ.get("EMG_SEED", "1")) + 12)
QUANTITIES = ("active_energy_import", "frequency")


class Broken(Exception):
    """A fault of the collector's own."""


class TroubledLine:
    """Meters that answer in 10 ms of replayed time, mostly; between two answers anything may happen to the clock."""

    def __init__(self, clock: SettableClock, chance: random.Random, steps: list[int]) -> None:
        self.clock, self.chance, self.steps = clock, chance, steps

    async def connect(self, timeout_s: float) -> None:
        if self.chance.random() < 0.02:
            await self.clock.sleep_until(self.clock.now() + int(timeout_s * SECOND))
            raise LineSilent("no connection")

    async def read(self, device_address: int, block: object, timeout_s: float) -> bytes:
        await self.clock.sleep_until(self.clock.now() + 10_000)
        drawn = self.chance.random()
        if drawn < 0.03:
            await self.clock.sleep_until(self.clock.now() + int(timeout_s * SECOND))
            raise LineSilent("no answer")
        if drawn < 0.05:
            self.clock.pass_by(self.chance.choice([3, 40, 4000]) * SECOND)  # the machine slept
        elif drawn < 0.07 and self.steps:
            self.clock.set_by(self.chance.choice(self.steps))
        elif drawn < 0.08:
            raise Broken
        return WORDS[block.address][: 2 * block.words]

    def close(self) -> None:
        pass


class Collector:
    line = "bus"

    def __init__(self, site: Site, wire: TroubledLine, after: int | None, lists: int) -> None:
        self.site, self.wire, self.after, self.lists = site, wire, after, lists

    async def readings(self) -> AsyncGenerator[list[Reading], None]:
        line = self.site.lines["bus"]
        devices = polled_devices(self.site, line)
        async with aclosing(poll(self.wire, line, devices, self.wire.clock, after=self.after)) as lists:
            async for readings in lists:
                yield readings
                self.lists -= 1
                if self.lists <= 0:
                    return


async def run(site: Site, clock: SettableClock, chance: random.Random, steps: list[int]) -> None:
    """One run of the program, ended without warning: what lies on the disk at some moment is all that is left."""
    acquisition = Acquisition(site, clock, ExitStack())
    folder = acquisition.journal_dir
    journal = Journal.open(folder, gateway_id="lab", clock=clock)
    recording = await acquisition._begin(journal, NOT_RUNNING)
    left = chance.randint(0, 60)
    killing = asyncio.create_task(killed(folder, left, journal))
    for _ in range(chance.randint(1, 4)):
        after = recording.account.newest("bus")
        wire = TroubledLine(acquisition.watch, chance, steps)
        wire.clock.set_by, wire.clock.pass_by = clock.set_by, clock.pass_by
        with suppress(Broken):
            await read_polled(Collector(site, wire, after, chance.randint(1, 25)), recording)
        await one_of(chance, recording)
    killing.cancel()
    with suppress(asyncio.CancelledError):
        await killing
    await journal.close()
    kept = folder.with_name("kept")
    if kept.exists():
        shutil.rmtree(folder)
        kept.rename(folder)
        if chance.random() < 0.5:
            newest = max(folder.glob("*.journal"))
            os.truncate(newest, newest.stat().st_size - chance.randint(0, 40))


async def one_of(chance: random.Random, recording: Recording) -> None:
    drawn = chance.random()
    if drawn < 0.4:
        await recording.line_failed("bus", "Broken()")
    elif drawn < 0.7:
        await recording.note(NOTED)


async def killed(folder: Path, left: int, journal: Journal) -> None:
    """Keeps the folder as it is once `left` more entries are durable."""
    await journal.wait_beyond(journal.durable_sequence + left)
    shutil.copytree(folder, folder.with_name("kept"))


async def lived(folder: Path, seed: int, steps: list[int]) -> Path:
    """Several runs with downtime, other configurations and set clocks between them; the folder of the journal."""
    chance = random.Random(seed)
    clock = SettableClock(T0)
    (folder / "site.toml").write_text("")
    for _ in range(chance.randint(2, 6)):
        devices = chance.choice([[1], [1, 2], [1, 2], [2, 3]])
        period_s = chance.choice(["1", "1", "1", "5", "0.025"])
        site = lab_site(folder, devices, period_s=period_s, quantities=QUANTITIES)
        await run(site, clock, chance, steps)
        clock.pass_by(chance.choice([0, 1, 300_000, 7 * SECOND, 3 * HOUR]))
        if steps and chance.random() < 0.3:
            clock.set_by(chance.choice(steps))
    return folder / "data" / "journal"


def counted(folder: Path) -> dict[str, SlotCount]:
    return account_slots(entries(folder))


def told_slots(folder: Path) -> dict[tuple[str, int], Counter[int]]:
    """How often each slot of each (series, period) is told, by the words of the format alone."""
    found: dict[tuple[str, int], Counter[int]] = {}
    period = 0
    for entry in entries(folder):
        if "schedule" in entry.body:
            period = entry.body["schedule"]["bus"]["period_us"]
        for reading in readings_of(entry):
            found.setdefault((reading.series, period), Counter())[reading.instant // period * period] += 1
        if entry.kind is EntryKind.GAP:
            body = entry.body
            slots = range(body["first"], body["last"] + 1, body["period_us"])
            assert len(slots) == body["slots"]
            for series in body["series"]:
                found.setdefault((series, body["period_us"]), Counter()).update(slots)
    return found


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_slot_is_left_out_or_told_twice_over_kills_failures_and_sleep(tmp_path: Path, seed: int):
    journal = await lived(tmp_path, seed, [])
    assert verify_journal(journal).ok
    counts = counted(journal)
    assert counts
    for series, count in counts.items():
        assert count.exact, f"seed {seed}: {series}: {count}"
        assert count.repeated == 0
        assert count.scheduled == count.good + count.flagged + count.gap
    # And by another way of counting, which knows no standings: between its first and its last slot a series has
    # every slot once, but where the line was polled with another period or without it in between.
    told = told_slots(journal)
    assert sum(count.scheduled for count in counts.values()) == sum(slots.total() for slots in told.values())
    assert {times for slots in told.values() for times in slots.values()} == {1}


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_slot_is_left_out_or_told_twice_when_the_clock_is_set_too(tmp_path: Path, seed: int):
    steps = [-300_000, 2 * SECOND, -2 * SECOND, 100 * SECOND, -50 * 60 * SECOND, HOUR, 30 * HOUR, -30 * HOUR, -2 * HOUR]
    journal = await lived(tmp_path, seed, steps)
    assert verify_journal(journal).ok
    for series, count in counted(journal).items():
        assert count.exact, f"seed {seed}: {series}: {count}"
    broken, newest = False, dict.fromkeys(counted(journal), 0)
    for entry in entries(journal):
        broken = broken or entry.body.get("order") == "broken"
        for reading in readings_of(entry):
            again = reading.instant <= newest[reading.series] - HOUR
            assert not again or broken, f"seed {seed}: entry {entry.sequence} goes back without a word"
            if again and reading.value is not None:
                assert reading.quality is Quality.SUSPECT
                assert reading.reason in {"clock.stepped_back", "clock.unset"}
            newest[reading.series] = max(newest[reading.series], reading.instant)


async def test_what_is_read_before_the_clock_was_ever_set_is_doubted_and_has_no_place_of_its_own(tmp_path: Path):
    (tmp_path / "site.toml").write_text("")
    site = lab_site(tmp_path, [1], period_s="1", quantities=("frequency",))
    clock = SettableClock(17 * SECOND)  # 1970-01-01T00:00:17Z
    acquisition = Acquisition(site, clock, ExitStack())
    with Journal.open(acquisition.journal_dir, gateway_id="lab", clock=clock) as journal:
        recording = await acquisition._begin(journal, NOT_RUNNING)
        wire = TroubledLine(acquisition.watch, random.Random(1), [])
        wire.chance.random = lambda: 1.0
        await read_polled(Collector(site, wire, recording.account.newest("bus"), 5), recording)
        clock.set_by(T0)  # the time came over the network
        await read_polled(Collector(site, wire, recording.account.newest("bus"), 5), recording)
    read = [reading for entry in entries(acquisition.journal_dir) for reading in readings_of(entry)]
    assert [reading.reason for reading in read] == ["clock.unset"] * 5 + [""] * 5
    assert [reading.quality for reading in read] == [Quality.SUSPECT] * 5 + [Quality.GOOD] * 5
    events = [entry.body for entry in entries(acquisition.journal_dir) if "order" in entry.body]
    assert [(event["event"], event["order"]) for event in events] == [
        ("clock_unset", "broken"),
        ("clock_step", "restored"),
    ]
    (count,) = counted(acquisition.journal_dir).values()
    assert count.exact
    assert (count.scheduled, count.good, count.gap, count.repeated) == (5, 5, 0, 5)
    assert read[5].instant >= T0  # and the half century in between is no gap
