"""The counts of publishers: what is missing is told once, over restarts too, and nothing else is."""

import asyncio
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.acquire import acquire
from collectors.payloads.said import Numbered
from collectors.sequences import Lost, Sequences, Standing
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.sites import Site
from gateway.journal.entries import Entry, EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.verify import verify_journal
from gateway.mqtt_session import reconnect_delays
from tests.collectors.mqtt_lab import site_text

TOPIC = "emg/v1/works/north/W1/reading"


def message(number: int) -> str:
    return f'{{"ts":"2026-11-24T03:00:{number:02d}Z","seq":{number},"values":{{"volume":{number}}}}}'


def take(counts: Sequences, *numbers: int, modulus: int = 0) -> list[tuple[int, int, int]]:
    """(missing, number before, number after) of what is told when these come, each a second after the one before."""
    told = [counts.take(Numbered("p", number, at, modulus)) for at, number in enumerate(numbers)]
    return [(lost.missing, lost.before.number, lost.after.number) for lost in told if lost is not None]


def test_what_is_missing_is_told_and_a_publisher_that_begins_anew_has_lost_nothing_that_is_known() -> None:
    assert take(Sequences(), 5, 6, 7) == []
    assert take(Sequences(), 5, 9, 10) == [(3, 5, 9)]
    assert take(Sequences(), 5, 6, 0, 1) == [(0, 6, 0)]
    assert take(Sequences(), 5, 5 + 1_000_002) == [(0, 5, 1_000_007)], "no loss is so large"
    assert take(Sequences(), 254, 255, 0, 1, 4, modulus=256) == [(2, 1, 4)]
    assert take(Sequences(), 250, 3, modulus=256) == [(8, 250, 3)]


def test_what_comes_again_is_no_loss_and_what_comes_late_is_told_as_found_once() -> None:
    counts = Sequences()
    take(counts, 0, 1, 2)
    assert counts.take(Numbered("p", 2, 2)) is None
    assert counts.take(Numbered("p", 1, 1)) is None
    assert counts.take(Numbered("p", 9, 9)) == Lost("p", 6, Standing(2, 2), Standing(9, 9))
    for number in (4, 5, 7, 4):
        assert counts.take(Numbered("p", number, number)) is None
    assert counts.late() == {"p": [(4, 5), (7, 7)]}
    assert counts.late() == {}
    assert counts.take(Numbered("p", 10, 10)) is None


def test_what_did_not_become_durable_is_not_counted() -> None:
    counts = Sequences({"p": Standing(3, 3)})
    assert counts.take(Numbered("p", 4, 4)) is None
    counts.begin()  # the collector starts again; 4 was never journaled
    assert counts.take(Numbered("p", 6, 6)) == Lost("p", 2, Standing(3, 3), Standing(6, 6))
    assert counts.settle() == {"p": Standing(6, 6)}
    counts.begin()
    assert counts.take(Numbered("p", 7, 7)) is None


@given(st.sets(st.integers(0, 200), min_size=2))
def test_numbers_that_came_and_numbers_told_as_missing_are_all_there_are(came: set[int]) -> None:
    counts, missing = Sequences(), set()
    for number in sorted(came):
        lost = counts.take(Numbered("p", number, number))
        if lost is not None:
            told = range(lost.before.number + 1, lost.after.number)
            assert lost.missing == len(told)
            missing |= set(told)
    assert missing == set(range(min(came), max(came))) - came


def test_a_broker_that_comes_back_is_not_stormed() -> None:
    assert list(islice(reconnect_delays(lambda: 1.0), 7)) == [1, 2, 4, 8, 16, 30, 30]
    assert list(islice(reconnect_delays(lambda: 0.0), 7)) == [0.5, 1, 2, 4, 8, 15, 15]


async def run_until(site: Site, true: Any) -> None:
    """`emg acquire` until what its journal holds is enough."""
    stop = asyncio.Event()
    running = asyncio.create_task(acquire(site, SystemClock(), stop))
    async with asyncio.timeout(20):
        while not true(journal_of(site)):
            assert not running.done(), running
            await asyncio.sleep(0.02)
    stop.set()
    await running


def journal_of(site: Site) -> list[Entry]:
    with suppress(FileNotFoundError):
        return list(entries(site.data_dir / "journal"))
    return []


def values(found: list[Entry]) -> list[Any]:
    return [reading.value for entry in found for reading in readings_of(entry)]


@pytest.mark.servers
async def test_a_loss_shows_over_a_restart_of_ours_and_the_verifier_counts_it(mosquitto: Any, tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(site_text(mosquitto.port, "", {"W1": ""}, "water/emg_message_water"), "utf-8")
    site = load_site(file)

    async def publish(*numbers: int) -> None:
        await asyncio.to_thread(mosquitto.publish_lines, TOPIC, [message(number) for number in numbers])

    mosquitto.stop()
    mosquitto.options.append("log_type all")
    mosquitto.start()
    log = mosquitto.folder / "mosquitto.log"
    await run_until(site, lambda _: "Sending SUBACK to gw-broker" in log.read_text())  # from here on a session stands
    await publish(1, 2, 5)
    await run_until(site, lambda found: 5000 in values(found))
    await publish(9, 10)  # while we are away: 6 to 8 were lost before the broker
    await run_until(site, lambda found: 10000 in values(found))
    found = journal_of(site)
    assert sorted(set(values(found))) == [1000, 2000, 5000, 9000, 10000]
    gaps = [entry.body for entry in found if entry.kind is EntryKind.GAP]
    at = 1_795_489_200_000_000
    assert gaps == [
        {
            "counter": "works/W1",
            "first": at + first * 1_000_000,
            "last": at + last * 1_000_000,
            "line": "broker",
            "numbers": [first, last],
            "reason": "payload.lost",
            "series": ["works/W1/volume", "works/W1/volume_flow"],
            "slots": last - first - 1,
        }
        for first, last in ((2, 5), (5, 9))
    ]
    assert verify_journal(site.data_dir / "journal").gap_slots == 2 * (2 + 3)
