"""`emg verify`, `emg journal salvage` and `emg journal retain`: what becomes of the journal's files, damaged or old."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.clocks import SystemClock
from gateway.command_line import print_json, run_app
from gateway.config import load_site
from gateway.errors import JournalError
from gateway.journal import verify
from gateway.journal.retention import Retention, apply_retention, plan_retention
from gateway.journal.salvage import Salvage, examine, salvage
from gateway.journal.signing import load_key, private_file, site_key
from gateway.journal.writer import Journal
from gateway.sinks.overview import least_cursor
from gateway.stores.opening import open_reading_store

salvage_app = typer.Typer(add_completion=False, rich_markup_mode=None)
retain_app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


@salvage_app.command()
def salvage_journal(
    place: Annotated[Path, typer.Argument(metavar="SITE_OR_DIR", help="the site file, or a journal's folder")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="NEWDIR", help="the folder that is made; must not be there")
    ] = None,
    as_one_object: _Json = False,
) -> None:
    """Say what of a damaged journal is whole and what is lost; with --to, put all that is whole into a new folder.

    The journal itself is never changed. Exit code 1 when something is damaged or missing.
    """
    directory = _journal_dir(place)
    found = examine(directory) if to is None else _salvage(place, directory, to)
    if as_one_object:
        print_json(_as_object(directory, found, to))
    else:
        typer.echo("\n".join(_lines(directory, found, to)))
    if found.needed or found.broken:
        raise typer.Exit(1)


def _salvage(place: Path, directory: Path, to: Path) -> Salvage:
    """Salvage, the event that names the loss signed with the site's key; a bare folder has none."""
    if place.suffix != ".toml":
        return salvage(directory, to, clock=SystemClock())
    site = load_site(place)
    key = load_key(site.data_dir) if private_file(site.data_dir).exists() else None
    return salvage(directory, to, clock=SystemClock(), key=key, gateway_id=site.gateway_id)


def _journal_dir(place: Path) -> Path:
    if place.suffix == ".toml":
        return load_site(place).data_dir / "journal"
    return place / "journal" if (place / "journal").is_dir() else place


def _as_object(directory: Path, found: Salvage, to: Path | None) -> dict[str, Any]:
    made = str(to) if to is not None and found.needed else None
    damaged = [file._asdict() for file in found.damaged]
    return {"journal": str(directory), **found._asdict(), "damaged": damaged, "needed": found.needed, "made": made}


def _lines(directory: Path, found: Salvage, to: Path | None) -> list[str]:
    lost = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in found.lost)
    lines = [f"journal   {directory}", f"whole     {found.entries} entries, numbers up to {found.newest} were given"]
    lines += [f"damaged   {file.file}: {file.entries} entries of it are whole" for file in found.damaged]
    lines.append(f"lost      {f'entries {lost}' if lost else 'none'}")
    if found.torn_bytes:
        lines.append(f"torn      {found.torn_bytes} bytes of an entry at the end that was never acknowledged")
    lines += [
        f"changed   entry {number} does not carry the hash of the one before: no salvage mends that"
        for number in found.broken
    ]
    if not found.needed:
        return [*lines, "There is nothing to salvage."]
    if to is None:
        return [*lines, "`--to NEWDIR` makes a new folder of all that is whole."]
    if found.key and not found.signed:
        lines.append(
            f"unsigned  the journal is signed with key {found.key}, and {to} will not verify: it was made without that "
            f"key. Name the site file, whose folder holds the key, and another NEWDIR"
        )
    return [
        *lines,
        f"made      {to}",
        f"Now stop the gateway, move {directory} away and {to} into its place, and keep both.",
    ]


@retain_app.command()
def retain(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would leave")] = False,
    as_one_object: _Json = False,
) -> None:
    """Let leave the journal what is older than [journal] in SITE keeps; `emg run` does the same once a day.

    Only what all sinks have and a checkpoint covers; while no other writer runs.
    """
    site, clock = load_site(site_file), SystemClock()
    directory = site.data_dir / "journal"
    with open_reading_store(site, read_only=True) as store:
        keep_from = least_cursor(site, store)
    if dry_run:
        done = plan_retention(directory, site.journal, keep_from=keep_from, now=clock.now())
    else:
        try:
            with Journal.open(
                directory, gateway_id=site.gateway_id, clock=clock, key=site_key(site.data_dir)
            ) as journal:
                done = apply_retention(journal, site.journal, keep_from=keep_from, now=clock.now())
                if done.retired or done.pruned:
                    journal.append_checkpoint_now()
        except OSError as error:
            raise JournalError(
                f"{directory}: retention failed: {error}; what was begun is finished next time"
            ) from error
    if as_one_object:
        told = [one._asdict() for one in done.retired], [one._asdict() for one in done.pruned]
        print_json({"keep_from": keep_from, "dry_run": dry_run, "retired": told[0], "pruned": told[1]})
    else:
        typer.echo("\n".join(_told(done, keep_from, dry_run=dry_run)))


def _told(done: Retention, keep_from: int, *, dry_run: bool) -> list[str]:
    leaves, loses = ("would leave", "would lose") if dry_run else ("left", "lost")
    lines = [f"entries from {keep_from} on are still needed by the store or a sink"]
    lines += [f"{one.file}: entries {one.first} to {one.last} {leaves} ({one.bytes} bytes)" for one in done.retired]
    lines += [
        f"{one.file}: {one.entries} entries of telemetry {loses} their payload ({one.readings} readings)"
        for one in done.pruned
    ]
    return lines if done.retired or done.pruned else [*lines, "nothing is old enough"]


def salvage_main(argv: list[str]) -> int:
    """`emg journal salvage`."""
    return run_app(salvage_app, argv, "emg journal salvage")


def retain_main(argv: list[str]) -> int:
    """`emg journal retain`."""
    return run_app(retain_app, argv, "emg journal retain")


def verify_main(argv: list[str]) -> int:
    """`emg verify`: the verifier, which knows folders only; a site file stands for the folder of its journal."""
    try:
        return verify.main([str(_journal_dir(Path(word))) if word.endswith(".toml") else word for word in argv])
    except SystemExit as ending:  # after --help, or a word that it does not know
        return int(ending.code or 0)
