"""What the program runs by: a site and the profiles of its meters, read once. Later edits touch nothing of it."""

from collections.abc import Mapping
from typing import NamedTuple

from collectors.acquire_identity import rules
from collectors.lines import polled_schedules
from gateway.domain.sites import LineKind, Site
from gateway.journal.slots import Schedule
from gateway.profile import Profile, site_profiles


class Setup(NamedTuple):
    """A site, its profiles by name, what is polled by line, and the digests of the files that say so."""

    site: Site
    profiles: Mapping[str, Profile]
    schedules: Mapping[str, Schedule]
    rules: Mapping[str, object]


def read_setup(site: Site) -> Setup:
    """The setup of a site that was just loaded. Raises ConfigError, ProfileError, OSError."""
    profiles = site_profiles(site)
    return Setup(site, profiles, polled_schedules(site, profiles), rules(site))


def made_of(setup: Setup, line_id: str) -> object:
    """All that a collector takes from the setup: while it is equal, the line need not be touched."""
    site, line = setup.site, setup.site.lines[line_id]
    meters = {key: meter for key, meter in site.meters.items() if meter.line == line_id}
    series = [series for series in site.series.values() if series.meter in meters]
    profiles = {meter.profile: _read_by(setup.profiles[meter.profile]) for meter in meters.values()}
    zone = site.timezone if line.kind is LineKind.FILES else ""
    return line, list(meters.values()), series, profiles, zone


def _read_by(profile: Profile) -> object:
    """What of a profile decides how a meter is read; its examples and sources do not."""
    return profile.registers, profile.max_words, profile.forbidden, profile.relative
