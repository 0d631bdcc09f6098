"""Writing so that it survives a power cut: whole files, folders and moves that are on disk when the call returns."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a write that took only a part is carried on. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable: files created, renamed or removed there. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Create `directory` and what is missing above it, durably. Raises OSError."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def write_file(path: Path, data: bytes, *, mode: int = 0o640) -> None:
    """Put `data` at `path` in one step: a reader sees the old file or the new one, never a part. Raises OSError."""
    with replaced(path, mode=mode) as file:
        write_all(file.fileno(), data)


@contextmanager
def replaced(path: Path, *, mode: int = 0o640) -> Iterator[BinaryIO]:
    """A file that is durably at `path` when the block ends: a reader sees the old one or all of the new one.

    When the block raises, the old one stays and nothing is left beside it. Raises OSError.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb", opener=lambda name, _: _create(Path(name), mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextmanager
def replaced_text(path: Path, *, mode: int = 0o640, encoding: str = "utf-8") -> Iterator[TextIO]:
    """As `replaced`, for text; line ends are written as they are given. Raises OSError."""
    with replaced(path, mode=mode) as file:
        text = TextIOWrapper(file, encoding, newline="")
        try:
            yield text
        finally:
            text.detach()  # what it still holds is written; the file stays open


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a plain file, `most` + 1 of them if it is larger. Raises OSError, also for a link, pipe or folder.

    Of what somebody else put there: no link is followed, no pipe waited for, and nothing but this one file is read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        return file.read(most + 1)


def copy_file(path: Path, target: Path) -> None:
    """Copy a file's bytes to a new file, durably but for its name. Raises OSError."""
    with path.open("rb") as reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing)
        writing.flush()
        os.fsync(writing.fileno())


def move_file(path: Path, target: Path) -> None:
    """Move a file to another folder of the same disk, durably. Raises OSError."""
    path.rename(target)
    sync_directory(target.parent)
    sync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file durably; no harm when it is gone already. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def _create(path: Path, mode: int) -> int:
    """The descriptor of a new file. What lies at its name was left by a kill, or put there to be written through."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        path.unlink(missing_ok=True)
        return os.open(path, flags, mode)


@contextmanager
def hold_lock(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """True while this holds the lock file; False when another does, unless it waits for it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held = False
    else:
        held = True
    try:
        yield held
    finally:
        os.close(descriptor)
