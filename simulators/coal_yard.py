"""The coal yard: lorries bring coal by weighbridge ticket, the belt takes it away, a survey says what is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.periods import to_datetime, to_instant
from simulators.flows import Flow
from simulators.lab import LabYard
from simulators.load_shapes import QUARTER_S, chance

_GRAMS_PER_KG = 1000


@dataclass(frozen=True, slots=True)
class Ticket:
    """One weighbridge ticket: when [us, UTC], which lorry, and its masses [kg]; net = gross - tare."""

    number: str
    instant: int
    plate: str
    gross_kg: int
    tare_kg: int

    @property
    def net_kg(self) -> int:
        """What the lorry brought [kg]."""
        return self.gross_kg - self.tare_kg


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in the yard at an instant [us, UTC], in whole kg."""

    number: str
    instant: int
    stock_kg: int


class CoalYard:
    """Tickets and surveys from the epoch on; a pure function of seed and day, like every other flow."""

    def __init__(self, yard: LabYard, belt: Flow, *, epoch: int, timezone: str, key: int) -> None:
        self._yard, self._belt, self._epoch, self._zone, self._key = yard, belt, epoch, ZoneInfo(timezone), key
        self._days: dict[date, list[Ticket]] = {}

    def tickets(self, start: int, end: int) -> Iterator[Ticket]:
        """Tickets in [start, end) [us, UTC] by time; none before the epoch."""
        start = max(start, self._epoch)
        for day in self._days_of(start, end):
            yield from (ticket for ticket in self._tickets_of(day) if start <= ticket.instant < end)

    def surveys(self, start: int, end: int) -> Iterator[Survey]:
        """Surveys in [start, end) [us, UTC] by time; none before the epoch."""
        for day in self._days_of(start, end):
            instant = self._at(day, self._yard.survey_h)
            if max(start, self._epoch) <= instant < end:
                yield Survey(f"S{day:%Y%m%d}", instant, self.stock_g(instant) // _GRAMS_PER_KG)

    def stock_g(self, instant: int) -> int:
        """What lies in the yard [g]: opening + tickets before `instant` - what the belt took until then."""
        received = sum(ticket.net_kg for ticket in self.tickets(self._epoch, instant))
        return (self._yard.opening_kg + received) * _GRAMS_PER_KG - self._belt.total(instant)

    def _days_of(self, start: int, end: int) -> Iterator[date]:
        if end <= start:
            return
        day = to_datetime(start, str(self._zone)).date()
        last = to_datetime(end - 1, str(self._zone)).date()
        while day <= last:
            yield day
            day += timedelta(days=1)

    def _at(self, day: date, hour: int) -> int:
        return to_instant(datetime.combine(day, time(hour), self._zone))

    def _tickets_of(self, day: date) -> list[Ticket]:
        known = self._days.get(day)
        if known is None:
            known = self._days[day] = self._made(day)
        return known

    def _made(self, day: date) -> list[Ticket]:
        yard, number = self._yard, day.toordinal()
        mean_load_g = sum(yard.net_kg) * _GRAMS_PER_KG // 2
        lorries = (self._burnt_the_day_before(day) + mean_load_g // 2) // mean_load_g
        opens, hours = self._at(day, yard.opens_h), yard.closes_h - yard.opens_h
        seconds = sorted(
            {chance(self._key, (number * 1000 + lorry) * 4, hours * 3600) for lorry in range(int(lorries))}
        )
        return [self._ticket(day, opens, second, place) for place, second in enumerate(seconds)]

    def _ticket(self, day: date, opens: int, second: int, place: int) -> Ticket:
        yard, draw = self._yard, (day.toordinal() * 1000 + place) * 4
        tare = self._weighed(yard.tare_kg, draw + 1)
        return Ticket(
            number=f"T{day:%Y%m%d}-{place + 1:03d}",
            instant=opens + second * 1_000_000,
            plate=yard.plates[chance(self._key, draw + 2, len(yard.plates))],
            gross_kg=tare + self._weighed(yard.net_kg, draw + 3),
            tare_kg=tare,
        )

    def _weighed(self, span: tuple[int, ...], draw: int) -> int:
        """A mass within a span [kg], in whole divisions of the weighbridge."""
        low, high = (each // self._yard.division_kg for each in span)
        return (low + chance(self._key, draw, high - low + 1)) * self._yard.division_kg

    def _burnt_the_day_before(self, day: date) -> int:
        """What the belt took [g] the day before: what the yard orders for this day."""
        first, after = (self._at(each, 0) // (QUARTER_S * 1_000_000) for each in (day - timedelta(days=1), day))
        return sum(self._belt.amount(quarter) for quarter in range(first, after))
