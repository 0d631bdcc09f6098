"""Books what a file gave: through the inbox into the journal, once, and from there into the reading store."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from collectors.file_readings import FileReadings
from collectors.mapping import Mapping as FileMapping
from gateway.clocks import Clock
from gateway.domain.sites import Site
from gateway.handing_in import Item, hand_in
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.reader import entries_of

ORIGIN = "emg import readings"
READINGS_A_PART = 2000
TOLD_ROWS = 100  # refused rows that the journal's note names one by one


class Booked(NamedTuple):
    """What became of one file. `parts` = entries of readings made now; 0 when it was imported before."""

    parts: int
    first_sequence: int
    last_sequence: int
    stored: int | None  # readings moved into the reading store here; None: the acquiring process does it


def book(
    path: Path, found: FileReadings, mapping: FileMapping, site: Site, *, author: str, clock: Clock, wait_s: float = 60
) -> Booked:
    """Journal the readings of one file and fill the store. Parts that the journal holds already are passed over.

    When an acquiring process holds the journal it takes them in; otherwise this process does. Raises
    JournalError (also when no verdict came within `wait_s` [s]: the file then waits in the inbox, safe),
    StoreError, ImportRefused.
    """
    done = _parts_in_journal(site.data_dir / "journal", found, mapping)
    items = _items(path, found, mapping, done)
    handed = hand_in(site, items, origin=ORIGIN, author=author, clock=clock, wait_s=wait_s)
    return Booked(sum(1 for kind, _ in items if kind is EntryKind.READINGS), *handed)


def _items(path: Path, found: FileReadings, mapping: FileMapping, done: set[int]) -> list[Item]:
    """What is to be journaled: nothing where every part of the file is in the journal already."""
    parts = [(EntryKind.READINGS, body) for number, body in _parts(path, found, mapping) if number not in done]
    return parts if done or not parts else [(EntryKind.EVENT, _note(path, found, mapping)), *parts]


def _parts(path: Path, found: FileReadings, mapping: FileMapping) -> Iterator[tuple[int, Mapping[str, object]]]:
    count = -(-len(found.readings) // READINGS_A_PART)
    for number in range(count):
        chunk = found.readings[number * READINGS_A_PART : (number + 1) * READINGS_A_PART]
        yield number, {**readings_body("import", chunk), "import": {**_source(path, found, mapping), "part": number}}


def _source(path: Path, found: FileReadings, mapping: FileMapping) -> dict[str, object]:
    return {"file": path.name, "file_sha256": found.file_sha256, "mapping_sha256": mapping.sha256}


def _note(path: Path, found: FileReadings, mapping: FileMapping) -> dict[str, object]:
    """What the journal keeps of the import beside the readings: the mapping's text, and what was not taken."""
    return {
        "event": "readings_imported",
        **_source(path, found, mapping),
        "mapping": mapping.text,
        "readings": len(found.readings),
        "refused_rows": len(found.bad),
        "refused": [row.sentence(path.name) for row in found.bad[:TOLD_ROWS]],
        "findings": found.findings,
    }


def _parts_in_journal(journal_dir: Path, found: FileReadings, mapping: FileMapping) -> set[int]:
    """The parts of this very file, read by this very mapping, that the journal holds."""
    if not journal_dir.is_dir():
        return set()
    wanted = (found.file_sha256, mapping.sha256)
    mark = f'"file_sha256":"{found.file_sha256}"'.encode()
    sources = (entry.body.get("import") for entry in entries_of(journal_dir, mark) if entry.kind is EntryKind.READINGS)
    return {
        source["part"]
        for source in sources
        if isinstance(source, dict) and (source.get("file_sha256"), source.get("mapping_sha256")) == wanted
    }
