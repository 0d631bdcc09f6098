"""What the overview shows, gathered from stores and figures: no number is made here."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from analytics.calibration import instrument_statuses
from analytics.context import FigureContext
from analytics.figures import figures_of
from analytics.uncertainty import format_figure
from api.access import Installation, recorded_now
from api.documents import reading_document
from gateway.domain.carriers import NAMES_EN, NAMES_ZH, EnergyCarrier
from gateway.domain.figures import Figure, figure_id
from gateway.domain.periods import to_datetime
from gateway.domain.quantities import QUANTITIES
from gateway.domain.readings import MICROSECONDS
from gateway.domain.sites import LineKind
from gateway.status import PointAge, point_ages

# Momentary values that tell at a glance what flows; every register of every point is at /api/v1/readings/latest.
RATES = frozenset({"active_power", "volume_flow", "mass_flow", "heat_power"})


@dataclass(frozen=True, slots=True)
class ShownFigure:
    """A figure as a page shows it."""

    figure: Figure

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - hands the figure's own fields to the template
        return getattr(self.figure, name)

    @property
    def display(self) -> str:
        """Value ± U with the digits that U leaves meaningful; an em dash when it cannot be stated."""
        return format_figure(self.figure)

    @property
    def coverage_pct(self) -> str:
        """Coverage in per cent, rounded down: 100 only when it is whole."""
        return f"{int(self.figure.coverage * 1000) / 10:g}"


def overview(
    here: Installation, context: FigureContext, enterprise: str, period_name: str, language: str
) -> dict[str, Any]:
    """Everything the overview of one enterprise and period needs."""
    scope = context.scope.only(enterprise)
    ages = point_ages(here.site, context.readings, scope, now=here.clock.now())
    figures = figures_of(context, enterprise, period_name, as_of=recorded_now(here))
    by_kind: dict[str, list[Figure]] = {}
    for figure in figures:
        by_kind.setdefault(figure.kind, []).append(figure)
    total = next(iter(by_kind.get("comprehensive_energy", [])), None)
    carriers = _carriers(here, enterprise, by_kind, total, language)
    return {
        "lines": _lines(here, ages, language),
        "late": any(age.late for age in ages),
        "newest_age": _age_text(min((age.age_s for age in ages if age.age_s is not None), default=None)),
        "total": ShownFigure(total) if total else None,
        "carriers": carriers,
        "shares": _shares(carriers),
        "intensities": [
            ShownFigure(one) for kind, found in by_kind.items() if kind.startswith("energy_intensity") for one in found
        ],
        **_instruments(here, context, enterprise),
        "live": _live(here, context, enterprise, language),
    }


def _carrier_name(carrier: EnergyCarrier, language: str) -> str:
    return NAMES_ZH[carrier] if language == "zh" else NAMES_EN[carrier]


def _lines(here: Installation, ages: list[PointAge], language: str) -> list[dict[str, Any]]:
    rows = []
    for line in dict.fromkeys(age.line for age in ages):
        own = [age for age in ages if age.line == line]
        promised = line != "" and here.site.lines[line].kind is not LineKind.FILES
        names = dict.fromkeys(_carrier_name(age.point.carrier, language) for age in own)
        late = sum(age.late is True for age in own)
        rows.append(
            {"line": line, "carriers": " · ".join(names), "points": len(own), "late": late, "promised": promised}
        )
    return rows


def _carriers(
    here: Installation, enterprise: str, by_kind: dict[str, list[Figure]], total: Figure | None, language: str
) -> list[dict[str, Any]]:
    physical = {figure.key: figure for figure in by_kind.get("energy_consumption", [])}
    coal = {figure.key: figure for figure in by_kind.get("standard_coal", [])}
    rows = []
    for account in here.site.accounts:
        if account.enterprise == enterprise:
            amount, kgce = physical.get(account.conversion), coal.get(account.conversion)
            share = kgce.value / total.value if kgce and kgce.value is not None and total and total.value else None
            rows.append(
                {
                    "carrier": account.carrier.value,
                    "name": _carrier_name(account.carrier, language),
                    "physical": ShownFigure(amount) if amount else None,
                    "coal": ShownFigure(kgce) if kgce else None,
                    "share": share,
                    "pct": None if share is None else f"{float(share) * 100:.1f}",
                }
            )
    return rows


def _shares(carriers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Segments of the bar of shares: x and width in thousandths of its length."""
    shown, x = [], Decimal(0)
    for row in carriers:
        if row["share"] is not None and row["share"] > 0:
            width = row["share"] * 1000
            shown.append(
                {
                    "carrier": row["carrier"],
                    "name": row["name"],
                    "pct": row["pct"],
                    "x": round(x, 2),
                    "width": round(width, 2),
                }
            )
            x += width
    return shown


def _instruments(here: Installation, context: FigureContext, enterprise: str) -> dict[str, Any]:
    today = to_datetime(here.clock.now(), here.site.timezone).date()
    as_of = recorded_now(here)
    statuses = instrument_statuses(context, enterprise, on=today)
    in_date = figures_of(context, enterprise, today.isoformat(), as_of=as_of)
    rows = [
        {
            "id": one.instrument.id,
            "name_zh": one.instrument.name_zh,
            "name_en": one.instrument.name_en,
            "accuracy_class": one.instrument.accuracy_class.sign if one.instrument.accuracy_class else None,
            "status": one.status.value,
            "certificate": one.certificate.number if one.certificate else None,
            "last_day": one.last_day,
            "figure": figure_id("calibration_status", enterprise, today.isoformat(), one.instrument.id, as_of),
        }
        for one in statuses
    ]
    counted = next((figure for figure in in_date if figure.kind == "instruments_in_date"), None)
    return {"today": today, "instruments": rows, "in_date": ShownFigure(counted) if counted else None}


def _live(here: Installation, context: FigureContext, enterprise: str, language: str) -> list[dict[str, Any]]:
    now, rows = here.clock.now(), []
    for reading in context.readings.latest(context.scope.only(enterprise)):
        document = reading_document(reading, here.site)
        point = here.site.points.get(document.point)
        if point is None or document.quantity not in {point.counts, *RATES}:
            continue
        quantity = QUANTITIES[document.quantity]
        rows.append(
            {
                "series": reading.series,
                "point": point.id,
                "name": point.name_zh if language == "zh" else point.name_en,
                "carrier": point.carrier.value,
                "carrier_name": _carrier_name(point.carrier, language),
                "quantity_name": quantity.name_zh if language == "zh" else quantity.name_en,
                "display": document.display,
                "unit": document.unit,
                "age": _age_text(max(0, now - reading.instant) / MICROSECONDS),
                "order": (list(here.site.points).index(point.id), document.quantity != point.counts, document.quantity),
            }
        )
    return sorted(rows, key=lambda row: row["order"])


def _age_text(seconds: float | None) -> str:
    if seconds is None:
        return "—"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
