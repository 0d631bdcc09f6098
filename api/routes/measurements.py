"""Readings, intervals and consumption."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from analytics.derived import derived_amounts
from analytics.rollups import rollup
from api.access import Context, EnterpriseId, Here, plant_period
from api.documents import derived_document, interval_document, plain, reading_document
from api.problems import not_found, unfit
from api.schemas import ConsumptionDocument, DerivedDocument, IntervalsDocument, ReadingDocument, RollupDocument
from gateway.domain.instruments import RegisterKind
from gateway.domain.periods import iso
from gateway.domain.readings import series_key

router = APIRouter(prefix="/api/v1", tags=["measurements"])
MOST_READINGS = 100_000
LAST_INSTANT = 253_402_300_800_000_000  # [us, UTC] the end of the year 9999

PointId = Annotated[str, Query(description="id of the metering point", examples=["E-MAIN"])]
QuantityName = Annotated[str, Query(description="empty = the quantity accounted at the point", examples=["volume"])]
PeriodName = Annotated[
    str, Query(alias="period", description="YYYY, YYYY-MM or YYYY-MM-DD of plant time", examples=["2026-10"])
]
Instant = Annotated[int, Query(description="microseconds since 1970, UTC", ge=0, lt=LAST_INSTANT)]


@router.get("/readings/latest", operation_id="latest_readings")
def latest_readings(here: Here, context: Context, enterprise: EnterpriseId) -> list[ReadingDocument]:
    """The newest usable reading of every series of an enterprise."""
    readings = context.readings.latest(context.scope.only(enterprise))
    return [reading_document(reading, here.site) for reading in readings]


@router.get("/readings", operation_id="readings")
def readings(
    here: Here,
    context: Context,
    enterprise: EnterpriseId,
    point: PointId,
    start: Instant,
    end: Instant,
    quantity: QuantityName = "",
) -> list[ReadingDocument]:
    """Readings of one series in [start, end), one per instant, at most 100,000."""
    key = _series(here, enterprise, point, quantity)
    found = context.readings.readings(context.scope.only(enterprise), key, start, end)
    if len(found) > MOST_READINGS:
        raise unfit(f"{len(found):,} readings lie in this span; ask for at most {MOST_READINGS:,} at a time")
    return [reading_document(reading, here.site) for reading in found]


@router.get("/intervals", operation_id="intervals")
def intervals(
    here: Here,
    context: Context,
    enterprise: EnterpriseId,
    point: PointId,
    name: PeriodName,
    quantity: QuantityName = "",
) -> IntervalsDocument:
    """Settled quarter-hours of one series in a period of plant time, missing ones included."""
    key = _settled_series(here, enterprise, point, quantity)
    span = plant_period(here, name)
    scope = context.scope.only(enterprise)
    facts = context.intervals.facts(scope, key)
    settled = context.intervals.intervals(scope, key, span.start, span.end)
    unplaced = context.intervals.unallocated(scope, key, span.start, span.end)
    return IntervalsDocument(
        series=key,
        unit=facts.unit,
        resolution=plain(facts.resolution),
        timezone=here.site.timezone,
        intervals=[interval_document(one, facts.resolution, here.site.timezone) for one in settled],
        unallocated=[interval_document(one, facts.resolution, here.site.timezone) for one in unplaced],
    )


@router.get("/derived", operation_id="derived")
def derived(here: Here, context: Context, enterprise: EnterpriseId, name: PeriodName) -> list[DerivedDocument]:
    """The points of an enterprise that are worked out from others, interval by interval, with their parts."""
    span, scope = plant_period(here, name), context.scope.only(enterprise)
    return [
        derived_document(
            point,
            derived_amounts(here.site, context.intervals, scope, point, span.start, span.end),
            here.site.timezone,
        )
        for point in here.site.derived.values()
        if point.enterprise == enterprise
    ]


@router.get("/consumption", operation_id="consumption")
def consumption(
    here: Here,
    context: Context,
    enterprise: EnterpriseId,
    point: PointId,
    name: PeriodName,
    by: Annotated[Literal["hour", "day", "month", "year"], Query()] = "day",
    quantity: QuantityName = "",
) -> ConsumptionDocument:
    """Consumption of one metering point by hours, days, months or years of plant time."""
    key = _settled_series(here, enterprise, point, quantity)
    span = plant_period(here, name)
    scope = context.scope.only(enterprise)
    facts = context.intervals.facts(scope, key)
    rows = rollup(context.intervals, scope, key, span, by=by)
    zone = here.site.timezone
    return ConsumptionDocument(
        point=point,
        quantity=key.rsplit("/", 1)[1],
        unit=facts.unit,
        timezone=zone,
        by=by,
        rows=[
            RollupDocument(
                start=iso(row.start, zone),
                end=iso(row.end, zone),
                value=None if row.counts is None else plain(row.counts * facts.resolution),
                counts=row.counts,
                coverage=float(row.coverage),
                reason=row.reason,
            )
            for row in rows
        ],
    )


def _series(here: Here, enterprise: str, point: str, quantity: str) -> str:
    known = here.site.points.get(point)
    if known is None or known.enterprise != enterprise:
        raise not_found("metering point", f"{enterprise}/{point}")
    key = series_key(enterprise, point, quantity or known.counts)
    if key not in here.site.series:
        raise not_found("series", key)
    return key


def _settled_series(here: Here, enterprise: str, point: str, quantity: str) -> str:
    key = _series(here, enterprise, point, quantity)
    if here.site.series[key].register.kind is RegisterKind.INSTANTANEOUS:
        raise unfit(f"{key} is a momentary value; consumption in intervals has only what a register counts")
    return key
