"""What a correction says, as the body of an entry: a proposal by one person, a decision on it by another.

An approved decision repeats what was proposed, so that its entry alone tells which readings it puts in place.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from gateway.domain.readings import Quality, Reading
from gateway.journal.reading_columns import check_names

PROPOSED, APPROVED, REJECTED = "proposed", "approved", "rejected"
MOST = 100_000  # readings in one correction
_INT64 = range(-(2**63), 2**63)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMON = {"correction", "instant", "reason", "series", "value"}
_KEYS = {PROPOSED: _COMMON | {"evidence", "was"}, APPROVED: _COMMON | {"proposal"}, REJECTED: _COMMON | {"proposal"}}


class Correction(NamedTuple):
    """Values that are to stand for one series. `values` as a reading carries them; None strikes a reading out."""

    series: str
    instants: tuple[int, ...]  # sampling instants [us, UTC], ascending
    values: tuple[int | float | None, ...]
    reason: str


class Evidence(NamedTuple):
    """The document that shows why: its file name, its SHA-256 and its size [bytes]."""

    file: str
    sha256: str
    bytes: int


def proposal_body(
    correction: Correction, *, was: Sequence[int | float | None], evidence: Evidence | None = None
) -> dict[str, Any]:
    """The body of a proposal; `was` holds the values that stand at its instants now. Raises ValueError."""
    shown = None if evidence is None else evidence._asdict()
    body = {"correction": PROPOSED, **_columns(correction), "evidence": shown, "was": list(was)}
    check_form(body)
    return body


def decision_body(proposal: Mapping[str, Any], sequence: int, *, approved: bool, reason: str) -> dict[str, Any]:
    """The body of the decision on the proposal of entry `sequence`. Raises ValueError."""
    taken_over = {key: proposal[key] for key in ("instant", "series", "value")}
    decision = APPROVED if approved else REJECTED
    body = {"correction": decision, **taken_over, "proposal": sequence, "reason": reason}
    check_form(body)
    return body


def correction_of(body: Mapping[str, Any]) -> Correction:
    """The correction in a body of good form."""
    return Correction(body["series"], tuple(body["instant"]), tuple(body["value"]), body["reason"])


def corrected_readings(body: Mapping[str, Any]) -> list[Reading]:
    """The readings that an approved correction puts in place; none for a proposal or a rejection. Raises ValueError."""
    check_form(body)
    if body["correction"] != APPROVED:
        return []
    flags = Quality.SUBSTITUTED | Quality.CORRECTED
    reason = f"correction.{body['proposal']}"
    return [
        Reading(body["series"], instant, value, flags | Quality.MISSING if value is None else flags, reason)
        for instant, value in zip(body["instant"], body["value"], strict=True)
    ]


def check_form(body: Mapping[str, Any]) -> None:
    """Raise ValueError, saying what was found and expected, unless `body` is that of a correction."""
    state = body.get("correction")
    keys = _KEYS.get(state) if isinstance(state, str) else None
    if keys is None:
        raise ValueError(f"correction: found {state!r:.80}; expected one of {', '.join(_KEYS)}")
    if given := set(body) - {"inbox"} ^ keys:
        raise ValueError(f"correction: the keys {', '.join(sorted(given))} are missing or unknown")
    if not isinstance(body["reason"], str) or (state != APPROVED and not body["reason"].strip()):
        raise ValueError("reason: found nothing; expected why, in words")
    check_names([body["series"]])
    instants, values = body["instant"], body["value"]
    _check_columns(instants, values)
    if state == PROPOSED:
        _check_evidence(body["evidence"])
        if not _is_column(body["was"], len(instants)):
            raise ValueError("was: expected the values that stood, as many as instants")
    elif type(body["proposal"]) is not int or body["proposal"] < 1:
        raise ValueError(f"proposal: found {body['proposal']!r:.80}; expected the sequence number of a proposal")


def _columns(correction: Correction) -> dict[str, Any]:
    return {
        "instant": list(correction.instants),
        "reason": correction.reason,
        "series": correction.series,
        "value": list(correction.values),
    }


def _check_columns(instants: object, values: object) -> None:
    if not isinstance(instants, list) or not 0 < len(instants) <= MOST:
        raise ValueError(f"instant: expected a list of 1 to {MOST} instants [us, UTC]")
    if not all(type(instant) is int and instant in _INT64 for instant in instants):
        raise ValueError("instant: expected microseconds as 64-bit integers")
    if any(later <= earlier for earlier, later in pairwise(instants)):
        raise ValueError("instant: expected ascending instants, each once")
    if not _is_column(values, len(instants)):
        raise ValueError("value: expected 64-bit integers, finite floats or nothing, as many as instants")


def _is_column(values: object, length: int) -> bool:
    return isinstance(values, list) and len(values) == length and all(map(_is_value, values))


def _is_value(value: object) -> bool:
    if type(value) is int:
        return value in _INT64
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _check_evidence(evidence: object) -> None:
    if evidence is None:
        return
    if not isinstance(evidence, dict) or set(evidence) != set(Evidence._fields):
        raise ValueError(f"evidence: expected nothing, or {', '.join(Evidence._fields)}")
    if not isinstance(evidence["file"], str) or not _SHA256.fullmatch(str(evidence["sha256"])):
        raise ValueError("evidence: expected a file name and a SHA-256 in hex")
    if type(evidence["bytes"]) is not int or evidence["bytes"] < 0:
        raise ValueError(f"evidence: found size {evidence['bytes']!r:.80}; expected how many bytes it has")
