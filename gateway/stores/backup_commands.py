"""`emg db backup|restore|rebuild|verify|compact`: a site's files kept safe, its reading store checked or made anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from gateway.clocks import SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.destinations import StoreKind
from gateway.domain.periods import iso
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.entries import EntryKind
from gateway.journal.writer import Journal
from gateway.stores.backup import ELSEWHERE, back_up
from gateway.stores.backup_folder import Manifest, read_manifest
from gateway.stores.rebuilding import compact, rebuild
from gateway.stores.restoring import check_backup, restore
from gateway.stores.verifying import Compared, compare

backup_app = typer.Typer(add_completion=False)
restore_app = typer.Typer(add_completion=False)
rebuild_app = typer.Typer(add_completion=False)
verify_app = typer.Typer(add_completion=False)
compact_app = typer.Typer(add_completion=False)
SiteFile = Annotated[Path, typer.Argument(metavar="SITE", help="the site file")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="check everything, write nothing")]
FINDINGS = 1


@backup_app.command()
def backup_command(
    site_file: SiteFile,
    folder: Annotated[Path, typer.Option("--to", metavar="DIR", help="folder of the backup; renewed if it holds one")],
    with_key: Annotated[
        bool, typer.Option("--with-key", help="include the private key that signs checkpoints")
    ] = False,
    json: AsJson = False,
) -> None:
    """Back SITE up while it runs: databases, journal, site file, profiles, documents, with a manifest of digests.

    Exit code 1 when a segment of SITE no longer holds what the last backup has of it: the good copy is kept.
    """
    site = load_site(site_file)
    with _working("backing up", quiet=json):
        made = back_up(site, folder, at=SystemClock().now(), with_key=with_key)
    if json:
        print_json({**made._asdict(), "folder": str(made.folder), "with_key": with_key, "ok": not made.changed})
    else:
        out = console()
        out.print(f"{made.folder}: {made.files} files, {made.bytes:,} bytes, {made.copied} of them copied now.")
        out.print(f"The journal in it verifies up to entry {made.sequence}, hash {made.hash}.")
        if not with_key:
            out.print("The private key is not in it; keep that apart, or a restored gateway must announce a new one.")
        for sentence in made.changed:
            out.print(sentence, markup=False, soft_wrap=True)
    if made.changed:
        raise typer.Exit(FINDINGS)


@restore_app.command()
def restore_command(
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="folder of the backup")],
    target: Annotated[Path, typer.Option("--to", metavar="DIR", help="empty or new folder")],
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Restore a backup into a folder of its own; the journal tells that it was restored."""
    manifest = read_manifest(folder)
    wrong = check_backup(folder) if dry_run else []
    files = [] if dry_run else restore(folder, target)
    if not dry_run:
        _tell_restored(target / manifest.data_dir / "journal", manifest)
    if json:
        about = {key: getattr(manifest, key) for key in ("gateway", "site", "sequence", "hash")}
        print_json({**about, "at": iso(manifest.at), "files": len(files), "wrong": wrong, "ok": not wrong})
    else:
        _print_restored(manifest, target, len(files), wrong, dry_run=dry_run)
    if wrong:
        raise typer.Exit(FINDINGS)


@rebuild_app.command()
def rebuild_command(
    site_file: SiteFile,
    lose: Annotated[bool, typer.Option("--lose", help="go on without what the journal no longer holds")] = False,
    json: AsJson = False,
) -> None:
    """Make the reading store of SITE anew from its journal (while `emg run` does not run)."""
    site = _embedded(site_file)
    with _working("rebuilding", quiet=json) as status:
        made = rebuild(site, status.update, lose=lose)
    if json:
        print_json(made._asdict())
    else:
        console().print(
            f"{made.readings:,} readings of {made.series} series from the journal up to entry {made.sequence}; "
            f"digest of all answers {made.digest}."
        )


@verify_app.command()
def verify_command(site_file: SiteFile, json: AsJson = False) -> None:
    """Compare the reading store of SITE with its journal, answer by answer; exit 1 when they differ."""
    site = _embedded(site_file)
    with _working("verifying", quiet=json) as status:
        found = compare(site, status.update)
    if json:
        print_json({**found._asdict(), "ok": found.ok})
    else:
        _print_compared(found)
    if not found.ok:
        raise typer.Exit(FINDINGS)


@compact_app.command()
def compact_command(site_file: SiteFile, json: AsJson = False) -> None:
    """Seal all readings of SITE into compressed days and give unused room back (while `emg run` does not run)."""
    site = _embedded(site_file)
    with _working("compacting", quiet=json) as status:
        made = compact(site, status.update)
    if json:
        print_json(made._asdict())
    else:
        console().print(f"{made.readings:,} readings: {made.before:,} bytes before, {made.after:,} bytes now.")


def _embedded(site_file: Path) -> Site:
    site = load_site(site_file)
    if site.store.kind is not StoreKind.EMBEDDED:
        raise StoreError(f"{site_file}: its readings lie in {site.store.kind.value}; this is for the embedded store")
    return site


def _print_compared(found: Compared) -> None:
    out = console()
    out.print(f"file: {found.integrity}")
    out.print(f"{found.readings:,} standing readings of {found.series} series, up to journal entry {found.sequence}")
    if found.beyond:
        out.print(f"{found.beyond:,} of them come from entries that the journal no longer holds: not compared")
    if found.ok:
        out.print(
            "Every other answer is the one that the journal gives." if found.beyond else "All as the journal says."
        )
    else:
        out.print(f"NOT AS THE JOURNAL SAYS: {', '.join(found.differing) or 'the file is damaged'}")
        for sentence in found.differences:
            out.print(sentence, markup=False, soft_wrap=True)
        if found.untold:
            out.print(f"... and {found.untold:,} more")
        out.print("`emg db rebuild SITE` makes the store anew from the journal; back the site up first.")


@contextmanager
def _working(what: str, *, quiet: bool) -> Iterator[Status]:
    """A line on standard error that moves while something long goes on."""
    with Console(stderr=True, quiet=quiet).status(what) as status:
        yield status


def _tell_restored(directory: Path, manifest: Manifest) -> None:
    """Evidence of the gap: what was journaled after the backup was made is not in the restored journal."""
    told = {"backup_at": manifest.at, "backup_sequence": manifest.sequence, "backup_hash": manifest.hash}
    with Journal.open(directory, gateway_id=manifest.gateway, clock=SystemClock()) as journal:
        journal.append_now(EntryKind.EVENT, {"event": "journal_restored", **told})


def _print_restored(manifest: Manifest, target: Path, files: int, wrong: list[str], *, dry_run: bool) -> None:
    out = console()
    sequence = manifest.sequence
    out.print(f"Backup of gateway {manifest.gateway} made at {iso(manifest.at)}, journal up to entry {sequence}.")
    for sentence in wrong:
        out.print(sentence)
    if dry_run:
        out.print("The backup is damaged." if wrong else "The backup is sound; nothing was written.")
        return
    out.print(f"{files} files restored; `emg check {target / manifest.site}` and `emg run` go on from there.")
    for name in manifest.files:
        if name.startswith(ELSEWHERE):
            out.print(f"It lay outside the site's folder; put it back: {target / name}", markup=False, soft_wrap=True)
    out.print(f"What was journaled after entry {sequence} is not in it: sinks and witnesses that saw more will say so.")


def backup_main(argv: list[str]) -> int:
    """`emg db backup`."""
    return run_app(backup_app, argv, "emg db backup")


def restore_main(argv: list[str]) -> int:
    """`emg db restore`."""
    return run_app(restore_app, argv, "emg db restore")


def rebuild_main(argv: list[str]) -> int:
    """`emg db rebuild`."""
    return run_app(rebuild_app, argv, "emg db rebuild")


def compact_main(argv: list[str]) -> int:
    """`emg db compact`."""
    return run_app(compact_app, argv, "emg db compact")


def verify_main(argv: list[str]) -> int:
    """`emg db verify`."""
    return run_app(verify_app, argv, "emg db verify")
