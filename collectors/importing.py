"""`emg import readings`: readings from a CSV or a workbook, by a mapping that says what it means."""

import getpass
import sys
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from collectors.booking import Booked, book
from collectors.file_readings import FileReadings, FileRefused, SeriesReadings, read_file
from collectors.known_rows import KnownRows
from collectors.mapping import Mapping, load_mapping
from collectors.tables import BadRow
from collectors.verdicts import verdict_of_readings, write_verdict
from gateway.clocks import SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.instruments import RegisterKind
from gateway.domain.periods import iso, to_datetime
from gateway.errors import ImportRefused

GOOD, FINDINGS, COULD_NOT_RUN = 0, 1, 2
SHOWN_ROWS = 20
app = typer.Typer(add_completion=False)


@app.command()
def import_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files or XLSX workbooks")],
    mapping_file: Annotated[Path, typer.Option("--map", help="the mapping that says what the columns mean")],
    site_file: Annotated[Path, typer.Option("--site", help="the site file")],
    by: Annotated[str, typer.Option(help="who imports; the journal keeps the name")] = "",
    check: Annotated[bool, typer.Option("--check", help="read and cross-check only; book nothing")] = False,
    verdicts: Annotated[
        bool,
        typer.Option("--verdicts", help="write FILE.verdict.json and FILE.verdict.csv beside what was not taken whole"),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Read FILE... by a mapping, cross-check both, and book the readings.

    A file that contradicts its mapping is refused as a whole. A row that cannot be read is told by line and
    column and takes no other row with it; one that was booked before is not booked again.
    """
    site, mapping, clock = load_site(site_file), load_mapping(mapping_file), SystemClock()
    known = KnownRows(site)
    author = by or getpass.getuser()
    told: list[dict[str, object]] = []
    code = GOOD
    for path in files:
        try:
            found = known.sift(read_file(path, mapping, site, now=clock.now()))
        except ImportRefused as refusal:
            print(refusal, file=sys.stderr)  # noqa: T201 - messages go to standard error
            told.append({"file": str(path), "refused": str(refusal).splitlines()})
            code = COULD_NOT_RUN
            if verdicts:
                rows = refusal.rows if isinstance(refusal, FileRefused) else ()
                _write_verdict(path, told[-1], rows, str(refusal).splitlines())
            continue
        booked = None if check else book(path, found, mapping, site, author=author, clock=clock)
        if booked is not None:
            known.remember(found)
        document = as_document(path, found, mapping, booked, timezone=site.timezone)
        if verdicts and (found.bad or found.findings):
            _write_verdict(path, verdict_of_readings(found, mapping, site.timezone), found.bad, found.findings)
        told.append(document)
        code = max(code, FINDINGS if found.bad or found.findings else GOOD)
        if not json:
            _print(document, found, site.timezone)
    if json:
        print_json({"checked_only": check, "files": told})
    if code != GOOD:
        raise typer.Exit(code)


def monthly_totals(part: SeriesReadings, timezone: str) -> dict[str, Decimal]:
    """The sum of every month of plant time [unit of the register], exactly; empty for totals and momentary values."""
    if part.series.register.kind is not RegisterKind.INTERVAL or part.series.resolution is None:
        return {}
    counts: Counter[str] = Counter()
    for reading in part.readings:
        counts[f"{to_datetime(reading.instant, timezone):%Y-%m}"] += int(reading.value or 0)
    return {month: counts[month] * part.series.resolution for month in sorted(counts)}


def as_document(
    path: Path, found: FileReadings, mapping: Mapping, booked: Booked | None, *, timezone: str
) -> dict[str, object]:
    """What is told of one file, as JSON."""
    return {
        "file": str(path),
        "file_sha256": found.file_sha256,
        "mapping": mapping.file,
        "mapping_sha256": mapping.sha256,
        "readings": len(found.readings),
        "first": iso(found.first, timezone),
        "last_end": iso(found.last_end, timezone),
        "series": [
            {
                "series": part.series.key,
                "unit": part.series.register.unit,
                "readings": len(part.readings),
                "months": {month: str(total) for month, total in monthly_totals(part, timezone).items()},
            }
            for part in found.parts
        ],
        "repeated": found.repeated,
        "refused_rows": [row._asdict() for row in found.bad],
        "findings": found.findings,
        "booked": None if booked is None else {**booked._asdict(), "imported_before": booked.parts == 0},
    }


def _write_verdict(path: Path, told: dict[str, object], rows: Sequence[BadRow], sentences: Sequence[str]) -> None:
    try:
        write_verdict(path, told, rows, sentences)
    except OSError as error:
        print(f"{path}: its verdict cannot be written: {error.strerror}.", file=sys.stderr)  # noqa: T201 - as above


def _print(document: dict[str, object], found: FileReadings, timezone: str) -> None:
    out = console()
    for part in found.parts:
        unit, key = part.series.register.unit, part.series.key
        out.print(f"{document['file']}: {len(part.readings)} readings for {key}", markup=False, highlight=False)
        months = monthly_totals(part, timezone)
        if months:
            table = Table("month", f"total, {unit}")
            table.columns[1].justify = "right"
            for month, total in [*months.items(), ("all", sum(months.values(), Decimal(0)))]:
                table.add_row(month, f"{total:,}")
            out.print(table)
    out.print(f"first {document['first']}, end of last {document['last_end']} ({timezone})", highlight=False)
    if found.repeated:
        out.print(f"{found.repeated} of them were booked before and are left out", highlight=False)
    for row in found.bad[:SHOWN_ROWS]:
        out.print(f"refused: {row.sentence(str(document['file']))}", markup=False, highlight=False)
    if len(found.bad) > SHOWN_ROWS:
        out.print(f"... and {len(found.bad) - SHOWN_ROWS} more refused rows; --json lists all", highlight=False)
    for finding in found.findings:
        out.print(f"finding: {finding}", markup=False, highlight=False)
    out.print(_fate(document["booked"]), highlight=False)


def _fate(booked: object) -> str:
    if not isinstance(booked, dict):
        return "checked only: nothing was booked"
    if booked["imported_before"]:
        return "every row was booked before: nothing was booked again"
    stored = "the acquiring process stores them" if booked["stored"] is None else f"{booked['stored']} readings stored"
    return f"booked: journal entries {booked['first_sequence']} to {booked['last_sequence']}; {stored}"


def import_readings_main(argv: list[str]) -> int:
    """`emg import readings`."""
    return run_app(app, argv, "emg import readings")
