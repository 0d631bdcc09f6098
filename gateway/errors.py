"""The gateway's errors: who must act, and what is safe meanwhile.

GatewayError
├─ ConfigError          somebody must edit the site file; carries one Problem per mistake
├─ ProfileError         somebody must edit a meter profile
├─ LedgerError          an entry in the ledger is missing, contradictory or refused
├─ StandardTableError   a standard's table is damaged, or has no row for what was asked
├─ ImportRefused        a file offered for import; nothing of it was booked
├─ LineError            the field did not answer rightly; retried with back-off
│   └─ LineSilent · LineGarbled · LineRefused
├─ JournalError         the evidence cannot be written or does not verify; intake stops
│   ├─ JournalHeld      another program writes it: entries reach it through the inbox
│   └─ JournalStopped   the disk failed under it; opened anew it goes on from what is on the disk
└─ StoreError           a reading store or sink failed; nothing is lost, the journal keeps it
    └─ SinkBusy · SinkDenied · SinkRefuses
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file that a person wrote, told so that it can be mended."""

    file: str
    line: int | None  # 1-based; None where the mistake is the file as a whole
    key: str  # dotted path, e.g. "meter[2].device_address"
    found: str
    expected: str
    mend: str = ""

    def sentence(self) -> str:
        """The mistake as one sentence: file, line, key, found, expected, and how to mend it."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        text = f"{where}: {self.key}: found {self.found}; expected {self.expected}"
        return f"{text}. {self.mend}" if self.mend else f"{text}."


class GatewayError(Exception):
    """Root of all errors this product raises on purpose."""


class ConfigError(GatewayError):
    """The site file (or another file a person wrote) cannot be used as it is."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.sentence() for problem in self.problems))


class ProfileError(GatewayError):
    """A meter profile is incomplete, contradicts its own example, or has none."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems)  # one per mistake in the file; empty where there is no file
        super().__init__(message)


class LedgerError(GatewayError):
    """The ledger refuses an entry, or lacks one that a figure needs."""


class StandardTableError(GatewayError):
    """A table of a standard is damaged, or holds no row for the edition and subject asked for."""


class ImportRefused(GatewayError):
    """A file offered for import contradicts its mapping; nothing of it was booked."""


class LineError(GatewayError):
    """The field did not answer rightly. The gap is recorded and the line is tried again."""

    reason = "line.error"


class LineSilent(LineError):
    """No answer within the time allowed, or no connection."""

    reason = "line.silent"


class LineGarbled(LineError):
    """An answer that does not fit the question (length, function code, transaction)."""

    reason = "line.garbled"


class LineRefused(LineError):
    """The device answered with an exception code."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code
        self.reason = f"line.refused.{code}"


class JournalError(GatewayError):
    """The journal cannot be written, is held by another writer, or does not verify."""


class JournalHeld(JournalError):
    """Another writer holds the journal."""


class JournalStopped(JournalError):
    """The disk failed under the journal (full, I/O error). Opened anew, it goes on from what is on the disk."""


class StoreError(GatewayError):
    """A reading or interval store failed. Nothing is lost: the journal keeps the readings."""


class SinkBusy(StoreError):
    """The server asks for patience; `retry_after_s` [s] is what it asked for, 0 where it named no time."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SinkRefuses(StoreError):
    """The server refuses so much that it is no matter of single readings. Everything is held, and given again."""


class SinkDenied(StoreError):
    """The server does not let us in (401, 403). Everything is held until somebody mends the credentials."""
