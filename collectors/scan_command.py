"""`emg scan tcp`: which meters answer in a network, and the lines and meters of the site file that would read them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from collectors.scan_places import ScanPlace, device_addresses, tcp_places
from collectors.scanning import FoundDevice, Pace, longest_s, proposal, scan, told
from gateway.command_line import console, print_json, run_app
from gateway.profile import MODBUS, Profile, load_profile, profile_names

app = typer.Typer(add_completion=False)


@app.command()
def scan_tcp_command(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="host, 10.0.0.0/28 or 10.0.0.5-10.0.0.20")],
    port: Annotated[list[int], typer.Option("--port", min=1, max=65535, help="TCP port; may be given again")] = [502],  # noqa: B006 - typer copies it
    device: Annotated[str, typer.Option("--device", help="device addresses, e.g. 1-10,20")] = "1",
    most: Annotated[int, typer.Option("--most", min=1, max=65536, help="refuse to ask more places than this")] = 256,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=1000, help="questions a second, in all")] = 20,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.01, max=60, help="seconds that an answer may take")
    ] = 0.5,
    profiles: Annotated[Path | None, typer.Option("--profiles", help="folder of profiles of your own")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be asked, and ask nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Find the meters that answer, by reading only, and propose lines and meters; exit 1 when there are none."""
    places = tcp_places(targets, port, most=most)
    addresses = device_addresses(device)
    known = [load_profile(name, extra_dir=profiles) for name in profile_names(extra_dir=profiles)]
    known = [profile for profile in known if profile.wire == MODBUS]
    if dry_run:
        _tell_plan(places, addresses, known, rate, timeout, json=json)
        return
    found = asyncio.run(_scan(places, addresses, known, rate, timeout))
    if json:
        print_json({"devices": [_as_json(one) for one in found], "toml": proposal(found)})
    else:
        _print(found)
    if not found:
        raise typer.Exit(1)


async def _scan(
    places: Sequence[ScanPlace], addresses: Sequence[int], known: Sequence[Profile], rate: float, timeout_s: float
) -> list[FoundDevice]:
    watched = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=watched, transient=True, disable=not watched.is_terminal) as bar:
        task = bar.add_task("scanning", total=len(places) * len(addresses))

        def step(label: str) -> None:
            bar.update(task, advance=1, description=label)

        found = scan(places, addresses, known, pace=Pace(rate), timeout_s=timeout_s, step=step)
        return [one async for one in found]


def _tell_plan(
    places: Sequence[ScanPlace],
    addresses: Sequence[int],
    known: Sequence[Profile],
    rate: float,
    timeout_s: float,
    *,
    json: bool,
) -> None:
    seconds = longest_s(len(places), len(addresses), per_second=rate, timeout_s=timeout_s)
    plan = {
        "places": [place.label for place in places],
        "device_addresses": list(addresses),
        "profiles": len(known),
        "seconds_if_none_answers": round(seconds, 1),
    }
    if json:
        print_json(plan)
        return
    first, last = places[0].label, places[-1].label
    console().print(
        f"{len(places)} places ({first} to {last}) x {len(addresses)} device addresses against {len(known)} profiles: "
        f"at most {rate:g} questions a second, {seconds:.0f} s if every place can be connected and no device answers. "
        "Nothing was asked.",
        highlight=False,
        soft_wrap=True,
    )


def _as_json(device: FoundDevice) -> dict[str, Any]:
    proposed = device.proposed
    return {
        "place": device.place.label,
        "device_address": device.device_address,
        "profile": proposed.profile.name if proposed else None,
        "matches": [
            {
                "profile": match.profile.name,
                "grade": match.grade.name.lower(),
                "speaking": match.speaking,
                "serial": match.serial,
                "base_address": match.base_address,
                **match.ratios,
            }
            for match in device.matches
        ],
    }


def _print(found: Sequence[FoundDevice]) -> None:
    out = console()
    if not found:
        out.print("No device answers.")
        return
    table = Table("place", "device", "profile", "how sure", "serial")
    for device in found:
        match = device.proposed
        may_be = ", ".join(one.profile.name for one in device.matches)
        sure = told(match) if match else f"may be {may_be}" if may_be else "no profile fits"
        cells = (match.profile.name, sure, match.serial) if match else ("—", sure, "")
        table.add_row(device.place.label, str(device.device_address), *cells)
    out.print(table)
    out.print(proposal(found), markup=False, highlight=False, soft_wrap=True)


def scan_tcp_main(argv: list[str]) -> int:
    """`emg scan tcp`."""
    return run_app(app, argv, "emg scan tcp")
