"""The writer: acknowledged means on the disk, in order, once, by one writer at a time."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.clocks import ReplayClock, SystemClock
from gateway.domain.readings import Reading
from gateway.errors import JournalError
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.opening import boot_id
from gateway.journal.reader import entries, newest_sequence
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal
from tests.journal.journals import GATEWAY, START, make_journal, open_journal, split_frames


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for every fdatasync that was really done."""
    done: list[int] = []
    real: Callable[[int], None] = os.fdatasync

    def counted(descriptor: int) -> None:
        real(descriptor)
        done.append(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    return done


def test_the_first_entry_says_whose_journal_it_is(tmp_path: Path) -> None:
    with open_journal(tmp_path / "data" / "journal") as journal:
        assert journal.durable_sequence == 1
    (entry,) = entries(tmp_path / "data" / "journal")
    assert entry.kind is EntryKind.EVENT
    assert entry.body == {"event": "journal_created", "format": 1, "gateway": GATEWAY}
    assert (entry.sequence, entry.at, entry.previous) == (1, START, bytes(32))
    assert entry.monotonic_ns == START * 1000  # what the replayed clock says
    assert entry.boot == boot_id()


def test_the_sequence_goes_on_over_reopening(tmp_path: Path) -> None:
    for opening in range(3):
        with open_journal(tmp_path, segment_bytes=600) as journal:
            assert journal.durable_sequence == (1 if opening == 0 else 5 * opening + 1)
            for number in range(5):
                assert journal.append_now(EntryKind.AUDIT, {"n": number}) == 5 * opening + number + 2
    assert [entry.sequence for entry in entries(tmp_path)] == list(range(1, 17))
    assert verify_journal(tmp_path).ok


async def test_entries_that_wait_together_share_one_sync(tmp_path: Path, syncs: list[int]) -> None:
    journal = open_journal(tmp_path)
    syncs.clear()
    got = await asyncio.gather(*(journal.append(EntryKind.AUDIT, {"n": n}) for n in range(500)))
    assert got == list(range(2, 502))  # in the order in which they were handed over
    assert len(syncs) == 1
    await journal.close()
    assert [entry.body.get("n") for entry in entries(tmp_path, after=1)] == list(range(500))


async def test_the_next_commit_takes_all_that_came_during_the_last(tmp_path: Path, syncs: list[int]) -> None:
    journal = open_journal(tmp_path)
    syncs.clear()

    async def work(worker: int) -> None:
        for number in range(25):
            await journal.append(EntryKind.AUDIT, {"worker": worker, "n": number})

    await asyncio.gather(*(work(worker) for worker in range(20)))
    await journal.close()
    # 20 wait at any time, so 25 rounds carry 500 entries; double that if each round is split once
    assert 25 <= len(syncs) <= 50
    assert newest_sequence(tmp_path) == 501


async def test_an_entry_is_on_the_disk_when_append_returns(tmp_path: Path, syncs: list[int]) -> None:
    journal = open_journal(tmp_path)
    for number in range(2, 30):
        before = len(syncs)
        assert await journal.append(EntryKind.AUDIT, {"n": number}) == number
        assert len(syncs) > before
        assert journal.durable_sequence == number
        assert newest_sequence(tmp_path) == number
    await journal.close()


def test_many_bodies_at_once_cost_one_sync(tmp_path: Path, syncs: list[int]) -> None:
    with open_journal(tmp_path) as journal:
        syncs.clear()
        assert journal.append_all_now((EntryKind.AUDIT, {"n": n}) for n in range(1000)) == 1001
        assert len(syncs) == 1
        assert journal.append_all_now([]) == 1001


def test_a_bad_body_among_many_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        with pytest.raises(ValueError, match="cannot be journaled"):
            journal.append_all_now([(EntryKind.AUDIT, {"n": 1}), (EntryKind.AUDIT, {"n": float("nan")})])
        assert journal.append_now(EntryKind.AUDIT, {"n": 3}) == 2


def some_readings(count: int, *, first: int = 0) -> list[Reading]:
    names = ("e/p/active_energy_import", "e/p/active_power", "e/p/voltage_l1")
    return [Reading(names[n % 3], START + n, n, words=n.to_bytes(4, "big")) for n in range(first, first + count)]


TELEMETRY = frozenset({"e/p/active_power", "e/p/voltage_l1"})


def test_evidence_and_telemetry_never_share_an_entry(tmp_path: Path, syncs: list[int]) -> None:
    readings = some_readings(9)
    with open_journal(tmp_path) as journal:
        syncs.clear()
        assert journal.append_readings_now("bus", readings) == 2
        assert journal.append_readings_now("bus", readings, telemetry=TELEMETRY) == 4
        assert journal.append_readings_now("bus", readings[:1], telemetry=TELEMETRY) == 5
        assert journal.append_readings_now("bus", readings[1:3], telemetry=TELEMETRY) == 6
        assert len(syncs) == 4
        assert journal.append_readings_now("bus", [], telemetry=TELEMETRY) == 6  # nothing, and nothing is written
    told = list(entries(tmp_path, after=1))
    classes = [entry.body.get("class", "evidence") for entry in told]
    assert classes == ["evidence", "evidence", "telemetry", "evidence", "telemetry"]
    assert [entry.body["line"] for entry in told] == ["bus"] * 5
    assert readings_of(told[0]) == readings
    assert readings_of(told[1]) == [reading for reading in readings if reading.series == "e/p/active_energy_import"]
    assert readings_of(told[2]) == [reading for reading in readings if reading.series in TELEMETRY]
    assert verify_journal(tmp_path).readings == 9 + 9 + 1 + 2


async def test_batches_that_wait_together_share_one_sync_and_keep_their_order(tmp_path: Path, syncs: list[int]) -> None:
    journal = open_journal(tmp_path)
    syncs.clear()
    batches = [some_readings(30, first=30 * n) for n in range(50)]
    appends = (journal.append_readings("bus", batch, telemetry=TELEMETRY) for batch in batches)
    assert await asyncio.gather(*appends) == list(range(3, 103, 2))  # the last entry of each, which has two
    assert len(syncs) == 1
    await journal.close()
    found = [reading for entry in entries(tmp_path, after=1) for reading in readings_of(entry)]
    assert sorted(found) == sorted(some_readings(1500))


async def test_the_next_batch_is_encoded_while_the_last_one_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, real = open_journal(tmp_path), os.fdatasync
    encoded, meanwhile = threading.Event(), list[bool]()

    def slow(descriptor: int) -> None:
        meanwhile.append(encoded.wait(timeout=10))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    first = asyncio.ensure_future(journal.append_readings("bus", some_readings(3)))
    await asyncio.sleep(0.05)
    second = asyncio.ensure_future(journal.append_readings("bus", some_readings(3)))
    await asyncio.sleep(0)  # it runs up to where it waits: its bytes are made
    encoded.set()
    assert await asyncio.gather(first, second) == [2, 3]
    assert meanwhile == [True, True]
    await journal.close()


async def test_a_batch_with_one_bad_reading_is_refused_whole(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    bad = [*some_readings(5), Reading("e/p/voltage_l1", START, None)]
    with pytest.raises(ValueError, match="reading 4 of the entry, e/p/voltage_l1"):
        await journal.append_readings("bus", bad, telemetry=TELEMETRY)
    assert await journal.append_readings("bus", bad[:5]) == 2
    await journal.close()


async def test_appends_from_threads_and_the_loop_interleave_without_a_gap(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes=4000)

    def import_some() -> list[int]:
        return [journal.append_all_now([(EntryKind.AUDIT, {"n": n})] * 3) for n in range(20)]

    async def collect() -> list[int]:
        return [await journal.append(EntryKind.AUDIT, {"n": n}) for n in range(40)]

    lasts, collected = await asyncio.gather(asyncio.to_thread(import_some), collect())
    await journal.close()
    told = list(entries(tmp_path))
    assert [entry.sequence for entry in told] == list(range(1, 102))
    kinds = {entry.sequence: entry.kind for entry in told}
    assert all(kinds[last - back] is EntryKind.AUDIT for last in lasts for back in range(3))
    assert all(kinds[sequence] is EntryKind.AUDIT for sequence in collected)
    assert verify_journal(tmp_path).ok


async def test_a_caller_who_gives_up_takes_no_other_with_him(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    appends = [asyncio.ensure_future(journal.append(EntryKind.AUDIT, {"n": n})) for n in range(5)]
    await asyncio.sleep(0)
    appends[2].cancel()
    got = await asyncio.gather(*appends, return_exceptions=True)
    assert [type(result) for result in got] == [int, int, asyncio.CancelledError, int, int]
    assert await journal.append(EntryKind.AUDIT, {}) == journal.durable_sequence
    await journal.close()
    assert verify_journal(tmp_path).ok


async def test_whoever_waits_for_entries_is_told_when_they_are_durable(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert await journal.wait_beyond(0) == 1
    waiting = asyncio.ensure_future(journal.wait_beyond(1))
    early = asyncio.ensure_future(journal.wait_beyond(1))
    await asyncio.sleep(0)
    early.cancel()
    thread = threading.Thread(target=journal.append_now, args=(EntryKind.AUDIT, {}))
    thread.start()
    assert await asyncio.wait_for(waiting, 5) == 2
    thread.join()
    ended = asyncio.ensure_future(journal.wait_beyond(2))
    await asyncio.sleep(0)
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await ended


async def test_closing_writes_what_waits_and_refuses_what_comes_after(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    waiting = [asyncio.ensure_future(journal.append(EntryKind.AUDIT, {"n": n})) for n in range(10)]
    await asyncio.sleep(0)
    await journal.close()
    assert await asyncio.gather(*waiting) == list(range(2, 12))
    for append in (journal.append(EntryKind.AUDIT, {}), asyncio.to_thread(journal.append_now, EntryKind.AUDIT, {})):
        with pytest.raises(JournalError, match="closed"):
            await append
    await journal.close()


def test_a_month_begins_a_new_segment(tmp_path: Path) -> None:
    # 2026-03-31T23:59:59.999999Z; date -u -d 2026-04-01T00:00:00Z +%s gives 1775001600
    clock = ReplayClock(1_775_001_600_000_000 - 1)
    with Journal.open(tmp_path, gateway_id=GATEWAY, clock=clock) as journal:
        journal.append_now(EntryKind.AUDIT, {})
        asyncio.run(clock.sleep_until(1_775_001_600_000_000))
        journal.append_now(EntryKind.AUDIT, {})
        journal.append_now(EntryKind.AUDIT, {})
    with Journal.open(tmp_path, gateway_id=GATEWAY, clock=clock) as journal:
        journal.append_now(EntryKind.AUDIT, {})
    assert [path.stem.lstrip("0") for path in sorted(tmp_path.glob("*.journal"))] == ["1", "3"]
    with Journal.open(tmp_path, gateway_id=GATEWAY, clock=ReplayClock(START)) as journal:  # the clock was put back
        journal.append_now(EntryKind.AUDIT, {})
    assert [path.stem.lstrip("0") for path in sorted(tmp_path.glob("*.journal"))] == ["1", "3", "6"]
    report = verify_journal(tmp_path)
    assert (report.ok, report.entries, report.segments) == (True, 6, 3)


def test_a_segment_ends_before_it_grows_beyond_its_size(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 200, segment_bytes=3000)
    assert len(paths) > 10
    assert all(path.stat().st_size <= 3000 for path in paths)
    # none ends sooner than it must: the first entry of the next would not have fitted
    for path, following in pairwise(paths):
        assert path.stat().st_size + len(split_frames(following.read_bytes())[0]) > 3000
    assert verify_journal(tmp_path).entries == 200


def test_an_entry_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=1000) as journal:
        for text in ("a", "b" * 5000, "c"):
            journal.append_now(EntryKind.AUDIT, {"text": text})
    assert [path.stem.lstrip("0") for path in sorted(tmp_path.glob("*.journal"))] == ["1", "3", "4"]
    assert verify_journal(tmp_path).ok


def test_a_second_writer_is_refused_and_told_who_holds_the_journal(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gateway.clocks import SystemClock; "
        "from gateway.journal.writer import Journal\n"
        "Journal.open(Path(sys.argv[1]), gateway_id='gw-test', clock=SystemClock())"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with open_journal(tmp_path) as journal:
        with pytest.raises(JournalError, match=f"process {os.getpid()}"):
            open_journal(tmp_path)
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert f"another writer holds this journal (process {os.getpid()})" in other.stderr
        journal.append_now(EntryKind.AUDIT, {})  # undisturbed
    subprocess.run(command, check=True)
    assert verify_journal(tmp_path).entries == 2


def test_two_gateways_never_share_a_chain(tmp_path: Path) -> None:
    make_journal(tmp_path, 3)
    with pytest.raises(JournalError, match=r"gateway 'gw-test', not of 'gw-other'"):
        Journal.open(tmp_path, gateway_id="gw-other", clock=SystemClock())
    assert verify_journal(tmp_path).entries == 3


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"file/journal: the journal cannot be opened: .+"):
        open_journal(tmp_path / "file" / "journal")


def test_starting_reads_the_newest_segment_only(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 300, segment_bytes=3000)
    for path in paths[1:-1]:
        path.write_bytes(b"")
    with open_journal(tmp_path) as journal:
        assert journal.append_now(EntryKind.AUDIT, {}) == 301
    report = verify_journal(tmp_path)
    assert not report.ok
    assert report.problem is not None
    assert report.problem["sequence"] == int(paths[1].name[:20])


def test_a_payload_is_plain_json(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 2)
    payload = split_frames(path.read_bytes())[1][48:]
    assert (
        payload
        == (
            f'{{"at":{START},"body":{{"event":"tick","number":2}},"boot":"{boot_id()}",'
            f'"kind":"event","monotonic_ns":{START * 1000}}}'
        ).encode()
    )
    assert json.loads(payload)["body"] == {"event": "tick", "number": 2}
