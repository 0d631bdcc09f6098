"""The folder of a backup: a manifest, and the state that it names, made beside the last one and never in its place.

    MANIFEST.json     which state counts, and every file of it with size and SHA-256
    state-<n>/        the site file and what it names, `data/` with the data folder, `elsewhere/` with what lay outside
    backup.lock       held while a backup is made

A renewal fills the next state; what has not changed is a hard link to the file of the last one (a copy, where the disk
knows no links). The manifest is put in place in one step when the new state is whole and durable; only then what
it no longer names is removed. What a renewal that was cut short has left is used by the next one.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gateway.errors import StoreError
from gateway.journal.disk import sync_directory, write_file

MANIFEST = "MANIFEST.json"
LOCK = "backup.lock"
FORMAT = 2
_FORMATS = {1, FORMAT}  # format 1 had its files beside the manifest
_STATE = re.compile(r"state-([0-9]{1,9})")
_OURS = re.compile(rf"{_STATE.pattern}|backup\.lock|\.MANIFEST\.json\.partial")
_CHUNK = 1 << 20


class Told(NamedTuple):
    """What a manifest tells of a file: its size [bytes] and its SHA-256, in hex."""

    bytes: int
    sha256: str


class Manifest(NamedTuple):
    """What a backup holds: whose, of which moment [us, UTC], the head of its journal, its files by name."""

    gateway: str
    site: str  # name of the site file
    at: int
    data_dir: str  # as the site file names it, where that is beside the site file
    sequence: int
    hash: str
    state: str  # folder of the files; "" = beside the manifest
    files: dict[str, Told]

    def as_bytes(self) -> bytes:
        """As it lies in the folder."""
        files = {name: told._asdict() for name, told in self.files.items()}
        told = {"format": FORMAT, **self._asdict(), "files": files}
        return json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True).encode()


class Kept(NamedTuple):
    """A file of the new state."""

    name: str
    told: Told
    copied: bool  # now; otherwise it was there already


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A new state in the making. `left`: states that nothing names, from renewals that were cut short."""

    folder: Path
    state: Path
    last: Manifest | None
    left: tuple[Path, ...]

    def good_copy(self, name: str) -> Path | None:
        """The file of the last backup, if it is what the manifest says."""
        told = self.last.files.get(name) if self.last else None
        if self.last is None or told is None:
            return None
        path = self.folder / self.last.state / name
        return path if path.is_file() and digest_of(path) == told.sha256 else None

    def keep(self, name: str) -> Kept:
        """Have the last backup's good copy in the new state too. Raises OSError."""
        if self.last is None:
            raise StoreError(f"{self.folder}: holds no earlier copy of {name}")
        target = self.place(name)
        _link(self.folder / self.last.state / name, target)
        return Kept(name, self.last.files[name], False)

    def take(self, source: Path, name: str, digest: str) -> Kept:
        """Have a file of the site, whose SHA-256 was `digest`, in the new state; copied if need be. Raises OSError."""
        told = self.last.files.get(name) if self.last else None
        if told is not None and told.sha256 == digest and self.good_copy(name):
            return self.keep(name)
        target = self.place(name)
        for state in self.left:
            held = state / name
            if held.is_file() and not held.is_symlink() and digest_of(held) == digest:
                held.replace(target)
                return self.settled(name, copied=False)
        copy_file(source, target)
        return self.settled(name)

    def settled(self, name: str, *, copied: bool = True) -> Kept:
        """A file that lies in the new state, looked at there."""
        path = self.state / name
        return Kept(name, Told(path.stat().st_size, digest_of(path)), copied)

    def place(self, name: str) -> Path:
        """Where a file goes in the new state; its folder is there."""
        path = self.state / name
        private_directory(path.parent)
        return path

    def complete(self, manifest: Manifest) -> None:
        """Make the new state the one that counts, then remove what it replaces. Raises OSError, StoreError."""
        for directory in [path for path in self.state.rglob("*") if path.is_dir()]:
            sync_directory(directory)
        sync_directory(self.state)
        sync_directory(self.folder)
        write_file(self.folder / MANIFEST, manifest.as_bytes())
        try:
            for state in _states(self.folder):
                if state != self.state:
                    shutil.rmtree(state)
            for name in self.last.files if self.last and not self.last.state else ():
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: the backup is made; what it replaces cannot be removed: {error}"
            ) from error


def begin(folder: Path, gateway: str) -> Renewal:
    """Begin the next state of the backup of this gateway. Raises StoreError when the folder is not for it, OSError."""
    last = read_manifest(folder) if (folder / MANIFEST).exists() else None
    if last is not None and last.gateway != gateway:
        raise StoreError(f"{folder}: holds the backup of gateway {last.gateway!r}, not of {gateway!r}")
    states = _states(folder)
    number = max((int(state.name.removeprefix("state-")) for state in states), default=0) + 1
    left = tuple(state for state in states if last is None or state.name != last.state)
    state = folder / f"state-{number}"
    private_directory(state)
    return Renewal(folder=folder, state=state, last=last, left=left)


def refuse_foreign(folder: Path) -> None:
    """Raise StoreError when the folder holds other things than a backup, or one that was begun."""
    foreign = [path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name)]
    if foreign and not (folder / MANIFEST).exists():
        raise StoreError(f"{folder}: is not empty and holds no backup; give each backup a folder of its own")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises StoreError, also when it names a place outside the backup."""
    path = folder / MANIFEST
    try:
        told = json.loads(path.read_bytes())
        if told["format"] not in _FORMATS:
            raise StoreError(f"{folder}: found a backup of format {told['format']!r}; this release knows 1 to {FORMAT}")
        manifest = Manifest(
            gateway=_text(told["gateway"]),
            site=_text(told["site"]),
            at=_number(told["at"]),
            data_dir=_text(told["data_dir"]),
            sequence=_number(told["sequence"]),
            hash=_text(told["hash"]),
            state=_text(told.get("state", "")),
            files={name: Told(_number(one["bytes"]), _text(one["sha256"])) for name, one in told["files"].items()},
        )
    except FileNotFoundError as error:
        begun = " that was finished; back up into it again" if folder.is_dir() and _states(folder) else ""
        raise StoreError(f"{folder}: holds no backup{begun} ({MANIFEST} is missing)") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: is no manifest of a backup: {error!r}") from error
    for name in [manifest.data_dir, manifest.site, *manifest.files]:
        inside = PurePosixPath(name)
        if not inside.parts or inside.is_absolute() or ".." in inside.parts or "\0" in name:
            raise StoreError(f"{path}: names {name!r}; expected a path inside the backup. It was tampered with")
    if manifest.state and not _STATE.fullmatch(manifest.state):
        raise StoreError(f"{path}: names the state {manifest.state!r}; expected state-<number>. It was tampered with")
    return manifest


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def private_directory(directory: Path) -> None:
    """Create `directory` and what is missing above it, durably, for its owner alone. Raises OSError."""
    if directory.is_dir():
        return
    private_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync_directory(directory.parent)


def create_file(path: Path) -> int:
    """Open a new file for writing, following no link: for its owner, and for its group unless it is a key."""
    mode = 0o600 if path.name.removesuffix(".partial").endswith(".key") else 0o640
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; it has its name when it is whole and on the disk. Raises OSError."""
    partial = partial_of(target)
    with source.open("rb") as reading, os.fdopen(create_file(partial), "wb") as writing:
        shutil.copyfileobj(reading, writing, _CHUNK)
    settle_in(partial, target)


def partial_of(target: Path) -> Path:
    """The name of a file that is being written; one that was left is removed. Raises OSError."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    return partial


def settle_in(partial: Path, target: Path) -> None:
    """Make a written file durable under its name. Raises OSError."""
    descriptor = os.open(partial, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(target)
    sync_directory(target.parent)


def _link(held: Path, target: Path) -> None:
    try:
        target.hardlink_to(held)
    except OSError:  # the disk knows no links, or no more of them
        copy_file(held, target)


def _states(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if _STATE.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"found {value!r}; expected a text")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"found {value!r}; expected a whole number")
    return value
