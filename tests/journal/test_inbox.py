"""The inbox: whole or not at all, once, whenever the power goes; and one bad file stops no other."""

import asyncio
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.clocks import ReplayClock, SystemClock
from gateway.domain.readings import Reading
from gateway.errors import JournalError
from gateway.journal.entries import Entry, EntryKind, readings_body, readings_of
from gateway.journal.inbox import Verdict, submit, take_in, verdict_of, watch
from gateway.journal.reader import entries
from gateway.journal.verify import verify_journal
from tests.journal.journals import MAGIC, START, open_journal, split_frames
from tests.killing import run_until_killed

ROOT = Path(__file__).resolve().parents[2]


def submit_some(data_dir: Path, count: int, *, author: str = "liu", at: int = START) -> Path:
    items: list[tuple[EntryKind, dict[str, Any]]] = [(EntryKind.AUDIT, {"n": n}) for n in range(count)]
    return submit(data_dir, items, origin="emg import", author=author, clock=ReplayClock(at))


def taken(data_dir: Path) -> list[Entry]:
    return [entry for entry in entries(data_dir / "journal") if "inbox" in entry.body]


def test_entries_come_out_as_they_went_in_with_where_they_came_from(tmp_path: Path) -> None:
    batch = [Reading("e/p/volume", START, 2**53 + 1), Reading("e/p/flow", START, 2.5)]
    items = [(EntryKind.READINGS, readings_body("import", batch)), (EntryKind.AUDIT, {"reason": "表底录错"})]
    path = submit(tmp_path, items, origin="emg import readings", author="王")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with open_journal(tmp_path / "journal") as journal:
        (verdict,) = take_in(tmp_path, journal)
        assert take_in(tmp_path, journal) == []
    assert verdict == Verdict(path.name, True, 2, 2, 3, None, "")
    first, second = taken(tmp_path)
    assert (first.sequence, first.kind, second.sequence, second.kind) == (2, "readings", 3, "audit")
    assert readings_of(first) == batch
    source = {"file": path.name, "sha256": digest, "author": "王", "origin": "emg import readings"}
    assert first.body["inbox"] == {**source, "line": 2}
    assert second.body == {"reason": "表底录错", "inbox": {**source, "line": 3}}
    assert verdict_of(path, 0) == verdict
    assert not path.exists()
    assert hashlib.sha256((tmp_path / "inbox" / "done" / path.name).read_bytes()).hexdigest() == digest


def test_files_are_taken_in_the_order_in_which_they_were_submitted(tmp_path: Path) -> None:
    paths = [submit_some(tmp_path, 2, author=f"a{n}", at=START + n) for n in range(12)]
    with open_journal(tmp_path / "journal") as journal:
        verdicts = take_in(tmp_path, journal)
    assert [verdict.file for verdict in verdicts] == [path.name for path in paths]
    assert [(v.first_sequence, v.last_sequence) for v in verdicts] == [(2 * n + 2, 2 * n + 3) for n in range(12)]


HEAD = b'{"author":"a","format":1,"id":"x","origin":"o"}\n'
GOOD = b'{"body":{"n":1},"kind":"audit"}\n'


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", 1, "does not end"),
        (HEAD, 1, "no entry"),
        (HEAD + GOOD[:-1], 2, "does not end"),
        (HEAD + GOOD + b"nonsense\n" + GOOD, 3, "not JSON"),
        (HEAD + b"\n" + GOOD, 2, "not JSON"),
        (HEAD + b'{"body":{"n":NaN},"kind":"audit"}\n', 2, "NaN is not a number"),
        (HEAD + b'{"body":{"n":1e999},"kind":"audit"}\n', 2, "not JSON compliant"),
        (HEAD + b'{"body":{"n":"\\ud800"},"kind":"audit"}\n', 2, "surrogates"),
        (HEAD + b'{"body":{},"kind":"checkpoint"}\n', 2, "found kind 'checkpoint'"),
        (HEAD + b'{"body":{},"kind":["audit"]}\n', 2, "found kind"),
        (HEAD + b'{"body":[],"kind":"audit"}\n', 2, "must be an object"),
        (HEAD + b'{"body":{"inbox":{}},"kind":"audit"}\n', 2, "journal's own"),
        (HEAD + b'{"body":{},"kind":"audit","at":5}\n', 2, "with the keys body, kind"),
        (HEAD + GOOD * 3 + b'{"body":{"line":"m"},"kind":"readings"}\n', 5, "lists under series"),
        (HEAD + b'{"body":{"event":"key_rotated"},"kind":"event"}\n', 2, "only the journal tells it"),
        (HEAD + b'{"body":{"hash":"00"},"kind":"pruned"}\n', 2, "found kind 'pruned'"),
        (
            HEAD + b'{"body":{"instant":[0.5],"line":"m","of":[0],"series":["e/p/q"],"value":[1]},"kind":"readings"}\n',
            2,
            "reading 1 of the entry, e/p/q: found instant 0.5",
        ),
        (HEAD + b"[" * 100_000 + b"\n", 2, "not JSON"),
        (HEAD + b"\xff\xfe\n", 2, "not JSON"),
        (HEAD.replace(b"1", b"2") + GOOD, 1, "format 2"),
        (HEAD.replace(b'"a"', b'" "') + GOOD, 1, "author"),
        (GOOD + GOOD, 1, "author, format, id, origin"),
    ],
)
def test_a_malformed_file_stays_with_line_and_reason_and_the_others_go_on(
    tmp_path: Path, data: bytes, line: int, reason: str
) -> None:
    bad = tmp_path / "inbox" / "00000000000000000000-bad.jsonl"
    good = submit_some(tmp_path, 3)
    bad.write_bytes(data)
    with open_journal(tmp_path / "journal") as journal:
        refused, accepted = take_in(tmp_path, journal)
        assert take_in(tmp_path, journal) == []  # nothing has changed: judged once
    assert (refused.file, refused.accepted, refused.entries, refused.line) == (bad.name, False, 0, line)
    assert reason in refused.reason
    assert bad.read_bytes() == data
    assert verdict_of(bad, 0) == refused
    assert (accepted.file, accepted.entries) == (good.name, 3)
    assert len(taken(tmp_path)) == 3


def test_a_mended_file_is_judged_again(tmp_path: Path) -> None:
    path = submit_some(tmp_path, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with open_journal(tmp_path / "journal") as journal:
        assert [verdict.accepted for verdict in take_in(tmp_path, journal)] == [False]
        path.write_bytes(whole)
        assert [verdict.accepted for verdict in take_in(tmp_path, journal)] == [True]
        assert verdict_of(path, 0) == Verdict(path.name, True, 2, 2, 3, None, "")
    assert sorted(path.name for path in (tmp_path / "inbox").iterdir()) == ["done"]


def test_a_file_that_was_taken_in_is_not_taken_in_again_under_its_name(tmp_path: Path) -> None:
    path = submit_some(tmp_path, 2)
    data = path.read_bytes()
    with open_journal(tmp_path / "journal") as journal:
        take_in(tmp_path, journal)
        path.write_bytes(data)
        (verdict,) = take_in(tmp_path, journal)
    assert not verdict.accepted
    assert "taken in before" in verdict.reason
    assert len(taken(tmp_path)) == 2
    assert (tmp_path / "inbox" / "done" / path.name).read_bytes() == data


def test_half_written_files_folders_and_links_are_left_alone(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (tmp_path / "secret.jsonl").write_bytes(HEAD + GOOD)
    (inbox / ".00000000000000000001-a.jsonl.partial").write_bytes(HEAD)
    (inbox / ".hidden.jsonl").write_bytes(HEAD + GOOD)
    (inbox / "folder.jsonl").mkdir()
    (inbox / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with open_journal(tmp_path / "journal") as journal:
        assert take_in(tmp_path, journal) == []


def test_what_cannot_be_journaled_is_refused_before_it_is_submitted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be journaled"):
        submit(tmp_path, [(EntryKind.AUDIT, {"n": float("inf")})], origin="o", author="a")
    with pytest.raises(ValueError, match="submit in parts"):
        submit(tmp_path, [(EntryKind.AUDIT, {"n": "x" * (65 << 20)})], origin="o", author="a")
    assert not (tmp_path / "inbox").exists()


def test_no_verdict_is_no_verdict(tmp_path: Path) -> None:
    assert verdict_of(submit_some(tmp_path, 1), 0.1) is None


def test_a_stopped_journal_takes_nothing_in_and_loses_nothing(tmp_path: Path) -> None:
    path = submit_some(tmp_path, 2)
    journal = open_journal(tmp_path / "journal")
    journal.close_now()
    with pytest.raises(JournalError, match="closed"):
        take_in(tmp_path, journal)
    assert path.exists()
    with open_journal(tmp_path / "journal") as journal:
        assert [verdict.accepted for verdict in take_in(tmp_path, journal)] == [True]
    assert [entry.sequence for entry in taken(tmp_path)] == [2, 3]


async def test_the_watch_takes_in_what_comes_while_collectors_append(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    watching = asyncio.ensure_future(watch(tmp_path, journal, SystemClock()))
    appending = [asyncio.ensure_future(journal.append(EntryKind.AUDIT, {"n": n})) for n in range(50)]
    paths = [submit_some(tmp_path, 5, at=START + n) for n in range(3)]
    verdicts = [await asyncio.to_thread(verdict_of, path, 20) for path in paths]
    assert [verdict is not None and verdict.accepted for verdict in verdicts] == [True] * 3
    await asyncio.gather(*appending)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await journal.close()
    assert verify_journal(tmp_path / "journal").entries == 1 + 50 + 15
    told = [(entry.body["inbox"]["file"], entry.body["n"]) for entry in taken(tmp_path)]
    assert told == [(path.name, n) for path in paths for n in range(5)]


async def test_a_journal_that_has_stopped_ends_the_watch(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    submit_some(tmp_path, 1)
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await watch(tmp_path, journal, SystemClock())


def taken_once(data_dir: Path, count: int) -> bool:
    """Finish what was interrupted, then: every entry of the one file once, in order, with the verdict that says so."""
    with open_journal(data_dir / "journal", segment_bytes=1500) as journal:
        take_in(data_dir, journal)
    told = taken(data_dir)
    (path,) = (data_dir / "inbox" / "done").glob("*.jsonl")
    verdict = verdict_of(data_dir / "inbox" / path.name, 0)
    assert verdict is not None
    assert [entry.body["n"] for entry in told] == list(range(count))
    assert (verdict.accepted, verdict.entries) == (True, count)
    assert (verdict.first_sequence, verdict.last_sequence) == (told[0].sequence, told[-1].sequence)
    assert sorted(path.name for path in (data_dir / "inbox").iterdir()) == ["done"]
    return verify_journal(data_dir / "journal").ok


def take_in_until(data_dir: Path, change: int) -> list[str]:
    command = [sys.executable, str(ROOT / "tests" / "journal" / "taking_in.py"), str(data_dir), str(change)]
    killed = run_until_killed(command, seconds=20, env={"PYTHONPATH": str(ROOT)})
    assert killed.by_signal != bool(killed.lines), killed.errors
    return killed.lines


def test_a_kill_before_any_change_on_the_disk_neither_loses_nor_doubles_an_entry(tmp_path: Path) -> None:
    submit_some(tmp_path / "first", 12)
    changes, change = 0, 0
    while not changes:
        change += 1
        data_dir = tmp_path / str(change)
        shutil.copytree(tmp_path / "first", data_dir)
        for line in take_in_until(data_dir, change):
            changes = int(line.removeprefix("done "))
        assert taken_once(data_dir, 12), change
    assert change == changes + 1
    # folder, mark (written, renamed), segments, verdict (written, renamed), file moved, mark removed, at the least
    assert changes >= 9


def test_a_batch_torn_in_its_middle_is_completed_and_not_begun_anew(tmp_path: Path) -> None:
    submit_some(tmp_path / "first", 12)
    take_in_until(tmp_path / "first", 99)
    paths = sorted((tmp_path / "first" / "journal").glob("*.journal"))
    # put the disk back to where the kill came while entries were being written: no verdict, not moved, the mark there
    inbox = tmp_path / "first" / "inbox"
    (path,) = (inbox / "done").glob("*.jsonl")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(inbox / path.name)
    shutil.rmtree(inbox / "done")
    (inbox / f".{path.name}.taking").write_text(json.dumps({"after": 1, "sha256": digest}))
    for number, cut in enumerate(paths):
        frames = split_frames(cut.read_bytes())
        for whole in range(len(frames)):
            data_dir = tmp_path / f"{number}.{whole}"
            shutil.copytree(tmp_path / "first", data_dir)
            for later in paths[number + 1 :]:
                (data_dir / "journal" / later.name).unlink()
            (data_dir / "journal" / cut.name).write_bytes(MAGIC + b"".join(frames[:whole]) + frames[whole][:50])
            assert taken_once(data_dir, 12), data_dir


def test_a_file_changed_while_it_was_being_taken_in_is_refused(tmp_path: Path) -> None:
    path = submit_some(tmp_path, 3)
    (tmp_path / "inbox" / f".{path.name}.taking").write_text('{"after":0,"sha256":"00"}')
    with open_journal(tmp_path / "journal") as journal:
        (verdict,) = take_in(tmp_path, journal)
    assert not verdict.accepted
    assert "changed" in verdict.reason
    assert taken(tmp_path) == []
