"""SIGKILL of the acquiring process, ten times, while a whole plant is on the wire: nothing taken over is lost."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from collectors.lines import polled_schedules
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.contracts import StoredReading
from gateway.domain.readings import MICROSECONDS
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from gateway.journal.verify import verify_journal
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store
from simulators.broker import BrokerKind, mosquitto, running_broker
from simulators.checking import compare_live
from simulators.demo_folder import DemoState, write_site
from simulators.lab import MQTT, load_lab
from simulators.plant import Plant, booked_at
from simulators.reconciliation import LOST, reconcile
from simulators.simulate import LabOnTheWire, put_on_wire
from simulators.truth import TruthLog, TruthRecords, read_truth
from tests.killing import Killed, run_until_killed

KILLS = int(os.environ.get("EMG_KILLS", "10"))
SEED = int(os.environ.get("EMG_SEED", "20261124"))
BETWEEN_S = (0.9, 2.5)
QUARTER_US = 900 * MICROSECONDS
DAY_US = 96 * QUARTER_US


class Run(NamedTuple):
    """What the ten kills left: the site, the truth, and from when on the broker kept messages for the gateway."""

    site: Site
    plant: Plant
    truth: TruthRecords
    subscribed_at: int  # [us, UTC]
    stopped_at: int  # [us, UTC] when the meters fell silent
    stored: dict[str, list[StoredReading]]


def acquire(site: Path) -> list[str | Path]:
    return [sys.executable, "-m", "gateway", "acquire", site]


async def run_cleanly(site: Path, *, until: str) -> asyncio.subprocess.Process:
    """Acquire, started; returns when its messages hold `until`."""
    process = await asyncio.create_subprocess_exec(*acquire(site), stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    async for line in process.stderr:
        if until in line.decode():
            return process
    raise AssertionError(f"acquire ended without saying {until!r}")


async def ended(process: asyncio.subprocess.Process) -> int | None:
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 20)
    return process.returncode


async def until_true(found: Callable[[], bool], seconds: float) -> bool:
    for _ in range(int(seconds * 10)):
        if await asyncio.to_thread(found):
            return True
        await asyncio.sleep(0.1)
    return False


def everything_taken(folder: Path, site: Site, subscribed_at: int) -> bool:
    """Every acknowledged message is in the journal, and every file was put away."""
    truth, journaled = read_truth(folder / "truth.jsonl"), journaled_readings(site)
    messages = {key for _, _, *keys in acknowledged(truth, subscribed_at, site) for key in keys}
    return messages <= journaled.keys() and not list((folder / "tickets").glob("*.csv"))


def journaled_readings(site: Site) -> Counter[tuple[str, int]]:
    """How often each (series, instant) is in the journal."""
    found = entries(site.data_dir / "journal")
    return Counter((reading.series, reading.instant) for entry in found for reading in readings_of(entry))


def acknowledged(truth: TruthRecords, since: int, site: Site) -> list[tuple[object, ...]]:
    """(point, sequence, (series, instant) ...) of every message that the broker took over from `since` on."""
    enterprise = next(iter(site.series)).split("/")[0]
    taken = []
    for message in truth.publishes:
        if (message.point, message.sequence) in truth.acknowledged and message.at > since:
            names = (f"{enterprise}/{message.point}/{quantity}" for quantity in message.values)
            keys = [(name, message.instant) for name in names if name in site.series]
            taken.append((message.point, message.sequence, *keys))
    return taken


async def killed_again_and_again(folder: Path, site: Path, plant: Plant, wire: LabOnTheWire) -> None:
    """Ten kills; in each round a lorry's day of tickets lands, and after each the journal verifies."""
    chance = random.Random(SEED)
    for number in range(KILLS):
        start = plant.epoch + number * DAY_US
        wire.writers["tickets"].write(start, start + DAY_US)
        seconds = chance.uniform(*BETWEEN_S)
        killed: Killed = await asyncio.to_thread(run_until_killed, acquire(site), seconds=0, start_limit=seconds)
        told = f"seed {SEED}, kill {number} after {seconds:.2f} s: {killed.errors}"
        assert killed.by_signal, told
        report = verify_journal(folder / "data" / "journal")
        assert report.ok, f"{told}: {report.problem}"


@pytest.fixture
async def after_the_kills(tmp_path: Path) -> Run:
    if mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    clock = SystemClock()
    plant = Plant(load_lab("cement"), epoch=clock.now() // QUARTER_US * QUARTER_US - KILLS * DAY_US)
    truth_file = tmp_path / "truth.jsonl"
    with TruthLog(truth_file) as log:
        async with running_broker(tmp_path / "broker", BrokerKind.MOSQUITTO) as broker:
            address = ("127.0.0.1", broker.port)
            wire = await put_on_wire(plant, clock, log=log, broker=address, broker_version="5", drop=tmp_path)
            try:
                file = write_site(
                    tmp_path, plant, DemoState(plant.epoch, "2026-01-01", 0, 8460), wire.ports, broker, ""
                )
                site = load_site(file)
                first = await run_cleanly(file, until="connected and subscribed")
                subscribed_at = clock.now()
                assert await ended(first) == 0
                await killed_again_and_again(tmp_path, file, plant, wire)
                last = await run_cleanly(file, until="connected and subscribed")
                await asyncio.sleep(2)  # and live for a while
            finally:
                await wire.stop()
            stopped_at = clock.now()
            taken = await until_true(lambda: everything_taken(tmp_path, site, subscribed_at), 15)
            assert await ended(last) == 0
            assert taken, "after 15 s there is still something that was acknowledged and is not in the journal"
    with closing(open_reading_store(site, read_only=False)) as store:
        drain_once(site.data_dir / "journal", store)
        stored = {series: store.readings(EVERYTHING, series, 0, 2**62) for series in store.series(EVERYTHING)}
        assert store.conflicts(EVERYTHING) == []
    return Run(site, plant, read_truth(truth_file), subscribed_at, stopped_at, stored)


@pytest.mark.servers
async def test_ten_kills_lose_nothing_double_nothing_and_alter_nothing(after_the_kills: Run) -> None:
    run = after_the_kills
    report = verify_journal(run.site.data_dir / "journal")
    assert report.ok, report.problem
    for series, rows in run.stored.items():
        assert [row.instant for row in rows] == sorted({row.instant for row in rows}), series

    # Messages: what the broker took over while acquire lived or lay dead is in the journal, and stored once.
    messages = acknowledged(run.truth, run.subscribed_at, run.site)
    assert len({(point, sequence) for point, sequence, *_ in messages}) == len(messages)
    instants = {series: {row.instant for row in rows if row.value is not None} for series, rows in run.stored.items()}
    lost = [(point, sequence) for point, sequence, *keys in messages for s, at in keys if at not in instants[s]]
    assert lost == []
    assert len(messages) >= 2 * 10  # two publishing meters, more than ten seconds

    # Tickets: each once, with its mass in divisions of 20 kg.
    assert run.plant.yard is not None
    tickets = run.plant.yard.tickets(run.plant.epoch, run.plant.epoch + KILLS * DAY_US)
    expected = [(booked_at(ticket), ticket.net_kg // 20) for ticket in tickets]
    assert len(expected) > KILLS
    first = {instant for instant, _ in expected}
    booked = [(row.instant, row.value) for row in run.stored[run.plant.series("C-TICKETS", "mass")]]
    assert [each for each in booked if each[0] in first] == expected

    # Values: every reading says what its meter said then.
    readings = [
        {"series": row.series, "instant": row.instant, "value": row.value, "words": ""}
        for rows in run.stored.values()
        for row in rows
    ]
    compared = compare_live(readings, run.truth)
    assert compared.mismatches == []
    assert compared.by_wire["modbus"] > 100
    assert compared.by_wire["mqtt"] >= len(messages)
    assert compared.by_wire["files"] >= len(expected)

    # Slots: each that was scheduled since the first start is good, flagged or in a recorded gap, over all the kills.
    slots = account_slots(entries(run.site.data_dir / "journal"))
    polled = [series for lines in polled_schedules(run.site).values() for series in lines.series]
    assert sorted(slots) == sorted(polled)
    assert [series for series, count in slots.items() if not count.exact or count.repeated] == []
    gaps = [entry.body for entry in entries(run.site.data_dir / "journal") if entry.kind is EntryKind.GAP]
    assert {body["reason"] for body in gaps} >= {"acquire.not_running"}

    # And the account of the whole run, which looks for what was acknowledged and is nowhere, says the same.
    mqtt = {point.id for line in run.plant.lab.line if line.kind == MQTT for point in run.plant.lab.points_on(line.id)}
    periods = {series: MICROSECONDS for series, wired in run.truth.series.items() if wired.point in mqtt}
    from_us = (run.subscribed_at // MICROSECONDS + 2) * MICROSECONDS - MICROSECONDS // 2
    account = reconcile(readings, run.truth, start=from_us, end=run.stopped_at, periods_us=periods)
    counts = account.counts()
    counts.pop("silently missing")  # the meters' own pauses on a busy machine
    assert set(counts.values()) == {0}, account.faults
    assert LOST in counts
    journaled = journaled_readings(run.site)
    print(
        f"{KILLS} kills: {report.entries} entries, {sum(journaled.values())} readings journaled of "
        f"{len(journaled)} instants, {len(messages)} messages, {len(expected)} tickets, {compared.by_wire}, "
        f"{sum(count.scheduled for count in slots.values())} slots, {sum(count.gap for count in slots.values())} in gaps"
    )
