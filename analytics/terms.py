"""Terms of an account: what one metering point contributes, with its uncertainty and its evidence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from analytics.decimals import plain
from analytics.plant_facts import PlantFacts
from analytics.rollups import REASON_UNREAD, Rollup, total_over
from analytics.uncertainty import Budget, amounts_budget, class_budget, difference_budget, edge_budget, total
from gateway.contracts import StoredReading
from gateway.domain.figures import LedgerReference, ReadingRange
from gateway.domain.instruments import Instrument
from gateway.domain.periods import iso
from gateway.domain.readings import MICROSECONDS, Quality, series_key
from gateway.domain.sites import MeteringPoint
from gateway.errors import StoreError
from gateway.ledger.known import Recorded
from gateway.stores.intervals import SeriesFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What one point contributes: `value` [unit], None when it cannot be stated; `words` show it in a formula.

    `taken_at` [us, UTC] is the instant of a stock. `coverage` and `estimated` are shares [1].
    """

    point: str
    value: Fraction | None
    unit: str = ""
    words: str = ""
    budget: Budget = field(default_factory=Budget)
    coverage: Decimal = Decimal(1)
    estimated: Fraction = Fraction(0)
    ranges: tuple[ReadingRange, ...] = ()
    ledger: tuple[LedgerReference, ...] = ()
    reason: str = ""
    overdue: bool = False
    unverified: bool = False
    taken_at: int = 0


def measured(facts: PlantFacts, point_id: str, *, start: int, end: int) -> Term:
    """What flowed past a point in [start, end) [us, UTC], from its settled intervals as known at the as-of."""
    found = facts.points.get(point_id)
    if found is None:
        return Term(point=point_id, value=None, reason=f"metering point {point_id} is not in the ledger")
    point, asked = found.fact, facts.asked
    series = series_key(point.enterprise, point.id, point.counts)
    store, scope = asked.context.intervals, asked.scope
    try:
        about = store.facts(scope, series)
    except StoreError:
        return Term(point=point_id, value=None, reason=f"{series} was never settled: nothing was measured")
    sums = total_over(
        store.intervals(scope, series, start, end, as_of=asked.as_of),
        store.unallocated(scope, series, start, end, as_of=asked.as_of),
        start,
        end,
    )
    ticketed = about.interval_s == 0
    if sums.counts is None and not ticketed:
        why = sums.reason if sums.reason != REASON_UNREAD else "nothing was measured in the period"
        return Term(point=point_id, value=None, unit=about.unit, coverage=Decimal(0), reason=f"{point_id}: {why}")
    counts = sums.counts or 0
    value = Fraction(counts) * Fraction(about.resolution)
    term = _with_instruments(facts, point, value, on_the_way=_register_budget(series, sums, about))
    ended = "" if sums.reason == REASON_UNREAD and (ticketed or not asked.ended) else sums.reason
    return Term(
        point=point_id,
        value=value,
        unit=about.unit,
        words=f"{point_id} {counts} x {plain(about.resolution)} {about.unit}",
        budget=term.budget,
        # Where no ticket came nothing was delivered: tickets speak for all the time that has passed.
        coverage=asked.elapsed if ticketed else sums.coverage,
        estimated=Fraction(abs(sums.estimated_counts), abs(counts)) if counts else Fraction(0),
        ranges=(_range(series, point, sums, about),),
        ledger=term.ledger,
        reason=f"{point_id}: {ended}" if ended else "",
        overdue=term.overdue,
        unverified=term.unverified,
    )


def stock_at(facts: PlantFacts, point_id: str, boundary: int, *, label: str) -> Term:
    """What lay in store at a point at the last survey at or before `boundary` [us, UTC].

    A survey older than the context's tolerance is not taken for the boundary's.
    """
    found, context = facts.points.get(point_id), facts.asked.context
    if found is None:
        return Term(point=point_id, value=None, reason=f"metering point {point_id} is not in the ledger")
    point = found.fact
    series = series_key(point.enterprise, point.id, point.counts)
    register = context.series.get(series)
    if register is None:
        return Term(point=point_id, value=None, reason=f"{label} of {point_id}: the site names no register {series}")
    earliest = boundary - context.stock_tolerance_s * MICROSECONDS
    usable = _usable(context.readings.readings(facts.asked.scope, series, earliest, boundary + 1))
    if not usable:
        hours = context.stock_tolerance_s // 3600
        why = f"no survey within {hours} h before {iso(boundary, context.site_timezone)}"
        return Term(point=point_id, value=None, coverage=Decimal(0), reason=f"{label} of {point_id}: {why}")
    survey, unit = usable[-1], register.register.unit
    value = Fraction(Decimal(repr(survey.value))) if register.resolution is None else (
        Fraction(survey.value or 0) * Fraction(register.resolution)
    )  # fmt: skip
    term = _with_instruments(facts, point, value, on_the_way=Budget(), suffix=f", {label}")
    shown = ReadingRange(
        series=series,
        instrument=point.meter,
        start=survey.instant,
        end=survey.instant + 1,
        first_sequence=survey.sequence,
        last_sequence=survey.sequence,
        counts=None,
        resolution=register.resolution or Decimal(0),
        unit=unit,
    )
    return Term(
        point=point_id,
        value=value,
        unit=unit,
        words=f"{label} of {point_id} {plain(value)} {unit}",
        budget=term.budget,
        ranges=(shown,),
        ledger=term.ledger,
        overdue=term.overdue,
        unverified=term.unverified,
        taken_at=survey.instant,
    )


def _usable(readings: Iterable[StoredReading]) -> list[StoredReading]:
    return [reading for reading in readings if not reading.quality & Quality.MISSING and reading.value is not None]


def _with_instruments(
    facts: PlantFacts, point: MeteringPoint, value: Fraction, *, on_the_way: Budget, suffix: str = ""
) -> Term:
    """The class errors of a point's instruments on top of what the register adds, and their certificates."""
    instruments = facts.at_point(point)
    budgets = [on_the_way, *_classes(point, instruments, value, suffix)]
    evidence = [facts.evidence(row, facts.asked.last_day) for row in instruments]
    return Term(
        point=point.id,
        value=value,
        budget=total(budgets),
        ledger=tuple(reference for one in evidence for reference in one.references),
        overdue=any(one.overdue for one in evidence),
        unverified=not instruments or any(one.unverified for one in evidence),
    )


def _classes(
    point: MeteringPoint, instruments: Sequence[Recorded[Instrument]], value: Fraction, suffix: str
) -> Iterable[Budget]:
    if not instruments:
        name = point.meter or f"the instrument at {point.id}"
        yield class_budget(value, None, instrument=name)
    for row in instruments:
        yield class_budget(value, row.fact.accuracy_class, instrument=f"{row.fact.id}{suffix}")


def _register_budget(series: str, sums: Rollup, about: SeriesFacts) -> Budget:
    if about.interval_s is not None:
        return amounts_budget(about.resolution, sums.amounts, source=series)
    span = f"{series} from {iso(sums.start)} to {iso(sums.end)}"
    return total(
        [
            difference_budget(about.resolution * sums.step, source=span),
            edge_budget(about.resolution * sums.first_edge, source=f"{series} at {iso(sums.start)}"),
            edge_budget(about.resolution * sums.last_edge, source=f"{series} at {iso(sums.end)}"),
        ]
    )


def _range(series: str, point: MeteringPoint, sums: Rollup, about: SeriesFacts) -> ReadingRange:
    return ReadingRange(
        series=series,
        instrument=point.meter,
        start=sums.start,
        end=sums.end,
        first_sequence=sums.first_sequence,
        last_sequence=sums.last_sequence,
        counts=sums.counts,
        resolution=about.resolution,
        unit=about.unit,
    )
