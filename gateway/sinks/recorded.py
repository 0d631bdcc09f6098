"""A sink that keeps its cursor in the delivery book, whatever its outlet leads to."""

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.clocks import Clock
from gateway.contracts import Delivery
from gateway.domain.destinations import SinkSettings
from gateway.domain.readings import MICROSECONDS
from gateway.errors import JournalError, SinkBusy, SinkRefuses, StoreError
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries_between
from gateway.sinks.chores import Chores
from gateway.sinks.delivery_book import DeliveryBook, Moved, Quarantined
from gateway.sinks.outlet import Item, Outlet, Sent
from gateway.sinks.plant_days import PlantDays

SETTLE_NS = 1_000_000_000  # a server that acknowledges too early is asked at most so often whether it still lives
MOST_HELD = 10_000  # readings that one sink holds back
RETRIED_TOGETHER = 20  # held-back readings: so few that each is judged by itself
log = logging.getLogger("emg.sinks")


class _Acknowledged(NamedTuple):
    """A step that the server has acknowledged, and when [monotonic ns] it may be counted on."""

    due_ns: int
    step: Moved


class RecordedSink:
    """A Sink (see gateway.contracts) over an outlet. The cursor in the book never leads what is durable there.

    Where the server may lose what it acknowledged (`ack_lag_s`), deliveries go on while the cursor in the book waits
    for that long; when the server was started anew meanwhile, everything behind the book's cursor is sent again.
    """

    def __init__(
        self,
        settings: SinkSettings,
        outlet: Outlet,
        book: DeliveryBook,
        *,
        data_dir: Path,
        days: PlantDays,
        clock: Clock,
    ) -> None:
        self.name = settings.id
        self.settings = settings
        self.outlet = outlet
        self.book = book
        self._journal_dir = data_dir / "journal"
        self._chores = Chores(self, data_dir, days, clock)
        self._days = days
        self._clock = clock
        self._lag_ns = settings.ack_lag_s * 1_000_000_000
        self._waiting: deque[_Acknowledged] = deque()
        self._instance = ""  # of the server that acknowledged what waits
        self._suspect = False  # it failed since: it may have been started anew
        self._settled_ns = 0
        self._wanted = frozenset(settings.enterprises)
        standing = book.standing(self.name)
        self._sequence, self._witness = standing.sequence, standing.witness

    def cursor(self) -> int:
        """The last entry that was delivered; the one in the book may trail it."""
        return self._sequence

    def witness(self) -> bytes:
        """The digest of that entry."""
        return self._witness

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Store these and move the cursor. Raises SinkBusy, SinkDenied, StoreError; then the cursor stands."""
        fresh = [delivery for delivery in deliveries if delivery.sequence > self._sequence]
        if not fresh:
            return
        items = self.items(fresh)
        sent = self._send(items)
        self._check_room(len(sent.refused))
        step = Moved(fresh[-1].sequence, fresh[-1].digest, len(items) - len(sent.refused), self._spans(items))
        at = self._clock.now()
        self.book.delivered(self.name, [] if self._lag_ns else [step], sent, at=at)
        if self._lag_ns:
            self._waiting.append(_Acknowledged(self._clock.monotonic_ns() + self._lag_ns, step))
        self._sequence, self._witness = step.sequence, step.witness
        for item, content, reason in sent.refused:
            log.error("sink %s holds back entry %d (%s): %s", self.name, item.sequence, content, reason)

    def rest(self) -> bool:
        """Move the cursor in the book where its time has come, and do what is asked for or due; True for more."""
        self._settle()
        return self._chores.step()

    def carry_out(self) -> None:
        """Do all that is asked for, without waiting for a rest. Raises StoreError."""
        self._chores.carry_out()

    def retry(self, ids: Sequence[int]) -> list[int]:
        """Send held-back readings again, as they would be sent today; the ids of those that were taken."""
        wanted = frozenset(ids)
        asked = [held for held in self.book.quarantine(self.name) if held.id in wanted]
        starts = range(0, len(asked), RETRIED_TOGETHER)
        return [one for start in starts for one in self._retried(asked[start : start + RETRIED_TOGETHER])]

    def _retried(self, asked: Sequence[Quarantined]) -> list[int]:
        items = {held.id: self._again(held) for held in asked}
        try:
            sent = self.outlet.send([item for item in items.values() if item is not None])
        except SinkRefuses as error:
            log.warning("sink %s: held-back readings %d to %d stay so: %s", self.name, asked[0].id, asked[-1].id, error)
            return []
        still = {(one.item.sequence, one.item.place) for one in sent.refused}
        taken = [held.id for held in asked if items[held.id] and (held.sequence, held.place) not in still]
        self.book.delivered(self.name, [], sent, at=self._clock.now())
        self.book.release(taken)
        return taken

    def touched_last(self, day: int) -> int:
        """The last entry whose readings of a plant day were delivered, durably or not yet; 0 = none."""
        row = self.book.day(self.name, day)
        ahead = (waiting.step.spans[day][1] for waiting in self._waiting if day in waiting.step.spans)
        return max(row.last if row else 0, *ahead, 0)

    def items(self, deliveries: Sequence[Delivery]) -> list[Item]:
        """What of these the sink wants, in the order of the journal; what the other side would drop by age is not."""
        wanted, oldest = self._wanted, self.oldest()
        return [
            Item(sequence, place, reading)
            for sequence, readings, _ in deliveries
            for place, reading in enumerate(readings)
            if reading.instant >= oldest and (not wanted or reading.series.partition("/")[0] in wanted)
        ]

    def close(self) -> None:
        """Let go of the outlet; the book stays open."""
        self.outlet.close()

    def _check_room(self, refused: int) -> None:
        """Raises SinkRefuses when the quarantine would grow without end; then the cursor stands."""
        if refused and (held := self.book.held(self.name)) + refused > MOST_HELD:
            raise SinkRefuses(
                f"sink {self.name}: {held} readings are held back already and {refused} more are refused; at most "
                f"{MOST_HELD} are. Mend the cause, then `emg sinks SITE --retry all`, or begin anew with "
                f"`emg sinks SITE --again {self.name}`. Nothing is lost meanwhile: the journal keeps all"
            )

    def _to_book(self) -> None:
        """Stand where the book says."""
        standing = self.book.standing(self.name)
        self._sequence, self._witness = standing.sequence, standing.witness
        self._waiting.clear()
        self._instance, self._suspect = "", False

    def oldest(self) -> int:
        """What is older [us, UTC] the other side may have dropped by age, and is not sent."""
        keep_days = self.settings.influx.keep_days if self.settings.influx else 0
        return self._clock.now() - keep_days * 86_400 * MICROSECONDS if keep_days else -(2**63)

    def _send(self, items: Sequence[Item]) -> Sent:
        if not self._lag_ns:
            return self.outlet.send(items)
        self._settle()
        if not self._waiting:
            self._instance = self.outlet.started()
        try:
            return self.outlet.send(items)
        except StoreError as error:
            self._suspect = True
            if not self._instance and error.__cause__ is not None:  # no answer at all, and nobody to ask afterwards
                self._to_book()
            raise

    def _settle(self) -> None:
        """Move the cursor in the book over what is old enough. Raises SinkBusy when the server was started anew."""
        now_ns = self._clock.monotonic_ns()
        due = [waiting.step for waiting in self._waiting if waiting.due_ns <= now_ns]
        if not self._waiting or not (self._suspect or (due and now_ns - self._settled_ns >= SETTLE_NS)):
            return
        if self.outlet.started() != self._instance:
            self._to_book()
            raise SinkBusy(
                f"sink {self.name}: the server was started anew and may have lost what it acknowledged last; "
                f"everything behind entry {self._sequence} is sent again"
            )
        self._suspect, self._settled_ns = False, now_ns
        self.book.moved(self.name, due)
        for _ in due:
            self._waiting.popleft()

    def _spans(self, items: Sequence[Item]) -> dict[int, tuple[int, int]]:
        spans: dict[int, tuple[int, int]] = {}
        ordinal = self._days.ordinal
        for sequence, _, reading in items:
            day = ordinal(reading.instant)
            first, last = spans.get(day, (sequence, sequence))
            spans[day] = (min(first, sequence), max(last, sequence))
        return spans

    def _again(self, held: Quarantined) -> Item | None:
        """A held-back reading from the journal; None where it has left by age."""
        try:
            for entry in entries_between(self._journal_dir, held.sequence, held.sequence):
                readings = readings_of(entry)
                if held.place < len(readings):
                    return Item(held.sequence, held.place, readings[held.place])
        except JournalError as error:
            log.warning("sink %s: held-back reading %d cannot be sent again: %s", self.name, held.id, error)
        return None
