"""`emg import certificates | instruments | production | output-value`: a CSV file into the ledger, row by row."""

import getpass
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from gateway.clocks import SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import ImportRefused
from gateway.ledger.booking import Entry
from gateway.ledger.ledger import Ledger
from gateway.ledger.opening import open_ledger, rehearsal
from gateway.ledger.rows import READERS
from gateway.ledger.topology import record_topology
from gateway.ledger.verdicts import Outcome, Verdict, Verdicts, import_table

SHOWN_ROWS = 40  # of a longer file the table shows only what needs attention


def import_file(site: Site, kind: str, file: Path, entry: Entry, *, check: bool = False) -> Verdicts:
    """Import a file into the site's ledger, after the site file itself; `check` tries it on a copy only.

    Raises ImportRefused when the file cannot be read, LedgerError.
    """

    def into(ledger: Ledger) -> Verdicts:
        record_topology(site, ledger, recorded_at=entry["recorded_at"], recorded_by=entry["recorded_by"])
        return import_table(ledger, EVERYTHING, site, kind, file, **entry)

    if check:
        with rehearsal(site) as ledger:
            return into(ledger)
    with closing(open_ledger(site, read_only=False)) as ledger:
        return into(ledger)


def _app(kind: str) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command(
        help=f"Import {kind.replace('-', ' ')} from FILE, a CSV file with a header row, in Chinese or English."
    )
    def import_command(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="a CSV file in UTF-8")],
        site_file: Annotated[Path, typer.Option("--site", metavar="SITE", help="the site file", envvar="EMG_SITE")],
        by: Annotated[str, typer.Option(metavar="NAME", help="who records it; else the login name")] = "",
        reason: Annotated[str, typer.Option(metavar="TEXT", help="why; else the file's name")] = "",
        check: Annotated[bool, typer.Option("--check", help="a dry run: tell the verdicts, book nothing")] = False,
        json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
    ) -> None:
        entry = Entry(
            recorded_at=SystemClock().now(),
            recorded_by=by or _login_name(),
            reason=reason or f"import of {file.name}",
        )
        verdicts = import_file(load_site(site_file), kind, file, entry, check=check)
        if json:
            print_json(_document(kind, file, verdicts, check=check))
        else:
            _print(verdicts, check=check)
        if verdicts.count(Outcome.REFUSED):
            raise typer.Exit(1)

    return app


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise ImportRefused("who imports this? This login has no name; say --by NAME.") from error


def _document(kind: str, file: Path, verdicts: Verdicts, *, check: bool) -> dict[str, object]:
    return {
        "kind": kind,
        "file": str(file),
        "check": check,
        **{outcome.value: verdicts.count(outcome) for outcome in Outcome},
        "columns_not_read": list(verdicts.not_read),
        "rows": [_row_document(row) for row in verdicts.rows],
    }


def _row_document(row: Verdict) -> dict[str, object]:
    problems = [
        {"column": problem.key, "found": problem.found, "expected": problem.expected, "mend": problem.mend}
        for problem in row.problems
    ]
    return {
        "line": row.line,
        "verdict": row.outcome.value,
        "subject": row.subject,
        "note": row.note,
        "problems": problems,
    }


def _print(verdicts: Verdicts, *, check: bool) -> None:
    if verdicts.not_read:
        names = ", ".join(map(repr, verdicts.not_read))
        typer.echo(f"columns not read, as their headings are unknown: {names}", err=True)
    table = Table("line", "verdict", "about", "column", "found", "expected")
    table.columns[0].justify = "right"
    shown = [row for row in verdicts.rows if row.problems or row.note]
    for row in verdicts.rows if len(verdicts.rows) <= SHOWN_ROWS else shown:
        first = [str(row.line), row.outcome.value, row.subject]
        wrong = [[one.key, one.found, f"{one.expected}. {one.mend}".strip()] for one in row.problems]
        for cells in wrong or [["", row.note, ""]]:
            table.add_row(*map(Text, [*first, *cells]))  # Text: a cell's brackets are not markup
            first = ["", "", ""]
    out = console()
    if table.row_count:
        out.print(table)
    counts = ", ".join(f"{verdicts.count(outcome)} {outcome.value}" for outcome in Outcome)
    out.print(f"{len(verdicts.rows)} rows: {counts}.{' Dry run: nothing was booked.' if check else ''}")
    if verdicts.count(Outcome.REFUSED):
        typer.echo("Mend the refused rows and import the file again; what was booked stays as it is.", err=True)


def import_main(argv: list[str]) -> int:
    """`emg import KIND ...` for the kinds that go into the ledger. Returns 0 good, 1 rows refused, 2 could not run."""
    kind = argv[0] if argv else ""
    if kind not in READERS:
        typer.echo(f"emg import: found {kind!r}; expected {' | '.join(READERS)}.", err=True)
        return 2
    return run_app(_app(kind), argv[1:], f"emg import {kind}")


def _main_of(kind: str) -> Callable[[list[str]], int]:
    return lambda argv: import_main([kind, *argv])


certificates_main = _main_of("certificates")
instruments_main = _main_of("instruments")
production_main = _main_of("production")
output_value_main = _main_of("output-value")
