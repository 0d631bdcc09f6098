"""Comparing what a sink holds with the journal: by day and series, count and digest; what differs is sent again."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from gateway.sinks.outlet import Item, Sent

STEP_READINGS = 100_000  # held in memory at a time
SEND_READINGS = 5_000

Content = tuple[int | float | str | None, ...]
Accepted = dict[str, list[Content]]  # key of a point there -> what it may hold


class Held(NamedTuple):
    """One point that a sink gives back; its key says which it is."""

    key: str
    content: Content


class Compared(NamedTuple):
    """One step of a comparison: how many series-days (or files) were looked at, what was wrong, what was mended."""

    looked_at: int
    readings: int
    wrong: tuple[str, ...] = ()  # a sentence each
    left: tuple[str, ...] = ()  # of these, what sending again did not mend


class DayOfJournal(Protocol):
    """One plant day as the journal has it, for one sink: read anew each time it is asked for."""

    name: str  # YYYY-MM-DD
    start: int  # [us, UTC]
    end: int
    accepted: Collection[str]  # ids of what only the sink has that somebody accepted
    pruned: bool  # payloads of its entries have left by age: the sink may hold more than the journal

    def counts(self) -> Mapping[str, int]:
        """How many readings of each series the sink was given."""
        ...

    def items(self, series: frozenset[str] | None = None) -> Iterator[Item]:
        """These readings in the order of the journal, of some series or of all."""
        ...


@runtime_checkable
class Comparing(Protocol):
    """An outlet whose other side can be read back."""

    def compare(self, day: DayOfJournal) -> Iterator[Compared]:
        """Compare a day step by step, and send again what differs. Raises StoreError."""
        ...


def compare_series(
    day: DayOfJournal,
    *,
    held: Callable[[str, int, int], Iterable[Held]],
    expected: Callable[[Sequence[Item]], Accepted],
    send: Callable[[Sequence[Item]], Sent],
    same: Callable[[Content, Content, float], bool] | None = None,
    there: Callable[[int, int], Mapping[str, int]] | None = None,
) -> Iterator[Compared]:
    """Compare series by series, as many at a step as fit into memory; a series that differs is sent again.

    `there` tells which series have how many points: those of which the journal has none that day are told and left.
    """
    counts = day.counts()
    for names in _steps(counts):
        by_series: dict[str, list[Item]] = {name: [] for name in names}
        for item in day.items(frozenset(names)):
            by_series[item.reading.series].append(item)
        wrong, left = [], []
        for name, items in by_series.items():
            accepted = expected(items)
            found = _look(accepted, held(name, day.start, day.end), day, name, same)
            if not found.words:
                continue
            wrong.append(f"{name} on {day.name}: {found.words}")
            if found.mendable:
                for at in range(0, len(items), SEND_READINGS):
                    send(items[at : at + SEND_READINGS])
                found = _look(accepted, held(name, day.start, day.end), day, name, same)
            if found.words:
                left.append(f"{name} on {day.name}: {found.words}")
        yield Compared(len(names), sum(map(len, by_series.values())), tuple(wrong), tuple(left))
    if there is not None and not day.pruned:
        found_there = sorted(there(day.start, day.end).items())
        ids = {name: _id(day, name, str(points)) for name, points in found_there if name not in counts}
        strange = tuple(
            f"{shortened(name)} on {day.name}: no points expected, {points} others found [{ids[name]}]"
            for name, points in found_there
            if name in ids and ids[name] not in day.accepted
        )
        yield Compared(len(strange), 0, strange, strange)


def shortened(name: str) -> str:
    """A name that somebody else wrote, fit for one line."""
    return name if name.isprintable() and len(name) <= 200 else f"{name!r:.200}"


def _steps(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """The series in their order, in lists that hold a bearable number of readings (one series at least)."""
    names: list[str] = []
    held = 0
    for name in sorted(counts):
        if names and held + counts[name] > STEP_READINGS:
            yield names
            names, held = [], 0
        names.append(name)
        held += counts[name]
    if names:
        yield names


class _Look(NamedTuple):
    """What is wrong with a series and day, in words ("" = nothing), and whether sending it again can mend it."""

    words: str
    mendable: bool


def _look(
    accepted: Accepted,
    found: Iterable[Held],
    day: DayOfJournal,
    name: str,
    same: Callable[[Content, Content, float], bool] | None,
) -> _Look:
    points = list(found)
    if day.pruned:
        points = [point for point in points if point.key in accepted]
    there = Counter(_settled(points, accepted, same))
    journal = {f"{key}={contents[0]!r}" for key, contents in accepted.items()}
    if (len(there), _digest(there)) != (len(journal), _digest(journal)):
        missing, other = len(journal - there.keys()), len(there.keys() - journal)
        words = f"{len(journal)} points expected, {missing} of them missing, {other} others found"
        if missing:
            return _Look(words, True)
        found_id = _id(day, name, _digest(there.keys() - journal))
        return _Look("" if found_id in day.accepted else f"{words} [{found_id}]", False)
    if doubled := there.total() - len(there):
        flag = "-dedup.minScrapeInterval=1ms"
        return _Look(f"{doubled} of {there.total()} points are there again (a VictoriaMetrics needs {flag})", False)
    return _Look("", False)


def _settled(
    points: Sequence[Held], accepted: Accepted, same: Callable[[Content, Content, float], bool] | None
) -> Iterator[str]:
    """Points as texts: with a content that is accepted in the words of the journal, all others as they are."""
    greatest = max((abs(one) for _, content in points for one in content if isinstance(one, int | float)), default=0.0)
    for key, content in points:
        contents = accepted.get(key, [])
        fits = any(same(content, one, greatest) if same else content == one for one in contents)
        yield f"{key}={contents[0]!r}" if fits else f"{key}={content!r} instead"


def _id(day: DayOfJournal, name: str, what: str) -> str:
    """By which somebody accepts what only the sink has: of other points it is another."""
    return hashlib.sha256(f"{day.name}\n{name}\n{what}".encode()).hexdigest()[:12]


def _digest(rows: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
