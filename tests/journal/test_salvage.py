"""Salvage: a flipped bit costs one entry (or one compressed part), which is named; all the rest is there and goes on."""

import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.clocks import ReplayClock
from gateway.domain.readings import Reading
from gateway.errors import JournalError
from gateway.journal.compressing import compress_closed, compress_segment
from gateway.journal.disk import hold_lock, sync_directory
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.salvage import Salvage, examine, salvage
from gateway.journal.signing import SigningKey
from gateway.journal.verify import verify_journal
from tests.journal.journals import (
    GATEWAY,
    START,
    build_frame,
    hash_of,
    join_frames,
    make_journal,
    open_journal,
    split_frames,
)
from tests.journal.signed_journals import private_key
from tests.killing import run_until_killed

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("EMG_SEED", "2026"))
FLIPS = int(os.environ.get("EMG_FLIPS", "1000"))


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: many journals are written, and no power is cut."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def state_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def into(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}-salvaged")


def rescue(directory: Path) -> Salvage:
    return salvage(directory, into(directory), clock=ReplayClock(START))


def numbers(found: Salvage) -> list[int]:
    return [number for first, last in found.lost for number in range(first, last + 1)]


def readings_journal(directory: Path, *, compressed: bool) -> list[Path]:
    """2,000 readings in 100 entries and some segments; those that are closed compressed, when asked for."""
    with open_journal(directory, segment_bytes=20_000) as journal:
        for at in range(0, 2000, 20):
            batch = [
                Reading(f"works/m{n % 7}/active_energy_import", START + n * 1_000_000, 10**6 + n)
                for n in range(at, at + 20)
            ]
            journal.append_readings_now("bus-1", batch)
    if compressed:
        compress_closed(directory)
    return sorted(path for path in directory.iterdir() if ".journal" in path.name)


def test_a_flipped_bit_is_found_and_costs_one_entry(memory_path: Path) -> None:
    paths = readings_journal(memory_path / "journal", compressed=False)
    directory = memory_path / "journal"
    good = {entry.sequence: entry for entry in entries(directory)}
    assert sum(len(readings_of(entry)) for entry in good.values()) == 2000
    assert len(paths) > 3
    chance = random.Random(SEED)
    kept_readings = 0
    for number in range(FLIPS):
        path = paths[number % len(paths)]
        size = path.stat().st_size
        bit = number // len(paths) if number < 10 * 14 else chance.randrange(8 * size)  # the first bytes too
        hit = _entry_at(path, bit // 8)
        flip(path, bit)
        told = f"seed {SEED}, flip {number}: bit {bit} of {path.name}"
        found = examine(directory)
        assert found.needed, told
        assert [file.file for file in found.damaged] == [path.name], told
        assert numbers(found) == ([hit] if hit else []), told
        if number % 10 == 0:
            before = state_of(directory)
            assert rescue(directory) == found
            assert state_of(directory) == before
            _assert_goes_on(into(directory), good, found)
            shutil.rmtree(into(directory))
            kept_readings += sum(len(readings_of(entry)) for key, entry in good.items() if key != hit)
        flip(path, bit)
    assert kept_readings > 0
    assert not examine(directory).needed


def _entry_at(path: Path, byte: int) -> int:
    """The entry that holds this byte of a segment; 0 for the bytes before the first."""
    at = 14
    for frame in split_frames(path.read_bytes()):
        if at <= byte < at + len(frame):
            return int.from_bytes(frame[8:16], "big")
        at += len(frame)
    return 0


def _assert_goes_on(directory: Path, good: dict[int, object], found: Salvage) -> None:
    """The kept entries are there as they were, then the event that names the loss, then what is written next."""
    lost = numbers(found)
    with open_journal(directory) as journal:
        last = journal.append_now(EntryKind.EVENT, {"event": "after"})
    assert last == found.newest + 2  # no number is given twice
    *kept, told, after = entries(directory)
    assert kept == [entry for number, entry in good.items() if number not in lost]
    assert (told.sequence, told.body["event"]) == (found.newest + 1, "salvaged")
    assert told.body["lost"] == [list(pair) for pair in found.lost]
    assert told.body["frames"] == len(kept)
    for file in told.body["damaged"]:
        data = (directory / "damaged" / file["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    assert (after.sequence, after.body) == (last, {"event": "after"})
    report = verify_journal(directory)
    assert report.ok, report.problem
    assert all(any(f"entries {first} to" in text for text in report.findings) for first, _ in found.lost if first > 1)
    assert not examine(directory).needed


def test_a_flipped_bit_of_a_compressed_segment_costs_at_most_its_part(memory_path: Path) -> None:
    directory = memory_path / "journal"
    paths = readings_journal(directory, compressed=True)[:-1]
    good = {entry.sequence: entry for entry in entries(directory)}
    firsts = [int(path.name[:20]) for path in paths] + [101]
    chance = random.Random(SEED)
    harmless = kept = 0
    for number in range(FLIPS // 2):
        place = number % len(paths)
        size = paths[place].stat().st_size
        bit = number // len(paths) if number < 8 * 30 else chance.randrange(8 * size)
        flip(paths[place], bit)
        found = examine(directory)
        lost = numbers(found)
        assert set(lost) <= set(range(firsts[place], firsts[place + 1] + 1))
        if not found.needed:  # another way to say the same in deflate: nothing is altered
            harmless += 1
            assert list(entries(directory)) == list(good.values())
        elif number % 10 == 0:
            rescue(directory)
            _assert_goes_on(into(directory), good, found)
            shutil.rmtree(into(directory))
        kept += not lost
        flip(paths[place], bit)
    assert harmless < FLIPS // 50
    assert kept > 10  # a header or a checksum that is hit costs no entry at all
    assert not examine(directory).needed


def test_a_large_compressed_segment_loses_one_part_of_many(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    with open_journal(directory) as journal:
        for number in range(60):
            text = random.Random(number).randbytes(15_000).hex()
            journal.append_now(EntryKind.EVENT, {"event": "tick", "text": text})
    compress_segment(next(directory.glob("*.journal")))
    (path,) = directory.glob("*.gz")
    good = {entry.sequence: entry for entry in entries(directory)}
    for share in (0.3, 0.5, 0.99):
        bit = 8 * int(path.stat().st_size * share)
        flip(path, bit)
        found = rescue(directory)
        assert 1 <= len(numbers(found)) <= 9
        _assert_goes_on(into(directory), good, found)
        shutil.rmtree(into(directory))
        flip(path, bit)


def test_a_journal_cut_at_any_byte_of_its_last_three_entries_needs_no_salvage(memory_path: Path) -> None:
    (path,) = make_journal(memory_path / "journal", 8)
    data = path.read_bytes()
    start = len(join_frames(split_frames(data)[:5]))
    for size in range(start, len(data)):
        path.write_bytes(data[:size])
        found = examine(path.parent)
        assert not found.needed
        assert found.torn_bytes == size - max(
            end for n in (5, 6, 7) if (end := len(join_frames(split_frames(data)[:n]))) <= size
        )
    assert rescue(path.parent).lost == []
    assert not into(path.parent).exists()


@pytest.mark.parametrize("torn", [1, 40, 100])
def test_a_torn_end_beside_damage_is_no_loss_and_its_number_is_given_again(tmp_path: Path, torn: int) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 40, segment_bytes=1500)
    good = {entry.sequence: entry for entry in entries(directory)}
    paths[-1].write_bytes(paths[-1].read_bytes()[:-torn])
    flip(paths[1], 8 * 300)
    hit = _entry_at(tmp_path / "journal" / paths[1].name, 0) or int(paths[1].name[:20]) + 1
    found = rescue(directory)
    assert found.newest == 39
    assert len(numbers(found)) == 1
    assert abs(numbers(found)[0] - hit) <= 1
    assert [file.file for file in found.damaged] == [paths[1].name, paths[-1].name]
    del good[40]
    _assert_goes_on(into(directory), good, found)


@pytest.mark.parametrize("size", range(15))
def test_a_segment_only_begun_beside_damage_is_left_out(tmp_path: Path, size: int) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 40, segment_bytes=1500)
    good = {entry.sequence: entry for entry in entries(directory, after=0)}
    paths[-1].write_bytes(paths[-1].read_bytes()[:size])
    assert not examine(directory).needed
    flip(paths[1], 8 * 300)
    found = rescue(directory)
    assert found.newest == int(paths[-1].name[:20]) - 1
    _assert_goes_on(into(directory), {n: entry for n, entry in good.items() if n <= found.newest}, found)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_numbers_of_lost_newest_entries_are_not_given_again(tmp_path: Path, count: int) -> None:
    directory = tmp_path / "journal"
    (path,) = make_journal(directory, 12)
    good = {entry.sequence: entry for entry in entries(directory)}
    frames = split_frames(path.read_bytes())
    for frame in range(12 - count, 12):
        flip(path, 8 * (len(join_frames(frames[:frame])) + 60))
    found = rescue(directory)
    assert found.lost == [(12 - count + 1, 12)]
    _assert_goes_on(into(directory), good, found)
    event = next(entries(into(directory), after=12))
    assert event.previous == hash_of(frames[12 - count - 1])


def test_segments_that_are_gone_or_empty_are_named(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 60, segment_bytes=1500)
    good = {entry.sequence: entry for entry in entries(directory)}
    firsts = [int(path.name[:20]) for path in paths] + [61]
    paths[0].unlink()
    paths[2].write_bytes(b"")
    paths[3].write_bytes(bytes(1400))
    paths[-1].write_bytes(random.Random(1).randbytes(paths[-1].stat().st_size))
    found = rescue(directory)
    *most, (begun, last) = found.lost
    assert most == [(1, firsts[1] - 1), (firsts[2], firsts[4] - 1)]
    # of the newest segment nothing can be read: as many are named as there was room for
    assert begun == firsts[-2]
    assert 60 <= last < begun + 20
    _assert_goes_on(into(directory), good, found)


def test_of_two_files_of_one_segment_each_gives_what_it_has(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 60, segment_bytes=1500)
    good = {entry.sequence: entry for entry in entries(directory)}
    data = paths[1].read_bytes()
    packed = compress_segment(paths[1])
    paths[1].write_bytes(data)
    flip(paths[1], 8 * 20)
    found = rescue(directory)
    assert (found.lost, [file.file for file in found.damaged]) == ([], [paths[1].name])
    _assert_goes_on(into(directory), good, found)
    assert (into(directory) / packed.name).read_bytes() == packed.read_bytes()


def test_a_salvaged_journal_is_salvaged_again(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 60, segment_bytes=1500)
    flip(paths[1], 8 * 300)
    first = rescue(directory)
    with open_journal(into(directory)) as journal:
        journal.append_now(EntryKind.EVENT, {"event": "after"})
    compress_closed(into(directory))  # over the hole
    good = {entry.sequence: entry for entry in entries(into(directory))}
    again = next(into(directory).glob(f"{paths[3].name}.gz"))
    again.write_bytes(again.read_bytes()[:20])
    second = rescue(into(directory))
    assert not set(numbers(first)) & set(numbers(second))
    _assert_goes_on(into(into(directory)), good, second)
    (told,) = [entry for entry in entries(into(into(directory))) if entry.sequence == second.newest + 1]
    # the event that named the first hole is lost in its turn: the next one names both
    named = into(into(directory)) / f"{first.newest + 1:020d}.journal"
    (packed,) = into(into(directory)).glob(f"{named.name}*")
    packed.unlink()
    third = rescue(into(into(directory)))
    assert set(numbers(first)) < set(numbers(third))
    assert not set(told.body["lost"][0]) & set(numbers(third))
    assert not examine(into(into(into(directory)))).needed


def test_a_changed_entry_is_told_and_is_not_mended(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    (path,) = make_journal(directory, 6)
    frames = split_frames(path.read_bytes())
    frames[2] = build_frame(3, frames[2][16:48], frames[2][48:].replace(b'"number":3', b'"number":4'))
    path.write_bytes(join_frames(frames))
    found = examine(directory)
    assert (found.needed, found.broken) == (False, [4])


def test_an_entry_that_was_cut_out_is_missing(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    (path,) = make_journal(directory, 9)
    frames = split_frames(path.read_bytes())
    path.write_bytes(join_frames([*frames[:3], *frames[5:]]))
    assert examine(directory).lost == [(4, 5)]
    path.write_bytes(join_frames([*frames[:3], frames[1], *frames[3:]]))
    assert (examine(directory).lost, len(examine(directory).damaged)) == ([], 1)


def test_a_hole_that_no_event_names_is_damage(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 60, segment_bytes=1500)
    flip(paths[1], 8 * 300)
    rescue(directory)
    (event,) = sorted(into(directory).glob("*.journal"))[-1:]
    data = event.read_bytes()
    for edited in (data.replace(b'"lost":[[', b'"lost":[[9'), data.replace(b'"salvaged"', b'"salvageb"')):
        frame = split_frames(data)[0]
        payload = edited[14 + 48 :]
        event.write_bytes(join_frames([build_frame(61, frame[16:48], payload)]))
        with pytest.raises(JournalError, match=r"damage|lies at byte"):
            list(entries(into(directory)))


def test_no_writer_begins_while_a_journal_is_being_salvaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "journal"
    flip(make_journal(directory, 9)[0], 8 * 300)
    held = []

    def look(path: Path) -> None:
        with hold_lock(directory / "writer.lock") as mine:
            held.append(not mine)
        sync_directory(path)

    monkeypatch.setattr("gateway.journal.salvage.sync_directory", look)
    assert salvage(directory, tmp_path / "new", clock=ReplayClock(START)).needed
    assert held
    assert all(held)
    with hold_lock(directory / "writer.lock") as mine:
        assert mine


def test_what_cannot_be_salvaged_is_refused_by_name(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 9)
    flip(paths[0], 8 * 300)
    with open_journal(tmp_path / "other"), pytest.raises(JournalError, match="a writer is at work here"):
        salvage(tmp_path / "other", tmp_path / "new", clock=ReplayClock(START))
    (tmp_path / "new").mkdir()
    with pytest.raises(JournalError, match="exists already"):
        salvage(directory, tmp_path / "new", clock=ReplayClock(START))
    (tmp_path / "empty").mkdir()
    with pytest.raises(JournalError, match="holds no journal"):
        examine(tmp_path / "empty")
    assert not list(tmp_path.glob(".*"))


def signed_journal(directory: Path, key: SigningKey) -> None:
    """Thirty events under checkpoints, one of them damaged."""
    with open_journal(directory, segment_bytes=2500, key=key) as journal:
        for number in range(30):
            journal.append_now(EntryKind.EVENT, {"event": "tick", "number": number})
            if number % 10 == 9:
                journal.append_checkpoint_now()
    flip(sorted(directory.glob("*.journal"))[1], 8 * 300)


def test_of_a_signed_journal_the_key_signs_what_was_lost(tmp_path: Path) -> None:
    directory, key = tmp_path / "journal", SigningKey(private_key(1))
    signed_journal(directory, key)
    with pytest.raises(JournalError, match=f"is signed with key {key.id}"):
        salvage(directory, into(directory), clock=ReplayClock(START), key=SigningKey(private_key(2)))
    assert not list(tmp_path.glob("*salvaged*"))
    bare = rescue(directory)
    assert (bare.key, bare.signed) == (key.id, False)
    report = verify_journal(into(directory), keys=[key.public])
    assert "salvaged is not signed by key" in report.problem["what"]
    shutil.rmtree(into(directory))
    assert salvage(directory, into(directory), clock=ReplayClock(START), key=key).signed
    for _ in range(2):  # as it is, and when the writer has gone on
        report = verify_journal(into(directory), keys=[key.public], every=True)
        assert (report.ok, next(text.split(" were")[0] for text in report.findings)[:8]) == (True, "entries ")
        with open_journal(into(directory), key=key) as journal:
            journal.append_checkpoint_now()
    assert len(verify_journal(into(directory), keys=[key.public]).findings) == 1  # the hole itself


def test_a_lost_beginning_and_a_lost_end_of_a_signed_journal(tmp_path: Path) -> None:
    key = SigningKey(private_key(1))
    for part, place in (("first", 0), ("last", -1)):
        directory = tmp_path / part
        signed_journal(directory, key)
        path = sorted(directory.glob("*.journal"))[place]
        path.write_bytes(random.Random(1).randbytes(path.stat().st_size))
        salvage(directory, into(directory), clock=ReplayClock(START), key=key, gateway_id=GATEWAY)
        with open_journal(into(directory), key=key) as journal:
            journal.append_checkpoint_now()
        report = verify_journal(into(directory), keys=[key.public], every=True)
        assert report.ok, (part, report.problem)
        assert all("were lost by damage" in text for text in report.findings)


KILLED = """
import sys
from pathlib import Path
from gateway.clocks import SystemClock
from gateway.journal.salvage import salvage
print("begun", flush=True)
salvage(Path(sys.argv[1]), Path(sys.argv[2]), clock=SystemClock())
print("done", flush=True)
"""


def test_a_salvage_that_is_killed_leaves_nothing_half_and_is_done_again(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 2000, segment_bytes=4000)
    flip(paths[7], 8 * 300)
    before = state_of(directory)
    chance = random.Random(SEED)
    for kill in range(8):
        target = tmp_path / f"new{kill // 2}"
        if target.exists():
            shutil.rmtree(target)  # the first of two was fast enough
        command = [sys.executable, "-c", KILLED, directory, target]
        killed = run_until_killed(command, seconds=chance.uniform(0, 0.1), env={"PYTHONPATH": str(ROOT)})
        assert "done" in killed.lines or killed.by_signal
        if (tmp_path / f"new{kill // 2}").exists():
            assert not examine(tmp_path / f"new{kill // 2}").needed
        assert state_of(directory) == before
    found = salvage(directory, tmp_path / "last", clock=ReplayClock(START))
    assert len(numbers(found)) == 1
    assert len(list(entries(tmp_path / "last"))) == 2000


@pytest.mark.parametrize("call", ["os.fsync", "os.write", "pathlib.Path.rename", "shutil.copyfileobj"])
def test_a_full_disk_leaves_no_folder_and_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    directory = tmp_path / "journal"
    paths = make_journal(directory, 20, segment_bytes=1500)
    flip(paths[1], 8 * 300)
    before = state_of(directory)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(JournalError, match="No space left"):
            rescue(directory)
    assert not into(directory).exists()
    assert state_of(directory) == before
    assert rescue(directory).needed


def test_the_event_is_json_of_the_journal(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    (path,) = make_journal(directory, 9)
    flip(path, 8 * 300)
    rescue(directory)
    (frame,) = split_frames((into(directory) / f"{10:020d}.journal").read_bytes())
    body = json.loads(frame[48:])["body"]
    assert sorted(body) == ["damaged", "event", "frames", "lost"]
    assert frame[48:] == json.dumps(json.loads(frame[48:]), sort_keys=True, separators=(",", ":")).encode()
    with hold_lock(into(directory) / "writer.lock") as held:
        assert held
