"""What the program runs by: a site and the profiles of its meters, read once. Later edits touch nothing of it."""

from collections.abc import Mapping
from typing import NamedTuple

from collectors.acquire_identity import file_digest, mapping_of, rules
from collectors.lines import polled_schedules
from gateway.domain.sites import LineKind, Meter, Series, Site
from gateway.journal.slots import Schedule
from gateway.profile import Profile, site_profiles


class Setup(NamedTuple):
    """A site, its profiles by name, what is polled by line, and the digests of the files that say so.

    `made_of` holds, by line, all that its collector takes from the site: while it is equal, the line is not touched.
    """

    site: Site
    profiles: Mapping[str, Profile]
    schedules: Mapping[str, Schedule]
    rules: Mapping[str, object]
    made_of: Mapping[str, object]


def read_setup(site: Site) -> Setup:
    """The setup of a site that was just loaded. Raises ConfigError, ProfileError, OSError."""
    profiles = site_profiles(site)
    return Setup(site, profiles, polled_schedules(site, profiles), rules(site), _made_of(site, profiles))


def _made_of(site: Site, profiles: Mapping[str, Profile]) -> dict[str, object]:
    meters: dict[str, list[Meter]] = {line: [] for line in site.lines}
    series: dict[str, list[Series]] = {line: [] for line in site.lines}
    for meter in site.meters.values():
        meters[meter.line].append(meter)
    for one in site.series.values():
        series[site.meters[one.meter].line].append(one)
    read_by = {name: _read_by(profile) for name, profile in profiles.items()}
    return {
        line.id: (
            line,
            meters[line.id],
            series[line.id],
            {meter.profile: read_by[meter.profile] for meter in meters[line.id]},
            site.timezone if line.kind is LineKind.FILES else "",  # in which a file's labels may be written
            file_digest(path) if line.kind is LineKind.MQTT and (path := mapping_of(line)) is not None else "",
        )
        for line in site.lines.values()
    }


def _read_by(profile: Profile) -> object:
    """What of a profile decides how a meter is read; its examples and sources do not."""
    asked = (profile.registers, profile.max_words, profile.forbidden, profile.relative, profile.manner)
    return (*asked, profile.side, profile.identity, profile.ratios)
