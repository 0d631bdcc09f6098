"""The verifier: finds every alteration that the chain can show, names it, and needs nothing but Python."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import gateway.journal.verify
from gateway.domain.readings import Reading
from gateway.journal.compressing import compress_closed
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.members import MemberFile
from gateway.journal.verify import main, verify_journal
from tests.faults.flipping import means_nothing, with_flipped
from tests.journal.journals import START, build_frame, hash_of, join_frames, make_journal, open_journal, split_frames

BARE = Path(gateway.journal.verify.__file__)


def test_it_counts_what_is_there(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=1000) as journal:
        for number in range(10):
            batch = [Reading("e/p/q", START + n, n) for n in range(number + 1)]
            journal.append_now(EntryKind.READINGS, readings_body("m1", batch))
        journal.append_now(EntryKind.CORRECTION, {"reason": "typing error"})
    frames = [frame for path in sorted(tmp_path.glob("*.journal")) for frame in split_frames(path.read_bytes())]
    report = verify_journal(tmp_path)
    assert report.ok
    assert (report.entries, report.readings) == (12, 55)  # created + 10 batches of 1 + 2 + ... + 10 + correction
    assert report.by_kind == {"event": 1, "readings": 10, "correction": 1}
    assert (report.first_sequence, report.last_sequence) == (1, 12)
    assert (report.first_at, report.last_at) == (START, START)
    assert report.head_hash == hash_of(frames[-1]).hex()


def test_it_runs_bare_on_a_copy_with_nothing_of_the_product_in_reach(tmp_path: Path) -> None:
    make_journal(tmp_path / "data" / "journal", 5)
    bare = shutil.copy(BARE, tmp_path / "verify.py")
    # -I: no environment, no user packages, no folder of the script; -S: no site-packages
    command = [sys.executable, "-I", "-S", "-W", "error", str(bare), str(tmp_path / "data"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert told["entries"] == 5
    assert told["problem"] is None
    wanted = {"ok", "entries", "readings", "first_sequence", "last_sequence", "head_hash", "segments", "problem"}
    assert wanted <= set(told)


@pytest.mark.parametrize("place", ["journal", "."])
def test_it_takes_a_journal_or_a_data_folder(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    make_journal(data / "journal", 3)
    assert main([str(data / place)]) == 0
    told = capsys.readouterr().out
    assert "by kind           {'event': 3}" in told
    assert "first at          2026-03-10 08:00:00+00:00" in told
    assert "signed by no key" in told
    assert told.splitlines()[-1].startswith("VERIFIED")


@pytest.mark.parametrize("path", ["absent", ".", "empty.toml"])
def test_what_holds_no_journal_could_not_be_verified(
    tmp_path: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.toml").write_text("")
    assert main([str(tmp_path / path), "--json"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["ok"] is False
    assert str(tmp_path) in told.err


def test_a_thousand_flipped_bits_are_found_and_the_entry_is_named(tmp_path: Path) -> None:
    paths = make_journal(tmp_path, 30, segment_bytes=2500)
    chance = random.Random(20260310)
    for _ in range(1000):
        path = chance.choice(paths)
        data = path.read_bytes()
        bit = chance.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        report = verify_journal(tmp_path)
        path.write_bytes(data)
        sequence, end = int(path.stem), 14
        for frame in split_frames(data):  # the entry that holds the flipped byte; the first one for the magic line
            end += len(frame)
            if bit // 8 < end:
                break
            sequence += 1
        assert not report.ok, bit
        assert report.problem is not None
        assert (report.problem["file"], report.problem["sequence"]) == (path.name, sequence), bit
    assert verify_journal(tmp_path).ok


def test_every_flipped_bit_of_a_compressed_segment_is_found(tmp_path: Path) -> None:
    make_journal(tmp_path, 40, segment_bytes=3000)
    with patch("gateway.journal.compressing.MEMBER_BYTES", 1000):
        compressed = compress_closed(tmp_path)
    path, (first, second, *_) = compressed[0], MemberFile(compressed[0]).members
    data, last = path.read_bytes(), int(compressed[1].name[:20]) - 1
    silent = []
    for bit in range(8 * len(data)):
        path.write_bytes(with_flipped(data, bit))
        report = verify_journal(tmp_path)
        if report.ok:
            silent.append(bit)
            continue
        assert report.problem is not None
        assert report.problem["file"] == path.name
        lowest = first.first if bit // 8 < second.start else second.first
        assert lowest <= report.problem["sequence"] <= last + 1, bit
    path.write_bytes(data)
    assert all(means_nothing(path, data, bit) for bit in silent)
    assert len(silent) < 0.01 * 8 * len(data)


def forge(frame: bytes, *, sequence: int | None = None, previous: bytes | None = None, **body: Any) -> bytes:
    """The frame with other contents and a checksum that fits them."""
    payload = json.loads(frame[48:])
    payload["body"].update(body)
    text = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
    number = int.from_bytes(frame[8:16], "big") if sequence is None else sequence
    return build_frame(number, frame[16:48] if previous is None else previous, text)


def tamper(frames: list[bytes], how: str, at: int) -> tuple[list[bytes], int]:
    """(the frames after a forger's work at index `at`, the sequence number at which the chain must break)."""
    number = at + 1
    before, frame, after = frames[:at], frames[at], frames[at + 1 :]
    match how:
        case "edit":
            return [*before, forge(frame, number=-1), *after], number + 1
        case "delete":
            return [*before, *after], number
        case "delete and renumber":
            moved = [forge(f, sequence=number + n) for n, f in enumerate(after)]
            return [*before, *moved], number
        case "insert":
            return [*before, frame, forge(frame, number=-1), *after], number + 1
        case "insert and renumber":
            forged = forge(frame, sequence=number + 1, previous=hash_of(frame), number=-1)
            moved = [forge(f, sequence=number + 2 + n) for n, f in enumerate(after)]
            return [*before, frame, forged, *moved], number + 2
        case "swap":
            return [*before, after[0], frame, *after[1:]], number
        case "swap and renumber":
            second, first = forge(frame, sequence=number + 1), forge(after[0], sequence=number)
            return [*before, first, second, *after[1:]], number
        case "repeat":
            return [*before, frame, frame, *after], number + 1
        case "skip a number":
            skipping = build_frame(number + 1, frame[16:48], frame[48:])  # the chain itself is kept whole
            return [*before, skipping], number
        case "re-serialise":
            text = json.dumps(json.loads(frame[48:]), sort_keys=True).encode()
            return [*before, build_frame(number, frame[16:48], text), *after], number + 1
        case "other keys":
            return [*before, build_frame(number, frame[16:48], b'{"at":1,"body":{}}'), *after], number
        case "other kind":
            payload = frame[48:].replace(b'"kind":"event"', b'"kind":"fancy"')
            return [*before, build_frame(number, frame[16:48], payload), *after], number
    raise AssertionError(how)


WAYS = [
    "edit",
    "delete",
    "delete and renumber",
    "insert",
    "insert and renumber",
    "swap",
    "swap and renumber",
    "repeat",
    "skip a number",
    "re-serialise",
    "other keys",
    "other kind",
]


@pytest.mark.parametrize("how", WAYS)
def test_forged_entries_with_fitting_checksums_break_the_chain_where_they_are(tmp_path: Path, how: str) -> None:
    (path,) = make_journal(tmp_path, 15)
    frames = split_frames(path.read_bytes())
    chance = random.Random(how)
    for at in chance.sample(range(13), 6):
        forged, broken = tamper(frames, how, at)
        path.write_bytes(join_frames(forged))
        report = verify_journal(tmp_path)
        assert not report.ok, at
        assert report.problem is not None
        assert report.problem["sequence"] == broken, at
        assert report.problem["offset"] == len(join_frames(forged[: broken - 1]))


def test_a_forger_needs_the_whole_rest_of_the_chain(tmp_path: Path) -> None:
    """What the chain alone cannot show: who writes everything anew is found by a head hash kept elsewhere."""
    (path,) = make_journal(tmp_path, 10)
    kept = verify_journal(tmp_path).head_hash
    frames = split_frames(path.read_bytes())
    frames[4] = forge(frames[4], number=-1)
    for at in range(5, 10):
        frames[at] = build_frame(at + 1, hash_of(frames[at - 1]), frames[at][48:])
    path.write_bytes(join_frames(frames))
    report = verify_journal(tmp_path)
    assert report.ok
    assert report.head_hash != kept


def test_segments_missing_renamed_or_of_another_gateway_are_found(tmp_path: Path) -> None:
    paths = make_journal(tmp_path / "a", 40, segment_bytes=2000)
    others = make_journal(tmp_path / "b", 40, segment_bytes=2000)
    assert len(paths) > 3

    def sequence_of_problem() -> int:
        report = verify_journal(tmp_path / "a")
        assert report.problem is not None
        return int(report.problem["sequence"])

    data = paths[1].read_bytes()
    paths[1].unlink()
    assert sequence_of_problem() == int(paths[1].stem)
    frames = split_frames(others[1].read_bytes())
    paths[1].write_bytes(join_frames([forge(frames[0], gateway="other"), *frames[1:]]))
    assert sequence_of_problem() == int(paths[1].stem) + 1
    paths[1].write_bytes(data)
    assert verify_journal(tmp_path / "a").ok
    third = paths[2].read_bytes()
    paths[2].write_bytes(third[:-10])  # unfinished, and the journal goes on behind it
    assert sequence_of_problem() == int(paths[3].stem) - 1
    paths[2].write_bytes(third)
    assert verify_journal(tmp_path / "a").ok
    renamed = paths[2].rename(paths[2].with_name(f"{int(paths[2].stem) + 1:020d}.journal"))
    assert sequence_of_problem() == int(paths[2].stem)
    renamed.rename(paths[2])
    paths[0].unlink()
    assert sequence_of_problem() == 1


def test_the_report_for_people_names_file_byte_and_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = make_journal(tmp_path, 5)
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    assert main([str(tmp_path)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"DOES NOT VERIFY: {path.name}, byte ")
    assert "entry 4: " in last or "entry 5: " in last


def test_a_torn_tail_verifies_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = make_journal(tmp_path, 5)
    path.write_bytes(path.read_bytes()[:-3])
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "never acknowledged" in told
    assert "entries           4\n" in told


def test_it_is_one_file_of_less_than_400_lines_on_the_standard_library() -> None:
    text = BARE.read_text("utf-8")
    assert len(text.splitlines()) < 400
    imported = {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported <= set(sys.stdlib_module_names)
