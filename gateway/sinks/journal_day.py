"""One plant day as the journal has it for one sink."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from pathlib import Path

from gateway.contracts import Delivery
from gateway.domain.periods import midnight
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries_between
from gateway.journal.segments import segments
from gateway.sinks.outlet import Item


class JournalDay:
    """The readings of a day that a sink was given; read anew each time it is asked for, in bounded memory."""

    def __init__(
        self,
        journal_dir: Path,
        day: date,
        timezone: str,
        first: int,
        last: Callable[[int], int],
        wanted: Callable[[Sequence[Delivery]], list[Item]],
        held_back: AbstractSet[tuple[int, int]],
    ) -> None:
        """`first` is the first entry with readings of the day, `last` tells the last one that was delivered."""
        self.day = day
        self.name = day.isoformat()
        self.start, self.end = midnight(day, timezone), midnight(day + timedelta(days=1), timezone)
        self.pruned = False
        self.accepted: Collection[str] = ()
        self._journal_dir, self._first, self._last = journal_dir, first, last
        self._wanted, self._held_back = wanted, held_back

    def counts(self) -> Mapping[str, int]:
        """How many readings of each series the sink was given."""
        return Counter(item.reading.series for item in self.items())

    def items(self, series: frozenset[str] | None = None) -> Iterator[Item]:
        """These readings in the order of the journal, of some series or of all. Raises JournalError on damage."""
        kept = segments(self._journal_dir)
        first = max(self._first, kept[0].first) if kept else self._first
        self.pruned = self.pruned or first > self._first
        for entry in entries_between(self._journal_dir, first, self._last(self.day.toordinal())):
            if entry.kind is EntryKind.PRUNED:
                self.pruned = True
                continue
            for item in self._wanted([Delivery(entry.sequence, readings_of(entry), entry.hash)]):
                mine = self.start <= item.reading.instant < self.end
                asked = series is None or item.reading.series in series
                if mine and asked and (item.sequence, item.place) not in self._held_back:
                    yield item
