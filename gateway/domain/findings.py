"""Findings: one stated non-conformity with its clause and its evidence (审查发现)."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding weighs."""

    NOTICE = "notice"
    WARNING = "warning"
    VIOLATION = "violation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A broken rule, told so that somebody can mend it."""

    code: str  # a noun with its clause, e.g. "gb17167.validity.overdue"
    clause: str
    severity: Severity
    enterprise: str
    subject: str  # the instrument, point or figure concerned
    evidence: str
    what_to_do: str
