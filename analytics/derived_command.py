"""`emg derived`: the points of a site file that are worked out from others, value by value with their parts."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from analytics.decimals import short
from analytics.derived import DerivedAmount, derived_amounts, measured_parts, told
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.periods import iso, period
from gateway.domain.readings import Quality, quality_name
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import DerivedPoint
from gateway.errors import ConfigError, Problem
from gateway.stores.opening import open_interval_store

app = typer.Typer(add_completion=False)


@app.command()
def derived_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    point: Annotated[str, typer.Argument(metavar="POINT", help="a point with a formula")],
    name: Annotated[str, typer.Option("--period", metavar="PERIOD", help="YYYY, YYYY-MM or YYYY-MM-DD of plant time")],
    json: Annotated[bool, typer.Option("--json", help="one JSON document instead of a table")] = False,
) -> None:
    """The values of a derived point, interval by interval; exit 1 when one is missing or doubtful."""
    site = load_site(site_file)
    found = site.derived.get(point)
    if found is None:
        known = ", ".join(site.derived) or "a [[point]] with a formula, of which there is none"
        raise ConfigError(
            [Problem(file=str(site_file), line=None, key="point", found=point, expected=f"one of {known}")]
        )
    try:
        span = period(name, site.timezone)
    except ValueError as error:
        raise ConfigError(
            [Problem(file="--period", line=None, key="period", found=name, expected=str(error))]
        ) from None
    with open_interval_store(site, read_only=True) as intervals:
        amounts = derived_amounts(site, intervals, EVERYTHING, found, span.start, span.end)
    if json:
        print_json(
            {
                "point": found.id,
                "enterprise": found.enterprise,
                "formula": found.formula,
                "unit": found.unit,
                "parts": measured_parts(site, found),
                "intervals": [told(amount, site.timezone) for amount in amounts],
            }
        )
    else:
        _print(found, amounts, site.timezone)
    if any(amount.quality is not Quality.GOOD for amount in amounts):
        raise typer.Exit(1)


def _print(point: DerivedPoint, amounts: list[DerivedAmount], timezone: str) -> None:
    table = Table("from", title=f"{point.id} = {point.formula}", title_justify="left")
    table.add_column(f"value [{point.unit}]", justify="right")
    table.add_column("quality")
    for amount in amounts:
        value = "—" if amount.value is None else short(amount.value)
        quality = quality_name(amount.quality) + (f" ({amount.reason})" if amount.reason else "")
        table.add_row(iso(amount.start, timezone), value, quality)
    console().print(table)


def derived_main(argv: list[str]) -> int:
    """`emg derived`."""
    return run_app(app, argv, "emg derived")
