"""The slots of lines whose site is changed while they are read, by clocks that are set and programs that are killed."""

import asyncio
import random
import shutil
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from collectors.acquire import Acquisition
from collectors.acquire_line import read_polled
from collectors.acquire_setup import read_setup
from collectors.recording import NOT_RUNNING, Recording
from collectors.slot_account import NOTED, SlotAccount, account_before
from gateway.domain.sites import Site
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal
from tests.collectors.modbus_lab import SECOND, lab_site
from tests.collectors.reload_lab import law_of_slots
from tests.collectors.test_acquire_slots import HOUR, QUANTITIES, SEEDS, T0, Broken, Collector, TroubledLine, killed
from tests.gateway.clocks import SettableClock

STEPS = [-300_000, 2 * SECOND, -2 * SECOND, 100 * SECOND, -50 * 60 * SECOND, HOUR, 30 * HOUR, -30 * HOUR, -2 * HOUR]


def some_site(folder: Path, chance: random.Random) -> Site:
    """A line "bus" with some of three meters on some grid; or without any."""
    devices = chance.choice([[1], [1, 2], [1, 2], [2, 3], []])
    period_s = chance.choice(["1", "1", "1", "5", "0.025"])
    site = lab_site(folder, devices, period_s=period_s, quantities=QUANTITIES)
    if not devices:
        site.lines.clear()
    return site


async def read_some(recording: Recording, site: Site, clock: SettableClock, chance: random.Random, steps: list[int]):
    if not site.lines:
        clock.pass_by(chance.choice([0, 400_000, 3 * SECOND]))
        return
    wire = TroubledLine(recording.watch, chance, steps)
    wire.clock.set_by, wire.clock.pass_by = clock.set_by, clock.pass_by
    with suppress(Broken):
        await read_polled(Collector(site, wire, recording.account.newest("bus"), chance.randint(1, 25)), recording)
    if chance.random() < 0.2:
        await recording.line_failed("bus", "Broken()")
    if chance.random() < 0.3:
        await recording.note(NOTED)


async def run(folder: Path, clock: SettableClock, chance: random.Random, steps: list[int], *, kill: bool) -> None:
    """One run of the program in which its site changes a few times."""
    site = some_site(folder, chance)
    acquisition = Acquisition(site, clock, ExitStack())
    journal = Journal.open(acquisition.journal_dir, gateway_id="lab", clock=clock)
    recording = await acquisition._begin(journal, NOT_RUNNING)
    killing = asyncio.create_task(killed(acquisition.journal_dir, chance.randint(0, 120), journal)) if kill else None
    for _ in range(chance.randint(2, 6)):
        await read_some(recording, site, clock, chance, steps)
        if steps and chance.random() < 0.2:
            clock.set_by(chance.choice(steps))  # noticed by the change itself
        site = some_site(folder, chance)
        changed = read_setup(site)
        await recording.change(site, changed.schedules, {"bus"}, {})
    await read_some(recording, site, clock, chance, steps)
    if killing is not None:
        killing.cancel()
        with suppress(asyncio.CancelledError):
            await killing
    await journal.close()
    kept = acquisition.journal_dir.with_name("kept")
    if kept.exists():
        shutil.rmtree(acquisition.journal_dir)
        kept.rename(acquisition.journal_dir)


@pytest.mark.parametrize("seed", SEEDS)
async def test_series_end_and_begin_at_the_instant_that_the_event_tells(tmp_path: Path, seed: int):
    (tmp_path / "site.toml").write_text("")
    await run(tmp_path, SettableClock(T0), random.Random(seed), [], kill=False)
    slots = Counter(law_of_slots(tmp_path))
    counts = account_slots(entries(tmp_path / "data" / "journal"))
    assert {series: count.scheduled for series, count in counts.items()} == +slots
    assert all(count.exact and not count.repeated for count in counts.values())


@pytest.mark.parametrize("steps", [[], STEPS], ids=["clock kept", "clock set"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_no_slot_is_left_out_or_told_twice_over_changes_kills_and_set_clocks(
    tmp_path: Path, seed: int, steps: list[int]
):
    chance, clock = random.Random(seed), SettableClock(T0)
    (tmp_path / "site.toml").write_text("")
    journal = tmp_path / "data" / "journal"
    for _ in range(3):
        await run(tmp_path, clock, chance, steps, kill=True)
        clock.pass_by(chance.choice([0, 1, 300_000, 7 * SECOND, 3 * HOUR]))
    assert verify_journal(journal).ok
    for series, count in account_slots(entries(journal)).items():
        assert count.exact, f"seed {seed}: {series}: {count}"


async def test_a_program_killed_behind_a_change_takes_up_the_account_of_the_change(tmp_path: Path):
    (tmp_path / "site.toml").write_text("")
    clock = SettableClock(T0)
    acquisition = Acquisition(lab_site(tmp_path, [1], period_s="1", quantities=("frequency",)), clock, ExitStack())
    with Journal.open(acquisition.journal_dir, gateway_id="lab", clock=clock) as journal:
        recording = await acquisition._begin(journal, NOT_RUNNING)
        clock.pass_by(3_500_000)
        site = lab_site(tmp_path, [2], period_s="5", quantities=("frequency",))
        await recording.change(site, read_setup(site).schedules, {"bus"}, {})
    assert not [reading for entry in entries(acquisition.journal_dir) for reading in readings_of(entry)]
    before = SlotAccount(account_before(acquisition.journal_dir).standings)
    (found,) = before.passed_until("bus", T0 + 20 * SECOND)
    # begun at T0 + 3.5 s on a grid of 5 s: the slots at 5, 10 and 15 s; and nothing of the meter that is gone
    assert found == (T0 + 5 * SECOND, T0 + 15 * SECOND, ["e/p2/frequency"])
    counts = account_slots(entries(acquisition.journal_dir))
    assert [(series, count.scheduled, count.gap) for series, count in counts.items()] == [("e/p1/frequency", 4, 4)]
