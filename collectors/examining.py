"""All that can be said of a site file without asking the field: `emg check`, and what a change must pass."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from collectors.amounts import targets
from collectors.lines import polled_schedules
from collectors.mapping import load_mapping
from gateway.check import Examination, examine
from gateway.domain.sites import LineKind, Site
from gateway.errors import ConfigError, Problem


def examine_whole(site_file: Path) -> Examination:
    """Site file, profiles, the mappings that it names, and whether every value fits a request.

    Raises ConfigError when there is no such file.
    """
    found = examine(site_file)
    if found.site is None:
        return found
    return replace(found, problems=(*found.problems, *_collectors(found, found.site)))


def _collectors(found: Examination, site: Site) -> Iterator[Problem]:
    """Mistakes that only those who read a line can see."""
    try:
        polled_schedules(site, found.profiles)
    except ConfigError as error:
        yield from error.problems
    for path in {line.mapping: None for line in site.lines.values() if line.kind is LineKind.FILES}:
        try:
            targets(load_mapping(path), site)
        except ConfigError as error:
            yield from error.problems
