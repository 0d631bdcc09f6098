"""A site whose journal has a few segments, and whose reading store has taken them in."""

from pathlib import Path

from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Site
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.backup_folder import read_manifest
from gateway.stores.opening import open_reading_store

START = 1_773_129_600_000_000
SERIES = "works/main/active_energy_import"


def writer(site: Site) -> Journal:
    directory = site.data_dir / "journal"
    return Journal.open(directory, gateway_id=site.gateway_id, clock=ReplayClock(START), segment_bytes=4000)


def fill(site: Site, entries: range, journal: Journal) -> None:
    """One entry per minute of data, some late, some repeated, some missing."""
    for n in entries:
        at = START + n * 60_000_000
        readings = [Reading(SERIES, at, 1000 + n), Reading("works/gas/volume", at - 90_000_000, 5 * n)]
        if n % 7 == 0:
            readings += [
                Reading(SERIES, at - 600_000_000, 990 + n),
                Reading(SERIES, at, None, Quality.MISSING, "line.silent"),
            ]
        journal.append_now(EntryKind.READINGS, readings_body("hall", readings))


def stored_site(path: Path, count: int = 60) -> Site:
    site = load_site(path)
    with writer(site) as journal:
        fill(site, range(count), journal)
    with open_reading_store(site, read_only=False) as store:
        drain_once(site.data_dir / "journal", store)
    return site


def state_of(backup: Path) -> Path:
    """Where the files of a backup lie."""
    return backup / read_manifest(backup).state
