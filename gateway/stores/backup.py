"""Backups of a site while it runs: its files as they stood at one moment, with a manifest that proves them.

The databases are copied before the journal, so that no store in a backup is ahead of its journal. The private
key of the journal is left out unless asked for: whoever holds it can sign.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from gateway.domain.sites import LineKind, Site
from gateway.errors import StoreError
from gateway.journal.disk import make_directory, sync_directory, write_file
from gateway.journal.segment_files import last_frame, open_segment
from gateway.journal.segments import segments
from gateway.journal.verify import verify_journal

MANIFEST = "MANIFEST.json"
FORMAT = 1
DATABASES = ("ledger.db", "intervals.db", "sinks.db", "influx-store.db", "readings.db")
PRIVATE_KEY = "keys/journal.key"
DATA = "data/"  # what of a backup comes from the data folder
_CHUNK = 1 << 20


class BackedUp(NamedTuple):
    """What a backup holds: files, their size [bytes], and the head of its journal."""

    folder: Path
    files: int
    bytes: int
    copied: int  # files copied now; the others were there already, unchanged
    sequence: int
    hash: str


def back_up(site: Site, folder: Path, *, at: int, with_key: bool = False) -> BackedUp:
    """Make or renew the backup of `site` in `folder`; `at` [us, UTC] is told in its manifest.

    Renewing copies what changed: closed segments never do. Raises StoreError, JournalError.
    """
    try:
        make_directory(folder.absolute())
        _refuse_foreign(folder, site)
        known = {} if not (folder / MANIFEST).exists() else read_manifest(folder)["files"]
        copies = [*_databases(site, folder), *_plain(site, folder, known, with_key=with_key)]
        copies += _journal(site, folder, known)
        _clear(folder, {name for name, _, _ in copies})
        files = {name: {"bytes": (folder / name).stat().st_size, "sha256": digest} for name, digest, _ in copies}
        report = verify_journal(folder / "data" / "journal")
        if not report.ok:
            raise StoreError(f"{folder}: the copied journal does not verify: {report.problem}")
        head = {"sequence": report.last_sequence, "hash": report.head_hash}
        about = {"format": FORMAT, "gateway": site.gateway_id, "site": site.file.name, "at": at}
        manifest = {**about, "data_dir": _data_name(site), **head, "files": files}
        write_file(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True).encode())
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{folder}: the backup failed: {error}. The site itself is untouched.") from error
    size = sum((folder / name).stat().st_size for name in files)
    copied = sum(fresh for _, _, fresh in copies)
    return BackedUp(folder, len(files), size, copied, report.last_sequence, report.head_hash)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a backup. Raises StoreError."""
    try:
        told = json.loads((folder / MANIFEST).read_bytes())
        if told["format"] != FORMAT:
            raise StoreError(f"{folder}: found a backup of format {told['format']!r}; this release knows {FORMAT}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder}: holds no backup ({error})") from error
    manifest: dict[str, Any] = told
    return manifest


def check_backup(folder: Path) -> list[str]:
    """What is wrong with a backup, one sentence per file; nothing when all is as its manifest says."""
    files = read_manifest(folder)["files"]
    wrong = []
    for name, told in files.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name}: missing")
        elif digest_of(path) != told["sha256"]:
            wrong.append(f"{name}: its SHA-256 is not the one of the manifest")
    return wrong


def restore(folder: Path, target: Path) -> list[Path]:
    """Put a backup into the empty or absent folder `target`; the files written. Raises StoreError.

    `target` then holds the site file and its data folder (named `data` where the site file gives an absolute
    path). Nothing is written unless the whole backup is sound.
    """
    manifest = read_manifest(folder)
    if wrong := check_backup(folder):
        raise StoreError(f"{folder}: the backup is damaged, nothing was restored:\n" + "\n".join(wrong))
    if target.exists() and any(target.iterdir()):
        raise StoreError(f"{target}: is not empty; a backup is restored into a folder of its own")
    written = []
    try:
        for name in sorted(manifest["files"]):
            inside = name.removeprefix(DATA)
            path = target / (name if inside == name else f"{manifest['data_dir']}/{inside}")
            make_directory(path.parent.absolute())
            _copy(folder / name, path)
            written.append(path)
    except OSError as error:
        raise StoreError(f"{target}: the backup could not be restored: {error}") from error
    return written


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _data_name(site: Site) -> str:
    """The data folder as the site file names it, where that is beside the site file."""
    beside = site.file.resolve().parent
    inside = site.data_dir.resolve()
    return str(inside.relative_to(beside)) if inside != beside and inside.is_relative_to(beside) else "data"


_Copied = tuple[str, str, bool]  # name in the backup, SHA-256, copied now


def _refuse_foreign(folder: Path, site: Site) -> None:
    if (folder / MANIFEST).exists():
        owner = read_manifest(folder)["gateway"]
        if owner != site.gateway_id:
            raise StoreError(f"{folder}: holds the backup of gateway {owner!r}, not of {site.gateway_id!r}")
    elif any(folder.iterdir()):
        raise StoreError(f"{folder}: is not empty and holds no backup; give each backup a folder of its own")


def _databases(site: Site, folder: Path) -> Iterator[_Copied]:
    for name in DATABASES:
        source = site.data_dir / name
        if source.is_file():
            target = folder / "data" / name
            make_directory(target.parent.absolute())
            partial = target.with_name(f".{name}.partial")
            partial.unlink(missing_ok=True)
            with (
                closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as database,
                closing(sqlite3.connect(partial)) as copy,
            ):
                database.backup(copy, pages=4096)
            _settle_in(partial, target)
            yield f"{DATA}{name}", digest_of(target), True


def _plain(site: Site, folder: Path, known: dict[str, Any], *, with_key: bool) -> Iterator[_Copied]:
    """The site file and what it names, documents kept as evidence, keys."""
    beside = site.file.resolve().parent
    named = [site.file.resolve(), *sorted((beside / "profiles").rglob("*.toml"))]
    named += [line.mapping for line in site.lines.values() if line.kind is LineKind.FILES]
    for path in named:
        if path.is_file() and path.is_relative_to(beside):
            yield _renew(path, folder, str(path.relative_to(beside)), known)
    kept = [*sorted((site.data_dir / "evidence").glob("*")), *sorted((site.data_dir / "keys").glob("*"))]
    for path in kept:
        name = str(path.relative_to(site.data_dir))
        if path.is_file() and (with_key or name != PRIVATE_KEY):
            yield _renew(path, folder, f"{DATA}{name}", known)


def _journal(site: Site, folder: Path, known: dict[str, Any]) -> Iterator[_Copied]:
    """All segments; the newest up to its last whole entry. A segment compressed meanwhile is looked for again."""
    directory = site.data_dir / "journal"
    done = 0
    while True:
        waiting = [segment for segment in segments(directory) if segment.first > done]
        if not waiting:
            return
        path, newest = waiting[0].path, len(waiting) == 1
        try:
            copied = _renew(path, folder, f"{DATA}journal/{path.name}", {} if newest else known)
        except FileNotFoundError:
            continue
        if newest and path.suffix == ".journal":
            copied = (copied[0], _cut(folder / copied[0]), True)
        yield copied
        done = waiting[0].first


def _cut(path: Path) -> str:
    with open_segment(path) as file:
        frame = last_frame(file)
    if frame is not None:
        os.truncate(path, frame.end)
    return digest_of(path)


def _renew(source: Path, folder: Path, name: str, known: dict[str, Any]) -> _Copied:
    target = folder / name
    told = known.get(name)
    if told and target.is_file() and source.stat().st_size == told["bytes"] and digest_of(source) == told["sha256"]:
        return name, str(told["sha256"]), False
    make_directory(target.parent.absolute())
    _copy(source, target)
    return name, digest_of(target), True


def _copy(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    mode = 0o600 if target.suffix == ".key" else 0o640
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        shutil.copyfileobj(reading, writing, _CHUNK)
    _settle_in(partial, target)


def _settle_in(partial: Path, target: Path) -> None:
    descriptor = os.open(partial, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(target)
    sync_directory(target.parent)


def _clear(folder: Path, names: set[str]) -> None:
    """Remove what an earlier backup held and the site no longer has (segments compressed since)."""
    for path in folder.rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in {*names, MANIFEST}:
            path.unlink()
