"""`emg status`: is everything being measured? The age of the newest durable reading of every point."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from gateway.clocks import SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.contracts import ReadingStore
from gateway.domain.periods import iso
from gateway.domain.readings import MICROSECONDS, split_series
from gateway.domain.scopes import EVERYTHING, Scope
from gateway.domain.sites import LineKind, MeteringPoint, Site
from gateway.journal.reader import newest_sequence
from gateway.stores.opening import open_reading_store

LATE_PERIODS = 3  # a polled point is late when it missed this many of its slots
LATE_PUSHED_S = 900  # a pushed point promises no period: one quarter-hour
app = typer.Typer(add_completion=False)


class PointAge(NamedTuple):
    """How old the newest durable reading of one point is. `late` is None where nothing promises a period."""

    point: MeteringPoint
    line: str
    instant: int | None  # [us, UTC]; None: never read
    age_s: float | None
    late: bool | None


def point_ages(site: Site, store: ReadingStore, scope: Scope, *, now: int) -> list[PointAge]:
    """One row per metering point of the scope, in the order of the site file."""
    newest: dict[str, int] = {}
    for reading in store.latest(scope):
        point = split_series(reading.series)[1]
        newest[point] = max(newest.get(point, 0), reading.instant)
    visible = [point for point in site.points.values() if scope.allows(point.enterprise)]
    return [_age(site, point, newest.get(point.id), now) for point in visible]


def _age(site: Site, point: MeteringPoint, instant: int | None, now: int) -> PointAge:
    meter = site.meters.get(point.meter)
    line = site.lines[meter.line] if meter else None
    name = line.id if line else ""
    age_s = None if instant is None else max(0.0, (now - instant) / MICROSECONDS)
    if line is None or line.kind is LineKind.FILES:
        return PointAge(point, name, instant, age_s, None)
    limit_s = float(line.period_s) * LATE_PERIODS if line.kind is LineKind.MODBUS_TCP else LATE_PUSHED_S
    return PointAge(point, name, instant, age_s, age_s is None or age_s > limit_s)


@app.command()
def status_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Show how old the newest durable reading of every point is; exit 1 when one is late."""
    site = load_site(site_file)
    store = open_reading_store(site, read_only=True)
    ages = point_ages(site, store, EVERYTHING, now=SystemClock().now())
    newest, stored = newest_sequence(site.data_dir / "journal"), store.cursor()
    if json:
        print_json({"journal_sequence": newest, "stored_sequence": stored, "points": [_as_json(age) for age in ages]})
    else:
        _print(site, ages, newest, stored)
    if any(age.late for age in ages):
        raise typer.Exit(1)


def _as_json(age: PointAge) -> dict[str, object]:
    at = None if age.instant is None else iso(age.instant)
    return {"point": age.point.id, "line": age.line, "newest": at, "age_s": age.age_s, "late": age.late}


def _print(site: Site, ages: list[PointAge], newest: int, stored: int) -> None:
    table = Table("point", "name", "line", f"newest durable reading ({site.timezone})", "state")
    table.add_column("age \\[s]", justify="right")
    for age in ages:
        at = "—" if age.instant is None else iso(age.instant, site.timezone)
        seconds = "—" if age.age_s is None else f"{age.age_s:,.0f}"
        state = {True: "late", False: "in order", None: "no period promised"}[age.late]
        table.add_row(age.point.id, age.point.name_en, age.line, at, state, seconds)
    out = console()
    out.print(table)
    late = sum(age.late is True for age in ages)
    behind = "" if stored == newest else f" (store is {newest - stored} entries behind and catching up)"
    out.print(f"{len(ages)} points, {late} late; journal at entry {newest}{behind}.")


def status_main(argv: list[str]) -> int:
    """`emg status`."""
    return run_app(app, argv, "emg status")
