"""A disk whose power can be cut: an ext4 file system on a loop image, shut down without a flush.

EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH drops the page cache and the file system's own journal at once, and
every later write fails: what was never synced is gone, as after a power cut. It tears no sectors; flipped bits and
cut tails are tested beside it. A sync that is under way at the very moment of the shutdown can be answered with
success and yet be gone (7 of 80 cuts under a bare loop of write and fdatasync): whoever listens stops listening
before the cut, as a peer hears nothing of a machine without power. Source: Linux fs/ext4/ioctl.c, include/uapi/linux/ext4.h.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2


class LoopDisk:
    """An ext4 image in `folder`, mounted at `folder/disk` while the `with` lasts."""

    def __init__(self, folder: Path, *, mib: int = 64) -> None:
        self._image, self.path = folder / "disk.img", folder / "disk"
        self.path.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(mib << 20)
        _run("mkfs.ext4", "-q", "-F", str(self._image))

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()

    def mount(self) -> None:
        """Mount it; after a cut the file system first replays its journal."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def unmount(self) -> None:
        """Unmount it, as soon as the killed writer has let go of it."""
        for pause in (0.01, 0.05, 0.1, 0.5, 2.0):
            if subprocess.run(["umount", str(self.path)], check=False, capture_output=True).returncode == 0:
                return
            time.sleep(pause)
        _run("umount", str(self.path))

    def fill(self) -> None:
        """Take every byte that is left, as something else on the same disk would."""
        with (self.path / "ballast").open("ab", buffering=0) as ballast:
            for piece in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        ballast.write(bytes(piece))

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.path / "ballast").unlink()

    def cut_power(self) -> None:
        """Nothing that is not on the disk now will ever be."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)


def why_no_loop_disk(folder: Path) -> str:
    """What is missing here for a loop disk, found out by using one; empty when nothing is."""
    if os.geteuid() != 0:
        return "mounting needs root"
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install e2fsprogs mount"
    try:
        with LoopDisk(folder, mib=8) as disk:
            (disk.path / "probe").touch()
            disk.cut_power()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"an ext4 loop image cannot be mounted and shut down here: {getattr(error, 'stderr', b'') or error}"
    return ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
