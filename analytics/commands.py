"""`emg settle`, `emg figures` and `emg pedigree`: what is settled and computed, as tables for people and JSON."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analytics.context import FigureContext
from analytics.copies import copy_settled, destinations, note_settled
from analytics.copy_book import CopyBook
from analytics.figures import figures_of, resolve
from analytics.pedigree import figure_node, unfold
from analytics.settle import Note, SettleReport, settle_once
from analytics.standards.tables import load_tables
from analytics.tree_view import figures_table, pedigree_tree
from gateway.clocks import Clock, SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.contracts import ReadingStore
from gateway.domain.periods import iso
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.ledger.opening import open_ledger
from gateway.stores.intervals import IntervalStore
from gateway.stores.opening import open_interval_store, open_reading_store

FINDINGS = 1
settle_app = typer.Typer(add_completion=False)
figures_app = typer.Typer(add_completion=False)
pedigree_app = typer.Typer(add_completion=False)

SiteOption = Annotated[Path, typer.Option("--site", metavar="SITE", help="the site file")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document instead of a table")]


@contextmanager
def figure_context(site: Site, clock: Clock) -> Iterator[FigureContext]:
    """Everything that figures of a site are made from, open for reading, for the operator's eyes.

    Raises StoreError, LedgerError or StandardTableError when a part is missing or damaged.
    """
    with (
        open_reading_store(site, read_only=True) as readings,
        open_interval_store(site, read_only=True) as intervals,
        closing(open_ledger(site, read_only=True)) as ledger,
    ):
        yield FigureContext(
            site_timezone=site.timezone,
            intervals=intervals,
            readings=readings,
            ledger=ledger,
            tables=load_tables(),
            scope=EVERYTHING,
            now=clock.now(),
            series=site.series,
            interval_s=site.interval_s,
            due_soon_days=site.due_soon_days,
        )


@settle_app.command()
def settle_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    again: Annotated[bool, typer.Option("--again", help="look at every reading, not only at new ones")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="print nothing unless something is wrong")] = False,
    json: AsJson = False,
) -> None:
    """Turn new readings of SITE into intervals; exit 1 when a series could not be settled."""
    site = load_site(site_file)
    with (
        open_reading_store(site, read_only=True) as readings,
        # The one writer of intervals: a second settle waits here, and then finds nothing to do.
        open_interval_store(site, read_only=False) as intervals,
    ):
        report = _settled_and_copied(site, readings, intervals, again=again)
    if json:
        print_json(asdict(report) | {"settled_at": iso(report.settled_at)})
    elif not quiet:
        out = console()
        out.print(f"{report.series} series settled up to journal entry {report.watermark}; {report.changed} changes.")
    for sentence in (*report.refused, *(f"{name}: the site file names no such series" for name in report.unknown)):
        print(sentence, file=sys.stderr)  # noqa: T201 - findings are messages
    if report.refused:
        raise typer.Exit(FINDINGS)


@figures_app.command()
def figures_command(
    site_file: SiteOption,
    enterprise: Annotated[str, typer.Option("--enterprise", help="id of the enterprise")],
    period: Annotated[str, typer.Option("--period", help="YYYY, YYYY-MM, YYYY-MM-DD or DAY..DAY of plant time")],
    as_of: Annotated[str, typer.Option("--as-of", help="what was known then, ISO 8601 with offset")] = "",
    json: AsJson = False,
) -> None:
    """All figures of an enterprise and a period, each with its uncertainty, coverage, marks and id."""
    site = load_site(site_file)
    with figure_context(site, SystemClock()) as context:
        found = figures_of(context, enterprise, period, as_of)
    if json:
        print_json([figure_node(figure) for figure in found])
        return
    out = console()
    out.print(figures_table(found, f"{enterprise}, {period} ({site.timezone})"))
    for figure in found:
        if figure.value is None:
            out.print(f"— {figure.name_en}: {figure.reason}", markup=False)
    stated = sum(figure.value is not None for figure in found)
    out.print(
        f"{stated} of {len(found)} figures stated; `emg pedigree ID --site {site_file}` unfolds one.", markup=False
    )


@pedigree_app.command()
def pedigree_command(
    figure: Annotated[str, typer.Argument(metavar="FIGURE", help="id of a figure: kind/enterprise/period/key[@as-of]")],
    site_file: SiteOption,
    json: AsJson = False,
) -> None:
    """The whole derivation of one figure: formula, conversion rows, readings, instruments, certificates."""
    with figure_context(load_site(site_file), SystemClock()) as context:
        node = unfold(context, resolve(context, figure))
    if json:
        print_json(node)
    else:
        console().print(pedigree_tree(node))


def _settled_and_copied(site: Site, readings: ReadingStore, intervals: IntervalStore, *, again: bool) -> SettleReport:
    """Settle once; then copy what was settled to the servers that dashboards ask, where there are any."""
    to = destinations(site)
    if not to:
        return _settled(site, readings, intervals, again=again, note=lambda _: None)
    with CopyBook.open(site.data_dir / "copies.db") as book:
        note = partial(note_settled, site, book, to, readings)
        report = _settled(site, readings, intervals, again=again, note=note)
        copy_settled(site, book, to, intervals)
    return report


def _settled(site: Site, readings: ReadingStore, intervals: IntervalStore, *, again: bool, note: Note) -> SettleReport:
    """Settle once, with a bar of progress where somebody watches."""
    watched = Console(stderr=True)
    columns = (TextColumn("settling"), BarColumn(), MofNCompleteColumn(), TextColumn("series"), TimeRemainingColumn())
    with Progress(*columns, console=watched, transient=True, disable=not watched.is_terminal) as bar:
        task = bar.add_task("settling", total=None)
        return settle_once(
            site,
            readings,
            intervals,
            clock=SystemClock(),
            scope=EVERYTHING,
            again=again,
            note=note,
            progress=lambda done, every: bar.update(task, completed=done, total=every),
        )


def settle_main(argv: list[str]) -> int:
    """`emg settle`."""
    return run_app(settle_app, argv, "emg settle")


def figures_main(argv: list[str]) -> int:
    """`emg figures`."""
    return run_app(figures_app, argv, "emg figures")


def pedigree_main(argv: list[str]) -> int:
    """`emg pedigree`."""
    return run_app(pedigree_app, argv, "emg pedigree")
