"""Which convention a line's messages follow: the one list that a new convention is added to."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from collectors.payloads.emg_v1 import EmgV1
from collectors.payloads.mapped import Mapped
from collectors.payloads.said import Convention
from collectors.payloads.sparkplug import SparkplugB, host_status
from gateway.domain.sites import EMG, SPARKPLUG_B, Line, Series, Site
from gateway.mqtt_messages import Status
from gateway.payload_mapping import load_payload_mapping
from gateway.profile import Profile


class Speaking(NamedTuple):
    """How the messages of a line are read, and whose they are: {source: {field: series}}."""

    convention: Convention
    fields: Mapping[str, Mapping[str, Series]]
    status: Callable[[int], Status] | None = None


def convention_of(line: Line, site: Site, profiles: Mapping[str, Profile]) -> Speaking:
    """The convention of a line, with the profiles of the site's meters by name. Raises ConfigError."""
    fields = fields_by_source(site, line, profiles)
    if line.payload == EMG:
        return Speaking(EmgV1(), fields)
    if line.payload == SPARKPLUG_B:
        status = partial(host_status, line.sparkplug_host) if line.sparkplug_host else None
        return Speaking(SparkplugB(fields, rebirth=line.rebirth), fields, status)
    return Speaking(Mapped(load_payload_mapping(Path(line.payload)), fields, line.zone), fields)


def fields_by_source(site: Site, line: Line, profiles: Mapping[str, Profile]) -> dict[str, dict[str, Series]]:
    """{source: {field: series}} of all points that this line reads.

    A source of our own convention is `<enterprise>/<point>`, otherwise what the site file says the meter is called in
    messages, or the point. A field of a mapping is a quantity, otherwise what the profile says.
    """
    by_quantity = line.payload not in {EMG, SPARKPLUG_B}
    found: dict[str, dict[str, Series]] = {}
    for point in site.points.values():
        meter = site.meters.get(point.meter)
        if meter is None or meter.line != line.id:
            continue
        registers = profiles[meter.profile].registers
        source = f"{point.enterprise}/{point.id}" if line.payload == EMG else meter.source or point.id
        found[source] = {
            (not by_quantity and registers[series.register.quantity].field) or series.register.quantity: series
            for series in site.series_of(point)
        }
    return found
