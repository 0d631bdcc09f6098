"""Segments: the format byte by byte against other people's tools, and what may lie at an end."""

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.errors import JournalError
from gateway.journal.segment_files import find_frame, has_magic, last_frame, open_segment
from gateway.journal.segments import (
    Tail,
    encode_frame,
    entry_hash,
    judge_tail,
    parse_frame,
    segment_name,
    segments,
)
from tests.journal.journals import build_frame, hash_of, make_journal, split_frames

PAYLOAD = b'{"at":1,"body":{},"boot":"b","kind":"event","monotonic_ns":2}'


def test_a_frame_is_these_bytes() -> None:
    # The checksum from GNU gzip over sequence 7, 32 zero bytes and the payload; the hash from coreutils:
    # (printf '\0\0\0\0\0\0\0\7'; head -c32 /dev/zero) > x; (cat x; printf '%s' PAYLOAD) | gzip -c | tail -c8 | xxd
    # (cat x; printf '%s' PAYLOAD | sha256sum | cut -c-64 | xxd -r -p) | sha256sum
    assert encode_frame(7, bytes(32), PAYLOAD).hex() == (
        "0000003d" + "e822be5a" + "0000000000000007" + "00" * 32 + PAYLOAD.hex()
    )
    assert entry_hash(7, bytes(32), PAYLOAD).hex() == "ef05fdea6ac5ed8fdf5ee19599a682f2af2dc067cab0ed7a668855574e9398f4"


def sha256sum(data: bytes) -> bytes:
    told = subprocess.run(["sha256sum"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return bytes.fromhex(told.split()[0].decode())


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum (coreutils) is not installed")
def test_the_hash_of_an_entry_is_what_sha256sum_says_of_its_place_and_of_what_it_says_of_its_payload(
    tmp_path: Path,
) -> None:
    (path,) = make_journal(tmp_path / "journal", 3)
    frames = split_frames(path.read_bytes())
    for frame, following in pairwise(frames):
        assert sha256sum(frame[8:48] + sha256sum(frame[48:])) == following[16:48]


def test_the_directory_listing_is_the_index(tmp_path: Path) -> None:
    make_journal(tmp_path, 40, segment_bytes=1500)
    (tmp_path / "1.journal.zst").touch()
    (tmp_path / "notes.journal").touch()
    found = segments(tmp_path)
    assert len(found) > 3
    assert [segment.path.name for segment in found] == [segment_name(segment.first) for segment in found]
    for segment in found:
        frame = split_frames(segment.path.read_bytes())[0]
        assert int.from_bytes(frame[8:16], "big") == segment.first
        assert len(segment.path.stem) == 20


def test_any_entry_is_found_from_the_end(tmp_path: Path) -> None:
    (path,) = make_journal(tmp_path, 300)
    with open_segment(path) as file:
        for sequence in (1, 2, 255, 256, 257, 299, 300):
            frame = find_frame(file, sequence)
            assert frame is not None
            assert frame.sequence == sequence
        assert find_frame(file, 301) is None
        newest = last_frame(file)
    assert newest is not None
    assert newest.sequence == 300


def test_an_entry_larger_than_a_piece_is_found_too(tmp_path: Path) -> None:
    payload = b'{"at":1,"body":{"text":"' + b"x" * 700_000 + b'"},"boot":"b","kind":"event","monotonic_ns":2}'
    one = build_frame(1, bytes(32), payload)
    two = build_frame(2, hash_of(one), payload)
    path = tmp_path / segment_name(1)
    path.write_bytes(b"emg-journal 1\n" + one + two)
    with open_segment(path) as file:
        found = [find_frame(file, 1), find_frame(file, 2), last_frame(file)]
    assert [frame and frame.hash for frame in found] == [hash_of(one), hash_of(two), hash_of(two)]


def test_what_a_crash_can_leave_is_torn_and_what_it_cannot_is_damage() -> None:
    frame = build_frame(7, bytes(32), PAYLOAD)
    after = build_frame(8, hash_of(frame), PAYLOAD)
    assert judge_tail(b"") is Tail.CLEAN
    for size in range(1, len(frame)):
        assert judge_tail(frame[:size]) is Tail.TORN
        assert judge_tail(frame[:size] + bytes(100)) is Tail.TORN  # blocks reserved by the disk, never written
    assert judge_tail(bytes(5000)) is Tail.TORN
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        assert parse_frame(bytes(flipped), 0, 0) is None
        assert judge_tail(bytes(flipped)) is Tail.DAMAGED
        assert judge_tail(bytes(flipped) + after) is Tail.FRAMES_FOLLOW
        assert judge_tail(bytes(flipped) + after + after[:50]) is Tail.FRAMES_FOLLOW


def test_a_segment_of_another_format_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / segment_name(1)
    path.write_bytes(b"emg-journal 2\n" + build_frame(1, bytes(32), PAYLOAD))
    with (
        open_segment(path) as file,
        pytest.raises(JournalError, match=r"00000000000000000001\.journal: begins with b'emg-journal 2"),
    ):
        has_magic(file)
    path.write_bytes(b"emg-jou")
    with open_segment(path) as file:
        assert has_magic(file) is False
