"""What the demonstration works would type into its ledger: instruments, certificates, production, output value."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import NamedTuple

from gateway.domain.periods import midnight
from simulators.plant import Plant
from simulators.truth import consumption

PRODUCT = ("cement", "水泥", "cement", "t")
PRODUCED_AT = ("E-MILL", "active_energy_import")  # the grinding meter says how much cement was made ...
COUNTS_PER_TONNE = 3100  # ... at 31.00 kWh/t
YUAN_PER_TONNE = Decimal(312)
PRICE_BASES = ("constant-2020", "current")
INSTRUMENT_COLUMNS = (
    "id", "name_zh", "name_en", "kind", "accuracy_class", "measuring_range", "place", "valid_from"
)  # fmt: skip


class LedgerFile(NamedTuple):
    """One file for `emg import`: its kind, and the CSV text."""

    kind: str
    text: str


def ledger_files(plant: Plant, first_day: date, day_after: date, today: date) -> list[LedgerFile]:
    """Everything that is known on `today`; production and output value for the days of [first_day, day_after)."""
    declared = files("simulators").joinpath("labs", f"{plant.lab.lab.name}_instruments.csv").read_text("utf-8")
    instruments = [row | {"valid_from": first_day.isoformat()} for row in csv.DictReader(io.StringIO(declared))]
    days = [first_day + timedelta(days=n) for n in range((day_after - first_day).days)]
    tonnes = {day: produced(plant, day) for day in days}
    return [
        LedgerFile(
            "instruments", _csv(INSTRUMENT_COLUMNS, ([row[c] for c in INSTRUMENT_COLUMNS] for row in instruments))
        ),
        LedgerFile("certificates", _certificates(instruments, today)),
        LedgerFile(
            "production",
            _csv(
                ("product", "name_zh", "name_en", "unit", "period", "quantity"),
                ((*PRODUCT, day.isoformat(), str(quantity)) for day, quantity in tonnes.items()),
            ),
        ),
        LedgerFile(
            "output-value",
            _csv(
                ("period", "amount_10k_cny", "price_basis"),
                (
                    (day.isoformat(), str(quantity * YUAN_PER_TONNE / 10000), basis)
                    for day, quantity in tonnes.items()
                    for basis in PRICE_BASES
                ),
            ),
        ),
    ]


def produced(plant: Plant, day: date) -> int:
    """Tonnes of cement made on a day of plant time."""
    zone = plant.lab.lab.timezone
    span = midnight(day, zone), midnight(day + timedelta(days=1), zone)
    return consumption(plant, *PRODUCED_AT, *span).counts // COUNTS_PER_TONNE


def _certificates(instruments: Sequence[dict[str, str]], today: date) -> str:
    rows = []
    for row in instruments:
        if row["certificate_kind"]:
            performed = today - timedelta(days=int(row["performed_days_ago"]))
            valid_until = performed + timedelta(days=int(row["valid_days"]) - 1)
            calibrated = row["certificate_kind"] == "calibration"
            rows.append(
                (
                    row["id"],
                    f"{performed.year}-{row['id'][2:]}-{performed:%m%d}",
                    row["certificate_kind"],
                    row["laboratory"],
                    performed.isoformat(),
                    valid_until.isoformat(),
                    "" if calibrated else "yes",
                    "0.15" if calibrated else "",
                    "2" if calibrated else "",
                )
            )
    columns = (
        "instrument", "number", "kind", "laboratory", "performed_on", "valid_until", "conforms",
        "expanded_uncertainty_pct", "k",
    )  # fmt: skip
    return _csv(columns, rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
