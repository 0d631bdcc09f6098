"""A simulated meter: what its display shows at an instant, and the words it answers with."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.domain.readings import MICROSECONDS
from simulators.flows import Flow, ListedFlow
from simulators.load_shapes import QUARTER_S, chance
from simulators.models import MODELS, Field, Model
from simulators.words import Encoding, decode_momentary, decode_total, encode_momentary, encode_total, length

# Truth is kept in whole fine units: mWh, mL, g.
FINE_PER_UNIT = {
    "Wh": 1000,
    "kWh": 10**6,
    "MWh": 10**9,
    "L": 1000,
    "m3": 10**6,
    "g": 1,
    "kg": 1000,
    "t": 10**6,
}
# Momentary values are made in kW, m3/h, kg/h, V, A, Hz, bar, Cel, kg/m, m/s; other units by these factors.
_FROM_NATURAL = {"W": 1000.0, "MW": 0.001, "t/h": 0.001, "L/h": 1000.0}
# Fine units of the main total in one natural unit of its flow: mWh in kWh, mL in m3, g in kg.
_FINE_PER_FLOW_UNIT = {
    "kWh": 10**6,
    "Wh": 10**6,
    "MWh": 10**6,
    "m3": 10**6,
    "L": 10**6,
    "kg": 1000,
    "t": 1000,
    "g": 1000,
}


def fine_per_count(unit: str, step: Decimal) -> int:
    """How many fine units one count of a total holds. Raises ValueError where it is not a whole number."""
    fine = step * FINE_PER_UNIT[unit]
    if fine != int(fine) or fine < 1:
        raise ValueError(f"a step of {step} {unit} is not a whole number of fine units")
    return int(fine)


@dataclass(frozen=True, slots=True)
class Total:
    """A counting register: the flow it counts, what it showed at the epoch, and when it starts again [counts]."""

    flow: Flow
    fine: int
    initial: int
    modulus: int

    def counts(self, instant: int) -> int:
        """What the register holds at `instant` [counts], cut to whole counts, started again at its modulus."""
        return (self.initial + self.flow.total(instant) // self.fine) % self.modulus


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Nominal values around a meter, and the key of the small noise on them."""

    key: int = 0
    nominal: Mapping[str, float] = field(default_factory=dict)

    def value(self, name: str, default: float, second: int, permille: int) -> float:
        """The nominal value with noise of up to +-`permille`, another one each second."""
        centre = self.nominal.get(name, default)
        noise = chance(self.key ^ hash_of(name), second, 2001) - 1000
        return centre * (1 + noise * permille / 1_000_000)


def hash_of(name: str) -> int:
    """A number for a name that is the same in every run."""
    return int.from_bytes(name.encode()[:8].ljust(8, b"\0"))


_PHASE = re.compile(r"(.+)_l([123])")


def _momentary(quantity: str, rate: float, around: Surroundings, second: int) -> float:
    """A momentary value in its natural unit; `rate` = the flow of the main total [kW, m3/h, kg/h]."""
    found = _PHASE.fullmatch(quantity)
    name, phase = (found[1], int(found[2])) if found else (quantity, 0)
    flow = rate / 3 if phase else rate
    speed = around.value("belt_speed", 1.2, second, 5) if rate else 0.0
    voltage = around.value("voltage", 230.0, second * 4 + phase, 4)
    made: dict[str, Callable[[], float]] = {
        "active_power": lambda: flow,
        "voltage": lambda: voltage,
        "current": lambda: flow * 1000 / (voltage * around.value("power_factor", 0.9, second, 0)),
        "power_factor": lambda: around.value("power_factor", 0.9, second, 10),
        "frequency": lambda: around.value("frequency", 50.0, second, 1),
        "volume_flow": lambda: flow,
        "mass_flow": lambda: flow,
        "belt_speed": lambda: speed,
        "belt_load": lambda: flow / 3600 / speed if speed else 0.0,
        "pressure": lambda: around.value("pressure", 8.0, second, 20),
        "temperature": lambda: around.value("temperature", 25.0, second, 5),
        "temperature_supply": lambda: around.value("temperature", 25.0, second, 5),
        "temperature_return": lambda: around.value("temperature", 25.0, second * 2 + 1, 5),
        "heat_power": lambda: flow * around.value("heat_kwh_per_kg", 0.77, second, 0),
    }
    return made[name]()


class SimulatedMeter:
    """One meter of a model. Its values change once in each whole second, as a real meter's do."""

    def __init__(
        self, model: Model, totals: Mapping[str, Total], *, main: str, around: Surroundings | None = None
    ) -> None:
        self.model = model
        self._totals = totals
        self._main = model.field(main)
        self._around = around or Surroundings()
        self._segments = _segments(model)
        self._images: dict[int, tuple[int, bytes]] = {}

    def register_at(self, quantity: str, instant: int) -> int:
        """What a total holds inside the meter [counts of its step], before the wire rounds it.

        A total that the model shows but nothing feeds stands at 0. Raises KeyError for any other quantity.
        """
        if not self.model.field(quantity).total:
            raise KeyError(f"{quantity} is no total")
        total = self._totals.get(quantity)
        return 0 if total is None else total.counts(instant)

    def modulus(self, quantity: str) -> int:
        """The first count of a total that is shown as zero again."""
        total = self._totals.get(quantity)
        return self.model.field(quantity).modulus if total is None else total.modulus

    def fine_total(self, quantity: str, instant: int) -> int:
        """What has flowed through a total since the epoch [fine units]."""
        total = self._totals.get(quantity)
        return 0 if total is None else total.flow.total(instant)

    def momentary_at(self, quantity: str, instant: int) -> float:
        """A momentary value in the unit of the model's field, before the wire rounds it."""
        return self._natural(quantity, instant) * _FROM_NATURAL.get(self.model.field(quantity).unit, 1.0)

    def shown_at(self, quantity: str, instant: int) -> int | float:
        """What a perfect reader of the wire gets: counts of a total, a float in the field's unit otherwise."""
        shown = self.model.field(quantity)
        if shown.encoding is Encoding.TEXT:
            return self.register_at(quantity, instant) if shown.total else float(self.text_at(quantity, instant))
        return decode(shown, self.words_at(shown, instant))

    def text_at(self, quantity: str, instant: int) -> str:
        """The value as exact decimal text in the field's unit, with as many places as its step."""
        shown = self.model.field(quantity)
        if shown.total:
            return f"{self.register_at(quantity, instant) * shown.step:f}"
        return f"{Decimal(self.momentary_at(quantity, instant)).quantize(shown.step):f}"

    def words_at(self, shown: Field, instant: int) -> bytes:
        """The field's words at `instant`."""
        if shown.total:
            return encode_total(shown.encoding, self.register_at(shown.quantity, instant), shown.step)
        return encode_momentary(shown.encoding, self.momentary_at(shown.quantity, instant), shown.step)

    def read(self, table: str, address: int, count: int, instant: int) -> bytes | None:
        """`count` words from `address`, or None where the meter has no such addresses."""
        for index, segment in enumerate(self._segments):
            offset = address - segment.start
            if segment.table == table and offset >= 0 and offset + count <= segment.length:
                return self._image(index, segment, instant)[2 * offset : 2 * (offset + count)]
        return None

    def _image(self, index: int, segment: "_Segment", instant: int) -> bytes:
        second = instant // MICROSECONDS
        known = self._images.get(index)
        if known is not None and known[0] == second:
            return known[1]
        image = b"".join(self.words_at(shown, instant) for shown in segment.fields)
        self._images[index] = (second, image)
        return image

    def _natural(self, quantity: str, instant: int) -> float:
        total = self._totals[self._main.quantity]
        rate = total.flow.per_hour(instant) / _FINE_PER_FLOW_UNIT[self._main.unit]
        return _momentary(quantity, rate, self._around, instant // MICROSECONDS)


def decode(shown: Field, words: bytes) -> int | float:
    """What a field's words say: counts of a total, a float in the field's unit otherwise."""
    if shown.total:
        return decode_total(shown.encoding, words, shown.step)
    return decode_momentary(shown.encoding, words, shown.step)


class MeterFromIntervals(SimulatedMeter):
    """A meter fed by a list of amounts per interval [fine units: mWh, mL, g] from `start` [us, UTC] on.

    `initial` [counts] is what it shows at `start`; it stands still after the last interval.
    Raises ValueError where `start` is not a whole number of steps since 1970 UTC.
    """

    def __init__(
        self, model: str, amounts: Sequence[int], *, start: int, main: str, step_s: int = QUARTER_S, initial: int = 0
    ) -> None:
        shown = MODELS[model].field(main)
        flow = ListedFlow(start, amounts, step_s)
        total = Total(flow, fine_per_count(shown.unit, shown.step), initial, shown.modulus)
        super().__init__(MODELS[model], {main: total}, main=main)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Fields that lie side by side: what one request may span."""

    table: str
    start: int
    length: int
    fields: tuple[Field, ...]


def _segments(model: Model) -> list[_Segment]:
    segments: list[_Segment] = []
    on_wire = [shown for shown in model.fields if shown.table]
    for shown in sorted(on_wire, key=lambda shown: (shown.table, shown.address)):
        words = length(shown.encoding)
        last = segments[-1] if segments else None
        if last is not None and last.table == shown.table and last.start + last.length == shown.address:
            segments[-1] = _Segment(last.table, last.start, last.length + words, (*last.fields, shown))
        else:
            segments.append(_Segment(shown.table, shown.address, words, (shown,)))
    return segments
