"""`emg journal key` and `emg journal rotate-key`: which key signs the journal, and how it gets another."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.clocks import SystemClock
from gateway.command_line import print_json, run_app
from gateway.config import load_site
from gateway.journal.opening import newest_key
from gateway.journal.rotation import rotate
from gateway.journal.signing import load_key, private_file

key_app = typer.Typer(add_completion=False, rich_markup_mode=None)
rotate_app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Site = Annotated[Path, typer.Argument(metavar="SITE", help="the site file")]
_Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


@key_app.command()
def key(site_file: _Site, as_one_object: _Json = False) -> None:
    """Show the key that signs the journal of SITE: whoever verifies needs its public half, by a path of its own.

    Exit code 1 when the journal is signed with another key.
    """
    data_dir = load_site(site_file).data_dir
    found, in_journal = load_key(data_dir), newest_key(data_dir / "journal")
    fits = in_journal in {None, found.id}
    if as_one_object:
        told = {"key": found.id, "public": found.public.hex(), "file": str(private_file(data_dir))}
        print_json({**told, "key_in_journal": in_journal, "ok": fits})
    else:
        typer.echo(f"key        {found.id}\npublic     {found.public.hex()}\nfile       {private_file(data_dir)}")
        typer.echo(f"journal    {_state(found.id, in_journal)}")
    if not fits:
        raise typer.Exit(1)


def _state(own: str, in_journal: str | None) -> str:
    if in_journal is None:
        return "is not signed with any key yet; the first `emg acquire` begins this one"
    if in_journal == own:
        return "is signed with this key"
    return (
        f"is signed with key {in_journal}: put that key's file back from its copy; if it is lost, "
        "`emg journal rotate-key SITE --lost` begins a new one"
    )


@rotate_app.command()
def rotate_key(
    site_file: _Site,
    lost: Annotated[bool, typer.Option("--lost", help="the private key is gone; verification will tell that")] = False,
    as_one_object: _Json = False,
) -> None:
    """Give the journal of SITE a new key while nothing else writes it (stop `emg run` first)."""
    site = load_site(site_file)
    done = rotate(site.data_dir, gateway_id=site.gateway_id, clock=SystemClock(), lost=lost)
    if as_one_object:
        told = {"key": done.key.id, "public": done.key.public.hex(), "before": done.before}
        print_json({**told, "lost": lost, "sequence": done.sequence})
        return
    typer.echo(f"entry {done.sequence} tells the change from key {done.before} to key {done.key.id}")
    typer.echo(f"public     {done.key.public.hex()}")
    typer.echo(
        "Give the public key to whoever verifies, and keep a copy of the private one where only you can read it."
    )


def key_main(argv: list[str]) -> int:
    """`emg journal key SITE`: 0 the key fits the journal, 1 it does not, 2 there is none."""
    return run_app(key_app, argv, "emg journal key")


def rotate_key_main(argv: list[str]) -> int:
    """`emg journal rotate-key SITE`: 0 changed, 2 nothing changed."""
    return run_app(rotate_app, argv, "emg journal rotate-key")
