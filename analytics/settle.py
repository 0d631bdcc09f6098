"""Settling: new readings become intervals, and nothing that they do not touch is looked at again.

Only what changed is written, as a new version; settling twice changes nothing. The watermark moves last, so
that a run that is cut off is simply repeated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from analytics.differencing import REASON_GAP, Settled, difference, rules_of, shown_totals
from analytics.placing import place_interval_readings, place_tickets
from gateway.clocks import Clock
from gateway.contracts import ReadingStore, StoredReading, Touched
from gateway.domain.instruments import RegisterKind
from gateway.domain.intervals import Interval
from gateway.domain.readings import MICROSECONDS, Quality
from gateway.domain.scopes import Scope
from gateway.domain.sites import Series, Site
from gateway.errors import SinkBusy, SinkDenied, StoreError
from gateway.stores.intervals import IntervalStore

Progress = Callable[[int, int], None]  # (series done, series to do)
Note = Callable[[Sequence[Touched]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleReport:
    """What one settling did.

    `changed` counts new versions of intervals and unallocated amounts. `refused` holds one sentence for every
    series that was left alone; `unknown` the stored series that the site file does not name.
    """

    watermark: int
    settled_at: int
    series: int
    changed: int
    refused: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def settle_once(
    site: Site,
    readings: ReadingStore,
    intervals: IntervalStore,
    *,
    clock: Clock,
    scope: Scope,
    again: bool = False,
    progress: Progress = lambda _done, _all: None,
    note: Note = lambda _spans: None,
) -> SettleReport:
    """Settle what the reading store took in since the last time; with `again`, everything from the beginning.

    A series that is settled for the first time is settled from its first reading. A series that cannot be
    settled is told in the report and takes no other with it. `note` is told the spans of series that were written,
    before the watermark moves: what it raises keeps the watermark where it is. Raises StoreError when that
    cannot move, SinkBusy and SinkDenied when the server of the reading store does not answer.
    """
    newest, touched = readings.touched(scope, 0 if again else intervals.watermark())
    touched = _with_newcomers(site, readings, intervals, scope, touched)
    work = _Work(site, readings, intervals, scope, newest, clock.now())
    changed, refused, unknown, held_back = 0, [], [], False
    described = set(intervals.series(scope))
    for number, span in enumerate(touched):
        progress(number, len(touched))
        series = site.series.get(span.series)
        if series is None:
            unknown.append(span.series)
            continue
        if series.register.kind is RegisterKind.INSTANTANEOUS:
            continue
        try:
            changed += work.settle(series, span)
        except (SinkBusy, SinkDenied):
            raise  # a server that does not answer is no matter of one series
        except (StoreError, ValueError) as error:
            refused.append(str(error))
            # What was settled before must be settled on from here once the mistake is mended.
            held_back |= span.series in described
    progress(len(touched), len(touched))
    note(work.written)
    if newest > intervals.watermark() and not held_back:
        intervals.set_watermark(newest)
    return SettleReport(
        watermark=intervals.watermark(),
        settled_at=work.settled_at,
        series=len(touched) - len(refused) - len(unknown),
        changed=changed,
        refused=tuple(refused),
        unknown=tuple(unknown),
    )


def _with_newcomers(
    site: Site, readings: ReadingStore, intervals: IntervalStore, scope: Scope, touched: Sequence[Touched]
) -> list[Touched]:
    """The touched spans; of a series never settled before, the span of all its readings."""
    known = set(intervals.series(scope))
    counting = {key for key, one in site.series.items() if one.register.kind is not RegisterKind.INSTANTANEOUS}
    if not any(reading.series in counting and reading.series not in known for reading in readings.latest(scope)):
        return list(touched)
    spans = {span.series: span for span in touched}
    _, everything = readings.touched(scope, 0)
    spans |= {span.series: span for span in everything if span.series in counting and span.series not in known}
    return [spans[name] for name in sorted(spans)]


@dataclass(frozen=True, slots=True)
class _Work:
    """One settling under way."""

    site: Site
    readings: ReadingStore
    intervals: IntervalStore
    scope: Scope
    watermark: int
    settled_at: int
    written: list[Touched] = field(default_factory=list)  # where intervals may have changed

    def settle(self, series: Series, touched: Touched) -> int:
        """Settle the intervals of one series that a touched span can change. Returns the versions written."""
        cumulative = series.register.kind is RegisterKind.CUMULATIVE
        span = self._span_between_totals(touched) if cumulative else self._span_of_amounts(series, touched)
        if span is None:
            return 0
        settled = self._totals(series, span) if cumulative else self._amounts(series, span)
        # Only now: a series that is refused stays one that was never settled.
        self.intervals.describe(series)
        self.written.append(Touched(series.key, span[0], span[1] - 1))
        return self.intervals.write(
            series.key,
            [interval for interval in settled.intervals if span[0] <= interval.start < span[1]],
            [row for row in settled.unallocated if row.start < span[1] and span[0] < row.end],
            span=span,
            settled_at=self.settled_at,
            watermark=self.watermark,
        )

    @property
    def step(self) -> int:
        return self.site.interval_s * MICROSECONDS

    def _span_between_totals(self, touched: Touched) -> tuple[int, int] | None:
        """A new total changes everything between its usable neighbours, and no more."""
        near = self.readings.around(self.scope, touched.series, touched.first, touched.last + 1)
        usable = [reading.instant for reading in near if not reading.quality & Quality.MISSING]
        if not usable:
            return None
        return self._whole_steps(min(usable), max(usable))

    def _span_of_amounts(self, series: Series, touched: Touched) -> tuple[int, int]:
        length = (series.register.interval_s or 0) * MICROSECONDS
        return self._whole_steps(touched.first, touched.last + max(length, 1))

    def _whole_steps(self, first: int, last: int) -> tuple[int, int]:
        start = first // self.step * self.step
        return start, max(-(-last // self.step) * self.step, start + self.step)

    def _totals(self, series: Series, span: tuple[int, int]) -> Settled:
        found = self.readings.around(self.scope, series.key, *span)
        rules = rules_of(
            series.register,
            interval_s=self.site.interval_s,
            interpolate_within_s=self.site.interpolate_within_s,
        )
        settled = difference(series.key, shown_totals(found, series.register), rules)
        return Settled(_with_reasons(settled.intervals, found), settled.unallocated)

    def _amounts(self, series: Series, span: tuple[int, int]) -> Settled:
        length = (series.register.interval_s or 0) * MICROSECONDS
        found = self.readings.readings(self.scope, series.key, span[0] - length, span[1])
        if length == 0:
            return place_tickets(series.key, found, interval_us=self.step)
        return place_interval_readings(series.key, found, length_us=length, interval_us=self.step)


def _with_reasons(intervals: Sequence[Interval], readings: Sequence[StoredReading]) -> list[Interval]:
    """A gap takes the reason that was recorded when nothing could be read, where there is one."""
    recorded = [reading for reading in readings if reading.quality & Quality.MISSING and reading.reason]
    if not recorded:
        return list(intervals)
    reasons: dict[int, str] = {}
    length = intervals[0].end - intervals[0].start if intervals else 1
    for reading in recorded:
        reasons.setdefault(reading.instant // length * length, reading.reason)
    return [
        replace(interval, reason=reasons[interval.start])
        if interval.reason == REASON_GAP and interval.start in reasons
        else interval
        for interval in intervals
    ]
