"""Compression of closed segments: gunzip gives the bytes back, every reader reads both kinds, any kill is harmless."""

import asyncio
import gzip
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import BinaryIO

import pytest

from gateway.errors import JournalError
from gateway.journal import compressing
from gateway.journal.compressing import compress_closed, compress_forever, compress_segment
from gateway.journal.disk import hold_lock
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries, entries_between, entries_of, newest_sequence
from gateway.journal.segments import Frame, segments
from tests.journal.journals import build_frame, hash_of, join_frames, make_journal, open_journal, split_frames
from tests.killing import run_until_killed

ROOT = Path(__file__).resolve().parents[2]


def members_of(data: bytes) -> list[tuple[int, bytes]]:
    """(sequence number stated, content) of each member, by README.md: struct and zlib alone."""
    found, at = [], 0
    while at < len(data):
        assert data[at : at + 4] == b"\x1f\x8b\x08\x04"
        assert data[at + 10 : at + 16] == b"\x10\0EG\x0c\0"
        size, first = struct.unpack_from("<IQ", data, at + 16)
        content = zlib.decompress(data[at + 28 : at + size - 8], -15)
        assert struct.unpack_from("<II", data, at + size - 8) == (zlib.crc32(content), len(content))
        found.append((first, content))
        at += size
    assert at == len(data)
    return found


def large_journal(directory: Path, sizes: list[int]) -> Path:
    """A segment of entries whose payloads have these sizes [bytes]."""
    directory.mkdir(exist_ok=True)
    frames, previous = [], bytes(32)
    for number, size in enumerate(sizes, 1):
        text = random.Random(number).randbytes(size // 2).hex()
        payload = b'{"at":1,"body":{"text":"%s"},"boot":"b","kind":"event","monotonic_ns":2}' % text.encode()
        frames.append(build_frame(number, previous, payload))
        previous = hash_of(frames[-1])
    path = directory / "00000000000000000001.journal"
    path.write_bytes(join_frames(frames))
    return path


def state_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.skipif(shutil.which("gunzip") is None, reason="gunzip (gzip) is not installed")
def test_gunzip_gives_the_very_bytes_back_and_members_hold_whole_frames(tmp_path: Path) -> None:
    path = large_journal(tmp_path, [100_000] * 8 + [900_000, 50] + [3000] * 200)
    data = path.read_bytes()
    packed = compress_segment(path)
    assert packed.name == "00000000000000000001.journal.gz"
    assert not path.exists()
    assert subprocess.run(["gunzip", "-c", packed], stdout=subprocess.PIPE, check=True).stdout == data
    assert subprocess.run(["gzip", "-t", packed], check=True).returncode == 0
    found = members_of(packed.read_bytes())
    assert b"".join(content for _, content in found) == data
    whole = split_frames(data)
    for number, (first, content) in enumerate(found):
        frames = split_frames(content if number == 0 else b"emg-journal 1\n" + content)
        assert frames == whole[first - 1 : first - 1 + len(frames)]
        assert len(content) <= 256 * 1024 or len(frames) == 1
    # 2 x 100,000 beside one another; the large one alone; the small ones as many as fit
    assert [first for first, _ in found[:6]] == [1, 3, 5, 7, 9, 10]


@pytest.mark.parametrize("plain_too", [False, True])
def test_any_stretch_is_read_over_both_kinds(tmp_path: Path, plain_too: bool) -> None:
    paths = make_journal(tmp_path, 60, segment_bytes=1500)
    good = list(entries(tmp_path))
    copies = [path.read_bytes() for path in paths]
    assert len(compress_closed(tmp_path)) == len(paths) - 1
    if plain_too:  # as a kill before the last step leaves it
        paths[1].write_bytes(copies[1])
    assert [segment.path.suffix for segment in segments(tmp_path)].count(".journal") == 1 + plain_too
    for after in range(64):
        assert list(entries(tmp_path, after=after)) == good[after:]
    assert list(entries_between(tmp_path, 7, 31)) == good[6:31]
    assert newest_sequence(tmp_path) == 60
    assert compress_closed(tmp_path) == ([paths[1].with_name(paths[1].name + ".gz")] if plain_too else [])


def test_reading_begins_in_the_right_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compress_segment(large_journal(tmp_path, [60_000] * 40))
    good = list(entries(tmp_path))
    inflated: list[int] = []
    real = zlib.decompressobj
    monkeypatch.setattr("gateway.journal.members.zlib.decompressobj", lambda bits: inflated.append(1) or real(bits))
    assert next(entries(tmp_path, after=30)) == good[30]
    assert len(inflated) == 1
    assert newest_sequence(tmp_path) == 40
    assert len(inflated) == 2


def test_what_is_rare_is_found_without_reading_the_rest(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=1500) as journal:
        for number in range(60):
            kind = EntryKind.AUDIT if number % 20 == 3 else EntryKind.EVENT
            journal.append_now(
                kind, {"event": "tick", "text": 'a text that says "kind":"audit" in quotes', "n": number}
            )
    compress_closed(tmp_path)
    found = list(entries_of(tmp_path, b'"kind":"audit"'))
    assert [entry.body["n"] for entry in found] == [3, 23, 43]  # a quotation mark in a text is escaped
    assert [entry.sequence for entry in entries_of(tmp_path, b'"kind":"audit"', b'"n":23', after=4)] == [25]
    assert list(entries_of(tmp_path, b'"kind":"audit"', after=45)) == []


def test_a_reader_goes_on_while_what_it_reads_is_compressed(tmp_path: Path) -> None:
    make_journal(tmp_path, 60, segment_bytes=1500)
    good = list(entries(tmp_path))
    for compressed_at in (1, 13, 40):
        copy = tmp_path / f"copy{compressed_at}"
        copy.mkdir()
        for path in tmp_path.glob("*.journal"):
            shutil.copy(path, copy)
        seen = []
        for entry in entries(copy):
            seen.append(entry)
            if entry.sequence == compressed_at:
                compress_closed(copy)
        assert seen == good


def test_a_segment_hidden_between_its_two_names_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_journal(tmp_path, 60, segment_bytes=1500)
    good = list(entries(tmp_path))
    hidden = [True]

    def miss_one(directory: Path) -> list[object]:
        found = segments(directory)
        return [segment for segment in found if segment.path != paths[2]] if hidden and hidden.pop() else found

    monkeypatch.setattr("gateway.journal.reader.segments", miss_one)
    assert list(entries(tmp_path)) == good


def test_no_flipped_bit_of_a_compressed_segment_alters_an_entry(tmp_path: Path) -> None:
    """What it costs is refused; a few flips cost nothing, as deflate can say the same in more ways than one."""
    compress_segment(large_journal(tmp_path, [150] * 40))
    (path,) = tmp_path.glob("*.gz")
    data = path.read_bytes()
    good = list(entries(tmp_path))
    chance = random.Random(5)
    header = range(8 * 28)
    refused = 0
    for bit in [*header, *(chance.randrange(8 * len(data)) for _ in range(300))]:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        seen = []
        try:
            seen.extend(entries(tmp_path))
        except JournalError as error:
            assert "00000000000000000001.journal.gz: damaged" in str(error)
            assert "emg journal salvage" in str(error)
            refused += 1
            assert seen == good[: len(seen)]
        else:
            assert bit not in header
            assert seen == good
    assert refused > len(header) + 280
    for size in range(0, len(data), 97):
        path.write_bytes(data[:size])
        with pytest.raises(JournalError, match=path.name):
            list(entries(tmp_path))


def test_a_damaged_segment_is_not_compressed_and_the_others_are(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 60, segment_bytes=1500)
    data = bytearray(paths[1].read_bytes())
    data[len(data) // 2] ^= 1
    paths[1].write_bytes(data)
    with pytest.raises(JournalError, match=f"{paths[1].name}: damaged behind entry .*; not compressed"):
        compress_closed(tmp_path)
    assert [path.exists() for path in paths] == [False, True, *[False] * (len(paths) - 3), True]
    assert paths[1].read_bytes() == data
    assert not list(tmp_path.glob(".*"))


def test_an_unfinished_or_foreign_compressed_file_is_made_anew(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 9)
    data = path.read_bytes()
    packed = tmp_path / f"{path.name}.gz"
    for left in (b"", b"\x1f\x8b", gzip.compress(data), gzip.compress(b"something else")):
        path.write_bytes(data)
        packed.write_bytes(left)
        compress_segment(path)
        assert gzip.decompress(packed.read_bytes()) == data
        assert not path.exists()


def test_a_disk_that_gives_back_other_bytes_keeps_the_plain_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = make_journal(tmp_path, 9)
    before = state_of(tmp_path)
    write = compressing.write_members

    def spoil(file: BinaryIO, held: Iterator[Frame]) -> None:
        write(file, held)
        os.pwrite(file.fileno(), bytes([Path(file.name).read_bytes()[60] ^ 1]), 60)

    monkeypatch.setattr(compressing, "write_members", spoil)
    with pytest.raises(JournalError, match="is the disk in order"):
        compress_segment(path)
    assert state_of(tmp_path) == before


@pytest.mark.parametrize("call", ["os.open", "os.write", "os.fsync", "pathlib.Path.replace", "pathlib.Path.unlink"])
def test_a_disk_that_fails_at_any_call_leaves_a_journal_that_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The k-th call fails, for every k that there is; then compression is tried again and succeeds."""
    make_journal(tmp_path / "whole", 60, segment_bytes=3000)
    good = list(entries(tmp_path / "whole"))
    for k in range(1, 60):
        directory = tmp_path / f"{call}{k}"
        shutil.copytree(tmp_path / "whole", directory)
        count = [0]
        with monkeypatch.context() as patch:
            patch.setattr(call, _failing(call, k, count))
            try:
                compress_closed(directory)
            except OSError as error:
                assert "no space" in str(error)
        assert list(entries(directory)) == good
        compress_closed(directory)
        assert list(entries(directory)) == good
        assert len(list(directory.glob("*.journal"))) == 1
        assert not list(directory.glob(".*.partial"))
        if count[0] < k:
            assert k > 1
            return
    pytest.fail(f"more than 59 calls of {call}")


def _failing(call: str, k: int, count: list[int]) -> object:
    first, *words = call.split(".")
    real = reduce(getattr, words, {"os": os, "pathlib": pathlib}[first])

    def fail(*words: object, **named: object) -> object:
        count[0] += 1
        if count[0] == k:
            raise OSError(28, "no space left on device")
        return real(*words, **named)  # type: ignore[operator]

    return fail


KILLED = """
import sys
from pathlib import Path
from gateway.journal.compressing import compress_closed
print("begun", flush=True)
compress_closed(Path(sys.argv[1]))
print("done", flush=True)
"""


def test_kills_in_the_midst_of_compression_lose_nothing(tmp_path: Path) -> None:
    make_journal(tmp_path / "whole", 3000, segment_bytes=4000)
    good = list(entries(tmp_path / "whole"))
    chance = random.Random(3)
    kills = 0
    directory = tmp_path / "journal"
    shutil.copytree(tmp_path / "whole", directory)
    while kills < 12:
        killed = run_until_killed(
            [sys.executable, "-c", KILLED, directory], seconds=chance.uniform(0, 0.06), env={"PYTHONPATH": str(ROOT)}
        )
        kills += killed.by_signal
        assert killed.errors == ""
        assert list(entries(directory)) == good
        if "done" in killed.lines:
            shutil.rmtree(directory)
            shutil.copytree(tmp_path / "whole", directory)


@pytest.mark.parametrize("rest", [b"", b"emg-j", b"emg-journal 1\n"])
def test_the_writer_goes_on_behind_a_compressed_segment_when_the_new_one_was_only_begun(
    tmp_path: Path, rest: bytes
) -> None:
    paths = make_journal(tmp_path, 60, segment_bytes=1500)
    packed = {path.name: path.read_bytes() for path in compress_closed(tmp_path)}
    paths[-1].write_bytes(rest)
    newest = newest_sequence(tmp_path)
    with open_journal(tmp_path, segment_bytes=1500) as journal:
        journal.append_now(EntryKind.EVENT, {"event": "after"})
    told = list(entries(tmp_path))
    assert [entry.sequence for entry in told] == list(range(1, len(told) + 1))
    assert [entry.body["event"] for entry in told[newest:]] == ["torn_tail_cut"] * (rest == b"emg-j") + ["after"]
    assert {name: (tmp_path / name).read_bytes() for name in packed} == packed


def test_a_journal_of_compressed_segments_alone_is_gone_on_with_in_a_new_one(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 20, segment_bytes=1500)
    for path in paths:
        compress_segment(path)
    with open_journal(tmp_path) as journal:
        assert journal.append_now(EntryKind.EVENT, {"event": "after"}) == 21
    assert [path.name for path in tmp_path.glob("*.journal")] == ["00000000000000000021.journal"]
    assert [entry.sequence for entry in entries(tmp_path)] == list(range(1, 22))


def test_damage_in_the_newest_compressed_segment_is_refused(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 9)
    packed = compress_segment(path)
    data = bytearray(packed.read_bytes())
    data[-6] ^= 8  # of the checksum
    packed.write_bytes(data)
    before = state_of(tmp_path)
    with pytest.raises(JournalError, match="emg journal salvage"):
        open_journal(tmp_path)
    assert state_of(tmp_path) == before


async def test_what_is_closed_is_compressed_beside_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that cannot be compressed is logged, and tried again when the journal has grown."""
    paths = make_journal(tmp_path, 60, segment_bytes=1500)
    fail = ["once"]

    def compress(path: Path) -> Path:
        if fail and path == paths[1]:
            raise OSError(28, fail.pop())
        return compress_segment(path)

    monkeypatch.setattr(compressing, "compress_segment", compress)
    with open_journal(tmp_path, segment_bytes=1500) as journal:
        working = asyncio.create_task(compress_forever(journal, pace_s=0))
        while len(segments(tmp_path)) < 20:
            await journal.append(EntryKind.EVENT, {"event": "grows"})
        while len(list(tmp_path.glob("*.journal"))) > 1:
            await journal.append(EntryKind.EVENT, {"event": "grows"})
            await asyncio.sleep(0.01)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        last = journal.durable_sequence
    assert "will be tried again" in caplog.text
    assert "once" in caplog.text
    assert [entry.sequence for entry in entries(tmp_path)] == list(range(1, last + 1))


def test_two_never_compress_at_the_same_time(tmp_path: Path) -> None:
    make_journal(tmp_path, 60, segment_bytes=1500)
    with hold_lock(tmp_path / compressing.LOCK_NAME) as held:
        assert held
        assert compress_closed(tmp_path) == []
    assert compress_closed(tmp_path)
    assert len(compress_closed(tmp_path, stopped=lambda: True)) == 0
