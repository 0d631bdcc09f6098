"""`emg check SITE [--plan]`: the examination of a site file, and which registers go into which request."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from collectors.polling import PolledDevice, polled_devices
from collectors.wire_time import TCP_WIRE
from gateway.check import as_json, examine, show
from gateway.command_line import console, print_json, run_app
from gateway.domain.readings import split_series
from gateway.domain.sites import LineKind, Site

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def plans(site: Site) -> dict[str, list[PolledDevice]]:
    """The requests of every polled line, by line."""
    polled = [line for line in site.lines.values() if line.kind is LineKind.MODBUS_TCP]
    return {line.id: polled_devices(site, line) for line in polled}


@app.command()
def check_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file, e.g. site.toml")],
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="show which registers go into which request")] = False,
) -> None:
    """Check a site file, the profiles it uses and their examples; exit 1 when something is to mend."""
    found = examine(site_file)
    planned = plans(found.site) if plan and found.site is not None else {}
    if json:
        print_json(as_json(found) | ({"plan": _plan_json(planned)} if plan else {}))
    else:
        show(found)
        if planned:
            _show_plan(planned)
    if not found.ok:
        raise typer.Exit(1)


def _plan_json(planned: dict[str, list[PolledDevice]]) -> list[dict[str, Any]]:
    """One row per request; `bridged` words belong to no value, `wire_ms` [ms] is what it occupies the line."""
    return [
        {
            "line": line,
            "meter": device.meter,
            "device_address": device.device_address,
            "table": polled.block.table,
            "address": polled.block.address,
            "words": polled.block.words,
            "bridged": polled.bridged,
            "wire_ms": round(TCP_WIRE.of(polled.block.words) / 1e6, 2),
            "quantities": [split_series(register.series)[2] for register in polled.registers],
        }
        for line, devices in planned.items()
        for device in devices
        for polled in device.blocks
    ]


def _show_plan(planned: dict[str, list[PolledDevice]]) -> None:
    table = Table("line", "meter", "device", "table", title="requests of one round", title_justify="left")
    table.add_column("address", justify="right")
    table.add_column("words", justify="right")
    table.add_column("bridged", justify="right")
    table.add_column("wire [ms]", justify="right")
    table.add_column("brings")
    rows = _plan_json(planned)
    for row in rows:
        brings = ", ".join(row["quantities"])
        table.add_row(
            row["line"],
            row["meter"],
            str(row["device_address"]),
            row["table"],
            str(row["address"]),
            str(row["words"]),
            str(row["bridged"]),
            f"{row['wire_ms']:.2f}",
            brings,
        )
    out = console()
    out.print(table)
    values = sum(len(row["quantities"]) for row in rows)
    out.print(f"{len(rows)} requests bring {values} values ({values - len(rows)} fewer than one request per value).")
    for line in planned:
        took = sum(row["wire_ms"] for row in rows if row["line"] == line)
        out.print(f"Line {line}: about {took:.1f} ms a round, estimated for a network of 1 ms a round trip.")


def check_main(argv: list[str]) -> int:
    """`emg check`."""
    return run_app(app, argv, "emg check")
