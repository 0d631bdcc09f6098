"""What is running and by which rules: software, site file, profiles and mappings, each by its digest."""

import hashlib
import logging
import platform
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import gateway
from collectors.software_state import ALTERED, software_state
from gateway.domain.sites import EMG, SPARKPLUG_B, Line, LineKind, Site
from gateway.journal.opening import boot_id
from gateway.profile import SHIPPED, own_profiles

log = logging.getLogger("emg.acquire")
DISTRIBUTION = "energy-metrology-gateway"
ROOMS = ("analytics", "api", "collectors", "gateway", "simulators")


def identity(site: Site) -> dict[str, object]:
    """For the event `acquire_started`: what runs here. Raises OSError when a file of it cannot be read."""
    root, installed = Path(gateway.__path__[0]).parent, _installed()
    state = software_state(installed, root, ROOMS)
    if state.state == ALTERED:
        log.warning("this is not the software as released: %d files differ: %s", len(state.altered), state.told())
    return {
        "boot": boot_id(),
        "gateway": site.gateway_id,
        "python": platform.python_version(),
        "software": "not installed" if installed is None else installed.version,
        "software_sha256": software_digest(root),
        **state.told(),
        **rules(site),
    }


def rules(site: Site) -> dict[str, object]:
    """What a site says is read, by the digests of site file, profiles and mappings. Raises OSError."""
    mappings = {path for line in site.lines.values() if (path := mapping_of(line)) is not None and path.is_file()}
    own = own_profiles(site.file)
    profiles = {}
    for name in sorted({meter.profile for meter in site.meters.values()}):
        file = f"{name}.toml"
        path = own / file if own is not None and (own / file).is_file() else SHIPPED / file
        profiles[name] = {"file": str(path), "sha256": file_digest(path)}
    return {
        "lines": sorted(site.lines),
        "mappings": {str(path): file_digest(path) for path in sorted(mappings)},
        "profiles": profiles,
        "site_sha256": file_digest(site.file),
    }


def software_digest(root: Path) -> str:
    """SHA-256 of the list of the product's files, one line "<SHA-256>  <path>" each, in the order of the paths' bytes.

    What `find analytics api collectors gateway simulators -type f ! -path '*/__pycache__/*' | LC_ALL=C sort |
    xargs sha256sum | sha256sum` says in the folder where the product is installed.
    """
    files = [path for room in ROOMS for path in (root / room).rglob("*") if path.is_file()]
    names = {path.relative_to(root).as_posix(): path for path in files if "__pycache__" not in path.parts}
    told = "".join(f"{file_digest(names[name])}  {name}\n" for name in sorted(names, key=str.encode))
    return hashlib.sha256(told.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def mapping_of(line: Line) -> Path | None:
    """The file that says what the line's files or messages mean; None where it needs none."""
    if line.kind is LineKind.MQTT:
        return None if line.payload in {EMG, SPARKPLUG_B} else Path(line.payload)
    return line.mapping if line.kind is LineKind.FILES else None


def _installed() -> Distribution | None:
    try:
        return distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return None
