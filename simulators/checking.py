"""The independent checker: does each reading say what the meter said, and each interval what really flowed?"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.domain.readings import split_series
from simulators.meter import decode
from simulators.models import MODELS, Field
from simulators.plant import Plant
from simulators.truth import Answer, Publish, SeriesOnWire, TruthRecords, consumption
from simulators.words import length

ALTERED, MISATTRIBUTED, TIME_SHIFTED, UNPROVEN = "altered", "misattributed", "time-shifted", "unproven"


class Mismatch(NamedTuple):
    """One reading that does not say what the meter said."""

    kind: str  # altered | misattributed | time-shifted | unproven (the meter said nothing then)
    series: str
    instant: int
    detail: str


class LiveComparison(NamedTuple):
    """`compared` readings were held against what the meters said; `flagged` were MISSING and carry no value."""

    compared: int
    mismatches: list[Mismatch]
    flagged: int
    by_wire: dict[str, int]


class Saying(NamedTuple):
    """What a meter said of one series at one moment."""

    at: int
    value: int | float
    words: bytes


class TruthIndex:
    """What every series' meter said, by time."""

    def __init__(self, records: TruthRecords) -> None:
        self.series = records.series
        self._answers: dict[tuple[int, int, str], list[Answer]] = defaultdict(list)
        for answer in sorted(records.answers, key=lambda each: each.at):
            self._answers[answer.port, answer.device, answer.table].append(answer)
        self._times = {key: [answer.at for answer in answers] for key, answers in self._answers.items()}
        self._publishes: dict[str, dict[int, Publish]] = defaultdict(dict)
        for message in records.publishes:
            self._publishes[message.point][message.instant] = message
        self._rows = {(series, instant): value for series, instant, value in records.rows}

    def field(self, series: str) -> Field:
        """The model's field behind a series on a wire."""
        wired = self.series[series]
        return MODELS[wired.model].field(wired.quantity)

    def said(self, series: str, instant: int, within_us: int) -> Saying | None:
        """What the meter said nearest to `instant`, not farther than `within_us`; a message exactly at it."""
        if (series, instant) in self._rows:
            return Saying(instant, self._rows[series, instant], b"")
        wired = self.series.get(series)
        if wired is None:
            return None
        if not wired.port:
            return self._message(wired, instant)
        answers = self.answers(wired, instant - within_us, instant + within_us)
        return min(answers, key=lambda each: abs(each.at - instant), default=None)

    def answers(self, wired: SeriesOnWire, start: int, end: int) -> Iterator[Saying]:
        """What a Modbus meter said of a series in [start, end], by time."""
        shown = MODELS[wired.model].field(wired.quantity)
        key = (wired.port, wired.device, shown.table)
        times = self._times.get(key, [])
        for answer in self._answers.get(key, [])[bisect_left(times, start) : bisect_right(times, end)]:
            offset = 2 * (shown.address - answer.address)
            words = answer.words[offset : offset + 2 * length(shown.encoding)] if offset >= 0 else b""
            if len(words) == 2 * length(shown.encoding):
                yield Saying(answer.at, decode(shown, words), words)

    def messages(self, point: str) -> Mapping[int, Publish]:
        """The messages of a point by their own time."""
        return self._publishes.get(point, {})

    def anyone_said(self, words: bytes, instant: int, within_us: int) -> Iterator[Answer]:
        """Answers around `instant` that hold these words anywhere."""
        for key, times in self._times.items():
            around = slice(bisect_left(times, instant - within_us), bisect_right(times, instant + within_us))
            yield from (answer for answer in self._answers[key][around] if words in answer.words)

    def messages_of(self, wired: SeriesOnWire) -> Iterator[Saying]:
        """What an MQTT meter said of a series."""
        said = (self._message(wired, instant) for instant in self.messages(wired.point))
        return (each for each in said if each is not None)

    def _message(self, wired: SeriesOnWire, instant: int) -> Saying | None:
        message = self._publishes.get(wired.point, {}).get(instant)
        if message is None or wired.quantity not in message.values:
            return None
        shown, text = MODELS[wired.model].field(wired.quantity), message.values[wired.quantity]
        return Saying(instant, int(Decimal(text) / shown.step) if shown.total else float(text), b"")


def compare_live(
    readings: Iterable[Mapping[str, Any]], records: TruthRecords, *, within_us: int = 1_000_000
) -> LiveComparison:
    """Hold each reading against what its meter said.

    A reading is a mapping with `series`, `instant` [us, UTC], `value` (counts of the resolution for totals, float in
    the unit otherwise, None when MISSING) and `words` (hex; "" where there are none). A Modbus reading is matched to
    the answer served nearest to it, at most `within_us` away (a poll period); a message or a row of a file by its time.
    """
    index, mismatches, by_wire, flagged = TruthIndex(records), [], Counter[str](), 0
    for reading in readings:
        if reading["value"] is None:
            flagged += 1
            continue
        series = reading["series"]
        wired = index.series.get(series)
        by_wire["files" if wired is None else "modbus" if wired.port else "mqtt"] += 1
        mismatch = verdict_on(reading, index, within_us)
        if mismatch is not None:
            mismatches.append(mismatch)
    return LiveComparison(sum(by_wire.values()), mismatches, flagged, dict(by_wire))


def verdict_on(reading: Mapping[str, Any], index: TruthIndex, within_us: int) -> Mismatch | None:
    """None where a reading with a value says what its meter said; otherwise what is wrong with it."""
    series, instant, value = reading["series"], reading["instant"], reading["value"]
    words = bytes.fromhex(reading.get("words") or "")
    said = index.said(series, instant, within_us)
    if said is not None and same_value(value, said.value) and (not words or words == said.words):
        return None
    if said is not None and words and words == said.words:
        kind, why = ALTERED, "the words are right, their value is not"
    else:
        kind, why = _explained(series, instant, value, words, index, within_us)
    if said is None and kind == ALTERED:
        kind, why = UNPROVEN, "the meter said nothing at that time"
    truth = "nothing" if said is None else f"{said.value} ({said.words.hex() or 'no words'}) at {said.at}"
    return Mismatch(kind, series, instant, f"read {value} ({words.hex() or 'no words'}), said {truth}; {why}")


def same_value(read: float | str, said: float) -> bool:
    """Counts must be equal; floats may differ in their last digits."""
    if isinstance(said, int):
        return Decimal(read) == said
    return math.isclose(float(read), said, rel_tol=1e-9, abs_tol=1e-12)


def _explained(
    series: str, instant: int, value: float, words: bytes, index: TruthIndex, within_us: int
) -> tuple[str, str]:
    """(kind, why): the same value at another time, somebody else's value, or nobody's."""
    wired = index.series.get(series)
    if wired is None:
        return ALTERED, "no meter said this"
    if wired.port:
        sayings = index.answers(wired, instant - 60 * within_us, instant + 60 * within_us)
    else:
        sayings = index.messages_of(wired)
    for said in sayings:
        if same_value(value, said.value) and (not words or words == said.words):
            return TIME_SHIFTED, f"said at {said.at}"
    for answer in index.anyone_said(words, instant, within_us) if words else ():
        return MISATTRIBUTED, f"said by device {answer.device} at port {answer.port}, block {answer.address}"
    for name in index.series if not words else ():
        other = index.said(name, instant, within_us)
        if other is not None and same_value(value, other.value):
            return MISATTRIBUTED, f"said by {name}"
    return ALTERED, "no meter said this"


class IntervalComparison(NamedTuple):
    """`worst_difference_in_resolutions` over all intervals, beyond what interpolation declares for itself."""

    points_compared: int
    intervals_compared: int
    worst_difference_in_resolutions: Decimal
    worst: str  # where that was
    missing: int  # intervals without a value: not compared, never zero


def compare_intervals(intervals: Mapping[str, Sequence[Mapping[str, Any]]], plant: Plant) -> IntervalComparison:
    """Hold intervals against what really flowed.

    `intervals` = by series, mappings with `start`, `end` [us, UTC], `counts` (None when MISSING) and, where a boundary
    was interpolated, `edge_counts`: the most by which the interval says it can be wrong. The difference is measured
    in steps of the register as shown: its resolution, or one unit in the last place of the float that carries it.
    """
    worst, where, compared, missing, points = Decimal(0), "", 0, 0, 0
    for series, rows in intervals.items():
        _, point, quantity = split_series(series)
        before = compared
        for row in rows:
            if row["counts"] is None:
                missing += 1
                continue
            truth = consumption(plant, point, quantity, row["start"], row["end"])
            apart = abs(int(row["counts"]) - truth.counts) - int(row.get("edge_counts") or 0)
            compared += 1
            if apart / truth.step > worst:
                worst, where = apart / truth.step, f"{series} from {row['start']}: {row['counts']}, true {truth.counts}"
        points += compared > before
    return IntervalComparison(points, compared, worst, where, missing)
