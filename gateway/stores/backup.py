"""Backups of a site while it runs: its files as they stood at one moment, with a manifest that proves them.

The databases are copied before the journal, so that no store in a backup is ahead of its journal. Private keys are
left out unless asked for: whoever holds one can sign. The last good backup stays until the new one is whole.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from gateway.authority_files import authority_files
from gateway.domain.sites import LineKind, Site
from gateway.errors import StoreError
from gateway.journal import inbox, salvage
from gateway.journal.disk import hold_lock, write_file
from gateway.journal.entries import canonical_json
from gateway.journal.reader import entries, newest_sequence
from gateway.journal.signing import NEXT, PRIVATE, PUBLIC
from gateway.journal.verify import verify_journal
from gateway.stores.backup_folder import (
    LOCK,
    Kept,
    Manifest,
    Renewal,
    begin,
    create_file,
    digest_of,
    partial_of,
    private_directory,
    refuse_foreign,
    settle_in,
)
from gateway.stores.segment_copies import copy_segments, goes_on_from

DATABASES = ("ledger.db", "intervals.db", "sinks.db", "influx-store.db", "readings.db")
DATA = "data/"  # what of a backup comes from the data folder
ELSEWHERE = "elsewhere/"  # files that the site file names and that lie outside its folder, by their full paths


class BackedUp(NamedTuple):
    """What a backup holds: files, their size [bytes], and the head of its journal.

    `changed`: segments of the site that no longer hold what the last backup has of them; it still has the good ones.
    """

    folder: Path
    files: int
    bytes: int
    copied: int  # files copied now; the others were there already, unchanged
    sequence: int
    hash: str
    changed: tuple[str, ...]


def back_up(site: Site, folder: Path, *, at: int, with_key: bool = False) -> BackedUp:
    """Make or renew the backup of `site` in `folder`; `at` [us, UTC] is told in its manifest.

    Renewing copies what changed: closed segments never do. Whatever goes wrong, the last good backup stays as it was,
    and one that was begun is gone on with at the next call. Raises StoreError, JournalError.
    """
    try:
        private_directory(folder.absolute())
        refuse_foreign(folder)
        with hold_lock(folder / LOCK) as held:
            if not held:
                raise StoreError(f"{folder}: another backup is being made there; let it finish")
            return _renew(site, begin(folder, site.gateway_id), at=at, with_key=with_key)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{folder}: the backup failed: {error}. The site and the last good backup are untouched; mend that, and "
            f"back up again"
        ) from error


def _renew(site: Site, renewal: Renewal, *, at: int, with_key: bool) -> BackedUp:
    changed: list[str] = []
    journal = site.data_dir / "journal"
    kept = [*_databases(site, renewal), *_plain(site, renewal, with_key=with_key)]
    before = newest_sequence(journal)
    waiting = list(_waiting(site, renewal))
    kept += [*waiting, *copy_segments(renewal, journal, changed)]
    kept += [*_damaged(site, renewal), *_marks(renewal, waiting, before)]
    copied = renewal.state / "data" / "journal"
    report = verify_journal(copied)
    if not report.ok:
        told = "\n".join([f"the copied journal does not verify: {report.problem}", *changed])
        raise StoreError(f"{renewal.folder}: {told}\nThe last good backup, if there was one, is untouched")
    if renewal.last is not None and not goes_on_from(copied, renewal.last):
        raise StoreError(
            f"{renewal.folder}: holds the journal up to entry {renewal.last.sequence}, and the site's does not go "
            f"on from there: it was cut off, or restored from an older copy. Back up into another folder"
        )
    files = {one.name: one.told for one in kept}
    head = (report.last_sequence, report.head_hash)
    manifest = Manifest(site.gateway_id, site.file.name, at, _data_name(site), *head, renewal.state.name, files)
    renewal.complete(manifest)
    size = sum(told.bytes for told in files.values())
    return BackedUp(renewal.folder, len(files), size, sum(one.copied for one in kept), *head, tuple(changed))


def _data_name(site: Site) -> str:
    """The data folder as the site file names it, where that is beside the site file."""
    beside = site.file.resolve().parent
    inside = site.data_dir.resolve()
    return str(inside.relative_to(beside)) if inside != beside and inside.is_relative_to(beside) else "data"


def _databases(site: Site, renewal: Renewal) -> Iterator[Kept]:
    for name in DATABASES:
        source = site.data_dir / name
        if source.is_file():
            target = renewal.place(f"{DATA}{name}")
            partial = partial_of(target)
            os.close(create_file(partial))
            with (
                closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as database,
                closing(sqlite3.connect(partial)) as copy,
            ):
                database.backup(copy, pages=4096)
            settle_in(partial, target)
            yield renewal.settled(f"{DATA}{name}")


def _plain(site: Site, renewal: Renewal, *, with_key: bool) -> Iterator[Kept]:
    """The site file and what it names, documents kept as evidence, keys."""
    beside = site.file.resolve().parent
    named = [site.file.resolve(), *sorted((beside / "profiles").rglob("*.toml"))]
    named += [line.mapping for line in site.lines.values() if line.kind is LineKind.FILES]
    named += authority_files(site).values()
    for path in dict.fromkeys(Path(os.path.normpath(path.absolute())) for path in named):
        inside = path.is_relative_to(beside)
        name = str(path.relative_to(beside)) if inside else f"{ELSEWHERE}{path.relative_to(path.anchor)}"
        if path.is_file():
            yield renewal.take(path, name, digest_of(path))
    keys = (PUBLIC, PRIVATE, NEXT) if with_key else (PUBLIC,)
    yield from _of_data(site, renewal, sorted((site.data_dir / "evidence").rglob("*")))
    yield from _of_data(site, renewal, [site.data_dir / "keys" / name for name in keys])


def _damaged(site: Site, renewal: Renewal) -> Iterator[Kept]:
    """What was found torn or damaged in the journal and put beside it."""
    journal = site.data_dir / "journal"
    yield from _of_data(site, renewal, sorted(journal.glob("*.torn")))
    yield from _of_data(site, renewal, sorted((journal / salvage.DAMAGED).rglob("*")))


def _waiting(site: Site, renewal: Renewal) -> Iterator[Kept]:
    """Files that wait in the inbox, with the verdicts on those that were refused and the marks of those begun.

    A mark is copied before its file: of a file that is begun in between, `_marks` makes one.
    """
    folder = site.data_dir / inbox.FOLDER
    for path in sorted(folder.glob("[!.]*.json*")):
        if not path.is_symlink():
            yield from _of_data(site, renewal, [_mark_of(path), path])


def _marks(renewal: Renewal, waiting: list[Kept], before: int) -> Iterator[Kept]:
    """A mark for each waiting file of which the copied journal has entries: a restored gateway takes in the rest."""
    found = {
        str(told["sha256"])
        for entry in entries(renewal.state / "data" / "journal", after=before)
        if isinstance(told := entry.body.get("inbox"), dict) and "sha256" in told
    }
    marked = {one.name for one in waiting}
    for one in waiting:
        mark = _mark_of(renewal.state / one.name)
        name = str(mark.relative_to(renewal.state))
        if one.told.sha256 in found and name not in marked:
            write_file(mark, canonical_json({"after": before, "sha256": one.told.sha256}))
            yield renewal.settled(name)


def _mark_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.taking")


def _of_data(site: Site, renewal: Renewal, paths: list[Path]) -> Iterator[Kept]:
    """Those of the files that are there; one that goes away meanwhile was dealt with by the gateway."""
    for path in paths:
        with suppress(FileNotFoundError):
            if path.is_file():
                yield renewal.take(path, f"{DATA}{path.relative_to(site.data_dir)}", digest_of(path))
