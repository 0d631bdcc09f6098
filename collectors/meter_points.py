"""What is asked of the meters of a DL/T 645 or CJ/T 188 line: one question for each data identifier they serve."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from collectors.blocks import Block, Span
from collectors.polled_blocks import PolledBlock, PolledRegister
from collectors.polling import PolledDevice, phase_us
from gateway.domain.sites import Line, Meter, Series, Site
from gateway.encoding import IN_MESSAGE
from gateway.meter_data import DLT645, DataManner, DataPlace, DataPlan, PlannedData
from gateway.profile import Profile, site_profiles


class Spoken(NamedTuple):
    """How one meter is spoken to. `lengths`: bytes of data by identifier, and whether there must be exactly so many."""

    protocol: str
    manner: DataManner
    lengths: dict[int, tuple[int, bool]]


def address_of(meter: Meter) -> int:
    """The meter's address as the number whose hexadecimal digits it is."""
    return int(meter.address, 16)


def metered_devices(site: Site, line: Line, profiles: Mapping[str, Profile] | None = None) -> list[PolledDevice]:
    """The questions to each meter of the line, in the order of the site file; meters that serve no point are left out.

    A block's `address` is the data identifier; words it has none. `profiles` are those of the site's meters by name,
    where they were read before. Raises ProfileError from profiles that are read here.
    """
    devices = [
        PolledDevice(meter.id, address_of(meter), tuple(_questions(site, meter, profile)), phase_us=phase_us(meter))
        for meter, profile in _meters(site, line, profiles)
    ]
    return [device for device in devices if device.blocks]


def spoken_to(site: Site, line: Line, profiles: Mapping[str, Profile] | None = None) -> dict[int, Spoken]:
    """How the meters of the line are spoken to, by address. Raises ProfileError."""
    return {
        address_of(meter): Spoken(profile.wire, profile.manner, dict(_lengths(profile)))
        for meter, profile in _meters(site, line, profiles)
    }


def _meters(site: Site, line: Line, profiles: Mapping[str, Profile] | None) -> list[tuple[Meter, Profile]]:
    profiles = site_profiles(site) if profiles is None else profiles
    return [(meter, profiles[meter.profile]) for meter in site.meters.values() if meter.line == line.id]


def _questions(site: Site, meter: Meter, profile: Profile) -> Iterator[PolledBlock]:
    """The data of one identifier with the series that they bring."""
    served: dict[int, list[tuple[Series, DataPlace]]] = {}
    for series in site.series.values():
        found = profile.registers.get(series.register.quantity)
        if series.meter == meter.id and found is not None and found.data is not None:
            served.setdefault(found.data.identifier, []).append((series, found.data))
    for identifier, values in served.items():
        span = Span(profile.wire, identifier, 0)
        registers = tuple(
            PolledRegister(series.key, span, (), IN_MESSAGE, series.register, series.ratio) for series, _ in values
        )
        plan = DataPlan([PlannedData(place, series.register, series.ratio) for series, place in values])
        cuts = tuple((place.cut,) for _, place in values)
        yield PolledBlock(Block(*span, ()), registers, plan, tuple(series.key for series, _ in values), cuts)


def _lengths(profile: Profile) -> Iterator[tuple[int, tuple[int, bool]]]:
    """Bytes by identifier: as the profile declares them, or up to the last byte of its registers."""
    places = [found.data for found in profile.registers.values() if found.data is not None]
    for identifier in dict.fromkeys(place.identifier for place in places):
        end = max(place.cut.stop for place in places if place.identifier == identifier)
        is_block = profile.wire == DLT645 and 0xFF in identifier.to_bytes(4, "big")  # more tariffs than are asked for
        yield identifier, (profile.manner.lengths.get(identifier, end), not is_block)
