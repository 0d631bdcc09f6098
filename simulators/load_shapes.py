"""How a plant's load goes through the day, the week and the kiln's stops, with chance that repeats itself."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from zoneinfo import ZoneInfo

QUARTER_S = 900
_MASK = 2**64 - 1


def chance_key(seed: int, name: str) -> int:
    """The key of one stream of chance: another seed or another name gives another stream."""
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest())


def chance(key: int, index: int, choices: int) -> int:
    """A number in 0..choices-1 that depends on nothing but (key, index).

    Source: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014), the SplitMix64 finaliser.
    """
    mixed = (key + index * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return (mixed ^ (mixed >> 31)) % choices


class Calendar:
    """What hour of which day a quarter-hour is in the plant's zone. Quarters are numbered since 1970 UTC."""

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._known: dict[int, tuple[int, bool]] = {}

    def hour_and_weekend(self, quarter: int) -> tuple[int, bool]:
        """(hour of day, whether it is Saturday or Sunday) in which this quarter-hour starts."""
        found = self._known.get(quarter)
        if found is None:
            local = datetime.fromtimestamp(quarter * QUARTER_S, UTC).astimezone(self._zone)
            found = self._known[quarter] = (local.hour, local.weekday() >= 5)
        return found


@dataclass(frozen=True, slots=True)
class Stops:
    """A machine that stands still once in every `every_days`, for a chosen time between the two lengths [h]."""

    key: int
    every_days: int
    shortest_h: int
    longest_h: int

    def stopped(self, quarter: int) -> bool:
        """True if the machine stands still in this quarter-hour."""
        turn, place = divmod(quarter, self.every_days * 96)
        span = self.longest_h - self.shortest_h
        length = 4 * self.shortest_h + chance(self.key, 2 * turn, 4 * span + 1)
        start = chance(self.key, 2 * turn + 1, self.every_days * 96 - length + 1)
        return start <= place < start + length


@dataclass(frozen=True, slots=True)
class Shape:
    """Load by hour of day in per cent of its mean, for working days and weekends; noise [%]; what is left in a stop."""

    working_day: tuple[int, ...]
    weekend: tuple[int, ...]
    noise_pct: int = 0
    stops: Stops | None = None
    stopped_pct: int = 0

    def parts_per_million(self, calendar: Calendar, quarter: int, key: int) -> int:
        """The load in a quarter-hour, in millionths of the mean; `key` makes the noise."""
        if self.stops is not None and self.stops.stopped(quarter):
            percent = self.stopped_pct
        else:
            hour, weekend = calendar.hour_and_weekend(quarter)
            percent = (self.weekend if weekend else self.working_day)[hour]
        width = self.noise_pct * 100  # in hundredths of a per cent, both ways
        return percent * (10_000 - width + chance(key, quarter, 2 * width + 1))
