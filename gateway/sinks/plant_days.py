"""Days of the plant's time zone for many instants, quickly."""

from datetime import date

from gateway.domain.periods import to_datetime

_QUARTER_US = 900 * 1_000_000  # every zone's days begin at a quarter-hour of UTC
_KEPT = 100_000  # quarter-hours, about three years


class PlantDays:
    """Tells the day of an instant; remembers the quarter-hours it has met."""

    def __init__(self, timezone: str) -> None:
        self.timezone = timezone
        self._known: dict[int, int] = {}

    def ordinal(self, instant: int) -> int:
        """The ordinal of the plant day that `instant` [us, UTC] lies in."""
        quarter = instant // _QUARTER_US
        found = self._known.get(quarter)
        if found is None:
            if len(self._known) > _KEPT:
                self._known.clear()
            found = to_datetime(quarter * _QUARTER_US, self.timezone).toordinal()
            self._known[quarter] = found
        return found

    def name(self, instant: int) -> str:
        """The plant day of `instant` [us, UTC] as YYYY-MM-DD."""
        return date.fromordinal(self.ordinal(instant)).isoformat()
