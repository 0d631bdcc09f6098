"""`emg db init`: databases and retention on the InfluxDB servers that a site file names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.destinations import secret, secret_of_sink
from gateway.domain.destinations import InfluxServer, SinkKind
from gateway.domain.sites import Site
from gateway.stores.influx_setup import SetUp, set_up
from gateway.stores.opening import TOKEN

init_app = typer.Typer(add_completion=False)


@init_app.command()
def init_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what is missing, make nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Make what is missing on the InfluxDB of SITE's store and sinks: database or bucket, retention, mapping."""
    site = load_site(site_file)
    made = {name: set_up(server, token, dry_run=dry_run) for name, server, token in _servers(site)}
    if json:
        print_json(
            {name: {**one._asdict(), "steps": [step._asdict() for step in one.steps]} for name, one in made.items()}
        )
        return
    for name, one in made.items():
        _print(name, one, dry_run=dry_run)
    if not made:
        console().print("Neither the store nor a sink of this site is an InfluxDB: nothing to make.")


def _servers(site: Site) -> Iterator[tuple[str, InfluxServer, str]]:
    """(name, server, token) of each InfluxDB of a site. A VictoriaMetrics has nothing to make."""
    if site.store.influx is not None:
        yield "store", site.store.influx, secret(TOKEN)
    for sink in site.sinks.values():
        if sink.kind is SinkKind.INFLUXDB and sink.influx is not None:
            yield f"sink {sink.id}", sink.influx, secret_of_sink(sink.id, "TOKEN")


def _print(name: str, made: SetUp, *, dry_run: bool) -> None:
    out = console()
    out.print(f"{name}: {made.url}, version {made.version}", markup=False)
    for step in made.steps:
        state = "there" if step.done else "missing, would be made" if dry_run else "made"
        out.print(f"  {step.what}: {state}", markup=False)


def init_main(argv: list[str]) -> int:
    """`emg db init`."""
    return run_app(init_app, argv, "emg db init")
