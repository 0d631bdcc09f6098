"""The acquiring process is killed ten times under load: nothing acknowledged is missing, nothing is doubled."""

import asyncio
import random
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import MICROSECONDS
from gateway.domain.scopes import EVERYTHING
from gateway.journal.verify import verify_journal
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store
from simulators.broker import BrokerKind, mosquitto, running_broker
from simulators.demo_folder import DemoState, write_site
from simulators.lab import load_lab
from simulators.plant import Plant
from simulators.simulate import put_on_wire
from simulators.truth import TruthLog, read_truth

KILLS, SEED = 10, 20261124


async def acquire(site: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "acquire", str(site), stderr=asyncio.subprocess.DEVNULL
    )


@pytest.mark.servers
async def test_ten_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    if mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    clock, chance, lab = SystemClock(), random.Random(SEED), load_lab("cement")
    plant = Plant(lab, epoch=(clock.now() // (900 * MICROSECONDS) - 4) * 900 * MICROSECONDS)
    with TruthLog(tmp_path / "truth.jsonl") as log:
        async with running_broker(tmp_path / "broker", BrokerKind.MOSQUITTO) as broker:
            wire = await put_on_wire(
                plant, clock, log=log, broker=("127.0.0.1", broker.port), broker_version="5", drop=tmp_path
            )
            site_file = write_site(tmp_path, plant, DemoState(plant.epoch, "2026-01-01", 0, 8460), wire.ports, broker)
            try:
                for _ in range(KILLS):
                    process = await acquire(site_file)
                    await asyncio.sleep(chance.uniform(1.2, 2.6))
                    process.kill()
                    await process.wait()
                    if (tmp_path / "data" / "journal").is_dir():
                        assert verify_journal(tmp_path / "data" / "journal").ok
                process = await acquire(site_file)
                await asyncio.sleep(4)
                stopped_at = clock.now()
                process.terminate()
                await process.wait()
            finally:
                await wire.stop()
    assert verify_journal(tmp_path / "data" / "journal").ok
    site = load_site(site_file)
    with closing(open_reading_store(site, read_only=False)) as store:
        drain_once(site.data_dir / "journal", store)
        stored = {key: store.readings(EVERYTHING, key, 0, 2**62) for key in store.series(EVERYTHING)}
        assert store.conflicts(EVERYTHING) == []
    truth = read_truth(tmp_path / "truth.jsonl")
    first_session = min(reading.instant for rows in stored.values() for reading in rows)
    compared = 0
    for message in truth.publishes:
        # From the first subscription on, the broker keeps for us what it acknowledged while we were dead.
        acknowledged = (message.point, message.sequence) in truth.acknowledged
        if acknowledged and first_session + 2 * MICROSECONDS < message.instant < stopped_at - 2 * MICROSECONDS:
            for quantity in message.values:
                times = Counter(row.instant for row in stored[plant.series(message.point, quantity)])
                assert times[message.instant] == 1, (message, quantity)
                compared += 1
    assert compared >= 50
    for rows in stored.values():
        assert all(count == 1 for count in Counter(row.instant for row in rows).values())
