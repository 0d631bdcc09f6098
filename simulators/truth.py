"""The truth: a log of everything the simulated meters said, and what really flowed between two instants."""

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

from gateway.domain.readings import Reading
from simulators.lab import lab_file, load_lab
from simulators.meter import FINE_PER_UNIT
from simulators.models import MODELS
from simulators.plant import Plant


class Answer(NamedTuple):
    """Words that a Modbus device answered with, served at `at` [us, UTC]; `address` is that of the first word."""

    at: int
    port: int
    device: int
    table: str
    address: int
    words: bytes


class Publish(NamedTuple):
    """A message of an MQTT meter: its own time stamp `instant` [us, UTC] and its values as decimal text."""

    at: int
    point: str
    instant: int
    sequence: int
    values: dict[str, str]


class SeriesOnWire(NamedTuple):
    """Where a series comes from: a field of a model at a port and device address, or (port 0) a message."""

    series: str
    model: str
    quantity: str
    port: int = 0
    device: int = 0
    point: str = ""


class TruthLog:
    """JSON lines, one per event, each handed to the operating system before the event goes on the wire.

    A killed process loses nothing it said; a torn last line is passed over when the log is read.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file; writing afterwards raises ValueError."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lab(self, plant: Plant, file: str | Path) -> None:
        """Which truth this is: lab file, seed and epoch; `truth_of` builds the plant again from it."""
        where = str(lab_file(file).resolve())
        self._write({"kind": "lab", "file": where, "seed": plant.lab.lab.seed, "epoch": plant.epoch})

    def series(self, wired: SeriesOnWire) -> None:
        """Where a series comes from."""
        self._write({"kind": "series", **wired._asdict()})

    def answer(self, at: int, port: int, device: int, table: str, address: int, words: bytes) -> None:
        """An answer with data. Written by hand: it is on the way of every request."""
        self._line(
            f'{{"kind":"answer","at":{at},"device":{device},"port":{port},"table":"{table}",'
            f'"address":{address},"words":"{words.hex()}"}}\n'
        )

    def publish(self, message: Publish, topic: str) -> None:
        """A message about to be published."""
        self._write({"kind": "publish", "topic": topic, **message._asdict()})

    def puback(self, at: int, point: str, sequence: int) -> None:
        """The broker took a message over."""
        self._write({"kind": "puback", "at": at, "point": point, "sequence": sequence})

    def file(self, at: int, name: str, readings: list[Reading]) -> None:
        """A file about to appear in the drop folder, and the readings in it."""
        rows = [{"series": each.series, "instant": each.instant, "value": each.value} for each in readings]
        self._write({"kind": "file", "at": at, "file": name, "rows": rows})

    def _write(self, event: dict[str, Any]) -> None:
        self._line(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")

    def _line(self, line: str) -> None:
        with self._lock:
            self._file.write(line)
            self._file.flush()


class TruthRecords:
    """A truth log, read. `acknowledged` holds (point, sequence) of the messages the broker took over."""

    def __init__(self) -> None:
        self.labs: list[dict[str, Any]] = []
        self.series: dict[str, SeriesOnWire] = {}
        self.answers: list[Answer] = []
        self.publishes: list[Publish] = []
        self.acknowledged: set[tuple[str, int]] = set()
        self.rows: list[tuple[str, int, int | float]] = []  # (series, instant, value) of what came in files

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.pop("kind")
        if kind == "answer":
            event["words"] = bytes.fromhex(event["words"])
            self.answers.append(Answer(**event))
        elif kind == "publish":
            del event["topic"]
            self.publishes.append(Publish(**event))
        elif kind == "puback":
            self.acknowledged.add((event["point"], event["sequence"]))
        elif kind == "file":
            self.rows += [(row["series"], row["instant"], row["value"]) for row in event["rows"]]
        elif kind == "series":
            self.series[event["series"]] = SeriesOnWire(**event)
        else:
            self.labs.append(event)


def read_truth(path: Path) -> TruthRecords:
    """Everything a truth log holds; a last line without its end is passed over."""
    records = TruthRecords()
    for line in _whole_lines(path):
        records._take(json.loads(line))  # noqa: SLF001 - the records are filled here and nowhere else
    return records


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def truth_of(records: TruthRecords) -> Plant:
    """The plant of a truth log's newest lab record, built again. Raises LookupError where it names none."""
    if not records.labs:
        raise LookupError("the truth log names no lab")
    lab = records.labs[-1]
    return Plant(load_lab(lab["file"], seed=lab["seed"]), epoch=lab["epoch"])


class Consumption(NamedTuple):
    """What a point took between two instants: as its register showed it [counts], and as it was [fine units].

    `step` [counts] is the largest step of the shown total there: 1, or more where a float carries it.
    """

    counts: int
    fine: int
    step: Decimal


def consumption(plant: Plant, point: str, quantity: str, start: int, end: int) -> Consumption:
    """The truth about [start, end) [us, UTC] of one counting register, or of the tickets of the yard.

    Raises KeyError where the point shows no such total.
    """
    yard = plant.lab.yard
    if plant.yard is not None and yard is not None and point == yard.tickets:
        kilograms = sum(ticket.net_kg for ticket in plant.yard.tickets(start, end))
        return Consumption(kilograms // yard.division_kg, kilograms * FINE_PER_UNIT["kg"], Decimal(1))
    meter = plant.meters[point]
    shown = meter.model.field(quantity)
    first, last = (int(meter.shown_at(quantity, instant)) for instant in (start, end))
    fine = meter.fine_total(quantity, end) - meter.fine_total(quantity, start)
    return Consumption((last - first) % meter.modulus(quantity), fine, _step(shown.encoding, last, shown.step))


def _step(encoding: str, counts: int, step: Decimal) -> Decimal:
    """max(1, one unit in the last place of the float that carries the total) [counts]."""
    significand = {"float32": 24, "float64": 53}.get(encoding)
    if significand is None or not counts:
        return Decimal(1)
    whole = int(abs(counts) * step)
    return max(Decimal(1), Decimal(2) ** (whole.bit_length() - significand) / step)


def wiring(plant: Plant, ports: dict[str, int]) -> list[SeriesOnWire]:
    """Where each series of a plant comes from; `ports` = the port of each Modbus line."""
    enterprise = plant.lab.enterprise.id
    return [
        SeriesOnWire(
            f"{enterprise}/{point.id}/{shown.quantity}",
            point.model,
            shown.quantity,
            ports.get(point.line, 0),
            point.address if point.line in ports else 0,
            point.id,
        )
        for point in plant.lab.point
        if point.model
        for shown in MODELS[point.model].fields
    ]
