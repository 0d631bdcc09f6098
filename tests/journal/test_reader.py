"""Reading: any stretch of the journal, while it is being written, and never an altered entry."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import JournalError
from gateway.journal.entries import Entry, EntryKind
from gateway.journal.reader import entries, entries_between, newest_sequence
from gateway.journal.segments import Segment, segments
from tests.journal.journals import build_frame, hash_of, join_frames, make_journal, open_journal, split_frames


def test_reading_begins_behind_any_entry(tmp_path: Path) -> None:
    make_journal(tmp_path, 60, segment_bytes=1500)
    for after in range(64):
        assert [entry.sequence for entry in entries(tmp_path, after=after)] == list(range(after + 1, 61))
    assert [entry.sequence for entry in entries_between(tmp_path, 7, 31)] == list(range(7, 32))
    assert list(entries_between(tmp_path, 31, 7)) == []
    assert newest_sequence(tmp_path) == 60


def test_no_journal_is_an_empty_journal(tmp_path: Path) -> None:
    assert list(entries(tmp_path)) == []
    assert list(entries(tmp_path / "absent")) == []
    assert newest_sequence(tmp_path / "absent") == 0


def test_an_entry_carries_its_hash_and_that_of_the_one_before(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 20, segment_bytes=1500)
    frames = [frame for path in paths for frame in split_frames(path.read_bytes())]
    told = list(entries(tmp_path))
    assert [entry.hash for entry in told] == [hash_of(frame) for frame in frames]
    assert [entry.previous for entry in told] == [bytes(32), *[entry.hash for entry in told[:-1]]]


def test_a_reader_that_has_begun_sees_what_is_written_meanwhile_over_changes_of_segment(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=700) as journal:
        reading: Iterator[Entry] = entries(tmp_path)
        for number in range(1, 60):
            assert next(reading).sequence == number
            journal.append_now(EntryKind.EVENT, {"number": number})
        assert [entry.sequence for entry in reading] == [60]
    assert len(list(tmp_path.glob("*.journal"))) > 10


def test_an_unfinished_entry_ends_the_reading_quietly_and_is_read_when_it_is_whole(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 4)
    data = path.read_bytes()
    for size in range(len(join_frames(split_frames(data)[:3])), len(data)):
        path.write_bytes(data[:size])
        assert [entry.sequence for entry in entries(tmp_path, after=1)] == [2, 3]
    path.write_bytes(data)
    assert [entry.sequence for entry in entries(tmp_path, after=3)] == [4]


def test_no_flipped_bit_lets_an_altered_entry_through(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 30, segment_bytes=2000)
    good = list(entries(tmp_path))
    chance = random.Random(11)
    for _ in range(300):
        path = chance.choice(paths)
        data = path.read_bytes()
        bit = chance.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        seen: list[Entry] = []
        with pytest.raises(JournalError, match=path.name):
            seen.extend(entries(tmp_path))
        path.write_bytes(data)
        assert seen == good[: len(seen)]


def test_damage_names_file_entry_and_byte(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 30, segment_bytes=2000)
    frames = split_frames(paths[1].read_bytes())
    offset = len(join_frames(frames[:2]))
    damaged = bytearray(paths[1].read_bytes())
    damaged[offset + 60] ^= 4
    paths[1].write_bytes(damaged)
    with pytest.raises(JournalError, match=f"{paths[1].name}: .* byte {offset}, where entry {int(paths[1].stem) + 2} "):
        list(entries(tmp_path))


def test_a_segment_that_is_missing_is_named_by_the_one_before(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 30, segment_bytes=1500)
    moved = paths[1].rename(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match=f"{paths[0].name}: the segment ends"):
        list(entries(tmp_path))
    moved.rename(paths[1])
    paths[0].unlink()
    with pytest.raises(JournalError, match="holds entry 1 is missing"):
        list(entries(tmp_path))
    assert next(entries(tmp_path, after=int(paths[1].stem) - 1)).sequence == int(paths[1].stem)


def test_entries_that_changed_places_are_damage(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 6)
    frames = split_frames(path.read_bytes())
    path.write_bytes(join_frames([*frames[:2], frames[3], frames[2], *frames[4:]]))
    with pytest.raises(JournalError, match=r"entry 4 lies at byte .* where entry 3 is expected"):
        list(entries(tmp_path))


def test_an_edited_entry_with_a_fitting_checksum_is_found_at_the_next_one(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 6)
    frames = split_frames(path.read_bytes())
    edited = frames[2][48:].replace(b'"number":3', b'"number":4')
    frames[2] = build_frame(3, frames[2][16:48], edited)
    path.write_bytes(join_frames(frames))
    for after in (0, 1, 2):  # whether it was read or only passed over
        with pytest.raises(JournalError, match=r"does not carry the hash .* where entry 4 is expected"):
            list(entries(tmp_path, after=after))
    assert [entry.sequence for entry in entries(tmp_path, after=4)] == [5, 6]


@pytest.mark.parametrize("segment_bytes", [1 << 24, 700])
def test_what_is_written_while_the_reader_looks_for_the_end_is_read_or_left_but_never_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment_bytes: int
) -> None:
    journal = open_journal(tmp_path, segment_bytes=segment_bytes)

    def write_then_list(directory: Path) -> list[Segment]:
        if journal.durable_sequence < 20:
            journal.append_now(EntryKind.EVENT, {"event": "before the listing"})
        found = segments(directory)
        if journal.durable_sequence < 20:
            journal.append_now(EntryKind.EVENT, {"event": "after the listing"})
        return found

    monkeypatch.setattr("gateway.journal.reader.segments", write_then_list)
    seen = [entry.sequence for entry in entries(tmp_path)]
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= 5
    journal.close_now()
    assert [entry.sequence for entry in entries(tmp_path, after=len(seen))] == list(range(len(seen) + 1, 21))
