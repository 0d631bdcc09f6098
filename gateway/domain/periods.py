"""Periods of plant time: day, month, year, and what they are in UTC."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.readings import MICROSECONDS

_PERIOD = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_TO = ".."  # between the first and the last day of a span of days
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """A span of days of plant time, half-open [start, end) [us, UTC]; `name` is its canonical text."""

    name: str  # "2026", "2026-10", "2026-10-31" or "2026-10-05..2026-10-31", last day included
    first_day: date
    day_after: date
    start: int
    end: int
    timezone: str


def period(name: str, timezone: str) -> Period:
    """The period with this name in this zone: YYYY, YYYY-MM, YYYY-MM-DD or DAY..DAY. Raises ValueError on others."""
    if _TO in name:
        return _days(name, timezone)
    match = _PERIOD.fullmatch(name)
    if match is None:
        raise ValueError(f"a period is YYYY, YYYY-MM, YYYY-MM-DD or DAY..DAY, not {name!r}")
    year, month, day = match.groups()
    first = date(int(year), int(month or 1), int(day or 1))
    if day:
        after = first + timedelta(days=1)
    elif month:
        after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    else:
        after = date(first.year + 1, 1, 1)
    return Period(name, first, after, midnight(first, timezone), midnight(after, timezone), timezone)


def _days(name: str, timezone: str) -> Period:
    first, last = (date.fromisoformat(day) for day in name.split(_TO, 1))
    if last < first or name != f"{first}{_TO}{last}":
        raise ValueError(f"a span of days is YYYY-MM-DD..YYYY-MM-DD in order, not {name!r}")
    after = last + timedelta(days=1)
    return Period(name, first, after, midnight(first, timezone), midnight(after, timezone), timezone)


def days_of(whole: Period) -> list[Period]:
    """The days of a period, in order."""
    count = (whole.day_after - whole.first_day).days
    return [period((whole.first_day + timedelta(days=n)).isoformat(), whole.timezone) for n in range(count)]


def months_of(whole: Period) -> list[Period]:
    """The months of a period, in order; the first and the last only as far as the period goes."""
    parts, first = [], whole.first_day
    while first < whole.day_after:
        next_month = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        after = min(next_month, whole.day_after)
        is_whole = first.day == 1 and after == next_month
        name = f"{first:%Y-%m}" if is_whole else f"{first}{_TO}{after - timedelta(days=1)}"
        parts.append(period(name, whole.timezone))
        first = after
    return parts


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
    """An instant as ISO 8601 text with its offset; in UTC, then as a count, where no calendar reaches. Never raises."""
    for zone in (timezone, "UTC"):
        with suppress(OverflowError):
            return to_datetime(instant, zone).isoformat()
    return f"{instant} us since 1970 UTC"
