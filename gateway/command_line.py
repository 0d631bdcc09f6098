"""How every program of the front door runs its Typer application: exit codes, and sentences instead of traces."""

import json
import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from gateway.errors import GatewayError


def run_app(app: typer.Typer, argv: Sequence[str], name: str) -> int:
    """Run a Typer application. Returns 0 good, 1 findings, 2 could not run (GatewayError: its text on stderr)."""
    try:
        code = app(args=list(argv), prog_name=name, standalone_mode=True)
    except GatewayError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the message is for the person at the terminal
        return 2
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 2
    return code if isinstance(code, int) else 0


def print_json(value: object) -> None:
    """One JSON document on standard output, Chinese as itself."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))  # noqa: T201 - the program's output


def console() -> Console:
    """Where tables go: standard output, as wide as the terminal or wide enough for a file."""
    return Console() if sys.stdout.isatty() else Console(width=160, no_color=True)
