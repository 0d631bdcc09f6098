"""Is what runs here the release as it was made? Every file of it against the digests that came with the release."""

import hashlib
from base64 import urlsafe_b64encode
from importlib.metadata import Distribution
from pathlib import Path
from typing import NamedTuple

AS_RELEASED, ALTERED, WORKING_TREE = "as_released", "altered", "working_tree"
_NAMED = 20  # altered files told by name; of more, the number


class SoftwareState(NamedTuple):
    """`state`: as_released, altered, or working_tree, where nothing tells what the files should be.

    `altered`: the files that were changed, added or taken away since, by path.
    """

    state: str
    altered: tuple[str, ...]

    def told(self) -> dict[str, object]:
        """For an event: the state, how many files were altered, and the first of them."""
        files = {"software_altered": list(self.altered[:_NAMED]), "software_altered_files": len(self.altered)}
        return {"software_state": self.state, **(files if self.altered else {})}


def software_state(distribution: Distribution | None, root: Path, rooms: tuple[str, ...]) -> SoftwareState:
    """The files of `rooms` below `root` against the RECORD of the installed release.

    An installation from a working tree has no record of them: nobody can tell then. RECORD is written by who
    builds the release and by who installs it (Python packaging, recording installed projects); who may write to
    the one may write to the other, so that this finds damage and carelessness, not a forger: the digest in each
    start's event, signed and known to a witness, is for him.
    """
    recorded = {
        file.as_posix(): file.hash.value
        for file in (distribution.files if distribution is not None else None) or ()
        if file.hash is not None and file.hash.mode == "sha256" and file.parts[0] in rooms
    }
    if not recorded:
        return SoftwareState(WORKING_TREE, ())
    present = {
        path.relative_to(root).as_posix(): path
        for room in rooms
        for path in (root / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    differing = recorded.keys() ^ present.keys()
    differing |= {name for name in recorded.keys() & present.keys() if _digest(present[name]) != recorded[name]}
    altered = tuple(sorted(name for name in differing if "__pycache__" not in name.split("/")))
    return SoftwareState(ALTERED if altered else AS_RELEASED, altered)


def _digest(path: Path) -> str:
    return urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
