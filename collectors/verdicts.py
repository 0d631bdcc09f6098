"""The verdict on a file, as JSON for programs and as a table for people: row, column, found, expected, how to mend."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from collectors.file_readings import FileReadings
from collectors.mapping import Mapping as FileMapping
from collectors.tables import BadRow
from gateway.domain.periods import iso
from gateway.exports.csv_text import as_text
from gateway.journal.disk import remove_file, write_file

ENDINGS = (".verdict.json", ".verdict.csv")
TOLD_ROWS = 10_000
_HEAD = ("row", "column", "found", "expected", "how to mend")


def verdict_of_readings(found: FileReadings, mapping: FileMapping, timezone: str) -> dict[str, object]:
    """What is told of a file whose readings were taken."""
    return {
        "accepted": True,
        "file_sha256": found.file_sha256,
        "mapping": mapping.file,
        "mapping_sha256": mapping.sha256,
        "readings": len(found.readings),
        "repeated": found.repeated,
        "first": iso(found.first, timezone),
        "last_end": iso(found.last_end, timezone),
        "refused": len(found.bad),
        "findings": found.findings,
    }


def write_verdict(path: Path, told: Mapping[str, object], rows: Sequence[BadRow], sentences: Sequence[str]) -> None:
    """Write both forms beside `path`, under its name. `sentences` are about the file as a whole. Raises OSError."""
    as_json, as_csv = verdict_files(path)
    document = {**told, "refused_rows": [row._asdict() for row in rows[:TOLD_ROWS]]}
    write_file(as_json, json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace") + b"\n")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(_HEAD)
    writer.writerows(("", "(file)", as_text(sentence), "", "") for sentence in sentences)
    for line, *words in rows[:TOLD_ROWS]:
        writer.writerow((line, *map(as_text, map(str, words))))
    write_file(as_csv, table.getvalue().encode("utf-8-sig", "backslashreplace"))


def remove_verdict(path: Path) -> None:
    """Take away the verdict on an earlier content of a file. Raises OSError."""
    for file in verdict_files(path):
        remove_file(file)


def verdict_files(path: Path) -> tuple[Path, Path]:
    """Where the verdict on a file lies: (JSON, CSV)."""
    as_json, as_csv = (path.with_name(path.name + ending) for ending in ENDINGS)
    return as_json, as_csv
