"""The clock watch: a wall clock that was set is told, and what is read behind it is kept in order or doubted.

Wall time is held against the monotonic clock: between two looks both must have moved by the same amount. Up to an
hour of lost time is waited for, so that no label is given twice (see `schedule.slots`). A clock that is set back
farther is believed at once: what is read until it passes the newest earlier label is doubted.
"""

from collections import deque
from typing import Any, NamedTuple

from gateway.clocks import Clock
from gateway.domain.readings import MICROSECONDS
from gateway.journal.slots import Order

STEP_US = 500_000  # smaller differences are the scheduler's, or a clock being slewed
WAITED_FOR_US = 3600 * MICROSECONDS
UNSET_BEFORE = 1_704_067_200 * MICROSECONDS  # 2024-01-01T00:00:00Z: an earlier time is that of a clock never set
STEPPED_BACK, STEPPED_FORWARD, UNSET = "clock.stepped_back", "clock.stepped_forward", "clock.unset"
_BOTH_WITHIN_NS = 100_000_000


class Stamp(NamedTuple):
    """Both clocks at one moment: wall [us, UTC], and monotonic [ns] within `boot`."""

    wall: int
    monotonic_ns: int
    boot: str = ""


class ClockWatch:
    """A Clock that notices its own steps; for one event loop.

    `untold` are the events that are not in the journal yet: whoever has journaled the first takes it out. While
    `broken`, labels up to `newest` [us, UTC] come again. `trusted` ends with a step of more than an hour (who knows
    which of the two times was wrong?), and comes back with the order. A replayed clock, whose two times move as one,
    never steps.
    """

    def __init__(self, clock: Clock) -> None:
        self.untold: list[dict[str, Any]] = []
        self._clock = clock
        self._reference = self._look()
        self.newest = 0  # the greatest label that may have been given
        self.broken = False
        self.trusted = True
        self._doubt, self._doubt_until = "", 0
        self._forward: deque[tuple[int, int]] = deque(maxlen=16)  # (from, to) of the newest steps

    def begin(self, *, newest: int, known: Stamp | None, boot: str) -> None:
        """Take up a journal whose greatest label is `newest` [us, UTC]; `known` is a moment that it tells.

        Within one boot, a clock that was set while nobody looked is found by it.
        """
        stamp = self._look()
        self.newest, self.broken = max(self.newest, newest), False
        self._reference = known if known is not None and known.boot == boot else stamp
        if abs(self._step_us(stamp)) > STEP_US:
            self._tell_step(stamp)
        elif stamp.wall < max(self.newest - STEP_US, UNSET_BEFORE):
            unset = stamp.wall < UNSET_BEFORE
            event = {"event": "clock_unset"} if unset else {"event": "clock_behind_journal", "journal": self.newest}
            self.untold.append({**event, "to": stamp.wall, "order": self._order(stamp.wall).value})
            self._doubt, self._doubt_until = UNSET, self.newest
            self.trusted = False
        self._reference = stamp

    def now(self) -> int:
        """The instant now [us, UTC]; a step since the last look is noticed."""
        stamp = self._look()
        if abs(self._step_us(stamp)) > STEP_US:
            self._tell_step(stamp)
            self._reference = stamp
        if stamp.wall > self.newest:
            if self.broken:
                self.untold.append({"event": "clock_caught_up", "order": Order.RESTORED.value, "to": stamp.wall})
                self.trusted = True
            self.newest, self.broken = stamp.wall, False
        return stamp.wall

    def monotonic_ns(self) -> int:
        """Nanoseconds of the clock that never steps."""
        return self._clock.monotonic_ns()

    async def sleep_until(self, instant: int) -> None:
        """Wait as the clock itself does."""
        await self._clock.sleep_until(instant)

    def doubt(self, instant: int) -> str:
        """Why a label [us, UTC] is doubted; "" when it is not."""
        return self._doubt if instant <= self._doubt_until else ""

    def skipped(self, first: int, last: int) -> bool:
        """True if a clock set forward passed over slots from `first` to `last` [us, UTC]."""
        return any(before <= last and after >= first for before, after in self._forward)

    def _look(self) -> Stamp:
        """Both clocks; looked at again when so much time went by in between that they do not belong together."""
        while True:
            before = self._clock.monotonic_ns()
            wall = self._clock.now()
            if self._clock.monotonic_ns() - before < _BOTH_WITHIN_NS:
                return Stamp(wall, before)

    def _step_us(self, stamp: Stamp) -> int:
        """By how much the wall clock was set since the reference: kept until it steps, so that small steps add up."""
        passed_us = (stamp.monotonic_ns - self._reference.monotonic_ns) // 1000
        return stamp.wall - self._reference.wall - passed_us

    def _tell_step(self, stamp: Stamp) -> None:
        step_us = self._step_us(stamp)
        before = stamp.wall - step_us
        if step_us > 0:
            self._forward.append((before, stamp.wall))
        order = self._order(stamp.wall)
        self.trusted = order is Order.RESTORED or (self.trusted and abs(step_us) <= WAITED_FOR_US)
        told = {"from": before, "to": stamp.wall, "step_us": step_us, "monotonic_ns": stamp.monotonic_ns}
        self.untold.append({"event": "clock_step", "order": order.value, **told})
        if order is Order.BROKEN:
            self._doubt = UNSET if stamp.wall < UNSET_BEFORE or self._doubt == UNSET else STEPPED_BACK
            self._doubt_until = self.newest

    def _order(self, now: int) -> Order:
        """What becomes of the order of labels with the clock at `now`."""
        if now < UNSET_BEFORE:
            self.newest = max(self.newest, UNSET_BEFORE)
        broken = self.broken
        self.broken = now <= self.newest and (broken or self.newest - now > WAITED_FOR_US)
        if self.broken:
            return Order.BROKEN
        return Order.RESTORED if broken else Order.KEPT
