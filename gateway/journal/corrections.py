"""Corrections in the journal: who proposed what and why, who decided it, and what may be decided at all."""

from collections.abc import Collection, Iterator, Mapping
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
from gateway.journal.people import same_person
from gateway.journal.reader import entries_of
from gateway.journal.recorded import Asked, recorded
from gateway.journal.segments import segments


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
    was: tuple[int | float | None, ...]  # what stood when it was proposed, by the journal and not by who proposed it
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
    asked = {number: Asked(one.correction.series, one.correction.instants, number) for number, one in found.items()}
    held = recorded(directory, asked.values())
    return [one._replace(was=held[asked[number]]) for number, one in found.items()]


class Proposal(NamedTuple):
    """The entry of a proposal, and that of the decision on it; None while it is open."""

    entry: Entry
    decided: Entry | None


def proposals(directory: Path, numbers: Collection[int]) -> dict[int, Proposal]:
    """Those of these entries that are proposals, by their sequence numbers, in one pass. Raises JournalError."""
    found: dict[int, Proposal] = {}
    kept = segments(directory)
    first = min(numbers, default=0)
    after = first - 1 if kept and first > kept[0].first else 0  # what was retired is no proposal any more
    for entry in _entries(directory, after=after) if numbers else ():
        if entry.body["correction"] == PROPOSED:
            if entry.sequence in numbers:
                found[entry.sequence] = Proposal(entry, None)
        elif (one := found.get(entry.body["proposal"])) is not None and one.decided is None:
            found[one.entry.sequence] = one._replace(decided=entry)
    return found


def check_decision(found: Mapping[int, Proposal], body: Mapping[str, Any], approver: str) -> None:
    """Raise ValueError unless this decision may be journaled; `found` holds the proposal that it names, if it is one.

    It answers a proposal of this journal in its very words, nobody decided that before, and whoever proposed it
    does not approve it.
    """
    sequence = body["proposal"]
    if (proposal := found.get(sequence)) is None:
        raise ValueError(f"proposal: entry {sequence} of the journal is no proposal of a correction")
    if any(proposal.entry.body[key] != body[key] for key in ("instant", "series", "value")):
        raise ValueError(f"the decision does not repeat what entry {sequence} proposes")
    if body["correction"] == APPROVED and same_person(author_of(proposal.entry), approver):
        raise ValueError(f"approver: found {approver!r}, who made the proposal; expected another person")
    if (decided := proposal.decided) is not None:
        raise ValueError(
            f"proposal: entry {sequence} was {decided.body['correction']} in entry {decided.sequence} "
            f"by {author_of(decided)!r}; a new proposal may follow"
        )


def author_of(entry: Entry) -> str:
    """Who handed an entry in; "" when it did not come through the inbox."""
    told = entry.body.get("inbox")
    return str(told.get("author", "")) if isinstance(told, dict) else ""


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
