"""What the journal holds against what a correction claims: the reading that stood, and the document that shows why."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gateway.domain.readings import Quality, Reading
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries_of

EVIDENCE = "evidence"  # the folder in the data folder; a document lies there under its SHA-256
Value = int | float | None


class Asked(NamedTuple):
    """Which readings of a series are looked for: at these instants [us, UTC], as they stood before an entry."""

    series: str
    instants: tuple[int, ...]
    before: int | None = None  # None: as they stand now


def recorded(directory: Path, asked: Iterable[Asked]) -> dict[Asked, tuple[Value, ...]]:
    """The values that stood, from the journal alone: None where nothing was read or its entry has left by age.

    One pass for each series; the reading store, which may lag behind, is not asked. Raises JournalError on damage.
    """
    by_series: dict[str, list[Asked]] = {}
    for one in asked:
        by_series.setdefault(one.series, []).append(one)
    found: dict[Asked, tuple[Value, ...]] = {}
    for series, wanted in by_series.items():
        kept = _history(directory, series, {instant for one in wanted for instant in one.instants})
        for one in wanted:
            found[one] = tuple(_standing(kept.get(instant, ()), one.before) for instant in one.instants)
    return found


def _history(directory: Path, series: str, instants: set[int]) -> dict[int, list[tuple[int, Reading]]]:
    """(sequence, reading) of a series at these instants, in the order of the journal."""
    kept: dict[int, list[tuple[int, Reading]]] = {}
    for entry in entries_of(directory, f'"{series}"'.encode()):
        if entry.kind in (EntryKind.READINGS, EntryKind.CORRECTION):
            for reading in readings_of(entry):
                if reading.series == series and reading.instant in instants:
                    kept.setdefault(reading.instant, []).append((entry.sequence, reading))
    return kept


def _standing(history: Iterable[tuple[int, Reading]], before: int | None) -> Value:
    """The rule of the reading store: the newest correction, else the first usable reading."""
    kept = Reading("", 0, None, Quality.MISSING)
    for sequence, reading in history:
        usable = not reading.quality & Quality.MISSING and kept.quality & Quality.MISSING
        first = usable and not kept.quality & Quality.CORRECTED
        if (before is None or sequence < before) and (reading.quality & Quality.CORRECTED or first):
            kept = reading
    return kept.value


def check_recorded(found: Mapping[Asked, tuple[Value, ...]], body: Mapping[str, Any]) -> None:
    """Raise ValueError unless a proposal's `was` is what the journal holds; `found` is of `recorded`."""
    held = found[asked_of(body)]
    for instant, claimed, value in zip(body["instant"], body["was"], held, strict=True):
        if claimed != value:
            raise ValueError(
                f"was: found {claimed!r} for {body['series']} at {instant} us; the journal holds {value!r}: "
                "propose anew with what is recorded"
            )


def asked_of(body: Mapping[str, Any]) -> Asked:
    """What a proposal makes a claim about."""
    return Asked(body["series"], tuple(body["instant"]))


def check_evidence(data_dir: Path, evidence: Mapping[str, Any] | None) -> None:
    """Raise ValueError unless the document that is named lies in the evidence folder with that digest and size."""
    if evidence is None:
        return
    path = data_dir / EVIDENCE / evidence["sha256"]
    try:
        with path.open("rb") as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        raise ValueError(f"evidence: {path}: {error.strerror}; put the document there under its SHA-256") from error
    if digest != evidence["sha256"] or size != evidence["bytes"]:
        raise ValueError(
            f"evidence: {path}: found {size} bytes with SHA-256 {digest}; expected {evidence['bytes']} bytes with "
            f"{evidence['sha256']}: put the document there that was named"
        )
