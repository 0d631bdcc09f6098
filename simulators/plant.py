"""The simulated plant: every meter of a lab with a known truth, a pure function of lab, seed and epoch."""

from collections.abc import Iterator
from fractions import Fraction

from gateway.domain.readings import MICROSECONDS, Reading, series_key
from simulators.coal_yard import CoalYard, Ticket
from simulators.flows import Flow, LossFlow, MultipliedFlow, ShapedFlow, SumFlow
from simulators.lab import Lab, LabLoad, LabPoint, LabYard
from simulators.load_shapes import QUARTER_S, Calendar, Shape, Stops, chance_key
from simulators.meter import FINE_PER_UNIT, SimulatedMeter, Surroundings, Total, fine_per_count
from simulators.models import MODELS
from simulators.words import Encoding


class Plant:
    """All meters of a lab from `epoch` on (a quarter-hour boundary [us, UTC]); `seed` and lab come from the lab file.

    What flows at a given time depends on the seed alone; the epoch only says when the registers showed their
    initial values. Raises ValueError where the epoch is not a quarter-hour boundary.
    """

    def __init__(self, lab: Lab, *, epoch: int) -> None:
        self.lab, self.epoch = lab, epoch
        self._calendar = Calendar(lab.lab.timezone)
        self._points = {point.id: point for point in lab.point}
        self.flows: dict[str, Flow] = {}
        self.losses: dict[str, Flow] = {}
        self.meters: dict[str, SimulatedMeter] = {}
        for point in lab.point:
            if point.model:
                self.meters[point.id] = self._meter(point)
        self.yard = None if lab.yard is None else self._yard(lab.yard)

    def meters_on(self, line: str) -> dict[int, SimulatedMeter]:
        """The Modbus meters of a line by device address."""
        return {point.address: self.meters[point.id] for point in self.lab.points_on(line) if point.model}

    def series(self, point: str, quantity: str) -> str:
        """The name of a series of this plant's enterprise."""
        return series_key(self.lab.enterprise.id, point, quantity)

    def series_on_wire(self) -> Iterator[tuple[LabPoint, str]]:
        """(point, quantity) of everything that comes over a wire."""
        for point in self.lab.point:
            if point.model:
                yield from ((point, shown.quantity) for shown in MODELS[point.model].fields)

    def register_at(self, point: str, quantity: str, instant: int) -> int:
        """What a total holds at `instant` [us, UTC], in counts of its resolution, before the wire rounds it."""
        return self.meters[point].register_at(quantity, instant)

    def shown_at(self, point: str, quantity: str, instant: int) -> int | float:
        """What a perfect reader of the wire gets at `instant`: counts of a total, a float otherwise."""
        return self.meters[point].shown_at(quantity, instant)

    def flow(self, point: str) -> Flow:
        """What flows past a point."""
        if point not in self.flows:
            self.flows[point] = self._flow(self._points[point])
        return self.flows[point]

    def _flow(self, point: LabPoint) -> Flow:
        parts: list[Flow] = [self.flow(part) for part in point.sum_of]
        if point.load is not None:
            parts.append(self._load(point, point.load))
        behind = parts[0] if len(parts) == 1 else SumFlow(parts)
        if not point.loss_pct:
            return behind
        loss = LossFlow(self.epoch, behind=behind, share=Fraction(point.loss_pct) / 100)
        self.losses[point.id] = loss
        return SumFlow([behind, loss])

    def _load(self, point: LabPoint, load: LabLoad) -> ShapedFlow:
        declared, seed = self.lab.shape[load.shape], self.lab.lab.seed
        stops = self.lab.stops.get(declared.stops)
        shape = Shape(
            declared.working_day,
            declared.weekend,
            declared.noise_pct,
            None
            if stops is None
            else Stops(chance_key(seed, declared.stops), stops.every_days, stops.shortest_h, stops.longest_h),
            declared.stopped_pct,
        )
        unit = MODELS[point.model].field(point.counts).unit
        mean = int(load.mean * FINE_PER_UNIT[unit] * QUARTER_S / 3600)
        key = chance_key(seed, point.id)
        return ShapedFlow(self.epoch, mean=mean, shape=shape, calendar=self._calendar, key=key)

    def _meter(self, point: LabPoint) -> SimulatedMeter:
        model, flow = MODELS[point.model], self.flow(point.id)
        feeds = {point.counts: (flow, point.initial)}
        for quantity, also in point.also.items():
            feeds[quantity] = (MultipliedFlow(flow, also.per), also.initial)
        totals = {}
        for quantity, (fed, initial) in feeds.items():
            shown = model.field(quantity)
            modulus = point.modulus if point.modulus and quantity == point.counts else shown.modulus
            fine = fine_per_count(shown.unit, shown.step)
            totals[quantity] = Total(fed, fine, int(initial / shown.step) % modulus, modulus)
        around = Surroundings(chance_key(self.lab.lab.seed, f"around {point.id}"), dict(point.nominal))
        return SimulatedMeter(model, totals, main=point.counts, around=around)

    def _yard(self, yard: LabYard) -> CoalYard:
        return CoalYard(
            yard,
            self.flow(yard.consumed_by),
            epoch=self.epoch,
            timezone=self.lab.lab.timezone,
            key=chance_key(self.lab.lab.seed, "yard"),
        )


def history(
    plant: Plant, start: int, end: int, *, step_s: int = QUARTER_S, momentary: bool = False
) -> Iterator[list[Reading]]:
    """What every register showed at each step in [start, end] [us, UTC], with the tickets and surveys in between.

    One list per step, as a perfect reader would have read it: totals in counts of their resolution, with the words
    that a Modbus meter sent. `momentary` adds power, flow, voltage and the like.
    """
    step = step_s * MICROSECONDS
    for instant in range(start, end + 1, step):
        readings = []
        for point, quantity in plant.series_on_wire():
            if momentary or MODELS[point.model].field(quantity).total:
                readings.append(reading_at(plant, point.id, quantity, instant))
        yield readings + list(yard_readings(plant, instant, min(instant + step, end)))


def reading_at(plant: Plant, point: str, quantity: str, instant: int) -> Reading:
    """The reading that a perfect reader would make at `instant`."""
    meter = plant.meters[point]
    shown = meter.model.field(quantity)
    words = b"" if shown.encoding is Encoding.TEXT else meter.words_at(shown, instant)
    return Reading(plant.series(point, quantity), instant, meter.shown_at(quantity, instant), words=words)


def yard_readings(plant: Plant, start: int, end: int) -> Iterator[Reading]:
    """Tickets and surveys in [start, end) as readings: net mass in divisions of the weighbridge, stock in t."""
    yard = plant.lab.yard
    if plant.yard is None or yard is None:
        return
    for ticket in plant.yard.tickets(start, end):
        yield Reading(plant.series(yard.tickets, "mass"), booked_at(ticket), ticket.net_kg // yard.division_kg)
    for survey in plant.yard.surveys(start, end):
        yield Reading(plant.series(yard.stock, "stock"), survey.instant, survey.stock_kg / 1000)


def booked_at(ticket: Ticket) -> int:
    """The instant of a ticket's reading [us, UTC]: the last digits of its number tell two of one second apart."""
    return ticket.instant + int("".join(filter(str.isdigit, ticket.number))[-6:])
