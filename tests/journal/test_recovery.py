"""What a crash leaves is cut back, kept beside, and told; what no crash leaves is never touched."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import JournalError
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries, newest_sequence
from gateway.journal.verify import verify_journal
from tests.journal.journals import MAGIC, build_frame, hash_of, join_frames, make_journal, open_journal, split_frames


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: many journals are opened, and no power is cut."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def state_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "writer.lock"}


def test_a_journal_torn_at_any_byte_of_its_last_three_entries_loses_only_what_was_not_whole(memory_path: Path) -> None:
    (path,) = make_journal(memory_path / "whole", 8)
    data = path.read_bytes()
    frames = split_frames(data)
    for size in range(len(join_frames(frames[:5])), len(data)):
        copy = memory_path / f"cut{size}"
        copy.mkdir()
        (copy / path.name).write_bytes(data[:size])
        whole = max(n for n in (5, 6, 7) if len(join_frames(frames[:n])) <= size)
        torn = size - len(join_frames(frames[:whole]))

        report = verify_journal(copy)
        assert (
            report.ok,
            report.entries,
            report.torn_bytes,
            any("never acknowledged" in note for note in report.notes),
        ) == (True, whole, torn, torn > 0)
        assert [entry.sequence for entry in entries(copy)] == list(range(1, whole + 1))
        assert newest_sequence(copy) == whole

        with open_journal(copy) as journal:
            assert journal.append_now(EntryKind.EVENT, {"event": "after"}) == whole + (2 if torn else 1)
        told = [entry.body for entry in entries(copy, after=whole)]
        if torn:
            (kept,) = copy.glob("*.torn")
            assert kept.read_bytes() == data[size - torn : size]
            assert told[0]["event"] == "torn_tail_cut"
            assert told[0]["torn_bytes"] == torn
            assert [file["file"] for file in told[0]["torn"]] == [kept.name]
        assert told[-1] == {"event": "after"}
        report = verify_journal(copy)
        assert (report.ok, report.torn_bytes) == (True, 0)
        shutil.rmtree(copy)


@pytest.mark.parametrize("size", range(15))
def test_a_new_segment_that_holds_no_entry_yet_gives_way_to_the_one_before(tmp_path: Path, size: int) -> None:
    paths = make_journal(tmp_path, 40, segment_bytes=1500)
    first = int(paths[-1].stem)
    rest = paths[-1].read_bytes()[:size]
    paths[-1].write_bytes(rest)
    assert verify_journal(tmp_path).ok
    assert len(list(entries(tmp_path))) == first - 1
    with open_journal(tmp_path, segment_bytes=1500) as journal:
        journal.append_now(EntryKind.EVENT, {"event": "after"})
    bodies = [entry.body["event"] for entry in entries(tmp_path, after=first - 1)]
    assert bodies == (["torn_tail_cut", "after"] if 0 < size < 14 else ["after"])
    assert verify_journal(tmp_path).ok


def test_blocks_that_the_disk_reserved_and_never_wrote_are_a_torn_tail(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 5)
    data = path.read_bytes()
    path.write_bytes(data + data[-40:-20] + bytes(4096))
    assert verify_journal(tmp_path).ok
    with open_journal(tmp_path) as journal:
        assert journal.durable_sequence == 6
    assert verify_journal(tmp_path).entries == 6


def test_a_torn_first_entry_is_told_by_the_entry_that_takes_its_place(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 1)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with open_journal(tmp_path) as journal:
        assert journal.durable_sequence == 1
    (entry,) = entries(tmp_path)
    assert entry.body["event"] == "journal_created"
    assert entry.body["torn_bytes"] == len(data) - 1 - len(MAGIC)


@pytest.mark.parametrize("done", ["kept", "kept and cut"])
def test_a_cut_that_was_itself_interrupted_is_told_once(tmp_path: Path, done: str) -> None:
    (path,) = make_journal(tmp_path, 5)
    data = path.read_bytes()
    rest = split_frames(data)[-1][:30]
    (tmp_path / "00000000000000000006-0.torn").write_bytes(rest)
    path.write_bytes(data + rest if done == "kept" else data)
    for _ in range(2):
        with open_journal(tmp_path):
            pass
    told = [entry.body for entry in entries(tmp_path, after=5)]
    assert [body["event"] for body in told] == ["torn_tail_cut"]
    assert told[0]["torn_bytes"] == 30
    assert len(list(tmp_path.glob("*.torn"))) == 1


def test_the_event_that_tells_of_a_cut_may_be_torn_too(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 5)
    path.write_bytes(path.read_bytes()[:-1])
    with open_journal(tmp_path):
        pass
    path.write_bytes(path.read_bytes()[:-7])
    with open_journal(tmp_path):
        pass
    (told,) = [entry.body for entry in entries(tmp_path, after=4)]
    assert [file["file"] for file in told["torn"]] == ["00000000000000000005-0.torn", "00000000000000000005-1.torn"]
    assert verify_journal(tmp_path).ok


def test_damage_with_whole_entries_behind_it_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 12)
    data = path.read_bytes()
    last = len(join_frames(split_frames(data)[:-1]))
    chance = random.Random(4)
    for _ in range(200):
        bit = chance.randrange(8 * last)
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        before = state_of(tmp_path)
        with pytest.raises(JournalError, match=path.name):
            open_journal(tmp_path)
        assert state_of(tmp_path) == before


def test_a_last_entry_that_does_not_fit_its_checksum_is_kept_beside_and_told(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 12)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert not verify_journal(tmp_path).ok
    with open_journal(tmp_path) as journal:
        assert journal.durable_sequence == 12
    (kept,) = tmp_path.glob("*.torn")
    assert bytes(data).endswith(kept.read_bytes())
    assert [entry.body["event"] for entry in entries(tmp_path, after=11)] == ["torn_tail_cut"]


def test_a_chain_that_breaks_in_the_newest_segment_is_not_continued(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 6)
    frames = split_frames(path.read_bytes())
    frames[3] = build_frame(4, hash_of(frames[2]), frames[2][48:])
    path.write_bytes(join_frames(frames))
    with pytest.raises(JournalError, match="entry 5 at byte"):
        open_journal(tmp_path)


def test_a_newest_segment_that_does_not_join_the_one_before_is_refused(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 40, segment_bytes=1500)
    paths[-1].write_bytes(b"")
    paths[-2].unlink()
    before = state_of(tmp_path)
    with pytest.raises(JournalError, match=paths[-3].name):
        open_journal(tmp_path)
    assert state_of(tmp_path) == before


def test_an_empty_segment_without_those_before_it_is_no_new_journal(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000009.journal").write_bytes(b"")
    with pytest.raises(JournalError, match="missing"):
        open_journal(tmp_path)
