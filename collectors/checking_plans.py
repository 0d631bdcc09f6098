"""`emg check SITE [--plan] [--diff OLD]`: is a site file in order, which requests it makes, what it would change."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from collectors.acquire_setup import read_setup
from collectors.examining import examine_whole
from collectors.lines import devices_of
from collectors.polled_blocks import PolledBlock
from collectors.polling import PolledDevice
from collectors.site_changes import changes, kept_until_restart
from collectors.wire_time import line_wire, meter_wire_ns
from gateway.check import as_json, show
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.readings import split_series
from gateway.domain.sites import Line, Site

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def plans(site: Site) -> dict[str, list[PolledDevice]]:
    """The requests of every polled line, by line."""
    return {line.id: devices_of(site, line) for line in site.lines.values() if line.kind.is_polled}


@app.command()
def check_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file, e.g. site.toml")],
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="show which registers go into which request")] = False,
    diff: Annotated[
        Path | None,
        typer.Option("--diff", metavar="OLD", help="show what would change for who runs by OLD, a copy beside it"),
    ] = None,
) -> None:
    """Check a site file, the profiles it uses and their examples; exit 1 when something is to mend."""
    found = examine_whole(site_file)
    planned = plans(found.site) if plan and found.ok and found.site is not None else {}
    differs = _differences(load_site(diff), found.site) if diff is not None and found.ok and found.site else {}
    if json:
        rows = _plan_json(found.site, planned) if found.site is not None else []
        print_json(as_json(found) | ({"plan": rows} if plan else {}) | differs)
    else:
        show(found)
        if planned and found.site is not None:
            _show_plan(found.site, planned)
        if differs:
            _show_differences(differs)
    if not found.ok:
        raise typer.Exit(1)


def _plan_json(site: Site, planned: dict[str, list[PolledDevice]]) -> list[dict[str, Any]]:
    """One row per request; `bridged` words belong to no value, `wire_ms` [ms] is what it occupies the line.

    Meters that are asked by data identifier have it as `address` and count no words.
    """
    return [
        {
            "line": line,
            "meter": device.meter,
            "device_address": site.meters[device.meter].asked_at,
            "table": polled.block.table,
            "address": polled.block.address,
            "words": polled.block.words or None,
            "bridged": polled.bridged,
            "wire_ms": _wire_ms(site.lines[line], polled),
            "quantities": [split_series(register.series)[2] for register in polled.registers],
        }
        for line, devices in planned.items()
        for device in devices
        for polled in device.blocks
    ]


def _differences(old: Site, new: Site) -> dict[str, Any]:
    """What `emg acquire` would do with the new site: lines that end, begin or start anew, and what it would refuse."""
    found = changes(read_setup(old), read_setup(new))
    kept = [problem.sentence() for problem in kept_until_restart(old, new)]
    return {"diff": {"lines": found.lines, "others": found.others, "needs_restart": kept}}


def _show_differences(told: dict[str, Any]) -> None:
    diff = told["diff"]
    sentences = [f"line {line}: {what}" for line, words in diff["lines"].items() for what in words] + diff["others"]
    for sentence in [*sentences, *diff["needs_restart"]]:
        console().print(sentence, markup=False, highlight=False, soft_wrap=True)
    console().print(f"{len(diff['lines'])} lines would be touched; {len(sentences)} changes.", markup=False)


def _wire_ms(line: Line, polled: PolledBlock) -> float | None:
    """What a request occupies its line [ms]; None behind a serial server, whose baud rate is not known here."""
    if line.kind.is_modbus:
        return round(line_wire(line).of(polled.block.words) / 1e6, 2)
    if not line.kind.is_serial:
        return None
    return round(meter_wire_ns(line.baud, max(cut.stop for cuts in polled.cuts for cut in cuts)) / 1e6, 2)


def _show_plan(site: Site, planned: dict[str, list[PolledDevice]]) -> None:
    rows = _plan_json(site, planned)
    table = Table("line", "meter", "device", "table", title="requests of one round", title_justify="left")
    table.add_column("address", justify="right")
    table.add_column("words", justify="right")
    table.add_column("bridged", justify="right")
    table.add_column("wire [ms]", justify="right")
    table.add_column("brings")
    for row in rows:
        brings = ", ".join(row["quantities"])
        table.add_row(
            row["line"],
            row["meter"],
            str(row["device_address"]),
            row["table"],
            str(row["address"]) if row["words"] else f"{row['address']:#06x}",
            str(row["words"] or ""),
            str(row["bridged"]),
            "" if row["wire_ms"] is None else f"{row['wire_ms']:.2f}",
            brings,
        )
    out = console()
    out.print(table)
    values = sum(len(row["quantities"]) for row in rows)
    out.print(f"{len(rows)} requests bring {values} values ({values - len(rows)} fewer than one request per value).")
    for devices in planned.values():
        for device in devices:
            if beside := _asked_beside(device):
                out.print(f"{device.meter}: beside these, {beside}.", markup=False, highlight=False, soft_wrap=True)
    for line in planned:
        times = [row["wire_ms"] for row in rows if row["line"] == line]
        if None in times:
            out.print(f"Line {line}: the time of a round follows from the baud rate of its serial server.")
            continue
        kind, baud = site.lines[line].kind, site.lines[line].baud
        on_serial = f"{baud} baud and meters that answer after {10 if kind.is_modbus else 50} ms"
        what = "a network of 1 ms a round trip" if kind.is_modbus and not kind.is_rtu else on_serial
        out.print(f"Line {line}: about {sum(times):.1f} ms a round, estimated for {what}.")


def _asked_beside(device: PolledDevice) -> str:
    """What is asked of a device beside the requests of its plan; "" where that is nothing."""
    if device.profile is None:
        return ""
    asked = []
    if ratios := device.profile.ratios.facts:
        asked.append(f"{' and '.join(ratios)} in each round, one request each")
    if rereads := sum(any(register.reread for register in polled.registers) for polled in device.blocks):
        asked.append(f"{rereads} of them again in each round, for totals that are read twice")
    if device.profile.identity is not None:
        asked.append("who it is, every 15 minutes")
    return "; ".join(asked)


def check_main(argv: list[str]) -> int:
    """`emg check`."""
    return run_app(app, argv, "emg check")
