"""The verifier on signed journals that a second hand wrote after README.md: keys, signatures, what left, what was lost."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clocks import ReplayClock
from gateway.domain.readings import Reading
from gateway.journal.compressing import compress_closed
from gateway.journal.entries import EntryKind
from gateway.journal.signing import SigningKey
from gateway.journal.verify import Report, main, verify_journal
from gateway.journal.writer import Journal
from tests.journal.journals import MAGIC, START, build_frame, hash_of
from tests.journal.signed_journals import (
    Hand,
    as_bytes,
    id_of,
    members,
    payload_of,
    permit_signature,
    private_key,
    public_of,
    read,
    save,
    save_witness,
    signed_claim,
)

FIRST, SECOND, THIRD = (public_of(private_key(seed)) for seed in (1, 2, 3))


def hand(*, lost: bool = False, rotated: bool = True) -> Hand:
    """25 to 45 entries, a change of keys in the middle, the newest a checkpoint."""
    written = Hand(1)
    written.some(15)
    written.checkpoint()
    if rotated:
        written.rotate(2, lost=lost)
    written.some(10)
    written.checkpoint()
    return written


def checked(folder: Path, frames: list[bytes], **options: Any) -> Report:
    for path in folder.glob("*.journal*"):
        path.unlink()
    save(frames, folder)
    return verify_journal(folder, **options)


def number_of(frames: list[bytes], what: str) -> int:
    return next(n for n, frame in enumerate(frames, 1) if what.encode() in frame)


@pytest.mark.parametrize("keys", [(), (FIRST,), (SECOND,), (FIRST, THIRD)])
@pytest.mark.parametrize("every", [False, True])
def test_a_key_and_who_descends_from_it_are_trusted(tmp_path: Path, keys: tuple[bytes, ...], every: bool) -> None:
    written = hand()
    report = checked(tmp_path, written.frames, keys=keys, every=every)
    assert (report.ok, report.findings) == (True, [])
    assert report.key_given == bool(keys)
    assert [key["public"] for key in report.keys] == [FIRST.hex(), SECOND.hex()]
    assert report.signed_through == len(written.frames) - 1
    assert report.not_yet_signed == 1


def test_a_journal_of_another_key_does_not_verify_and_a_key_without_a_journal_neither(tmp_path: Path) -> None:
    report = checked(tmp_path, hand().frames, keys=[THIRD])
    assert not report.ok
    assert "no key is in force that was given" in report.problem["what"]
    frames = [build_frame(1, bytes(32), payload_of("event", {"event": "journal_created", "gateway": "x"}, START))]
    assert checked(tmp_path, frames).ok
    assert not checked(tmp_path, frames, keys=[FIRST]).ok


def test_a_lost_key_is_a_finding_and_ends_the_descent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = hand(lost=True)
    lost = number_of(written.frames, "key_rotated")
    report = checked(tmp_path, written.frames)
    assert report.ok
    assert report.findings == [f"entry {lost}: key {id_of(private_key(1))} was lost and has not signed the next"]
    assert main([str(tmp_path)]) == 1
    assert "VERIFIED, 1 findings; signed by the key that the journal itself names" in capsys.readouterr().out
    report = checked(tmp_path, written.frames, keys=[FIRST])
    assert (report.ok, report.problem["sequence"]) == (False, lost)
    assert checked(tmp_path, written.frames, keys=[FIRST, SECOND]).ok
    report = checked(tmp_path, written.frames, keys=[SECOND])
    assert report.ok


def rewritten(frames: list[bytes], number: int, body: dict[str, Any], written: Hand) -> list[bytes]:
    """Entry `number` with another body, and all behind it chained and signed anew with the hand's present key."""
    anew = Hand(1)
    anew.frames, anew.key = frames[: number - 1], written.key
    value = read(frames[number - 1])
    anew.frames.append(build_frame(number, anew.head, as_bytes({**value, "body": body})))
    anew.at = value["at"]
    anew.some(3)
    anew.checkpoint()
    return anew.frames


@pytest.mark.parametrize("how", ["signature", "before", "key", "second first"])
def test_a_change_of_keys_that_is_not_as_it_should_be(tmp_path: Path, how: str) -> None:
    written = hand()
    number = number_of(written.frames, "key_rotated")
    body = read(written.frames[number - 1])["body"]
    if how == "signature":
        body["signature"] = private_key(3).sign(b"something else").hex()
    elif how == "second first":
        body = {"event": "key_created", "key": body["key"], "public": body["public"]}
    else:
        body[how] = "0" * 16
    report = checked(tmp_path, rewritten(written.frames, number, body, written))
    assert (report.ok, report.problem["sequence"]) == (False, number)


def test_the_newest_signature_covers_a_bad_one_and_all_of_them_names_it(tmp_path: Path) -> None:
    written = Hand(1)
    written.some(5)
    frame = written.frames[written.checkpoint() - 1]
    value = read(frame)
    value["body"]["signature"] = "0" * 128  # as a gateway with a broken memory might have written
    written.frames[-1] = build_frame(len(written.frames), frame[16:48], as_bytes(value))
    bad = len(written.frames)
    written.some(5)
    written.checkpoint()
    assert checked(tmp_path, written.frames).ok
    report = checked(tmp_path, written.frames, every=True)
    assert (report.ok, report.problem["sequence"]) == (False, bad)
    newest = read(written.frames[-1])
    newest["body"]["signature"] = "1" * 128
    written.frames[-1] = build_frame(len(written.frames), written.frames[-1][16:48], as_bytes(newest))
    report = checked(tmp_path, written.frames)  # then all of them are looked at without being asked
    assert (report.ok, report.problem["sequence"]) == (False, bad)
    assert main([str(tmp_path)]) == 1


def test_what_is_not_yet_signed_is_told_and_is_a_finding_after_an_hour(tmp_path: Path) -> None:
    written = hand(rotated=False)
    for _ in range(3):
        written.write("event", {"event": "tick"})
    report = checked(tmp_path, written.frames)
    assert (report.not_yet_signed, report.findings) == (4, [])  # the checkpoint's own entry is the first of them
    written.at += 3_600_000_000
    written.write("event", {"event": "tick"})
    (finding,) = checked(tmp_path, written.frames).findings
    assert f"entries behind {report.signed_through} are not signed" in finding
    young = Hand(1)
    assert checked(tmp_path, young.frames).findings == []
    assert len(checked(tmp_path, young.frames, keys=[FIRST]).findings) == 1  # the key that was asked for signs nothing


def test_compressed_segments_are_the_same_journal(tmp_path: Path) -> None:
    written = hand()
    plain = checked(tmp_path / "plain", written.frames)
    paths = save(written.frames, tmp_path / "packed", compressed=True)
    assert paths[0].suffix == ".gz"
    packed = verify_journal(tmp_path / "packed")
    assert (packed.head_hash, packed.entries, packed.ok) == (plain.head_hash, plain.entries, True)
    beside = paths[0].with_suffix("")
    beside.write_bytes(gzip.decompress(paths[0].read_bytes()))
    paths[0].write_bytes(b"half of it")  # a kill during compression; the plain one counts
    assert verify_journal(tmp_path / "packed").ok
    beside.unlink()
    assert verify_journal(tmp_path / "packed").problem["sequence"] == 1


def test_damage_in_a_compressed_segment_names_the_first_entry_that_cannot_be_read(tmp_path: Path) -> None:
    written = hand()
    found = members(written.frames, 5)
    path = tmp_path / "00000000000000000001.journal.gz"
    for number, bad in enumerate(found):
        damaged = bytearray(bad)
        damaged[len(bad) // 2] ^= 4
        path.write_bytes(b"".join([*found[:number], bytes(damaged), *found[number + 1 :]]))
        report = verify_journal(tmp_path)
        assert not report.ok
        assert number * 5 < report.problem["sequence"] <= number * 5 + 5
    whole = b"".join(found)
    for cut in (1, 9, len(found[-1]), len(found[-1]) + 1):
        path.write_bytes(whole[:-cut])
        if cut == len(found[-1]):
            assert verify_journal(tmp_path).ok  # fewer entries, and nobody who has seen more
        else:
            assert not verify_journal(tmp_path).ok
    torn = MAGIC + b"".join(written.frames)[:-3]  # a closed segment has no unfinished entry
    path.write_bytes(gzip.compress(torn))
    assert not verify_journal(tmp_path).ok


def pruned_hand() -> tuple[Hand, list[int]]:
    written = hand()
    numbers = [n for n, frame in enumerate(written.frames, 1) if read(frame)["kind"] == "readings"][:6]
    written.prune(numbers)
    return written, numbers


def test_pruned_entries_verify_with_the_event_that_tells_of_them_before_and_after_it_is_done(tmp_path: Path) -> None:
    written, numbers = pruned_hand()
    whole = checked(tmp_path, written.frames, keys=[FIRST])
    assert (whole.ok, whole.findings, whole.pruned) == (True, [], 0)
    frames = [written.pruned.get(n, frame) for n, frame in enumerate(written.frames, 1)]
    report = checked(tmp_path, frames, keys=[FIRST], every=True)
    assert (report.ok, report.findings, report.head_hash) == (True, [], whole.head_hash)
    assert report.readings + report.pruned == whole.readings
    some = [written.pruned[n] if n in numbers[:-1] and n in written.pruned else f for n, f in enumerate(frames, 1)]
    some[numbers[-1] - 1] = written.frames[numbers[-1] - 1]  # one of them came back
    assert not checked(tmp_path, some).ok


def test_pruned_entries_without_their_event_or_with_an_unsigned_one(tmp_path: Path) -> None:
    written, numbers = pruned_hand()
    frames = [written.pruned.get(n, frame) for n, frame in enumerate(written.frames, 1)]
    report = checked(tmp_path, frames[:-2])
    assert (report.ok, report.problem["sequence"]) == (False, numbers[0])
    report = checked(tmp_path, frames[:-1])  # the event is there, and no checkpoint behind it
    assert report.findings == [f"entry {len(frames) - 1}, payloads_pruned, is not yet signed"]


def retired(written: Hand, last: int, **key: str) -> list[bytes]:
    body = {"event": "segments_retired", "last": last, "hash": hash_of(written.frames[last - 1]).hex(), "segment": "x"}
    written.permit({**body, **key})
    written.checkpoint()
    return written.frames[last:]


def test_a_journal_without_its_beginning_verifies_with_the_event_that_tells_of_it(tmp_path: Path) -> None:
    written = hand(rotated=False)
    frames = retired(written, 7, key=id_of(written.key), public=FIRST.hex())
    for keys in ((), (FIRST,)):
        report = checked(tmp_path, frames, keys=keys)
        assert (report.ok, report.findings, report.first_sequence) == (True, [], 8)
        assert report.keys[0]["public"] == FIRST.hex()
        assert report.gateway == "gw-test"
    assert not checked(tmp_path, frames, keys=[SECOND]).ok
    assert not checked(tmp_path, frames[1:]).ok
    other = build_frame(8, bytes(32), frames[0][48:])
    assert checked(tmp_path, [other, *frames[1:]]).problem["sequence"] == 8


def test_a_key_that_nothing_names_any_more_has_to_be_given(tmp_path: Path) -> None:
    frames = retired(hand(rotated=False), 7)
    finding, unknown = checked(tmp_path, frames).findings
    assert unknown == f"entry {len(frames) + 6}, segments_retired, is signed by no key that is known"
    assert f"names the public key {id_of(private_key(1))}: give it with --key" in finding
    assert checked(tmp_path, frames, keys=[FIRST]).findings == []


def salvaged(written: Hand, first: int, last: int) -> list[bytes]:
    written.permit({"event": "salvaged", "lost": [[first, last]], "frames": 1, "damaged": []})
    written.checkpoint()
    return [*written.frames[: first - 1], *written.frames[last:]]


def test_a_hole_that_an_event_names_is_a_finding(tmp_path: Path) -> None:
    written = hand()
    rotation = number_of(written.frames, "key_rotated")
    frames = salvaged(written, rotation - 1, rotation + 2)  # with the checkpoint before it, and the new key
    report = checked(tmp_path, frames)
    assert report.ok
    assert f"entries {rotation - 1} to {rotation + 2} were lost by damage" in report.findings[0]
    assert f"to {rotation - 2} are under no signature" in report.findings[0]
    assert f"names the public key {id_of(private_key(2))}" in report.findings[1]
    assert not checked(tmp_path, frames, keys=[FIRST]).ok  # whether the new key descends from it is not known
    assert len(checked(tmp_path, frames, keys=[SECOND]).findings) == 1
    missing = [*frames[: rotation + 3], *frames[rotation + 4 :]]
    report = checked(tmp_path, missing)  # one more is missing than the event names
    assert (report.ok, report.problem["sequence"]) == (False, report.last_sequence + 1)


def test_lost_beginnings_and_words_that_only_look_like_those_of_the_events(tmp_path: Path) -> None:
    written = hand(rotated=False)
    for body in ({"event": "note", "last": 3, "about": {"event": "segments_retired"}}, {"event": 7, "lost": [[1, 2]]}):
        written.write("event", body)
    written.write("audit", {"event": "payloads_pruned", "ranges": "none"})
    written.checkpoint()
    assert checked(tmp_path, written.frames).findings == []
    report = checked(tmp_path, salvaged(written, 1, 5), keys=[FIRST])
    assert (report.ok, report.first_sequence, len(report.findings)) == (True, 6, 1)
    assert "entries 1 to 5 were lost by damage" in report.findings[0]
    assert checked(tmp_path, salvaged(written, 1, 5)[1:], keys=[FIRST]).problem["sequence"] == 6


def test_before_a_hole_every_newest_signature_counts(tmp_path: Path) -> None:
    written = hand(rotated=False)
    early = number_of(written.frames, '"kind":"checkpoint"')
    value = read(written.frames[early - 1])
    written.frames = written.frames[:early]
    value["body"]["signature"] = "2" * 128
    written.frames[-1] = build_frame(early, written.frames[-1][16:48], as_bytes(value))
    written.some(8)
    written.checkpoint()
    assert checked(tmp_path, written.frames).ok
    report = checked(tmp_path, salvaged(written, early + 1, early + 1))
    assert (report.ok, report.problem["sequence"]) == (False, early)


PAYLOADS = [
    b"[]",
    b"{}",
    b"\xff",
    b'{"at":1,"at":1,"body":{},"boot":"b","kind":"audit","monotonic_ns":1}',
    b'{"at":1,"body":{"a":1,"a":2},"boot":"b","kind":"audit","monotonic_ns":1}',
    b'{"at":1,"body":{"a":NaN},"boot":"b","kind":"audit","monotonic_ns":1}',
    b'{"at":1,"body":{"a":-Infinity},"boot":"b","kind":"audit","monotonic_ns":1}',
    b'{"at":true,"body":{},"boot":"b","kind":"audit","monotonic_ns":1}',
    b'{"at":-1,"body":{},"boot":"b","kind":"audit","monotonic_ns":1}',
    b'{"at":1,"body":{},"boot":"b","kind":"poem","monotonic_ns":1}',
    b'{"at":1,"body":{},"boot":"b","kind":"event","monotonic_ns":1}',
    b'{"at":1,"body":{},"boot":"b","kind":"checkpoint","monotonic_ns":1}',
    b'{"at":1,"body":{"slots":1},"boot":"b","kind":"gap","monotonic_ns":1}',
    b'{"at":1,"body":{"event":"journal_created"},"boot":"b","kind":"event","monotonic_ns":1}',
    b'{"at":1,"body":{"event":"key_rotated"},"boot":"b","kind":"event","monotonic_ns":1}',
    b'{"at":1,"body":{"a":' + b"[" * 100_000 + b'},"boot":"b","kind":"audit","monotonic_ns":1}',
]
TABLE = {"line": "l", "series": ["a/b/c"], "of": [0, 0], "instant": [1, 2], "value": [1, None], "quality": [1, 16]}
TABLES = [
    {"of": [0]},
    {"of": []},
    {"of": [0, 1]},
    {"of": [0, -1]},
    {"of": [0, False]},
    {"instant": [1, 2.0]},
    {"value": [1, "2"]},
    {"value": [1, True]},
    {"value": 7},
    {"quality": [1, 0]},
    {"quality": [1, 32]},
    {"quality": [1]},
    {"words": ["00"]},
    {"series": ["a/b/c", "a/b/c"]},
    {"series": []},
]


@pytest.mark.parametrize(
    "payload", [*PAYLOADS, *(payload_of("readings", {**TABLE, **odd}, 1) for odd in TABLES)], ids=lambda text: text[:60]
)
def test_a_payload_that_the_format_does_not_know_is_refused_where_it_is(tmp_path: Path, payload: bytes) -> None:
    written = Hand(1)
    number = written.write("readings", TABLE)
    assert checked(tmp_path, written.frames).good == 1
    frames = [*written.frames, build_frame(number + 1, written.head, payload)]
    report = checked(tmp_path, frames)
    assert (report.ok, report.problem["sequence"]) == (False, number + 1)


def test_numbers_may_be_spelled_as_a_fast_writer_spells_them(tmp_path: Path) -> None:
    written = Hand(1)
    payload = payload_of("readings", TABLE, 1).replace(b"[1,null]", b"[1e-7,0.00001]").replace(b"[1,16]", b"[1,1]")
    report = checked(tmp_path, [*written.frames, build_frame(3, written.head, payload)])
    assert (report.ok, report.readings) == (True, 2)


def test_a_witness_of_several_gateways_and_one_whose_lines_nobody_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, other = hand(), Hand(5, "gw-other")
    other.some(40)
    other.checkpoint()
    claim = written.witness[-1]
    forged = [{**claim, "hash": "0" * 64}, {**claim, "sequence": claim["sequence"] + 99}]
    save(written.frames, tmp_path / "journal")
    kept = save_witness([*other.witness, *written.witness, *forged], tmp_path / "kept")
    words = [str(tmp_path / "journal"), "--json", "--witness", str(kept)]
    assert main(words) == 0  # anybody may write to a broker; unsigned words accuse nobody
    assert json.loads(capsys.readouterr().out)["witnessed_through"] == claim["sequence"]
    foreign = signed_claim(private_key(9), "gw-test", claim["sequence"], bytes(32), START)
    save_witness([*written.witness, {**foreign, "at": START}], kept)
    assert main(words) == 1  # by a key that this journal does not know: one of the two is not the gateway's
    capsys.readouterr()
    kept.write_bytes(as_bytes(claim) + b"\nnot a checkpoint\n")
    assert main(words) == 2
    assert f"{kept}:2: no checkpoint" in capsys.readouterr().err


def test_a_witness_that_knows_nothing_of_a_journal_proves_nothing(tmp_path: Path) -> None:
    written, other = hand(), Hand(5, "gw-1 ")
    other.some(9)
    other.checkpoint()
    save(other.frames, tmp_path / "forged")
    save(written.frames, tmp_path / "journal")
    kept, empty = save_witness(written.witness, tmp_path / "kept"), save_witness([], tmp_path / "empty")
    assert main([str(tmp_path / "forged"), "--witness", str(kept)]) == 1
    assert main([str(tmp_path / "journal"), "--witness", str(empty)]) == 1
    assert main([str(tmp_path / "journal"), "--witness", str(kept)]) == 0


GAP = {
    "first": 60,
    "last": 120,
    "line": "m1",
    "period_us": 60,
    "reason": "slot.missed",
    "series": ["a/b/c"],
    "slots": 2,
}


@pytest.mark.parametrize(
    "wrong",
    [{"slots": -5}, {"slots": 0}, {"first": 180}, {"reason": 7}, {"line": None}, {"first": None}, {"last": 1.5}],
)
def test_a_gap_says_which_slots_of_which_line_and_why(tmp_path: Path, wrong: dict[str, object]) -> None:
    written = Hand(1)
    written.write("gap", GAP)
    assert checked(tmp_path / "good", written.frames).gap_slots == 2
    written.write("gap", {**GAP, **wrong})
    report = checked(tmp_path / "bad", written.frames)
    assert (report.ok, report.problem["sequence"]) == (False, 4)


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("instant", [10**40, 1]),
        ("instant", [1, -1]),
        ("value", [10**40, 1]),
        ("value", [-(2**63) - 1, 1]),
        ("words", ["zz", "0a"]),
        ("words", ["0", "0a"]),
        ("quality", [1, 1]),
    ],
)
def test_columns_hold_what_a_gateway_can_have_read(tmp_path: Path, column: str, wrong: list[object]) -> None:
    """TABLE has no value for its second reading: as GOOD it would be a lie."""
    written = Hand(1)
    written.write("readings", {**TABLE, column: wrong})
    report = checked(tmp_path, written.frames)
    assert (report.ok, report.problem["sequence"]) == (False, 3)


@pytest.mark.parametrize("name", ["gw\x1b[2K", "gw\nVERIFIED, 0 findings; signed by a given key", "gw\u202e"])
def test_a_hostile_name_is_printed_as_what_it_is(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    save(Hand(1, name).frames, tmp_path)
    main([str(tmp_path)])
    told = capsys.readouterr().out
    assert ascii(name) in told
    assert "\x1b" not in told
    assert sum(line.startswith("VERIFIED") for line in told.splitlines()) == 1
    main([str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out)["gateway"] == name


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    save(Hand(1).frames, tmp_path)
    os.mkfifo(tmp_path / "00000000000000000003.journal")
    assert main([str(tmp_path)]) == 0


def test_the_lines_of_a_witness_may_stand_in_any_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = hand(rotated=False)
    save(written.frames[:-3], tmp_path / "short")
    save(written.frames, tmp_path / "whole")
    kept = save_witness([*written.witness[::-1], *written.witness], tmp_path / "kept")
    assert main([str(tmp_path / "whole"), "--json", "--witness", str(kept)]) == 0
    assert json.loads(capsys.readouterr().out)["witnessed_through"] == written.witness[-1]["sequence"]
    assert main([str(tmp_path / "short"), "--witness", str(kept)]) == 1
    assert "cut off, or an older copy" in capsys.readouterr().out
    other = {**written.witness[0], "hash": "0" * 64}
    other |= signed_claim(private_key(1), "gw-test", other["sequence"], bytes(32), other["at"])
    save_witness([*written.witness, other], kept)  # what the gateway signed before it was put back to an older copy
    assert main([str(tmp_path / "whole"), "--witness", str(kept)]) == 1


@pytest.mark.parametrize("how", ["copied", "another body", "another gateway", "itself", "no key yet"])
def test_a_permit_holds_for_its_place_its_words_and_its_gateway_alone(tmp_path: Path, how: str) -> None:
    written = hand(rotated=False)
    number = len(written.frames) + 1
    body: dict[str, Any] = {"event": "salvaged", "lost": [[3, 3]], "frames": 1, "damaged": []}
    if how == "copied":
        written.permit(body, at_number=number - 1)
    elif how == "another body":
        signature = permit_signature(written.key, "gw-test", number, body)
        written.write("event", {**body, "lost": [[3, 4]], "signature": signature})
    elif how == "another gateway":
        written.write("event", {**body, "signature": permit_signature(written.key, "gw-x", number, body)})
    elif how == "itself":
        written.permit({**body, "lost": [[3, number]]})
    else:
        frames = [build_frame(1, bytes(32), payload_of("event", {"event": "journal_created", "gateway": "x"}, START))]
        frames.append(build_frame(2, hash_of(frames[0]), payload_of("event", {**body, "lost": [[1, 1]]}, START)))
        (finding,) = checked(tmp_path, frames).findings
        assert finding == "entry 2, salvaged, is signed by no key that is known"
        return
    written.checkpoint()
    for keys in ((), (FIRST,)):
        report = checked(tmp_path, written.frames, keys=keys)
        assert (report.ok, report.problem["sequence"]) == (False, number)


def test_the_key_comes_as_hexadecimal_or_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(hand().frames, tmp_path / "journal")
    (tmp_path / "journal.pub").write_text(FIRST.hex() + "\n")
    for key in (FIRST.hex(), str(tmp_path / "journal.pub")):
        assert main([str(tmp_path), "--key", key]) == 0
        assert "signed by a given key" in capsys.readouterr().out
    assert main([str(tmp_path), "--key", THIRD.hex()]) == 1
    capsys.readouterr()
    pem = tmp_path / "journal.key"
    pem.write_text("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ\n-----END PRIVATE KEY-----\n")
    for word in ("no such file", str(pem), id_of(private_key(1)), FIRST.hex() + "00", ""):
        assert main([str(tmp_path), "--key", word]) == 2
        told = capsys.readouterr().err
        assert "expected 64 hex digits or journal.pub; found" in told
        assert "MC4C" not in told


def test_what_the_writer_writes_verifies_with_its_key(tmp_path: Path) -> None:
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    directory, clock = tmp_path / "journal", ReplayClock(START)
    with Journal.open(directory, gateway_id="gw", clock=clock, key=key, segment_bytes=4000) as journal:
        for number in range(40):
            journal.append_readings_now("bus", [Reading("e/p/volume", START + n, n / 7) for n in range(number + 1)])
            journal.append_now(EntryKind.AUDIT, {"who": "谁", "number": number})
            if number % 10 == 9:
                journal.append_checkpoint_now()
    for _ in range(2):
        report = verify_journal(directory, keys=[key.public], every=True)
        assert (report.ok, report.findings, report.readings) == (True, [], sum(range(41)))
        assert compress_closed(directory) or list(directory.glob("*.gz"))
