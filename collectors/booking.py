"""Books what a file gave: through the inbox into the journal, once, and from there into the reading store."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from collectors.file_readings import FileReadings, SeriesReadings
from collectors.mapping import Mapping as FileMapping
from gateway.clocks import Clock
from gateway.domain.sites import Site
from gateway.handing_in import Item, hand_in
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.inbox import submit
from gateway.journal.reader import entries_of

ORIGIN = "emg import readings"
DROPPED = "drop folder"  # the origin of what a drop folder notes
READINGS_A_PART = 2000
PARTS_A_FILE = 100  # an inbox file has a largest size
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
    source = _source(path, found, mapping)
    done = parts_in_journal(site.data_dir / "journal", source)
    items: list[Item] = []
    for number, part in _parts(found):
        fresh = without(part, found)
        if number not in done and fresh.readings:
            told = {**source, "part": number, **_rows(fresh, found, mapping)}
            items.append((EntryKind.READINGS, {**readings_body("import", fresh.readings), "import": told}))
    count = len(items)
    if items and not done:
        items.insert(0, (EntryKind.EVENT, _note(path, found, mapping)))
    return Booked(count, *hand_in(site, items, origin=ORIGIN, author=author, clock=clock, wait_s=wait_s))


def note_dropped(path: Path, found: FileReadings, mapping: FileMapping, site: Site, line: str, clock: Clock) -> None:
    """Hand in what the journal keeps of a dropped file beside its readings: mapping, refusals, tickets, people.

    Raises JournalError when the disk fails.
    """
    source = _source(path, found, mapping)
    items: list[Item] = [(EntryKind.EVENT, _note(path, found, mapping))]
    for number, part in _parts(found):
        if rows := _rows(part, found, mapping):
            items.append((EntryKind.EVENT, {"event": "rows_imported", "import": {**source, "part": number, **rows}}))
    for start in range(0, len(items), PARTS_A_FILE):
        some = items[start : start + PARTS_A_FILE]
        submit(site.data_dir, some, origin=DROPPED, author=f"line {line}", clock=clock)


def without(part: SeriesReadings, found: FileReadings) -> SeriesReadings:
    """A part without the readings that are left out."""
    if not found.left_out:
        return part
    pairs = zip(part.readings, part.lines, strict=True)
    fresh = [(r, line) for r, line in pairs if (r.series, r.instant) not in found.left_out]
    return SeriesReadings(part.series, [reading for reading, _ in fresh], [line for _, line in fresh])


def parts_in_journal(journal_dir: Path, source: Mapping[str, object]) -> set[int]:
    """The parts of this very file, read by this very mapping, that the journal holds."""
    if not journal_dir.is_dir():
        return set()
    keys = ("file_sha256", "mapping_sha256")
    mark = f'"file_sha256":"{source["file_sha256"]}"'.encode()
    found = (entry.body.get("import") for entry in entries_of(journal_dir, mark) if entry.kind is EntryKind.READINGS)
    return {
        told["part"]
        for told in found
        if isinstance(told, dict) and [told.get(key) for key in keys] == [source[key] for key in keys]
    }


def _parts(found: FileReadings) -> Iterator[tuple[int, SeriesReadings]]:
    """What a file gave in parts of a bounded size, numbered by their places in it."""
    number = 0
    for series, readings, lines in found.parts:
        for start in range(0, len(readings), READINGS_A_PART):
            end = start + READINGS_A_PART
            yield number, SeriesReadings(series, readings[start:end], lines[start:end])
            number += 1


def _rows(part: SeriesReadings, found: FileReadings, mapping: FileMapping) -> dict[str, object]:
    """What the journal keeps of the rows beside their values: nothing where the mapping names no such column."""
    if not found.notes:
        return {}
    notes = [found.notes[line] for line in part.lines]
    rows: dict[str, object] = {"series": part.series.key, "lines": part.lines}
    if mapping.ticket is not None:
        rows["tickets"] = [note.ticket for note in notes]
    if mapping.person is not None:
        rows["persons"] = [note.person for note in notes]
    rows |= {"instants": [r.instant for r in part.readings], "values": [r.value for r in part.readings]}
    return {"rows": rows}


def _source(path: Path, found: FileReadings, mapping: FileMapping) -> dict[str, object]:
    return {"file": shown_name(path), "file_sha256": found.file_sha256, "mapping_sha256": mapping.sha256}


def _note(path: Path, found: FileReadings, mapping: FileMapping) -> dict[str, object]:
    """What the journal keeps of the import beside the readings: the mapping's text, and what was not taken."""
    return {
        "event": "readings_imported",
        **_source(path, found, mapping),
        "mapping": mapping.text,
        "readings": len(found.readings),
        "repeated": found.repeated,
        "refused_rows": len(found.bad),
        "refused": [row.sentence(shown_name(path)) for row in found.bad[:TOLD_ROWS]],
        "findings": found.findings,
    }


def shown_name(path: Path) -> str:
    """A file's name as text, whatever bytes it is made of."""
    return path.name.encode("utf-8", "backslashreplace").decode()
