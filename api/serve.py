"""`emg serve`: keeps the ledger's topology in step with the site file, and answers HTTP on loopback."""

import asyncio
import os
import socket
import sys
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
    try:
        listening = _listen(site.api_host, site.api_port)
    except OSError as error:
        # Not exit code 2: while another program holds the port, `emg run` goes on acquiring and tries again.
        why = f"{site.api_host}:{site.api_port} cannot be listened on: {os.strerror(error.errno or 0)}"
        print(why, file=sys.stderr)  # noqa: T201 - messages go to standard error
        raise typer.Exit(1) from None
    port = listening.getsockname()[1]  # the one that was free where the site file says 0
    print(f"serving http://{site.api_host}:{port}/", file=sys.stderr)  # noqa: T201 - as above
    config = uvicorn.Config(web, log_level="warning", server_header=False)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def serve_main(argv: list[str]) -> int:
    """`emg serve`."""
    return run_app(app, argv, "emg serve")
