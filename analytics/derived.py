"""Derived points: the amounts of others put together by their formula, interval by interval, when they are asked for.

Nothing is stored: a derived value can be worked out again from the settled intervals at any time, and follows them
when they are settled anew. Each names the parts that it is made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from analytics.decimals import plain
from gateway.domain.formulas import Undefined, evaluate, names, quotient_unit
from gateway.domain.intervals import Interval
from gateway.domain.periods import iso
from gateway.domain.readings import Quality, quality_name, series_key
from gateway.domain.scopes import Scope
from gateway.domain.sites import DerivedPoint, Site
from gateway.domain.units import UNITS
from gateway.stores.intervals import IntervalStore

PART_MISSING, PART_INCOMPLETE, DIVIDED_BY_ZERO = "part_missing", "part_incomplete", "divided_by_zero"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One settled amount that went into a derived one; `value` [`unit`] is None where there is none."""

    series: str
    value: Fraction | None
    unit: str
    quality: Quality
    reason: str = ""
    whole: bool = False
    first_sequence: int = 0
    last_sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedAmount:
    """The value [unit of the point] of a formula over [start, end) [us, UTC], with the worst quality of its parts.

    `value` is None when MISSING; then `reason` says which part is.
    """

    start: int
    end: int
    value: Fraction | None
    quality: Quality
    reason: str
    parts: tuple[Part, ...]


def measured_parts(site: Site, point: DerivedPoint) -> tuple[str, ...]:
    """The series that a derived point is made of in the end, each once, nearest first."""
    found: dict[str, None] = {}
    looked_at: set[str] = set()
    waiting = [point]
    while waiting:
        one = waiting.pop(0)
        for name in names(one.expression):
            inner = site.derived.get(name.point)
            if inner is None:
                measured = site.points[name.point]
                found[series_key(measured.enterprise, measured.id, measured.counts)] = None
            elif inner.id not in looked_at:
                looked_at.add(inner.id)
                waiting.append(inner)
    return tuple(found)


def derived_amounts(
    site: Site, intervals: IntervalStore, scope: Scope, point: DerivedPoint, start: int, end: int
) -> list[DerivedAmount]:
    """The values of a derived point in the intervals that begin in [start, end) [us, UTC].

    Evaluated in exact fractions wherever any of its parts has an interval. Nothing outside the scope is seen.
    """
    series = measured_parts(site, point)
    settled = {key: {one.start: one for one in intervals.intervals(scope, key, start, end)} for key in series}
    ends = {one.start: one.end for of_series in settled.values() for one in of_series.values()}
    return [_amount(site, point, slot, ends[slot], settled) for slot in sorted(ends)]


def _amount(
    site: Site, point: DerivedPoint, start: int, end: int, settled: Mapping[str, Mapping[int, Interval]]
) -> DerivedAmount:
    parts = tuple(_part(site, key, of_series.get(start)) for key, of_series in settled.items())
    missing = [part.series for part in parts if part.value is None]
    value, quality, reason = None, Quality.MISSING, f"{PART_MISSING}: {', '.join(missing)}"
    if not missing:
        try:
            value = _value(site, point, {part.series: part for part in parts}, {})
            quality, reason = _worst(parts)
        except Undefined:
            reason = DIVIDED_BY_ZERO
    return DerivedAmount(start=start, end=end, value=value, quality=quality, reason=reason, parts=parts)


def _part(site: Site, key: str, interval: Interval | None) -> Part:
    series = site.series[key]
    unit, resolution = series.register.unit, series.resolution
    if interval is None or interval.counts is None or resolution is None:
        reason = interval.reason if interval else "not_settled"
        return Part(series=key, value=None, unit=unit, quality=Quality.MISSING, reason=reason)
    return Part(
        series=key,
        value=interval.counts * Fraction(resolution),
        unit=unit,
        quality=interval.quality,
        reason=interval.reason,
        whole=interval.whole,
        first_sequence=interval.first_sequence,
        last_sequence=interval.last_sequence,
    )


def _value(site: Site, point: DerivedPoint, parts: Mapping[str, Part], known: dict[str, Fraction]) -> Fraction:
    """In the unit of the point; `known` [coherent units] keeps what was worked out already. Raises Undefined."""
    for name in names(point.expression):
        inner = site.derived.get(name.point)
        if name.point in known:
            continue
        if inner is not None:
            known[name.point] = _value(site, inner, parts, known) * _factor(inner)
            continue
        measured = site.points[name.point]
        part = parts[series_key(measured.enterprise, measured.id, measured.counts)]
        known[name.point] = (part.value or Fraction(0)) * UNITS[part.unit].factor
    return evaluate(point.expression, known) / _factor(point)


def _factor(point: DerivedPoint) -> Fraction:
    unit = quotient_unit(point.unit)
    return unit.factor if unit is not None else Fraction(1)


def _worst(parts: tuple[Part, ...]) -> tuple[Quality, str]:
    """The flags of all parts together; an amount that is not of the whole interval makes the result doubtful."""
    flags = Quality(0)
    reasons: dict[str, None] = {}
    for part in parts:
        flags |= part.quality & ~Quality.GOOD
        if not part.whole:
            flags |= Quality.SUSPECT
            reasons[f"{PART_INCOMPLETE}: {part.series}"] = None
        elif part.quality & ~Quality.GOOD:
            reasons[f"{part.reason or part.quality.name}: {part.series}"] = None
    return flags or Quality.GOOD, ", ".join(reasons)


def told(amount: DerivedAmount, timezone: str) -> dict[str, Any]:
    """For JSON: decimals as text; the parts are the pedigree: series, amount, and the journal range of its readings."""
    return {
        "start": iso(amount.start, timezone),
        "end": iso(amount.end, timezone),
        "value": None if amount.value is None else plain(amount.value),
        "quality": quality_name(amount.quality),
        "reason": amount.reason,
        "parts": [
            {
                "series": part.series,
                "value": None if part.value is None else plain(part.value),
                "unit": part.unit,
                "quality": quality_name(part.quality),
                "reason": part.reason,
                "first_sequence": part.first_sequence,
                "last_sequence": part.last_sequence,
            }
            for part in amount.parts
        ],
    }
