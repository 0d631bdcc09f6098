"""`emg serve`: keeps the ledger's topology in step with the site file, and answers HTTP on loopback."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from analytics.standards.tables import load_tables
from api.access import Installation
from api.app import create_app
from gateway.clocks import SystemClock
from gateway.command_line import run_app
from gateway.config import load_site
from gateway.ledger.opening import open_ledger
from gateway.ledger.topology import record_topology

app = typer.Typer(add_completion=False)


@app.command()
def serve_command(site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")]) -> None:
    """Serve the pages and /api/v1 of SITE until stopped."""
    site = load_site(site_file)
    clock = SystemClock()
    with closing(open_ledger(site, read_only=False)) as ledger:
        record_topology(site, ledger, recorded_at=clock.now(), recorded_by="site file")
    web = create_app(Installation(site=site, clock=clock, tables=load_tables()))
    config = uvicorn.Config(web, host=site.api_host, port=site.api_port, log_level="warning", server_header=False)
    asyncio.run(uvicorn.Server(config).serve())


def serve_main(argv: list[str]) -> int:
    """`emg serve`."""
    return run_app(app, argv, "emg serve")
