"""`emg import readings`: readings from a CSV that nobody here wrote, by a mapping that says what it means."""

import getpass
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from collectors.booking import Booked, book
from collectors.file_readings import FileReadings, read_file
from collectors.mapping import Mapping, load_mapping
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
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files")],
    mapping_file: Annotated[Path, typer.Option("--map", help="the mapping that says what the columns mean")],
    site_file: Annotated[Path, typer.Option("--site", help="the site file")],
    by: Annotated[str, typer.Option(help="who imports; the journal keeps the name")] = "",
    check: Annotated[bool, typer.Option("--check", help="read and cross-check only; book nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Read FILE... by a mapping, cross-check both, and book the readings.

    A file that contradicts its mapping is refused as a whole. A row that cannot be read is told by line and
    column and takes no other row with it.
    """
    site, mapping, clock = load_site(site_file), load_mapping(mapping_file), SystemClock()
    author = by or getpass.getuser()
    told: list[dict[str, object]] = []
    code = GOOD
    for path in files:
        try:
            found = read_file(path, mapping, site, now=clock.now())
        except ImportRefused as refusal:
            print(refusal, file=sys.stderr)  # noqa: T201 - messages go to standard error
            told.append({"file": str(path), "refused": str(refusal).splitlines()})
            code = COULD_NOT_RUN
            continue
        booked = None if check else book(path, found, mapping, site, author=author, clock=clock)
        document = as_document(path, found, mapping, booked, timezone=site.timezone)
        told.append(document)
        code = max(code, FINDINGS if found.bad or found.findings else GOOD)
        if not json:
            _print(document, found, site.timezone)
    if json:
        print_json({"checked_only": check, "files": told})
    if code != GOOD:
        raise typer.Exit(code)


def monthly_totals(found: FileReadings, timezone: str) -> dict[str, Decimal]:
    """The sum of every month of plant time [unit of the register], exactly; empty for totals and momentary values."""
    if found.series.register.kind is not RegisterKind.INTERVAL or found.series.resolution is None:
        return {}
    counts: Counter[str] = Counter()
    for reading in found.readings:
        counts[f"{to_datetime(reading.instant, timezone):%Y-%m}"] += int(reading.value or 0)
    return {month: counts[month] * found.series.resolution for month in sorted(counts)}


def as_document(
    path: Path, found: FileReadings, mapping: Mapping, booked: Booked | None, *, timezone: str
) -> dict[str, object]:
    """What is told of one file, as JSON."""
    return {
        "file": str(path),
        "file_sha256": found.file_sha256,
        "mapping": mapping.file,
        "mapping_sha256": mapping.sha256,
        "series": found.series.key,
        "unit": found.series.register.unit,
        "readings": len(found.readings),
        "first": iso(found.first, timezone),
        "last_end": iso(found.last_end, timezone),
        "months": {month: str(total) for month, total in monthly_totals(found, timezone).items()},
        "refused_rows": [row._asdict() for row in found.bad],
        "findings": found.findings,
        "booked": None if booked is None else {**booked._asdict(), "imported_before": booked.parts == 0},
    }


def _print(document: dict[str, object], found: FileReadings, timezone: str) -> None:
    out, unit = console(), found.series.register.unit
    out.print(
        f"{document['file']}: {len(found.readings)} readings for {found.series.key}", markup=False, highlight=False
    )
    out.print(f"first {document['first']}, end of last {document['last_end']} ({timezone})", highlight=False)
    months = monthly_totals(found, timezone)
    if months:
        table = Table("month", f"total, {unit}")
        table.columns[1].justify = "right"
        for month, total in [*months.items(), ("all", sum(months.values(), Decimal(0)))]:
            table.add_row(month, f"{total:,}")
        out.print(table)
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
        return "imported before, by this very mapping: nothing was booked again"
    stored = "the acquiring process stores them" if booked["stored"] is None else f"{booked['stored']} readings stored"
    return f"booked: journal entries {booked['first_sequence']} to {booked['last_sequence']}; {stored}"


def import_readings_main(argv: list[str]) -> int:
    """`emg import readings`."""
    return run_app(app, argv, "emg import readings")
