"""The account of a whole run: every slot is a good reading, a flagged one or a fault with a name."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulators.checking import ALTERED, MISATTRIBUTED, TIME_SHIFTED, Mismatch, TruthIndex, verdict_on
from simulators.truth import TruthRecords

LOST, DUPLICATED, SILENTLY_MISSING = "lost", "duplicated", "silently missing"


@dataclass(slots=True)
class Account:
    """What a run came to. `slots` is every slot at which a reading was due."""

    slots: int = 0
    good: int = 0
    flagged: int = 0
    faults: dict[str, list[Mismatch]] = field(default_factory=lambda: defaultdict(list))

    @property
    def clean(self) -> bool:
        """True if nothing at all is wrong."""
        return not any(self.faults.values())

    @property
    def balances(self) -> bool:
        """Scheduled slots = good + flagged + silently missing."""
        return self.slots == self.good + self.flagged + len(self.faults[SILENTLY_MISSING])

    def counts(self) -> dict[str, int]:
        """How many faults of each kind, the kinds without any too."""
        kinds = (LOST, DUPLICATED, ALTERED, MISATTRIBUTED, TIME_SHIFTED, SILENTLY_MISSING)
        return {**dict.fromkeys(kinds, 0), **{kind: len(found) for kind, found in self.faults.items()}}


def reconcile(
    readings: Iterable[Mapping[str, Any]],
    records: TruthRecords,
    *,
    start: int,
    end: int,
    periods_us: Mapping[str, int],
) -> Account:
    """Hold the readings of [start, end) [us, UTC] against all that the meters said in it.

    `readings` as for `compare_live`. `periods_us` = the polling or publishing period of each series that is due at
    every whole period. A reading belongs to the slot nearest to it: let `start` and `end` lie halfway between slots.
    """
    account, index = Account(), TruthIndex(records)
    by_series: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for reading in sorted(readings, key=lambda each: each["instant"]):
        if start <= reading["instant"] < end:
            by_series[reading["series"]].append(reading)
    for series, read in by_series.items():
        within = periods_us.get(series, 2_000_000) // 2
        _judge(account, index, read, within)
        _find_doubles(account, index, series, read, within)
    for series, period in periods_us.items():
        _find_empty_slots(account, series, by_series[series], start, end, period)
        _find_lost(account, index, records, series, by_series[series], start, end, period // 2)
    for series, instant, value in records.rows:
        if start <= instant < end and not any(each["instant"] == instant for each in by_series[series]):
            _note(account, LOST, series, instant, f"{value} stood in a file")
    return account


def _note(account: Account, kind: str, series: str, instant: int, detail: str) -> None:
    account.faults[kind].append(Mismatch(kind, series, instant, detail))


def _judge(account: Account, index: TruthIndex, read: list[Mapping[str, Any]], within: int) -> None:
    for reading in read:
        mismatch = None if reading["value"] is None else verdict_on(reading, index, within)
        if mismatch is not None:
            account.faults[mismatch.kind].append(mismatch)


def _find_doubles(account: Account, index: TruthIndex, series: str, read: list[Mapping[str, Any]], within: int) -> None:
    """The same instant twice, or one answer booked at two instants."""
    instants = Counter(reading["instant"] for reading in read)
    for instant, times in instants.items():
        if times > 1:
            _note(account, DUPLICATED, series, instant, f"{times} readings of one instant")
    booked: dict[int, int] = {}
    for reading in read:
        said = index.said(series, reading["instant"], within) if reading["value"] is not None else None
        if said is None:
            continue
        first = booked.setdefault(said.at, reading["instant"])
        if first != reading["instant"]:
            _note(account, DUPLICATED, series, reading["instant"], f"answer of {said.at} is booked at {first} too")


def _find_empty_slots(
    account: Account, series: str, read: list[Mapping[str, Any]], start: int, end: int, period: int
) -> None:
    slots: dict[int, bool] = dict.fromkeys(range(-(-start // period), -(-end // period)), False)
    account.slots += len(slots)
    good = {(each["instant"] + period // 2) // period for each in read if each["value"] is not None}
    flagged = {(each["instant"] + period // 2) // period for each in read} - good
    for slot in slots:
        if slot in good:
            account.good += 1
        elif slot in flagged:
            account.flagged += 1
        else:
            _note(account, SILENTLY_MISSING, series, slot * period, "no reading and no gap")


def _find_lost(
    account: Account,
    index: TruthIndex,
    records: TruthRecords,
    series: str,
    read: list[Mapping[str, Any]],
    start: int,
    end: int,
    within: int,
) -> None:
    """What the meter said and nobody wrote down: an answer without reading or gap, a message taken over and gone."""
    wired, instants = index.series[series], [each["instant"] for each in read]
    if not wired.port:
        for instant, message in index.messages(wired.point).items():
            taken = (message.point, message.sequence) in records.acknowledged
            if taken and start <= instant < end and instant not in instants:
                _note(account, LOST, series, instant, f"message {message.sequence} was acknowledged")
        return
    for said in index.answers(wired, start, end - 1):
        place = bisect_left(instants, said.at - within)
        if place == len(instants) or instants[place] > said.at + within:
            _note(account, LOST, series, said.at, f"{said.value} was answered")
