"""The cross-check of a mapping against its file: with the right one the rows tile their time, without gap or overlap.

A wrong label, zone or day end shows itself in the order of the rows, in what they leave out, and in where the
first and the last interval lie: at the beginning and end of plant days, unless the mapping says otherwise.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from collectors.mapping import ANYWHERE, NEXT_DAY, Mapping
from collectors.mapping_form import MIDNIGHT
from gateway.domain.periods import iso, midnight, to_datetime, to_instant
from gateway.domain.readings import MICROSECONDS

HOUR = 3600 * MICROSECONDS


class Placed(NamedTuple):
    """A row with its instant: the start of its interval, or the instant itself [us, UTC].

    `place` counts all rows, good and bad, in the order of time that the mapping declares.
    """

    place: int
    line: int
    label: str
    instant: int
    value: int | float


class Judgement(NamedTuple):
    """`contradictions` refuse the file as a whole; `findings` are told; `rows` are those to book."""

    contradictions: list[str]
    findings: list[str]
    rows: list[Placed]


def judge(rows: Sequence[Placed], bad_places: Sequence[int], mapping: Mapping, plant_zone: str) -> Judgement:
    """Check rows that stand in the declared order. A row that was not taken explains one missing interval."""
    contradictions, findings = _zone(rows, mapping, plant_zone)
    kept, doubled = _once(rows)
    contradictions += doubled.contradictions
    findings += doubled.findings
    backwards = [(a, b) for a, b in pairwise(kept) if b.instant < a.instant]
    if not mapping.tiles:
        if backwards:
            findings.append(_backwards(backwards, kept, mapping))
        return Judgement(contradictions, findings, kept)
    if backwards:
        contradictions.append(_backwards(backwards, kept, mapping))
    else:
        contradictions += _step(kept, mapping)
        gaps, known = _gaps(kept, bad_places, mapping)
        contradictions += gaps
        findings += known
    edges, early = _edges(kept, bad_places, mapping, plant_zone)
    return Judgement(contradictions + edges, findings + early, kept)


def _zone(rows: Sequence[Placed], mapping: Mapping, plant_zone: str) -> tuple[list[str], list[str]]:
    zone, why = mapping.zone, mapping.time.zone_differs
    if zone is None:
        return [], []
    hours = {row.instant // HOUR: row.instant for row in rows}  # one look an hour: a difference lasts longer
    for instant in hours.values():
        here, there = to_datetime(instant, plant_zone), to_datetime(instant, zone.key)
        if here.utcoffset() == there.utcoffset():
            continue
        differ = f"the file's zone {zone.key} has {there:%Y-%m-%d %H:%M} when the plant's {plant_zone} has {here:%H:%M}"
        if why is None:
            mend = f'Declare time.zone = "{plant_zone}", or say in time.zone_differs why the file is written in another'
            return [f"{differ}. {mend}."], []
        return [], [f"{differ}; declared: {why}."]
    return [], []


class _Doubled(NamedTuple):
    contradictions: list[str]
    findings: list[str]


def _once(rows: Sequence[Placed]) -> tuple[list[Placed], _Doubled]:
    """Each instant once; equal values are one row told twice, different ones contradict each other."""
    seen: dict[int, Placed] = {}
    kept, same, other = [], [], []
    for row in rows:
        first = seen.setdefault(row.instant, row)
        if first is row:
            kept.append(row)
        elif first.value == row.value:
            same.append((first, row))
        else:
            other.append((first, row))
    contradictions, findings = [], []
    if same:
        findings.append(f"{len(same)} rows repeat an earlier one and were left out, first line {same[0][1].line}.")
    if other:
        a, b = other[0]
        contradictions.append(
            f"{len(other)} rows claim an instant that an earlier row has with another value, first line {b.line} "
            f"({b.label!r}) against line {a.line} ({a.label!r}). Both cannot be right: take the wrong one out, or mend "
            "time.zone (an hour shown twice in autumn), time.day_end or time.formats."
        )
    return kept, _Doubled(contradictions, findings)


def _backwards(pairs: Sequence[tuple[Placed, Placed]], rows: Sequence[Placed], mapping: Mapping) -> str:
    before, after = pairs[0]
    text = f"{len(pairs)} rows run backwards in time, first line {after.line}: {after.label!r} after {before.label!r}."
    at_midnight = sum(1 for _, row in pairs if _names_midnight(row.label))
    if len(pairs) == len(rows) - 1:
        return f'{text} All do: declare time.order = "newest-first".'
    if mapping.tiles and at_midnight * 2 > len(pairs):
        declared = (
            'time.day_end = "00:00-of-same-day"'
            if mapping.time.day_end == NEXT_DAY
            else 'time.label = "end" and time.day_end = "00:00-of-same-day"'
        )
        return (
            f"{text} The label 00:00 stands at the end of its date: the mapping contradicts that. "
            f"If it means the end of that day, declare {declared}."
        )
    return f"{text} Mend time.formats (day and month exchanged?), time.day_end or time.label, or sort the file."


def _names_midnight(label: str) -> bool:
    return label.rstrip("Zz").endswith(("0:00", "00:00:00")) and not label.rstrip("Zz").endswith(("10:00", "20:00"))


def _step(rows: Sequence[Placed], mapping: Mapping) -> list[str]:
    """The most common distance of rows must be the declared interval."""
    if len(rows) < 2:
        return []
    steps = Counter(b.instant - a.instant for a, b in pairwise(rows))
    common = steps.most_common(1)[0][0] // MICROSECONDS
    if common == mapping.time.interval_s:
        return []
    return [f"rows are mostly {common} s apart, the mapping says time.interval_s = {mapping.time.interval_s}: mend it."]


def _gaps(rows: Sequence[Placed], bad_places: Sequence[int], mapping: Mapping) -> tuple[list[str], list[str]]:
    """Missing intervals between rows, less those whose rows were there and could not be taken."""
    span = (mapping.time.interval_s or 0) * MICROSECONDS
    gaps = []
    for a, b in pairwise(rows):
        missing = (b.instant - a.instant) // span - 1
        if missing > 0 and missing > sum(1 for place in bad_places if a.place < place < b.place):
            gaps.append((missing, a, b))
    if not gaps:
        return [], []
    total, (_, a, b) = sum(missing for missing, _, _ in gaps), gaps[0]
    text = (
        f"{total} intervals are missing in {len(gaps)} gaps, first between line {a.line} ({a.label!r}) "
        f"and line {b.line} ({b.label!r})"
    )
    if mapping.time.gaps_known is not None:
        return [], [f"{text}; declared: {mapping.time.gaps_known}."]
    return [f"{text}. If they are missing in truth, say why in time.gaps_known; a gap is never booked as zero."], []


def _edges(
    rows: Sequence[Placed], bad_places: Sequence[int], mapping: Mapping, plant_zone: str
) -> tuple[list[str], list[str]]:
    """Where the first interval begins and the last one ends."""
    span = (mapping.time.interval_s or 0) * MICROSECONDS
    zone = mapping.time.zone if mapping.time.zone_differs and mapping.zone else plant_zone
    first, last = min(rows, key=lambda row: row.instant), max(rows, key=lambda row: row.instant)
    before = sum(1 for place in bad_places if place < rows[0].place) * span
    after = sum(1 for place in bad_places if place > rows[-1].place) * span
    begin, end = first.instant, last.instant + span
    contradictions, findings = [], []
    if (said := declared(mapping.time.first, zone)) is not None and begin != said:
        contradictions.append(_not_as_said("first", begin, said, zone, first))
    elif mapping.time.first == MIDNIGHT and begin - _midnight_before(begin, zone) > before:
        contradictions.append(_not_midnight("first", begin, zone, first))
    if (said := declared(mapping.time.last, zone)) is not None and end != said:
        contradictions.append(_not_as_said("last", end, said, zone, last))
    elif mapping.time.last == MIDNIGHT:
        off = end - _midnight_before(end, zone)
        short = _midnight_after(end, zone) - end if off else 0
        if off and short > after:
            if off <= span or short <= span:
                contradictions.append(_not_midnight("last", end, zone, last))
            else:
                findings.append(
                    f"the last interval ends at {iso(end, zone)}, inside a plant day: that day is not complete."
                )
    return contradictions, findings


def declared(text: str, zone: str) -> int | None:
    """The instant [us, UTC] that time.first or time.last names; None for midnight and anywhere."""
    if text in {MIDNIGHT, ANYWHERE}:
        return None
    moment = datetime.fromisoformat(text)
    return to_instant(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone)))


def _midnight_before(instant: int, zone: str) -> int:
    return midnight(to_datetime(instant, zone).date(), zone)


def _midnight_after(instant: int, zone: str) -> int:
    day = to_datetime(instant, zone).date()
    return midnight(date.fromordinal(day.toordinal() + 1), zone)


def _not_as_said(which: str, found: int, said: int, zone: str, row: Placed) -> str:
    what = "begins" if which == "first" else "ends"
    return (
        f"the {which} interval (line {row.line}, {row.label!r}) {what} at {iso(found, zone)}, "
        f"the mapping says time.{which} = {iso(said, zone)}: mend one of them, or time.label."
    )


def _not_midnight(which: str, found: int, zone: str, row: Placed) -> str:
    what, where = ("begins", "with") if which == "first" else ("ends", "with the end of")
    return (
        f"the {which} interval (line {row.line}, {row.label!r}) {what} at {iso(found, zone)}, not {where} a plant day. "
        "If time.label (start or end), time.day_end and time.zone are right, say so: declare "
        f'time.{which} = "{to_datetime(found, zone):%Y-%m-%dT%H:%M}".'
    )
