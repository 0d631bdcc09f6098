"""What every table of a standard must look like: its key, its numbers and the range they may lie in."""

from dataclasses import dataclass, field
from decimal import Decimal

Range = tuple[Decimal, Decimal]


def _range(low: str, high: str) -> Range:
    return Decimal(low), Decimal(high)


PERCENT = _range("0", "100")
POSITIVE = _range("1E-9", "1E9")
COEFFICIENT = _range("0.01", "10")  # kgce per kg, m3, kWh, MJ or t
CALORIFIC = _range("500", "100000")  # kJ per kg, m3, kWh or MJ
CONFIDENCES = ("high", "medium", "low")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One table: the columns that identify a row, those that may not be blank, numbers [range], dates."""

    key: tuple[str, ...]
    filled: tuple[str, ...] = ()
    numbers: dict[str, Range] = field(default_factory=dict)
    dates: tuple[str, ...] = ()


LAYOUTS: dict[str, Layout] = {
    "carriers.csv": Layout(
        key=("code", "edition"),
        filled=("name_zh", "name_en", "unit"),
        numbers={
            "ncv_value": CALORIFIC,
            "ncv_min": CALORIFIC,
            "ncv_max": CALORIFIC,
            "kgce_per_unit": COEFFICIENT,
            "kgce_min": COEFFICIENT,
            "kgce_max": COEFFICIENT,
        },
    ),
    "working_media.csv": Layout(
        key=("code", "edition"),
        filled=("name_zh", "name_en", "unit", "kgce_per_unit"),
        numbers={"kgce_per_unit": COEFFICIENT, "energy_value_MJ": _range("0.1", "1000"), "kcal": POSITIVE},
    ),
    "identities.csv": Layout(
        key=("code", "edition"), filled=("name_zh", "name_en", "value", "unit"), numbers={"value": POSITIVE}
    ),
    "editions.csv": Layout(key=("standard", "edition"), dates=("issued", "valid_from", "valid_to")),
    "verification_periods.csv": Layout(
        key=("instrument_en", "regulation", "applicability"),
        filled=("instrument_zh", "months", "scheme"),
        numbers={"months": _range("1", "240")},
    ),
    "gb17167_equipping.csv": Layout(
        key=("group_zh", "carrier_zh", "edition"),
        numbers={"in_out_unit_pct": PERCENT, "in_out_main_sub_unit_pct": PERCENT, "main_equipment_pct": PERCENT},
    ),
    "gb17167_thresholds.csv": Layout(
        key=("table", "carrier_zh", "unit", "edition"), filled=("limit",), numbers={"limit": POSITIVE}
    ),
    "gb17167_accuracy.csv": Layout(
        key=("instrument_en", "purpose", "condition", "edition"), filled=("accuracy_class",)
    ),
    "gb17167_user_class.csv": Layout(key=("user_class",)),
    "mpe_electricity.csv": Layout(
        key=("standard", "class", "connection", "current_from", "current_to", "power_factor", "note"),
        filled=("mpe_pct",),
        numbers={"mpe_pct": PERCENT},
    ),
    "mpe_gas.csv": Layout(
        key=("standard", "class", "zone"),
        numbers={"mpe_pct_in_service_low": _range("-100", "0"), "mpe_pct_in_service_high": PERCENT},
    ),
    "mpe_water.csv": Layout(
        key=("standard", "class", "zone", "temperature"),
        numbers={"mpe_pct_initial": PERCENT, "mpe_pct_in_service": PERCENT},
    ),
    "mpe_other.csv": Layout(key=("quantity", "standard", "class", "component"), numbers={"cap_pct": PERCENT}),
    "emission_factors.csv": Layout(
        key=("factor_id", "subject", "year"),
        filled=("value", "unit"),
        numbers={"value": POSITIVE, "ncv_value": POSITIVE, "carbon_tC_per_GJ": POSITIVE, "oxidation_pct": PERCENT},
    ),
    "quotas.csv": Layout(
        key=("standard", "edition_year", "product_zh", "indicator"),
        filled=("unit",),
        numbers={
            "level1": _range("-1000", "1E6"),  # a converter that recovers its gas has a negative quota
            "level2": _range("-1000", "1E6"),
            "level3": _range("-1000", "1E6"),
        },
        dates=("effective_date",),
    ),
    "tou_tariff.csv": Layout(
        key=("province", "doc", "months", "day_filter", "period", "from"), numbers={"priority": _range("1", "9")}
    ),
    "platform_protocol.csv": Layout(key=("item", "key")),
}
