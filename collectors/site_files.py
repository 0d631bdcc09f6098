"""The files that a site is read from, and what is in them: noticed by state and digest, never by name alone."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from collectors.acquire_identity import file_digest
from gateway.errors import ConfigError
from gateway.profile import own_profiles
from gateway.toml_form import read_toml

Content = Mapping[str, str]  # SHA-256 of each file by its path; a file that is not there is left out
# Keys of the site file whose value is, or may be, the path of another file.
NAMING = frozenset({"mapping", "payload", "tls_ca", "tls_cert", "tls_key"})
RECENT_NS = 2 * 10**9  # a file this young may be written again without a new time of modification

_State = tuple[int, int, int]


class SiteFiles:
    """A site file, the profiles kept beside it, and the files that it names. Used by one thread at a time."""

    def __init__(self, site_file: Path) -> None:
        self._site_file = site_file
        self._known: dict[Path, tuple[_State, str]] = {}
        self._named: list[Path] = []
        self._named_by = ""

    def content(self, *, afresh: bool = False) -> Content:
        """What is in the files now. Files that look as they did are not read again, unless `afresh`."""
        if afresh:
            self._known.clear()
        return {str(path): digest for path in self._paths() if (digest := self._digest(path))}

    def _paths(self) -> Iterator[Path]:
        yield self._site_file
        own = own_profiles(self._site_file)
        if own is not None:
            yield from sorted(own.glob("*/*.toml"))
        digest = self._digest(self._site_file)
        if digest != self._named_by:
            with suppress(ConfigError, RecursionError):  # a file that is half written names what it named before
                named = set(_named_in(read_toml(self._site_file)[0]))
                self._named = sorted(self._site_file.resolve().parent / path for path in named)
                self._named_by = digest
        yield from self._named

    def _digest(self, path: Path) -> str:
        """The digest of a file; empty where there is no file that could be read."""
        try:
            stat = path.stat()
            if not S_ISREG(stat.st_mode):
                return ""
            state = stat.st_ino, stat.st_size, stat.st_mtime_ns
            known = self._known.get(path)
            if known is not None and known[0] == state:
                return known[1]
            digest = file_digest(path)
        except (OSError, ValueError):  # ValueError: a name that no file can have
            return ""
        if time.time_ns() - stat.st_mtime_ns > RECENT_NS:
            self._known[path] = state, digest
        return digest


def _named_in(value: object) -> Iterator[str]:
    """The paths of other files, wherever in a document they stand; whether or not the document is in order."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in NAMING and isinstance(inner, str):
                yield inner
            else:
                yield from _named_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named_in(inner)
