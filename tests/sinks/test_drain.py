"""What the drain promises: every entry once, in order, whatever fails, and never past a journal it does not know."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.clocks import ReplayClock
from gateway.contracts import Delivery
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.errors import JournalError, StoreError
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.writer import Journal
from gateway.sinks.drain import ForeignJournal, drain_forever, drain_once
from gateway.sinks.patience import Patience
from gateway.stores.embedded import EmbeddedStore

SERIES = "cement/kiln/active_energy_import"


def journal_in(folder: Path) -> Journal:
    return Journal.open(folder / "journal", gateway_id="gw-test", clock=ReplayClock(1_700_000_000_000_000))


def batch(first: int, count: int) -> tuple[EntryKind, dict]:
    readings = [Reading(SERIES, instant, instant * 3) for instant in range(first, first + count)]
    return EntryKind.READINGS, readings_body("line-1", readings)


def counts_in(store: EmbeddedStore) -> list:
    return [reading.value for reading in store.readings(EVERYTHING, SERIES, -1, 10**9)]


@pytest.fixture
def store(tmp_path) -> Iterator[EmbeddedStore]:
    with EmbeddedStore.open(tmp_path / "readings.db") as opened:
        yield opened


class Witnessing:
    """A sink of the test's own: keeps what it was given, call by call, and can hold the drain back."""

    name = "witnessing"

    def __init__(self) -> None:
        self.calls: list[list[Delivery]] = []
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def cursor(self) -> int:
        return self.calls[-1][-1].sequence if self.calls else 0

    def witness(self) -> bytes:
        return self.calls[-1][-1].digest if self.calls else b""

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.begun.set()
        self.may_go_on.wait(10)
        self.calls.append(list(deliveries))


def test_every_entry_moves_once_and_those_without_readings_move_the_cursor(tmp_path, store):
    with journal_in(tmp_path) as journal:
        last = journal.append_all_now([batch(0, 3), (EntryKind.EVENT, {"event": "clock_step"}), batch(3, 2)])
        last = journal.append_now(EntryKind.AUDIT, {"who": "operator"})
        assert drain_once(journal.directory, store) == 5
        assert store.cursor() == last
        assert counts_in(store) == [0, 3, 6, 9, 12]
        assert drain_once(journal.directory, store) == 0
        journal.append_now(*batch(5, 1))
        assert drain_once(journal.directory, store) == 1
        assert counts_in(store) == [0, 3, 6, 9, 12, 15]
        assert store.count(EVERYTHING) == 6


def test_a_long_backlog_is_held_one_batch_at_a_time(tmp_path):
    sink = Witnessing()
    with journal_in(tmp_path) as journal:
        journal.append_all_now([batch(number * 7, 7) for number in range(1000)])
        journal.append_all_now([(EntryKind.AUDIT, {"who": "operator"})] * 250)
        assert drain_once(journal.directory, sink, batch_readings=100) == 7000
    sizes = [sum(len(delivery.readings) for delivery in call) for call in sink.calls]
    assert max(sizes) < 100 + 7
    assert max(len(call) for call in sink.calls) <= 100  # entries without readings fill memory too
    delivered = [delivery.sequence for call in sink.calls for delivery in call]
    assert delivered == list(range(1, delivered[-1] + 1))


def test_nothing_beyond_the_given_entry_moves(tmp_path, store):
    with journal_in(tmp_path) as journal:
        third = journal.append_all_now([batch(0, 1), batch(1, 1)])
        journal.append_now(*batch(2, 1))
        assert drain_once(journal.directory, store, up_to=third) == 2
        assert store.cursor() == third


def test_a_sink_ahead_of_a_restored_journal_is_refused_even_when_the_journal_has_grown_past_it(tmp_path, store):
    copy = tmp_path / "copy"
    with journal_in(tmp_path) as journal:
        journal.append_now(*batch(0, 2))
        directory = journal.directory
    shutil.copytree(directory, copy)
    with journal_in(tmp_path) as journal:
        journal.append_all_now([batch(number, 1) for number in range(2, 6)])
        drain_once(directory, store)
    cursor = store.cursor()
    shutil.rmtree(directory)
    shutil.copytree(copy, directory)
    with pytest.raises(ForeignJournal, match=rf"ends before entry {cursor}.*restored from an older copy"):
        drain_once(directory, store)
    with journal_in(tmp_path) as journal:
        newest = journal.append_all_now([batch(number, 1) for number in range(100, 120)])
        assert newest > cursor
        with pytest.raises(ForeignJournal, match=rf"entry {cursor} is not the one"):
            drain_once(directory, store)
    assert store.cursor() == cursor
    assert counts_in(store) == [0, 3, 6, 9, 12, 15]


def test_an_empty_journal_under_a_filled_store_is_refused(tmp_path, store):
    with journal_in(tmp_path) as journal:
        journal.append_now(*batch(0, 1))
        drain_once(journal.directory, store)
    with pytest.raises(ForeignJournal):
        drain_once(tmp_path / "elsewhere", store)


def test_damage_in_the_journal_stops_the_drain_before_the_damaged_entry(tmp_path, store):
    with journal_in(tmp_path) as journal:
        journal.append_all_now([batch(number, 1) for number in range(50)])
        directory = journal.directory
    [segment] = directory.glob("*.journal")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(JournalError):
        drain_once(directory, store, batch_readings=1)
    found = counts_in(store)
    assert 10 < len(found) < 40
    assert found == [3 * number for number in range(len(found))]


async def reached(store: EmbeddedStore, sequence: int) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(store.cursor) < sequence:
            await asyncio.sleep(0.005)


async def test_what_is_journaled_while_it_drains_arrives(tmp_path, store):
    with journal_in(tmp_path) as journal:
        draining = asyncio.create_task(drain_forever(journal, journal.directory, store, on_error=print, pace_s=0))
        for number in range(50):
            last = await journal.append(*batch(number, 1))
        await reached(store, last)
        assert counts_in(store) == [3 * number for number in range(50)]
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining


async def test_a_sink_that_fails_is_tried_again_and_misses_nothing(tmp_path, store):
    store._file._connection.execute("PRAGMA busy_timeout = 1")
    holder = sqlite3.connect(tmp_path / "readings.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")  # somebody's tool holds the file
    told: list[StoreError] = []
    with journal_in(tmp_path) as journal:
        last = await journal.append(*batch(0, 4))

        def on_error(error: StoreError) -> None:
            told.append(error)
            assert store.cursor() == 0
            if len(told) == 3:
                holder.execute("ROLLBACK")

        draining = asyncio.create_task(
            drain_forever(
                journal, journal.directory, store, on_error=on_error, patience=Patience(first_s=0.01), pace_s=0
            )
        )
        await reached(store, last)
        assert len(told) == 3
        assert "locked" in str(told[0])
        assert counts_in(store) == [0, 3, 6, 9]
        draining.cancel()
        await asyncio.wait({draining})
    holder.close()


async def test_cancelling_lets_the_running_delivery_come_to_its_end(tmp_path):
    sink = Witnessing()
    sink.may_go_on.clear()
    with journal_in(tmp_path) as journal:
        await journal.append(*batch(0, 4))
        draining = asyncio.create_task(drain_forever(journal, journal.directory, sink, on_error=print))
        await asyncio.to_thread(sink.begun.wait, 10)
        draining.cancel()
        done, _ = await asyncio.wait({draining}, timeout=0.05)
        assert not done  # it waits: a store closed under a delivery would be a fault
        sink.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await draining
    assert [len(delivery.readings) for call in sink.calls for delivery in call][-1] == 4


async def test_a_foreign_journal_ends_the_drain_instead_of_waiting_for_it_to_grow(tmp_path, store):
    store.deliver([Delivery(1000, [], b"another chain")])
    with journal_in(tmp_path) as journal:
        async with asyncio.timeout(10):
            with pytest.raises(ForeignJournal):
                await drain_forever(journal, journal.directory, store, on_error=print)


async def test_a_journal_that_ends_ends_the_drain(tmp_path, store):
    journal = journal_in(tmp_path)
    draining = asyncio.create_task(drain_forever(journal, journal.directory, store, on_error=print, pace_s=0))
    await reached(store, journal.durable_sequence)
    journal.close_now()
    async with asyncio.timeout(10):
        with pytest.raises(JournalError):
            await draining
