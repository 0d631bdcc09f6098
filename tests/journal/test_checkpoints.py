"""Signed checkpoints: what they state is checked with struct, hashlib and an Ed25519 that is not the product's."""

import asyncio
import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clocks import ReplayClock
from gateway.errors import JournalError
from gateway.journal import checkpoints, writer
from gateway.journal.checkpoints import checkpoint_line, keep_checking
from gateway.journal.entries import EntryKind
from gateway.journal.opening import newest_key
from gateway.journal.reader import entries
from gateway.journal.signing import SigningKey
from tests.journal.journals import GATEWAY, START, hash_of, make_journal, open_journal, split_frames
from tests.journal.signatures import is_signed

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))


def frames_of(directory: Path) -> list[bytes]:
    return [frame for path in sorted(directory.glob("*.journal")) for frame in split_frames(path.read_bytes())]


def assert_all_checkpoints_hold(directory: Path, public: bytes = KEY.public) -> int:
    """How many there are, after each was found to state the entry before it and to be signed."""
    found, count = frames_of(directory), 0
    for before, frame in pairwise(found):
        told: dict[str, Any] = json.loads(frame[48:])
        if told["kind"] != "checkpoint":
            continue
        body, sequence = told["body"], int.from_bytes(frame[8:16], "big")
        assert set(body) == {"gateway", "hash", "key", "sequence", "signature"}
        assert (body["gateway"], body["sequence"]) == (GATEWAY, sequence - 1)
        assert body["hash"] == hash_of(before).hex()
        assert body["key"] == hashlib.sha256(public).hexdigest()[:16]
        text = f"emg checkpoint 1\n{GATEWAY}\n{sequence - 1}\n{body['hash']}\n{told['at']}\n"
        assert is_signed(public, text.encode(), bytes.fromhex(body["signature"]))
        count += 1
    return count


def test_the_first_key_is_told_once(tmp_path: Path) -> None:
    for _ in range(3):
        with open_journal(tmp_path, key=KEY) as journal:
            assert journal.durable_sequence == 2
    told = list(entries(tmp_path))
    assert [entry.body["event"] for entry in told] == ["journal_created", "key_created"]
    assert told[1].body == {"event": "key_created", "key": KEY.id, "public": KEY.public.hex()}
    assert newest_key(tmp_path) == KEY.id


def test_a_journal_that_grew_without_a_key_gets_one(tmp_path: Path) -> None:
    make_journal(tmp_path, 40, segment_bytes=1000)
    assert newest_key(tmp_path) is None
    with open_journal(tmp_path, key=KEY) as journal:
        assert journal.durable_sequence == 41
    with open_journal(tmp_path, segment_bytes=1000) as journal:  # nobody who cannot sign has to
        journal.append_all_now([(EntryKind.AUDIT, {"key": "not one"})] * 40)
    assert newest_key(tmp_path) == KEY.id


def test_a_writer_with_another_key_is_refused_with_the_way_out_and_writes_nothing(tmp_path: Path) -> None:
    open_journal(tmp_path, key=KEY).close_now()
    before = frames_of(tmp_path)
    with pytest.raises(JournalError, match=rf"key {KEY.id}, not with {OTHER.id}.*emg journal rotate-key SITE --lost"):
        open_journal(tmp_path, key=OTHER)
    assert frames_of(tmp_path) == before
    open_journal(tmp_path, key=KEY).close_now()  # and the lock is free


def test_a_checkpoint_states_the_entry_before_it(tmp_path: Path) -> None:
    with open_journal(tmp_path, key=KEY, segment_bytes=700) as journal:
        for number in range(6):
            journal.append_all_now([(EntryKind.AUDIT, {"n": n}) for n in range(number)])
            made = journal.append_checkpoint_now()
            assert made.sequence == journal.durable_sequence - 1
            assert made.at == START
            assert json.loads(checkpoint_line(made)) == made._asdict()
            assert b"\n" not in checkpoint_line(made)
    assert len(list(tmp_path.glob("*.journal"))) > 3  # some begin a segment
    assert assert_all_checkpoints_hold(tmp_path) == 6


def test_the_line_that_leaves_the_house_has_one_form(tmp_path: Path) -> None:
    with open_journal(tmp_path, key=KEY) as journal:
        made = journal.append_checkpoint_now()
    assert checkpoint_line(made).decode() == (
        f'{{"at":{START},"gateway":"{GATEWAY}","hash":"{hash_of(frames_of(tmp_path)[1]).hex()}","key":"{KEY.id}",'
        f'"sequence":2,"signature":"{made.signature}"}}'
    )


async def test_checkpoints_find_their_place_among_many_appends(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, key=KEY, segment_bytes=4000)

    def import_some() -> None:
        for number in range(10):
            journal.append_all_now([(EntryKind.AUDIT, {"n": number})] * 3)
            journal.append_checkpoint_now()

    async def append(n: int) -> int:
        await asyncio.sleep(0.001 * (n % 3))
        return await journal.append(EntryKind.AUDIT, {"n": n})

    async def check(n: int) -> int:
        await asyncio.sleep(0.001 * (n % 4))
        return (await journal.append_checkpoint()).sequence + 1

    work = asyncio.to_thread(import_some)
    _, *told = await asyncio.gather(work, *(append(n) for n in range(20)), *(check(n) for n in range(10)))
    await journal.close()
    assert assert_all_checkpoints_hold(tmp_path) == 20
    assert len(set(told)) == 30


def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal, pytest.raises(JournalError, match="opened without a key"):
        journal.append_checkpoint_now()


def test_an_entry_that_cannot_be_made_stops_the_journal_and_leaves_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal(tmp_path, key=KEY) as journal:
        with monkeypatch.context() as patched:
            patched.setattr(checkpoints, "make_checkpoint", lambda *_, **__: 1 / 0)
            with pytest.raises(JournalError, match=r"ZeroDivisionError.*the journal has stopped"):
                journal.append_checkpoint_now()
        with pytest.raises(JournalError, match="ZeroDivisionError"):
            journal.append_now(EntryKind.AUDIT, {})
    with open_journal(tmp_path, key=KEY) as journal:
        assert journal.append_checkpoint_now().sequence == 2
    assert assert_all_checkpoints_hold(tmp_path) == 1


def test_a_checkpoint_torn_at_any_byte_is_cut_off_and_the_next_one_holds(tmp_path: Path) -> None:
    with open_journal(tmp_path / "whole", key=KEY) as journal:
        journal.append_checkpoint_now()
    (path,) = (tmp_path / "whole").glob("*.journal")
    data = path.read_bytes()
    last = len(split_frames(data)[-1])
    for missing in {1, 2, last // 2, last - 47, last - 1}:
        torn = tmp_path / str(missing)
        torn.mkdir()
        (torn / path.name).write_bytes(data[:-missing])
        with open_journal(torn, key=KEY) as journal:
            assert journal.append_checkpoint_now().sequence == 3  # that of torn_tail_cut
        assert assert_all_checkpoints_hold(torn) == 1


class HeldClock(ReplayClock):
    """Sleeps until it is let go, and remembers until when it was asked to."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.asked: list[int] = []
        self.go = asyncio.Semaphore(0)

    async def sleep_until(self, instant: int) -> None:
        self.asked.append(instant)
        await self.go.acquire()
        await super().sleep_until(instant)


async def test_one_at_the_start_one_every_minute_one_at_the_end(tmp_path: Path) -> None:
    clock, lines = HeldClock(START), list[bytes]()
    journal = writer.Journal.open(tmp_path, gateway_id=GATEWAY, clock=clock, key=KEY)
    checking = asyncio.create_task(keep_checking(journal, clock, 60, lines.append))
    for round_ in range(1, 4):
        while len(clock.asked) < round_:
            await asyncio.sleep(0.001)
        assert (len(lines), clock.asked[-1]) == (round_, START + round_ * 60_000_000)
        clock.go.release()
    while len(clock.asked) < 4:
        await asyncio.sleep(0.001)
    await journal.append(EntryKind.EVENT, {"event": "the last of all"})
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    await journal.close()
    told = [json.loads(line) for line in lines]
    # entries: journal_created, key_created, four checkpoints, the event, the last checkpoint
    assert [one["sequence"] for one in told] == [2, 3, 4, 5, 7]
    assert [one["at"] for one in told] == [START + minute * 60_000_000 for minute in (0, 1, 2, 3, 3)]
    assert assert_all_checkpoints_hold(tmp_path) == 5


async def test_a_stopped_journal_ends_the_checking_with_its_reason(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, key=KEY)
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await keep_checking(journal, ReplayClock(START), 60)
