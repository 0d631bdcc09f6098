"""`emg export readings|intervals`: files for spreadsheets, lakes and other databases, one per enterprise and month."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.periods import Period, months_of, period
from gateway.domain.scopes import Scope, scope_of
from gateway.domain.sites import Site
from gateway.errors import ImportRefused, StoreError
from gateway.exports.blocks import Kind, SeriesBlock, interval_blocks, reading_blocks
from gateway.exports.csv_text import write_csv
from gateway.exports.lines import write_lines
from gateway.journal.disk import make_directory
from gateway.stores.opening import open_interval_store, open_reading_store

readings_app = typer.Typer(add_completion=False)
intervals_app = typer.Typer(add_completion=False)
Blocks = Callable[[Scope, str, Period], Iterator[SeriesBlock]]  # of one enterprise and month


class Format(StrEnum):
    """The forms of an export."""

    CSV = "csv"
    PARQUET = "parquet"
    LINE_PROTOCOL = "line-protocol"


ENDINGS = {Format.CSV: "csv", Format.PARQUET: "parquet", Format.LINE_PROTOCOL: "lp"}


class Order(NamedTuple):
    """What is asked for."""

    site: Site
    kind: Kind
    form: Format
    folder: Path
    parts: list[tuple[str, Period]]  # enterprise and month, one file each


class Exported(NamedTuple):
    """One file of an export. `file` is None where the enterprise has no rows in that month."""

    enterprise: str
    month: str
    file: Path | None
    rows: int
    bytes: int


SiteFile = Annotated[Path, typer.Argument(metavar="SITE", help="the site file")]
PeriodName = Annotated[str, typer.Option("--period", help="YYYY, YYYY-MM or DAY..DAY in plant time")]
FormatName = Annotated[Format, typer.Option("--format", help="form of the files")]
Folder = Annotated[Path, typer.Option("--to", metavar="DIR", help="folder that the files go to")]
Enterprise = Annotated[str, typer.Option("--enterprise", help="one enterprise; all when left out")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="name the files, write nothing")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]


@readings_app.command()
def readings_command(
    site_file: SiteFile,
    period_name: PeriodName,
    folder: Folder,
    form: FormatName = Format.CSV,
    enterprise: Enterprise = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Export the standing readings of SITE, one file per enterprise and month."""
    order = _order(site_file, Kind.READINGS, period_name, folder, form, enterprise)
    with closing(open_reading_store(order.site, read_only=True)) as store:
        _export(order, partial(reading_blocks, order.site, store), dry_run=dry_run, as_json=json)


@intervals_app.command()
def intervals_command(
    site_file: SiteFile,
    period_name: PeriodName,
    folder: Folder,
    form: FormatName = Format.CSV,
    enterprise: Enterprise = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Export the settled intervals of SITE in their newest version, one file per enterprise and month."""
    order = _order(site_file, Kind.INTERVALS, period_name, folder, form, enterprise)
    with closing(open_interval_store(order.site, read_only=True)) as store:
        _export(order, partial(interval_blocks, order.site, store), dry_run=dry_run, as_json=json)


def _order(site_file: Path, kind: Kind, period_name: str, folder: Path, form: Format, enterprise: str) -> Order:
    site = load_site(site_file)
    if enterprise and enterprise not in site.enterprises:
        raise ImportRefused(f"--enterprise: found {enterprise!r}; expected one of {', '.join(site.enterprises)}")
    if kind is Kind.INTERVALS and form is Format.LINE_PROTOCOL:
        raise ImportRefused("--format: line-protocol is for readings; intervals go to a server as copies of their own")
    try:
        months = months_of(period(period_name, site.timezone))
    except ValueError as error:
        raise ImportRefused(f"--period: {error}") from error
    owners = [enterprise] if enterprise else list(site.enterprises)
    return Order(site, kind, form, folder, [(owner, month) for owner in owners for month in months])


def _export(order: Order, blocks: Blocks, *, dry_run: bool, as_json: bool) -> None:
    if not dry_run:
        make_directory(order.folder.absolute())
    done = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=as_json, transient=True) as progress:
        task = progress.add_task(f"exporting {order.kind.value}", total=len(order.parts))
        for owner, month in order.parts:
            path = order.folder / f"{owner}_{order.kind.value}_{month.name}.{ENDINGS[order.form]}"
            done.append(_told(owner, month, path) if dry_run else _file(order, owner, month, path, blocks))
            progress.advance(task)
    _print(done, as_json=as_json)


def _told(owner: str, month: Period, path: Path) -> Exported:
    return Exported(owner, month.name, path, 0, 0)


def _file(order: Order, owner: str, month: Period, path: Path, blocks: Blocks) -> Exported:
    try:
        rows = _write(order, owner, month, path, blocks)
        if not rows:
            path.unlink()  # a file without rows tells nothing that its absence does not
            return Exported(owner, month.name, None, 0, 0)
        return Exported(owner, month.name, path, rows, path.stat().st_size)
    except OSError as error:
        raise StoreError(f"{path}: the export cannot be written: {error.strerror}") from error


def _write(order: Order, owner: str, month: Period, path: Path, blocks: Blocks) -> int:
    found = blocks(scope_of(owner), owner, month)
    if order.form is Format.CSV:
        return write_csv(path, order.kind, found, order.site.timezone)
    if order.form is Format.LINE_PROTOCOL:
        return write_lines(path, found)
    from gateway.exports.parquet import write_parquet  # noqa: PLC0415 - pyarrow is an extra of its own

    return write_parquet(path, order.kind, found, _metadata(order, owner, month))


def _metadata(order: Order, owner: str, month: Period) -> Mapping[str, str]:
    site = order.site
    return {
        "emg.kind": order.kind.value,
        "emg.enterprise": owner,
        "emg.period": month.name,
        "emg.timezone": site.timezone,
        "emg.gateway": site.gateway_id,
    }


def _print(done: list[Exported], *, as_json: bool) -> None:
    if as_json:
        rows = [{**one._asdict(), "file": None if one.file is None else str(one.file)} for one in done]
        print_json({"files": rows, "rows": sum(one.rows for one in done), "bytes": sum(one.bytes for one in done)})
        return
    table = Table("enterprise", "period", "file")
    table.add_column("rows", justify="right")
    table.add_column("bytes", justify="right")
    for one in done:
        table.add_row(
            one.enterprise,
            one.month,
            "nothing to export" if one.file is None else str(one.file),
            f"{one.rows:,}",
            f"{one.bytes:,}",
        )
    console().print(table)


def export_readings_main(argv: list[str]) -> int:
    """`emg export readings`."""
    return run_app(readings_app, argv, "emg export readings")


def export_intervals_main(argv: list[str]) -> int:
    """`emg export intervals`."""
    return run_app(intervals_app, argv, "emg export intervals")
