"""Corrections: proposed by one, approved by another, both values in the journal for ever."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from gateway.clocks import ReplayClock
from gateway.domain.readings import Quality, Reading
from gateway.journal.correction_bodies import (
    Correction,
    Evidence,
    check_form,
    corrected_readings,
    decision_body,
    proposal_body,
)
from gateway.journal.corrections import corrections
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.inbox import Verdict, submit, take_in
from gateway.journal.people import same_person
from gateway.journal.reader import entries
from tests.journal.journals import START, open_journal

SERIES = "works/main/active_energy_import"
WRONG = Correction(SERIES, (START, START + 900_000_000), (1200, None), "display misread: 1,020 for 1,200")
PAPER = Evidence("photo.jpg", hashlib.sha256(b"a dial").hexdigest(), 6)
PROPOSAL = proposal_body(WRONG, was=[None, None], evidence=PAPER)


def hand_in(data_dir: Path, *bodies: dict[str, Any], author: str, at: int = START) -> Verdict:
    (data_dir / "evidence").mkdir(exist_ok=True)
    (data_dir / "evidence" / PAPER.sha256).write_bytes(b"a dial")
    items = [(EntryKind.CORRECTION, body) for body in bodies]
    submit(data_dir, items, origin="test", author=author, clock=ReplayClock(at))
    with open_journal(data_dir / "journal") as journal:
        (verdict,) = take_in(data_dir, journal)
    return verdict


def test_an_approved_correction_brings_its_readings_and_keeps_every_name(tmp_path: Path) -> None:
    assert hand_in(tmp_path, PROPOSAL, author="Wang Li").accepted
    decision = decision_body(PROPOSAL, 2, approved=True, reason="")
    assert hand_in(tmp_path, decision, author="Zhao Min", at=START + 1).last_sequence == 3
    proposed, approved = list(entries(tmp_path / "journal", after=1))
    assert readings_of(proposed) == []
    put = Quality.SUBSTITUTED | Quality.CORRECTED
    assert readings_of(approved) == [
        Reading(SERIES, START, 1200, put, "correction.2"),
        Reading(SERIES, START + 900_000_000, None, put | Quality.MISSING, "correction.2"),
    ]
    [told] = corrections(tmp_path / "journal")
    assert (told.sequence, told.correction, told.was, told.author) == (2, WRONG, (None, None), "Wang Li")
    assert told.evidence == PAPER._asdict()
    assert told.decision is not None
    assert (told.decision.approved, told.decision.approver, told.decision.sequence) == (True, "Zhao Min", 3)


@pytest.mark.parametrize(
    "approver", ["Wang Li", "wang  li", "ＷＡＮＧ Li", " WangLi ", "Wang-Li", "Wang·Li.", "W'ang Li"]
)
def test_nobody_approves_a_correction_of_ones_own(tmp_path: Path, approver: str) -> None:
    hand_in(tmp_path, PROPOSAL, author="Wang Li")
    verdict = hand_in(tmp_path, decision_body(PROPOSAL, 2, approved=True, reason=""), author=approver, at=START + 1)
    assert (verdict.accepted, verdict.line) == (False, 2)
    assert "who made the proposal; expected another person" in verdict.reason
    assert [one.decision for one in corrections(tmp_path / "journal")] == [None]


def test_who_proposed_may_take_it_back_and_then_it_is_decided(tmp_path: Path) -> None:
    hand_in(tmp_path, PROPOSAL, author="Wang Li")
    back = decision_body(PROPOSAL, 2, approved=False, reason="it was right after all")
    assert hand_in(tmp_path, back, author="Wang Li", at=START + 1).accepted
    late = decision_body(PROPOSAL, 2, approved=True, reason="")
    verdict = hand_in(tmp_path, late, author="Zhao Min", at=START + 2)
    assert not verdict.accepted
    assert "entry 2 was rejected in entry 3 by 'Wang Li'" in verdict.reason


def test_a_decision_must_answer_a_proposal_in_its_very_words(tmp_path: Path) -> None:
    hand_in(tmp_path, PROPOSAL, author="Wang Li")
    good = decision_body(PROPOSAL, 2, approved=True, reason="")
    for number, (body, says) in enumerate(
        [
            ({**good, "value": [1201, None]}, "does not repeat what entry 2 proposes"),
            ({**good, "proposal": 1}, "entry 1 of the journal is no proposal"),
            ({**good, "proposal": 99}, "entry 99 of the journal is no proposal"),
        ],
        1,
    ):
        verdict = hand_in(tmp_path, body, author="Zhao Min", at=START + number)
        assert not verdict.accepted
        assert says in verdict.reason
        (tmp_path / "inbox" / verdict.file).unlink()
    twice = hand_in(tmp_path, good, good, author="Zhao Min", at=START + 9)
    assert (twice.accepted, twice.line) == (False, 3)
    assert "decided twice in this file" in twice.reason


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"correction": "done"}, "expected one of proposed, approved, rejected"),
        ({"reason": " "}, "expected why, in words"),
        ({"series": "main"}, "expected enterprise/point/quantity"),
        ({"instant": [START + 1, START]}, "ascending"),
        ({"instant": []}, "1 to 100000 instants"),
        ({"instant": [START, 0.5]}, "64-bit integers"),
        ({"value": [True, 1]}, "64-bit integers, finite floats or nothing"),
        ({"value": [1.0]}, "as many as instants"),
        ({"was": [1]}, "the values that stood"),
        ({"evidence": {"file": "x"}}, "file, sha256, bytes"),
        ({"evidence": {"file": "x", "sha256": "00", "bytes": 1}}, "a SHA-256 in hex"),
        ({"more": 1}, "missing or unknown"),
    ],
)
def test_a_malformed_correction_is_refused_with_what_was_expected(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_form({**PROPOSAL, **change})


def test_a_proposal_puts_nothing_in_place() -> None:
    assert corrected_readings(PROPOSAL) == []


def test_names_are_compared_as_people_read_them() -> None:
    assert same_person("李 明", "李明")
    assert same_person("张伟", "张伟\ufe00")  # as an older journal may hold it
    assert not same_person("Li Ming", "Li Min")
