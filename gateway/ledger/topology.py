"""Bringing the site file into the ledger: enterprises, points, accounts and the instruments of its meters."""

from collections.abc import Container
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from gateway.domain.instruments import Instrument
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import MeteringPoint, Site
from gateway.errors import ProfileError
from gateway.ledger.booking import Booking
from gateway.ledger.kinds import ACCOUNTS, ENTERPRISES, INSTRUMENTS, POINTS, Fact, Kind
from gateway.ledger.known import Recorded
from gateway.ledger.ledger import Ledger
from gateway.profile import Profile, load_profile, own_profiles


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyChanges:
    """What a site file changed in the ledger, as subjects in words, e.g. "instrument A-01 of works"."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # booked by people, no meter of the site file: theirs to end

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.ended)


def record_topology(
    site: Site, ledger: Ledger, *, recorded_at: int, recorded_by: str, valid_from: date | None = None
) -> TopologyChanges:
    """Append what the site file says otherwise than the ledger; a second call changes nothing.

    What was never known holds from the beginning of time, a change from `valid_from` or else the plant's
    date of `recorded_at`; what the file no longer declares ends on that date. Of an instrument the file
    decides the point and, where stated, the serial number; maker, model and class come from the profile
    only where nobody has booked them. Raises LedgerError; then nothing was appended.
    """
    reason = f"declared in the site file of gateway {site.gateway_id}"
    changes = TopologyChanges()
    with ledger.booking(EVERYTHING, recorded_at=recorded_at, recorded_by=recorded_by, reason=reason) as booking:
        day = valid_from or booking.today
        declared: list[tuple[Kind[Any], list[Any]]] = [
            (ENTERPRISES, list(site.enterprises.values())),
            (POINTS, list(site.points.values())),
            (ACCOUNTS, list(site.accounts)),
            (INSTRUMENTS, _instruments(site, booking, day)),
        ]
        for kind, facts in declared:
            _declare(booking, kind, facts, valid_from, changes)
        for kind, facts in reversed(declared):
            _end(booking, kind, facts, day, changes, reason, site.enterprises)
    return changes


def _declare(
    booking: Booking, kind: Kind[Any], facts: list[Any], valid_from: date | None, changes: TopologyChanges
) -> None:
    before = {_key(kind, row.fact) for row in booking.known(kind)}
    for fact in facts:
        if booking.record(fact, valid_from=valid_from):
            (changes.changed if _key(kind, fact) in before else changes.added).append(kind.subject(fact))


def _end(
    booking: Booking,
    kind: Kind[Any],
    facts: list[Any],
    day: date,
    changes: TopologyChanges,
    reason: str,
    owners: Container[str],
) -> None:
    declared = {_key(kind, fact) for fact in facts}
    for row in booking.known(kind):
        if _key(kind, row.fact) in declared or (row.valid_to is not None and row.valid_to <= day):
            continue
        if row.reason != reason:  # a person, or another gateway's file, said so last
            if getattr(row.fact, kind.owner) in owners:
                changes.left.append(kind.subject(row.fact))
        elif booking.withdraw(row.fact, valid_from=day):
            changes.ended.append(kind.subject(row.fact))


def _key(kind: Kind[Any], fact: Fact) -> tuple[object, ...]:
    return tuple(kind.key_of(fact).values())


def _instruments(site: Site, booking: Booking, day: date) -> list[Instrument]:
    """The instruments of the site's meters, each at the first point that is read from it."""
    standing = _by_day(booking.known(INSTRUMENTS), day)
    profiles: dict[str, Profile | None] = {}
    found: dict[tuple[str, str], Instrument] = {}
    for point in site.points.values():
        key = (point.enterprise, point.meter)
        if not point.meter or key in found:
            continue
        name = site.meters[point.meter].profile
        if name not in profiles:
            profiles[name] = _profile(site, name)
        found[key] = _instrument(site, point, profiles[name], standing.get(key))
    return list(found.values())


def _by_day(rows: list[Recorded[Instrument]], day: date) -> dict[tuple[str, str], Instrument]:
    """What is known of each instrument on a day, or else what was known of it last before."""
    return {(row.fact.enterprise, row.fact.id): row.fact for row in rows if row.valid_from <= day}


def _instrument(site: Site, point: MeteringPoint, profile: Profile | None, known: Instrument | None) -> Instrument:
    meter = site.meters[point.meter]
    accuracy_class = None if profile is None else profile.accuracy.get(point.counts)
    declared = Instrument(
        id=meter.id,
        enterprise=point.enterprise,
        point=point.id,
        name_zh=point.name_zh,
        name_en=point.name_en,
        kind="",
        maker="" if profile is None else profile.maker,
        model="" if profile is None else profile.model,
        serial=meter.serial,
        accuracy_class=accuracy_class,
        measuring_range="",
        place="",
    )
    if known is None:
        return declared
    if meter.serial and known.serial and meter.serial != known.serial:
        # Another instrument under the same management number: its plate is not the old one's.
        return replace(declared, name_zh=known.name_zh, name_en=known.name_en, kind=known.kind, place=known.place)
    return replace(
        known,
        point=point.id,
        serial=meter.serial or known.serial,
        maker=known.maker or declared.maker,
        model=known.model or declared.model,
        accuracy_class=known.accuracy_class or declared.accuracy_class,
    )


def _profile(site: Site, name: str) -> Profile | None:
    """A meter's profile; None where there is none that holds: the ledger then says less, `emg check` says why."""
    try:
        return load_profile(name, extra_dir=own_profiles(site.file))
    except ProfileError:
        return None
