"""What a sink does while nothing waits for delivery: what somebody asked for, and the nightly comparison."""

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Protocol

from gateway.clocks import Clock
from gateway.contracts import Delivery
from gateway.domain.readings import MICROSECONDS
from gateway.errors import JournalError, StoreError
from gateway.journal.disk import make_directory, write_file
from gateway.sinks.comparing import Compared, Comparing
from gateway.sinks.delivery_book import DayRow, DeliveryBook
from gateway.sinks.journal_day import JournalDay
from gateway.sinks.outlet import Item, Outlet
from gateway.sinks.plant_days import PlantDays

REQUESTS = "sinks"  # folder in the data folder: what is asked of a sink lies in <sink>/*.json until it is done
NIGHT_S = 3600  # a day is compared when the next one is so old: late readings had their time
LOOK_EVERY_NS = 60_000_000_000
AFTER_TROUBLE_NS = 3_600_000_000_000
ACCEPTED = "accepted:"  # before an id in the book's marks: when it was accepted [us, UTC]
VERDICT_LINES = 20
log = logging.getLogger("emg.sinks")


class Chored(Protocol):
    """What the chores need of their sink."""

    name: str
    outlet: Outlet
    book: DeliveryBook

    def retry(self, ids: Sequence[int]) -> list[int]:
        """Send held-back readings again."""
        ...

    def items(self, deliveries: Sequence[Delivery]) -> list[Item]:
        """What of these the sink wants."""
        ...

    def oldest(self) -> int:
        """What is older [us, UTC] the other side may have dropped."""
        ...

    def touched_last(self, day: int) -> int:
        """The last entry whose readings of a day were delivered."""
        ...


class Chores:
    """Done step by step between deliveries, in the thread of the sink: nothing is delivered while it compares."""

    def __init__(self, sink: Chored, data_dir: Path, days: PlantDays, clock: Clock) -> None:
        self._sink, self._days, self._clock = sink, days, clock
        self._journal_dir = data_dir / "journal"
        self._requests = data_dir / REQUESTS / sink.name
        self._work: Iterator[None] | None = None
        self._look_at_ns = -(2**63)

    def step(self) -> bool:
        """One step; True when there is more. Raises StoreError; what was begun is begun anew later."""
        if self._work is None:
            self._work = self._asked() or self._due()
        if self._work is None:
            return False
        try:
            next(self._work)
        except StopIteration:
            self._work = None
        except BaseException:
            self._work = None
            raise
        return True

    def carry_out(self) -> None:
        """All that was asked for, at once. Raises StoreError; what was not done is still asked for."""
        while (work := self._asked()) is not None:
            for _ in work:
                pass

    def _asked(self) -> Iterator[None] | None:
        path = min(self._requests.glob("*.json"), default=None)
        return None if path is None else self._do(path)

    def _do(self, path: Path) -> Iterator[None]:
        asked = _read(path)
        if ids := asked.get("retry"):
            self._sink.retry(ids)
        self._sink.book.mark(
            self._sink.name, {f"{ACCEPTED}{one:012x}": self._clock.now() for one in asked.get("accept", ())}
        )
        for day in asked.get("compare", ()):
            yield from self._compare(day)
        path.unlink(missing_ok=True)
        yield

    def _due(self) -> Iterator[None] | None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._look_at_ns or not isinstance(self._sink.outlet, Comparing):
            return None
        self._look_at_ns = now_ns + LOOK_EVERY_NS
        today = self._days.ordinal(self._clock.now() - NIGHT_S * MICROSECONDS)
        due = self._sink.book.due(self._sink.name, today)
        return self._sweep(due) if due else None

    def _sweep(self, due: Sequence[int]) -> Iterator[None]:
        for day in due:
            if not (yield from self._compare(day)):
                self._look_at_ns = self._clock.monotonic_ns() + AFTER_TROUBLE_NS
                return

    def _compare(self, ordinal: int) -> Generator[None, None, bool]:
        """Compare one day and keep what was found; False when that failed, which holds up no delivery."""
        outlet, book = self._sink.outlet, self._sink.book
        row = book.day(self._sink.name, ordinal) or book.untouched(self._sink.name, ordinal)
        if not isinstance(outlet, Comparing):
            return True
        steps: list[Compared] = []
        try:
            for step in outlet.compare(self._day(row)):
                steps.append(step)
                yield
        except (JournalError, StoreError) as error:
            log.warning("sink %s: %s could not be compared: %s", self._sink.name, date.fromordinal(ordinal), error)
            verdict = f"could not be compared: {error}"
            self._sink.book.compared(row._replace(at=self._clock.now(), left=1, verdict=verdict))
            return False
        wrong, left = [one for step in steps for one in step.wrong], [one for step in steps for one in step.left]
        for sentence in wrong:
            log.error("sink %s: %s; sent again", self._sink.name, sentence)
        for sentence in left:
            log.error("sink %s: still so: %s", self._sink.name, sentence)
        if not (row.last or wrong or row.at):
            return True  # a day of which neither side has anything
        self._sink.book.compared(
            row._replace(
                compared=row.last,
                at=self._clock.now(),
                readings=sum(step.readings for step in steps),
                wrong=len(wrong),
                left=len(left),
                verdict="\n".join((left or wrong)[:VERDICT_LINES]),
            )
        )
        return True

    def _day(self, row: DayRow) -> JournalDay:
        held = {(one.sequence, one.place) for one in self._sink.book.quarantine(self._sink.name)}
        day = JournalDay(
            self._journal_dir,
            date.fromordinal(row.day),
            self._days.timezone,
            row.first,
            self._sink.touched_last,
            self._sink.items,
            held,
        )
        day.accepted = [mark.removeprefix(ACCEPTED) for mark in self._sink.book.marks(self._sink.name, ACCEPTED)]
        day.pruned = day.start < self._sink.oldest()
        return day


def ask(
    data_dir: Path,
    name: str,
    *,
    retry: Sequence[int] = (),
    compare: Sequence[int] = (),
    accept: Sequence[str] = (),
    stamp: int,
) -> Path:
    """Ask of a sink: held-back readings to be sent again, days (ordinals) to be compared, extra points (ids) accepted.

    The file goes away when that is done. Raises OSError.
    """
    folder = data_dir / REQUESTS / name
    make_directory(folder)
    path = folder / f"{stamp:020d}.json"
    write_file(
        path,
        json.dumps(
            {"retry": list(retry), "compare": list(compare), "accept": [int(one, 16) for one in accept]}
        ).encode(),
    )
    return path


def _read(path: Path) -> dict[str, list[int]]:
    """What a request asks for; one that makes no sense asks for nothing."""
    try:
        asked = json.loads(path.read_bytes())
        return {what: [int(number) for number in asked.get(what, ())] for what in ("retry", "compare", "accept")}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s: asks for nothing that is known: %r", path, error)
        return {}
