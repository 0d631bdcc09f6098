"""Corrections in the journal: who proposed what and why, who decided it, and what may be decided at all."""

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gateway.journal.correction_bodies import (
    APPROVED,
    PROPOSED,
    Correction,
    check_form,
    correction_of,
)
from gateway.journal.entries import Entry, EntryKind
from gateway.journal.reader import entries_between, entries_of


class Decision(NamedTuple):
    """What became of a proposal: by whom, when [us, UTC], in which entry, and what was remarked."""

    approved: bool
    approver: str
    at: int
    sequence: int
    remark: str


class ProposedCorrection(NamedTuple):
    """A proposal with its decision; None while it is open."""

    sequence: int
    correction: Correction
    was: tuple[int | float | None, ...]  # the values that stood when it was proposed
    author: str
    at: int  # [us, UTC]
    evidence: Mapping[str, Any] | None
    decision: Decision | None


def corrections(directory: Path) -> list[ProposedCorrection]:
    """Every proposal in a journal in its order, with its decision. Raises JournalError on damage."""
    found: dict[int, ProposedCorrection] = {}
    for entry in _entries(directory, after=0):
        if entry.body["correction"] == PROPOSED:
            found[entry.sequence] = _proposed(entry)
        elif (proposal := found.get(entry.body["proposal"])) is not None and proposal.decision is None:
            found[proposal.sequence] = proposal._replace(decision=_decision(entry))
    return list(found.values())


def check_decision(directory: Path, body: Mapping[str, Any], approver: str) -> None:
    """Raise ValueError unless this decision may be journaled.

    It answers a proposal of this journal in its very words, nobody decided that before, and whoever proposed it
    does not approve it.
    """
    sequence = body["proposal"]
    entry = next(entries_between(directory, sequence, sequence), None)
    if entry is None or entry.kind is not EntryKind.CORRECTION or entry.body["correction"] != PROPOSED:
        raise ValueError(f"proposal: entry {sequence} of the journal is no proposal of a correction")
    if any(entry.body[key] != body[key] for key in ("instant", "series", "value")):
        raise ValueError(f"the decision does not repeat what entry {sequence} proposes")
    author = author_of(entry)
    if body["correction"] == APPROVED and same_person(author, approver):
        raise ValueError(f"approver: found {approver!r}, who made the proposal; expected another person")
    for later in _entries(directory, after=sequence):
        if later.body.get("proposal") == sequence:
            raise ValueError(
                f"proposal: entry {sequence} was {later.body['correction']} in entry {later.sequence} "
                f"by {author_of(later)!r}; a new proposal may follow"
            )


def same_person(one: str, other: str) -> bool:
    """True if two names differ by nothing but capitals, width of letters and spaces."""
    return _plain(one) == _plain(other)


def author_of(entry: Entry) -> str:
    """Who handed an entry in; "" when it did not come through the inbox."""
    told = entry.body.get("inbox")
    return str(told.get("author", "")) if isinstance(told, dict) else ""


def _plain(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _entries(directory: Path, *, after: int) -> Iterator[Entry]:
    for entry in entries_of(directory, b'"kind":"correction"', after=after):
        if entry.kind is EntryKind.CORRECTION:
            check_form(entry.body)
            yield entry


def _proposed(entry: Entry) -> ProposedCorrection:
    body = entry.body
    return ProposedCorrection(
        entry.sequence, correction_of(body), tuple(body["was"]), author_of(entry), entry.at, body["evidence"], None
    )


def _decision(entry: Entry) -> Decision:
    approved = entry.body["correction"] == APPROVED
    return Decision(approved, author_of(entry), entry.at, entry.sequence, entry.body["reason"])
