"""The demo's judge: asks the running gateway over HTTP and holds its answers against the simulator's truth."""

import json
import tomllib
from collections.abc import Collection, Iterator
from decimal import Decimal
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import urlopen

from gateway.domain.periods import Period, period, to_datetime
from gateway.domain.readings import MICROSECONDS
from gateway.errors import GatewayError
from simulators.checking import IntervalComparison, LiveComparison, compare_intervals, compare_live
from simulators.lab import lab_file
from simulators.meter import FINE_PER_UNIT
from simulators.models import MODELS
from simulators.plant import Plant
from simulators.truth import TruthRecords, consumption

# An independent statement of GB/T 2589-2020, kgce per kg, kWh or t; measured calorific values come from the accounts.
KGCE = {"electricity_equivalent": "0.1229", "diesel": "1.4571", "new_water": "0.2571"}
KJ_PER_KGCE = Decimal("29307.6")
TONNES = {"new_water"}  # rows whose unit is the tonne
ANSWER_S = 60  # how long the gateway may think about one question
YARD_STEP_KG = 20  # the gateway counts tickets in steps of the weighbridge, the simulator in kg


class Api:
    """The gateway's HTTP interface. Every address that was asked is remembered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.checked: set[str] = set()

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - a JSON document
        """One JSON document. Raises GatewayError when the gateway refuses or does not answer."""
        document = json.loads(self._asked(path, query))
        self.checked.add(path if "@" not in path else "/api/v1/figures/{id}/pedigree")
        return document

    def page(self, path: str, **query: object) -> str:
        """One page as text. Raises GatewayError as `get`."""
        text = self._asked(path, query).decode("utf-8")
        self.checked.add(path)
        return text

    def ready(self) -> dict[str, Any] | None:
        """The document of /readyz, ready or not; None while nothing answers."""
        try:
            found: dict[str, Any] = json.loads(self._answer("/readyz", {}))
        except HTTPError as error:
            return dict(json.load(error)) if error.code == 503 else None
        except (OSError, HTTPException):
            return None
        return found

    def _asked(self, path: str, query: dict[str, object]) -> bytes:
        try:
            return self._answer(path, query)
        except HTTPError as error:
            said = error.read(500).decode("utf-8", "replace")
            raise GatewayError(f"the gateway answered {error.code} to {error.url}: {said}") from error
        except (OSError, HTTPException) as error:
            raise GatewayError(f"the gateway does not answer at {self.url}{path}: {error}") from error

    def _answer(self, path: str, query: dict[str, object]) -> bytes:
        address = f"{self.url}{quote(path, safe='/@:')}?{urlencode(query)}"
        with urlopen(address, timeout=ANSWER_S) as answer:  # noqa: S310 - loopback
            found: bytes = answer.read()
        return found


class LiveSpan(NamedTuple):
    """From when to when live values are compared [us, UTC]."""

    start: int
    end: int


def check_live(
    api: Api, plant: Plant, records: TruthRecords, span: LiveSpan, *, read: Collection[str]
) -> LiveComparison:
    """Every value that came over a wire in the span against what the meter said at that sample.

    `read` = the series of the site file: a meter shows more than its profile reads.
    """
    enterprise = plant.lab.enterprise.id
    readings = []
    for point, quantity in plant.series_on_wire():
        if plant.series(point.id, quantity) not in read:
            continue
        shown = MODELS[point.model].field(quantity)
        rows = api.get(
            "/api/v1/readings", enterprise=enterprise, point=point.id, quantity=quantity, start=span.start, end=span.end
        )
        for row in rows:
            if (row["instant_us"] % (900 * MICROSECONDS)) == 0 and shown.total:
                continue  # a quarter-hour of the load profile, not a value of the wire
            value = None if row["value"] is None else row["counts"] if shown.total else float(row["value"])
            readings.append({"series": row["series"], "instant": row["instant_us"], "value": value, "words": ""})
    return compare_live(readings, records)


def check_intervals(api: Api, plant: Plant, *, until: int) -> IntervalComparison:
    """Every whole quarter-hour of every counting point since the epoch against what really flowed."""
    intervals = {}
    for point in plant.lab.point:
        if point.model:
            rows = [row for name in _months(plant, until) for row in _quarter_hours(api, plant, point.id, name)]
            intervals[plant.series(point.id, point.counts)] = rows
    return compare_intervals(intervals, plant)


def check_tickets(api: Api, plant: Plant, *, until: int) -> tuple[int, int]:
    """(kg of coal received by the gateway's tickets, by the truth) from the epoch until the last whole day."""
    yard = plant.lab.yard
    if yard is None:
        return 0, 0
    rows = [row for name in _months(plant, until) for row in _quarter_hours(api, plant, yard.tickets, name)]
    end = max((row["end"] for row in rows if row["end"] <= until), default=plant.epoch)
    counted = sum(int(row["counts"] or 0) for row in rows if row["end"] <= until) * YARD_STEP_KG
    return counted, consumption(plant, yard.tickets, "mass", plant.epoch, end).fine // FINE_PER_UNIT["kg"]


def _quarter_hours(api: Api, plant: Plant, point: str, name: str) -> Iterator[dict[str, Any]]:
    document = api.get("/api/v1/intervals", enterprise=plant.lab.enterprise.id, point=point, period=name)
    for row in document["intervals"]:
        if row["covered_s"] * MICROSECONDS == row["end_us"] - row["start_us"]:
            yield {
                "start": row["start_us"],
                "end": row["end_us"],
                "counts": row["counts"],
                "edge_counts": row["edge_counts"],
            }


def _months(plant: Plant, until: int) -> list[str]:
    zone = plant.lab.lab.timezone
    first, last = to_datetime(plant.epoch, zone), to_datetime(until, zone)
    count = (last.year - first.year) * 12 + last.month - first.month
    return [
        f"{first.year + (first.month - 1 + n) // 12}-{(first.month - 1 + n) % 12 + 1:02d}" for n in range(count + 1)
    ]


def whole_month(plant: Plant, until: int) -> Period:
    """The newest month that the history holds from beginning to end."""
    zone = plant.lab.lab.timezone
    return next(p for name in reversed(_months(plant, until)) if (p := period(name, zone)).end <= until)


def true_kgce(plant: Plant, span: Period) -> tuple[Decimal, Decimal]:
    """(comprehensive energy of the truth [kgce], how far registers that floor may be from it [kgce])."""
    accounts = tomllib.loads(
        lab_file(plant.lab.lab.name).with_name(f"{plant.lab.lab.name}_accounts.toml").read_text("utf-8"),
        parse_float=Decimal,
    )["account"]
    total = tolerance = Decimal(0)
    for account in accounts:
        (point,) = (point for point in plant.lab.point if point.id in account["plus"])
        shown = MODELS[point.model].field(point.counts)
        truth = consumption(plant, point.id, point.counts, span.start, span.end)
        factor = Decimal(account["ncv"]) / KJ_PER_KGCE if "ncv" in account else Decimal(KGCE[account["conversion"]])
        kgce_per_unit = factor * Decimal(account.get("density", 1))
        if shown.unit == "t" and account["conversion"] not in TONNES:
            kgce_per_unit *= 1000
        if account["conversion"] in TONNES:
            kgce_per_unit /= 1000
        total += Decimal(truth.fine) / FINE_PER_UNIT[shown.unit] * kgce_per_unit
        tolerance += truth.step * shown.step * kgce_per_unit
    return total, tolerance


def check_pedigrees(api: Api, figures: list[dict[str, Any]]) -> list[str]:
    """Ids of figures whose pedigree does not end in what it must: readings and instruments for energies."""
    return [figure["id"] for figure in figures if not _rests_on_readings(api, figure)]


def _rests_on_readings(api: Api, figure: dict[str, Any]) -> bool:
    document = api.get(f"/api/v1/figures/{figure['id']}/pedigree")
    text = json.dumps(document["tree"])
    if figure["kind"] in {"calibration_status", "instruments_in_date"}:
        return '"instrument"' in text
    return '"digest"' in text and '"certificate"' in text
