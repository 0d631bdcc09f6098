"""Retention: what is old leaves, told beforehand; what is needed, uncovered, or only seems old stays; kills are harmless."""

import gzip
import hashlib
import json
import os
import pathlib
import random
import shutil
import sys
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clocks import ReplayClock
from gateway.domain.destinations import JournalSettings
from gateway.domain.readings import Reading
from gateway.errors import JournalError
from gateway.journal.compressing import compress_closed
from gateway.journal.entries import Entry, EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.retention import apply_retention, months_before, plan_retention
from gateway.journal.segments import segments
from gateway.journal.signing import SigningKey
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal
from tests.journal.journals import GATEWAY, split_frames
from tests.killing import run_until_killed

ROOT = Path(__file__).resolve().parents[2]
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
EVERYTHING = 1 << 40
MONTHS = 30
TELEMETRY = "works/m1/voltage_l1"
EVIDENCE = "works/m1/active_energy_import"


def instant(year: int, month: int, day: int = 5) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000


def month_number(number: int) -> tuple[int, int]:
    return 2024 + number // 12, number % 12 + 1


NOW = instant(*month_number(MONTHS), 20)  # 2026-07-20
SETTINGS = JournalSettings(keep_evidence_months=24, keep_telemetry_months=6)


def make_months(directory: Path, *, months: int = MONTHS) -> dict[int, Entry]:
    """A journal of one segment per month from 2024-01 on, each with evidence, telemetry and a checkpoint."""
    clock = ReplayClock(instant(2024, 1))
    with Journal.open(directory, gateway_id=GATEWAY, clock=clock, key=KEY) as journal:
        for number in range(months):
            clock._now = max(clock.now(), instant(*month_number(number)))
            for part in range(3):
                at = clock.now() + part
                batch = [Reading(EVIDENCE, at + n, 1000 + n) for n in range(5)]
                batch += [Reading(TELEMETRY, at + n, 230.5 + n) for n in range(20)]
                journal.append_readings_now("bus-1", batch, telemetry={TELEMETRY})
            journal.append_checkpoint_now()
        clock._now = NOW
        journal.append_now(EntryKind.EVENT, {"event": "newest"})
        journal.append_checkpoint_now()
    compress_closed(directory)
    return {entry.sequence: entry for entry in entries(directory)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, Entry]]:
    directory = tmp_path_factory.mktemp("whole") / "journal"
    return directory, make_months(directory)


@pytest.fixture
def journal_dir(whole: tuple[Path, dict[int, Entry]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole[0], tmp_path / "journal"))


def open_at(directory: Path, now: int = NOW) -> Journal:
    return Journal.open(directory, gateway_id=GATEWAY, clock=ReplayClock(now), key=KEY)


def retain(
    directory: Path, settings: JournalSettings = SETTINGS, *, keep_from: int = EVERYTHING, now: int = NOW
) -> None:
    with open_at(directory, now) as journal:
        apply_retention(journal, settings, keep_from=keep_from, now=now)


def events(directory: Path, name: str) -> list[Entry]:
    return [entry for entry in entries(directory) if entry.body.get("event") == name]


def payload_digest(was: Entry) -> str:
    """SHA-256 of the payload of an entry, made anew from what it says."""
    value = {"at": was.at, "body": was.body, "boot": was.boot, "kind": was.kind, "monotonic_ns": was.monotonic_ns}
    payload = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(payload)
    assert hashlib.sha256(was.sequence.to_bytes(8, "big") + was.previous + digest.digest()).digest() == was.hash
    return digest.hexdigest()


def stand_in(was: Entry) -> bytes:
    """Bytes 8 to the end of the frame that stands where this entry was, by README.md."""
    value = {"at": was.at, "boot": was.boot, "kind": "pruned", "monotonic_ns": was.monotonic_ns}
    value |= {"body": {"payload": payload_digest(was), "readings": len(readings_of(was))}}
    payload = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return was.sequence.to_bytes(8, "big") + was.previous + payload


def assert_chain(directory: Path, good: dict[int, Entry]) -> None:
    """Every entry is as it was or a stand-in with its hash, and what left was named; by README.md's rules alone.

    The independent verifier says so too.
    """
    report = verify_journal(directory, keys=[KEY.public])
    assert report.ok, report.problem
    told = list(entries(directory))
    named = {
        number
        for entry in told
        if entry.body.get("event") == "payloads_pruned"
        for first, last in entry.body["ranges"]
        for number in range(first, last + 1)
    }
    retired = {
        entry.body["last"]: entry.body["hash"] for entry in told if entry.body.get("event") == "segments_retired"
    }
    if told[0].sequence > 1:
        assert retired[told[0].sequence - 1] == told[0].previous.hex()
    for entry in told:
        was = good.get(entry.sequence)
        if entry.kind is EntryKind.PRUNED:
            assert was is not None
            assert entry.sequence in named
            assert readings_of(entry) == []
            assert entry.body["readings"] == len(readings_of(was))
            assert (entry.hash, entry.previous, entry.at) == (was.hash, was.previous, was.at)
            assert was.body["class"] == "telemetry"
        else:
            assert was is None or entry == was
    for entry in told:
        if entry.body.get("event") == "payloads_pruned":
            numbers = [n for first, last in entry.body["ranges"] for n in range(first, last + 1)]
            assert len(numbers) == entry.body["entries"]
            digest = hashlib.sha256(b"".join(stand_in(good[number]) for number in numbers)).hexdigest()
            assert digest == entry.body["digest"]


def test_old_segments_leave_and_older_telemetry_loses_its_payload(
    journal_dir: Path, whole: tuple[Path, dict[int, Entry]]
) -> None:
    good = whole[1]
    with open_at(journal_dir) as journal:
        planned = plan_retention(journal_dir, SETTINGS, keep_from=EVERYTHING, now=NOW)
        before = {path.name: path.read_bytes() for path in journal_dir.glob("*.journal*")}
        done = apply_retention(journal, SETTINGS, keep_from=EVERYTHING, now=NOW)
    assert done == planned
    # The newest closed segment ends on 2026-06-05. What ended before 2024-06-05 leaves: January to April, as May's
    # segment may have gone on until June's began, on that day. So does telemetry of May 2024 to October 2025.
    assert [leaving.file for leaving in done.retired] == sorted(before)[:4]
    assert len(done.pruned) == 18
    assert all((found.entries, found.readings) == (3, 60) for found in done.pruned)
    assert_chain(journal_dir, good)
    told = list(entries(journal_dir))
    assert told[0].at == instant(2024, 5)
    kinds = {month: set() for month in range(MONTHS)}  # type: ignore[var-annotated]
    for entry in told:
        moment = datetime.fromtimestamp(entry.at / 1e6, UTC)
        kinds.get((moment.year - 2024) * 12 + moment.month - 1, set()).add(entry.kind)
    assert [EntryKind.PRUNED in kinds[month] for month in range(4, MONTHS)] == [True] * 18 + [False] * 8
    assert all(EntryKind.READINGS in kinds[month] for month in range(4, MONTHS))  # evidence stays
    for name, data in before.items():
        left = journal_dir / name
        assert left.suffix == ".journal" or not left.exists() or len(left.read_bytes()) <= len(data)


def test_without_the_key_nothing_leaves(journal_dir: Path, whole: tuple[Path, dict[int, Entry]]) -> None:
    before = {path.name: path.read_bytes() for path in journal_dir.glob("*.gz")}
    without = Journal.open(journal_dir, gateway_id=GATEWAY, clock=ReplayClock(NOW))
    with without as journal, pytest.raises(JournalError, match="opened without a key"):
        apply_retention(journal, SETTINGS, keep_from=EVERYTHING, now=NOW)
    assert {path.name: path.read_bytes() for path in journal_dir.glob("*.gz")} == before
    assert_chain(journal_dir, whole[1])


def test_a_second_call_finds_nothing_to_do(journal_dir: Path) -> None:
    retain(journal_dir)
    before = {path.name: path.read_bytes() for path in journal_dir.glob("*.gz")}
    with open_at(journal_dir) as journal:
        assert apply_retention(journal, SETTINGS, keep_from=EVERYTHING, now=NOW) == ([], [])
    assert {path.name: path.read_bytes() for path in journal_dir.glob("*.gz")} == before
    (journal_dir / "retention.json").unlink()  # only a note to save work
    with open_at(journal_dir) as journal:
        assert apply_retention(journal, SETTINGS, keep_from=EVERYTHING, now=NOW) == ([], [])


def test_the_key_in_force_is_carried_on(journal_dir: Path) -> None:
    retain(journal_dir)
    first = events(journal_dir, "segments_retired")
    assert all(entry.body["public"] == KEY.public.hex() and entry.body["key"] == KEY.id for entry in first)
    later = NOW + (instant(2026, 9) - instant(2026, 7))
    with open_at(journal_dir, later) as journal:
        journal.append_now(EntryKind.EVENT, {"event": "newer"})
        journal.append_checkpoint_now()
    compress_closed(journal_dir)
    retain(journal_dir, now=later)
    more = events(journal_dir, "segments_retired")[len(first) :]
    assert len(more) == 2  # of May and June 2024, in which no key was named
    assert {(entry.body["public"], entry.body["key"]) for entry in more} == {(KEY.public.hex(), KEY.id)}


@pytest.mark.parametrize("keep_from", [0, 1, 30, 100])
def test_what_a_sink_still_needs_stays(journal_dir: Path, whole: tuple[Path, dict[int, Entry]], keep_from: int) -> None:
    retain(journal_dir, keep_from=keep_from)
    told = {entry.sequence: entry for entry in entries(journal_dir)}
    assert all(told[number] == entry for number, entry in whole[1].items() if number >= keep_from)
    assert_chain(journal_dir, whole[1])


def test_what_no_checkpoint_covers_stays(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    clock = ReplayClock(instant(2020, 1))
    with Journal.open(directory, gateway_id=GATEWAY, clock=clock, key=KEY) as journal:
        for month in (1, 2, 3, 4, 5):
            clock._now = instant(2020, month)
            journal.append_now(EntryKind.EVENT, {"event": "tick"})
            if month == 2:
                journal.append_checkpoint_now()
        clock._now = NOW
        journal.append_now(EntryKind.EVENT, {"event": "tick"})
        clock._now = NOW + instant(2020, 3) - instant(2020, 1)
        journal.append_now(EntryKind.EVENT, {"event": "tick"})
    compress_closed(directory)
    retain(directory, now=clock.now())
    (told,) = events(
        directory, "segments_retired"
    )  # January; the checkpoint itself, at the end of February, is not covered
    assert next(entries(directory)).at == instant(2020, 2)
    assert told.body["last"] == next(entries(directory)).sequence - 1


def test_nothing_leaves_unless_the_settings_say_so(journal_dir: Path, whole: tuple[Path, dict[int, Entry]]) -> None:
    retain(journal_dir, JournalSettings())
    assert {entry.sequence: entry for entry in entries(journal_dir)} == whole[1]
    with pytest.raises(JournalError, match="at least 24"):
        retain(journal_dir, JournalSettings(keep_evidence_months=23))
    retain(journal_dir, JournalSettings(keep_evidence_months=24))
    assert not events(journal_dir, "payloads_pruned")
    assert next(entries(journal_dir)).at == instant(2024, 5)


def test_a_clock_that_jumped_ahead_ages_nothing(journal_dir: Path, whole: tuple[Path, dict[int, Entry]]) -> None:
    ten_years = NOW + instant(2036, 1) - instant(2026, 1)
    with open_at(journal_dir, ten_years) as journal:
        journal.append_now(EntryKind.EVENT, {"event": "clock_stepped"})  # a new month: a new segment
        journal.append_checkpoint_now()
        compress_closed(journal_dir)
        done = apply_retention(journal, SETTINGS, keep_from=EVERYTHING, now=ten_years)
    assert len(done.retired) == 6  # those that were old before: the newest closed segment is of 2026-07-20
    assert_chain(journal_dir, whole[1])


def test_entries_of_a_clock_that_stood_in_1970_are_as_old_as_those_around_them(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    clock = ReplayClock(0)
    with Journal.open(directory, gateway_id=GATEWAY, clock=clock, key=KEY) as journal:
        for at in (0, instant(2026, 5), 1, instant(2026, 6), NOW, NOW + 1):
            clock._now = at
            journal.append_now(EntryKind.EVENT, {"event": "tick"})
            journal.append_checkpoint_now()
    compress_closed(directory)
    assert len(segments(directory)) == 5
    retain(directory)
    assert next(entries(directory)).sequence == 1


def test_what_was_imported_keeps_its_payload(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    clock = ReplayClock(instant(2024, 1))
    readings = [Reading(TELEMETRY, instant(2024, 1) + n, 230.5) for n in range(20)]
    with Journal.open(directory, gateway_id=GATEWAY, clock=clock, key=KEY) as journal:
        journal.append_readings_now("bus-1", readings, telemetry={TELEMETRY})
        (body,) = [entry.body for entry in entries(directory) if entry.kind is EntryKind.READINGS]
        journal.append_now(EntryKind.READINGS, {**body, "import": {"file_sha256": "00", "part": 0}})
        for at in (instant(2024, 2), instant(2026, 6), NOW):
            clock._now = at
            journal.append_checkpoint_now()
    compress_closed(directory)
    retain(directory, JournalSettings(keep_telemetry_months=6))
    assert [entry.kind.value for entry in entries(directory)][2:4] == ["pruned", "readings"]


def test_a_reader_and_a_cursor_behind_what_left_go_on(journal_dir: Path, whole: tuple[Path, dict[int, Entry]]) -> None:
    good = whole[1]
    early, late = entries(journal_dir), entries(journal_dir)
    assert [next(early) for _ in range(3)] == [good[number] for number in range(1, 4)]
    assert [next(late) for _ in range(25)] == [good[number] for number in range(1, 26)]
    retain(journal_dir)  # what the one comes to leaves, what the other comes to is pruned
    first = next(entries(journal_dir)).sequence
    with pytest.raises(JournalError, match=r"cannot be read: No such file"):
        list(early)
    assert [entry.sequence for entry in late][:200] == list(range(26, 226))
    with pytest.raises(JournalError, match=f"entry {first - 1} was retired"):
        next(entries(journal_dir, after=first - 2))
    for after in (0, first - 1, first, first + 20):
        following = next(entries(journal_dir, after=after))
        assert following.sequence == max(first, after + 1)


def test_segments_that_were_never_told_to_leave_are_missed(journal_dir: Path) -> None:
    segments(journal_dir)[0].path.unlink()
    with pytest.raises(JournalError, match="the one that holds entry 1 is missing"):
        list(entries(journal_dir))


def test_the_stand_in_has_the_bytes_that_readme_tells(journal_dir: Path, whole: tuple[Path, dict[int, Entry]]) -> None:
    retain(journal_dir)
    path = journal_dir / segments(journal_dir)[0].path.name
    for frame in split_frames(gzip.decompress(path.read_bytes())):
        value = json.loads(frame[48:])
        if value["kind"] == "pruned":
            was = whole[1][int.from_bytes(frame[8:16], "big")]
            stated = {"payload": payload_digest(was), "readings": 20}
            assert value == {
                "at": was.at,
                "body": stated,
                "boot": was.boot,
                "kind": "pruned",
                "monotonic_ns": was.monotonic_ns,
            }
            assert frame[48:] == json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
            return
    pytest.fail("no stand-in in the oldest segment")


def test_the_ages_are_calendar_months() -> None:
    assert months_before(instant(2026, 7, 20), 24) == instant(2024, 7, 20)
    assert months_before(instant(2026, 1, 31), 2) == instant(2025, 11, 28)
    assert months_before(instant(2026, 3, 31), 1) == instant(2026, 2, 28)


@pytest.mark.parametrize(
    "call", ["os.open", "os.write", "os.fsync", "os.fdatasync", "pathlib.Path.replace", "pathlib.Path.unlink"]
)
def test_a_disk_that_fails_at_any_moment_leaves_a_journal_that_is_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Path, dict[int, Entry]], call: str
) -> None:
    settings = JournalSettings(keep_evidence_months=24, keep_telemetry_months=22)
    for k in range(1, 200, 3):
        directory = tmp_path / f"{call}{k}"
        shutil.copytree(whole[0], directory)
        count = [0]
        with open_at(directory) as journal, monkeypatch.context() as patch:
            patch.setattr(call, _failing(call, k, count))
            try:
                apply_retention(journal, settings, keep_from=EVERYTHING, now=NOW)
            except (OSError, JournalError) as error:
                assert "no space" in str(error)
        assert_chain(directory, whole[1])
        retain(directory, settings)
        assert_chain(directory, whole[1])
        assert len(list(directory.glob("*.gz"))) == MONTHS - 4
        assert sum(entry.kind is EntryKind.PRUNED for entry in entries(directory)) == 6
        assert not list(directory.glob(".*.partial"))
        if count[0] < k:
            return
    pytest.fail(f"more than 200 calls of {call}")


def _failing(call: str, k: int, count: list[int]) -> object:
    first, *words = call.split(".")
    real = reduce(getattr, words, {"os": os, "pathlib": pathlib}[first])

    def fail(*words: object, **named: object) -> object:
        count[0] += 1
        if count[0] == k:
            raise OSError(28, "no space left on device")
        return real(*words, **named)  # type: ignore[operator]

    return fail


KILLED = f"""
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gateway.clocks import ReplayClock
from gateway.domain.destinations import JournalSettings
from gateway.journal.retention import apply_retention
from gateway.journal.signing import SigningKey
from gateway.journal.writer import Journal
key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
with Journal.open(Path(sys.argv[1]), gateway_id="{GATEWAY}", clock=ReplayClock({NOW}), key=key) as journal:
    print("begun", flush=True)
    settings = JournalSettings(keep_evidence_months=24, keep_telemetry_months=6)
    apply_retention(journal, settings, keep_from=1 << 40, now={NOW})
    print("done", flush=True)
"""


def test_kills_in_the_midst_of_retention_leave_a_journal_in_order(
    tmp_path: Path, whole: tuple[Path, dict[int, Entry]]
) -> None:
    chance = random.Random(17)
    directory = tmp_path / "journal"
    shutil.copytree(whole[0], directory)
    kills = 0
    while kills < 12:
        killed = run_until_killed(
            [sys.executable, "-c", KILLED, directory], seconds=chance.uniform(0, 0.06), env={"PYTHONPATH": str(ROOT)}
        )
        kills += killed.by_signal
        assert killed.errors == ""
        assert_chain(directory, whole[1])
        if "done" in killed.lines:
            assert next(entries(directory)).at == instant(2024, 5)
            shutil.rmtree(directory)
            shutil.copytree(whole[0], directory)
