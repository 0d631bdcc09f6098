"""Periods of plant time: day, month, year, and what they are in UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.readings import MICROSECONDS

_PERIOD = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """A day, month or year of plant time, half-open [start, end) [us, UTC]; `name` is its canonical text."""

    name: str  # "2026", "2026-10" or "2026-10-31"
    first_day: date
    day_after: date
    start: int
    end: int
    timezone: str


def period(name: str, timezone: str) -> Period:
    """The period with this name in this zone. Raises ValueError on anything but YYYY, YYYY-MM or YYYY-MM-DD."""
    match = _PERIOD.fullmatch(name)
    if match is None:
        raise ValueError(f"a period is YYYY, YYYY-MM or YYYY-MM-DD, not {name!r}")
    year, month, day = match.groups()
    first = date(int(year), int(month or 1), int(day or 1))
    if day:
        after = first + timedelta(days=1)
    elif month:
        after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    else:
        after = date(first.year + 1, 1, 1)
    return Period(name, first, after, midnight(first, timezone), midnight(after, timezone), timezone)


def days_of(whole: Period) -> list[Period]:
    """The days of a period, in order."""
    count = (whole.day_after - whole.first_day).days
    return [period((whole.first_day + timedelta(days=n)).isoformat(), whole.timezone) for n in range(count)]


def midnight(day: date, timezone: str) -> int:
    """The instant [us, UTC] at which `day` begins in `timezone`."""
    return to_instant(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)))


def to_instant(moment: datetime) -> int:
    """An aware datetime as an instant [us, UTC], exactly. Raises ValueError on a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_datetime(instant: int, timezone: str = "UTC") -> datetime:
    """An instant [us, UTC] as an aware datetime in `timezone`, exactly."""
    seconds, rest = divmod(instant, MICROSECONDS)
    return (_EPOCH + timedelta(seconds=seconds, microseconds=rest)).astimezone(ZoneInfo(timezone))


def iso(instant: int, timezone: str = "UTC") -> str:
    """An instant as ISO 8601 text with its offset."""
    return to_datetime(instant, timezone).isoformat()
