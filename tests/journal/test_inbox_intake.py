"""What the inbox lets in, the verifier accepts; and no file, mark or name ends the intake of the others."""

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.clocks import ReplayClock
from gateway.errors import JournalError
from gateway.journal.correction_bodies import Correction, decision_body, proposal_body
from gateway.journal.corrections import corrections
from gateway.journal.disk import write_file
from gateway.journal.entries import Entry, EntryKind, canonical_json, readings_of
from gateway.journal.inbox import Trouble, submit, take_in, verdict_of
from gateway.journal.reader import entries, entries_of
from gateway.journal.verify import verify_journal
from tests.journal.journals import START, open_journal

HEAD = {"author": "a", "format": 1, "id": "x", "origin": "o"}
AUDIT = {"body": {"n": 1}, "kind": "audit"}


def put(data_dir: Path, *lines: object, name: str = "f") -> Path:
    path = data_dir / "inbox" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return path


def kept(data_dir: Path) -> list[Entry]:
    return [entry for entry in entries(data_dir / "journal") if "inbox" in entry.body]


# Bodies that are nearly right: the keys that readers look for, with values of the right kind and of others.
SMALL = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)
)
VALUES = st.recursive(SMALL, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
NAMES = st.sampled_from(["tick", "journal_created", "key_rotated", "salvaged", "", " ", "payloads_pruned"])
SERIES = st.sampled_from(["e/p/q", "e/p/r", "e/p", "E /p/q", ""])
FEW = [st.lists(st.integers(-1, 2), max_size=2), st.just([0]), VALUES]
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "event": NAMES | VALUES,
    "line": st.just("import") | VALUES,
    "series": st.lists(SERIES, max_size=2) | st.just(["e/p/q"]) | SERIES | VALUES,
    **dict.fromkeys(("of", "instant", "value", "quality", "was"), st.one_of(FEW)),
    **dict.fromkeys(("reason", "words"), st.lists(st.sampled_from(["", "00", "x"]), max_size=2) | st.just("why")),
    "class": st.just("telemetry") | VALUES,
    "correction": st.sampled_from(["proposed", "approved", "rejected"]) | VALUES,
    "evidence": st.none() | VALUES,
    "proposal": st.integers(0, 9),
    "key": VALUES,
    "lost": VALUES,
    "slots": VALUES,
}
BODIES = st.lists(st.sampled_from([*KEYS]), unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: KEYS[key] for key in keys})
)
SOUND = st.fixed_dictionaries(
    {"line": st.just("l"), "series": st.just(["e/p/q"]), "of": st.just([0])},
    optional={key: KEYS[key] for key in ("instant", "value", "quality", "reason", "words", "class")},
)
KINDS = st.sampled_from([kind.value for kind in EntryKind])
LINES = st.fixed_dictionaries({"kind": KINDS, "body": BODIES | SOUND | VALUES})


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=2))
@example([{"kind": "gap", "body": {}}])
@example([{"kind": "event", "body": {}}])
@example([{"kind": "event", "body": {"event": ["x"]}}])
@example([{"kind": "audit", "body": {"event": ["x"], "key": "k"}}])
@example([{"kind": "audit", "body": {"event": "salvaged", "lost": 1}}])
@example([{"kind": "event", "body": {"event": "tick", "more": {"event": "salvaged", "lost": 1}}}])
def test_whatever_the_inbox_accepts_the_verifier_accepts(lines: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        put(data_dir, HEAD, *lines)
        with open_journal(data_dir / "journal") as journal:
            [verdict] = take_in(data_dir, journal)
        report = verify_journal(data_dir / "journal")
        assert report.ok, (lines, report.problem)
        assert verdict.accepted == (report.entries > 1)
        with open_journal(data_dir / "journal"):  # and everybody else reads it
            for entry in kept(data_dir):
                readings_of(entry)
        corrections(data_dir / "journal")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"kind": "gap", "body": {}}, "only the gateway itself makes such an entry"),
        ({"kind": "checkpoint", "body": {}}, "only the gateway itself makes such an entry"),
        ({"kind": "event", "body": {}}, "found event None; expected its name, as text"),
        ({"kind": "event", "body": {"event": ["x"]}}, "expected its name, as text"),
        ({"kind": "event", "body": {"event": " "}}, "expected its name, as text"),
        ({"kind": "event", "body": {"event": "segments_retired"}}, "only the journal tells it"),
        ({"kind": "audit", "body": {"a": json.loads("[" * 64 + "]" * 64)}}, "more than 64 deep"),
    ],
)
def test_what_only_the_gateway_may_say_or_nobody_could_read_is_refused(tmp_path: Path, line: Any, reason: str) -> None:
    put(tmp_path, HEAD, AUDIT, line)
    with open_journal(tmp_path / "journal") as journal:
        [verdict] = take_in(tmp_path, journal)
    assert (verdict.accepted, verdict.line) == (False, 3)
    assert reason in verdict.reason
    assert kept(tmp_path) == []


def test_what_lies_as_deep_as_it_may_is_taken_in(tmp_path: Path) -> None:
    put(tmp_path, HEAD, {"kind": "audit", "body": {"a": json.loads("[" * 63 + "]" * 63)}})
    with open_journal(tmp_path / "journal") as journal:
        assert [verdict.accepted for verdict in take_in(tmp_path, journal)] == [True]
    assert verify_journal(tmp_path / "journal").ok


@pytest.mark.parametrize("mark", ["{}", "nonsense", "[]", '{"after":"1","sha256":"00"}', '{"after":9,"sha256":"00"}'])
def test_a_mark_of_another_form_is_a_refusal_and_the_others_go_on(tmp_path: Path, mark: str) -> None:
    path, other = put(tmp_path, HEAD, AUDIT), put(tmp_path, HEAD, AUDIT, name="g")
    (path.parent / f".{path.name}.taking").write_text(mark)
    with open_journal(tmp_path / "journal") as journal:
        refused, accepted = take_in(tmp_path, journal)
        assert take_in(tmp_path, journal) == []
    assert (refused.accepted, accepted.accepted, accepted.file) == (False, True, other.name)
    assert "submit what is missing as a new file" in refused.reason
    assert path.exists()
    assert len(kept(tmp_path)) == 1


def test_files_that_nobody_thought_of_stay_are_told_once_and_stop_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    data = b"".join(canonical_json(line) + b"\n" for line in (HEAD, AUDIT))
    odd = [b"a\xff.jsonl", b"b" * 249 + b".jsonl"]  # no text; too long for the name of its verdict
    for name in odd:
        Path(os.fsdecode(os.fsencode(inbox) + b"/" + name)).write_bytes(data)
    os.mkfifo(inbox / ".c.verdict.json")
    os.mkfifo(inbox / "c.verdict.json")  # nobody waits for what never comes
    (inbox / ".gone.jsonl.taking").mkdir()
    put(tmp_path, HEAD, AUDIT, name="c")
    troubles: dict[str, Trouble] = {}
    with caplog.at_level(logging.WARNING), open_journal(tmp_path / "journal") as journal:
        verdicts = take_in(tmp_path, journal, troubles)
        told = len(caplog.records)
        assert take_in(tmp_path, journal, troubles) == []
    assert [verdict.accepted for verdict in verdicts if verdict.file == "c.jsonl"] == [True]
    assert told == len(caplog.records) == len(troubles) == 2
    assert {os.fsencode(path.name) for path in inbox.glob("[!.]*.jsonl")} == set(odd)
    assert len(kept(tmp_path)) == 1
    assert verify_journal(tmp_path / "journal").ok


def test_a_failing_disk_is_no_fault_of_the_file_that_met_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, HEAD, AUDIT)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with open_journal(tmp_path / "journal") as journal:
        with monkeypatch.context() as patch:
            patch.setattr("gateway.journal.inbox.write_file", full)
            with pytest.raises(JournalError, match="No space left"):
                take_in(tmp_path, journal)
        assert path.exists()
        assert [verdict.accepted for verdict in take_in(tmp_path, journal)] == [True]


def test_a_link_planted_where_the_inbox_writes_is_not_written_through(tmp_path: Path) -> None:
    path = put(tmp_path, "nonsense")
    victim = tmp_path / "victim"
    victim.write_text("evidence")
    for name in (".f.verdict.json.partial", "f.verdict.json"):
        (path.parent / name).symlink_to(victim)
    with open_journal(tmp_path / "journal") as journal:
        assert [verdict.accepted for verdict in take_in(tmp_path, journal)] == [False]
    assert victim.read_text() == "evidence"
    assert not (path.parent / "f.verdict.json").is_symlink()


def test_what_a_kill_left_of_a_file_does_not_hinder_the_next(tmp_path: Path) -> None:
    (tmp_path / ".key.partial").write_text("half of a")
    (tmp_path / ".key.partial").chmod(0o644)
    write_file(tmp_path / "key", b"secret", mode=0o600)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_verdict_of_another_form_is_none(tmp_path: Path) -> None:
    path = put(tmp_path, HEAD, AUDIT)
    path.with_name("f.verdict.json").write_text("{}")
    assert verdict_of(path, 0) is None


def test_all_decisions_of_a_file_are_checked_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def count(*given_: Any, **named: Any) -> Any:
        passes.append(given_)
        return entries_of(*given_, **named)

    monkeypatch.setattr("gateway.journal.corrections.entries_of", count)
    bodies = [proposal_body(Correction("e/p/q", (at,), (1,), "why"), was=[None]) for at in range(20)]
    decided = [decision_body(body, number, approved=True, reason="") for number, body in enumerate(bodies, 2)]
    with open_journal(tmp_path / "journal") as journal:
        for author, each in (("ann", bodies), ("bob", decided)):
            items = [(EntryKind.CORRECTION, body) for body in each]
            submit(tmp_path, items, origin="o", author=author, clock=ReplayClock(START + len(author + author[0])))
            assert [verdict.accepted for verdict in take_in(tmp_path, journal)] == [True]
    assert len(passes) == 1
    assert all(one.decision and one.decision.approver == "bob" for one in corrections(tmp_path / "journal"))


def test_the_user_of_the_operating_system_stands_beside_the_author(tmp_path: Path) -> None:
    submit(tmp_path, [(EntryKind.AUDIT, {"n": 1})], origin="emg correct", author="Wang Li", user="operator")
    with open_journal(tmp_path / "journal") as journal:
        assert [verdict.accepted for verdict in take_in(tmp_path, journal)] == [True]
    [entry] = kept(tmp_path)
    assert (entry.body["inbox"]["author"], entry.body["inbox"]["user"]) == ("Wang Li", "operator")
