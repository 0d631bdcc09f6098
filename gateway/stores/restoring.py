"""A backup looked at, and put into a folder of its own."""

from pathlib import Path

from gateway.errors import StoreError
from gateway.stores.backup import DATA
from gateway.stores.backup_folder import copy_file, digest_of, private_directory, read_manifest


def check_backup(folder: Path) -> list[str]:
    """What is wrong with a backup, one sentence per file; nothing when all is as its manifest says.

    Raises StoreError when there is none.
    """
    manifest = read_manifest(folder)
    wrong = []
    for name, told in manifest.files.items():
        path = folder / manifest.state / name
        try:
            if not path.is_file():
                wrong.append(f"{name}: missing")
            elif digest_of(path) != told.sha256:
                wrong.append(f"{name}: its SHA-256 is not the one of the manifest")
        except OSError as error:
            wrong.append(f"{name}: cannot be read: {error.strerror}")
    return wrong


def restore(folder: Path, target: Path) -> list[Path]:
    """Put a backup into the empty or absent folder `target`; the files written. Raises StoreError.

    `target` then holds the site file and its data folder (named `data` where the site file gives an absolute
    path), for their owner alone. Nothing is written unless the whole backup is sound and stays inside `target`.
    """
    manifest = read_manifest(folder)
    if wrong := check_backup(folder):
        raise StoreError(f"{folder}: the backup is damaged, nothing was restored:\n" + "\n".join(wrong))
    if target.exists() and any(target.iterdir()):
        raise StoreError(f"{target}: is not empty; a backup is restored into a folder of its own")
    places = {}
    for name in sorted(manifest.files):
        inside = name.removeprefix(DATA)
        places[name] = target / (name if inside == name else f"{manifest.data_dir}/{inside}")
    if strangers := [name for name, path in places.items() if not path.resolve().is_relative_to(target.resolve())]:
        raise StoreError(f"{folder}: {strangers[0]!r} would lie outside {target}; nothing was restored")
    try:
        for name, path in places.items():
            private_directory(path.parent.absolute())
            copy_file(folder / manifest.state / name, path)
    except OSError as error:
        raise StoreError(f"{target}: the backup could not be restored: {error}; empty it and try again") from error
    return list(places.values())
