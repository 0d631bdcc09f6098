"""When meters are read: a grid aligned to the wall clock, and the patience with those that do not answer."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from gateway.clocks import Clock
from gateway.domain.readings import MICROSECONDS

BACKOFF_STEP_US = 2 * MICROSECONDS
BACKOFF_CAP_US = 300 * MICROSECONDS


class Slot(NamedTuple):
    """A sampling instant [us, UTC] of the grid, and those since the slot before at which nothing could be read."""

    instant: int
    missed: range


async def slots(clock: Clock, *, period_us: int, phase_us: int = 0) -> AsyncGenerator[Slot, None]:
    """The instants t with (t - phase) divisible by the period [us], each at its time, none twice.

    The grid hangs on the wall clock, so quarter-hours are met and restarts do not move it. A slot that
    passes while the work before it lasts is missed: it is named in the next slot's `missed` and neither
    run late nor filled. A wall clock that is set back by more than a period restarts the grid at the new
    time (waiting for the old time to come round again could leave the meters unread for days); one that
    is set back by less only lengthens the wait.
    """
    target = first = _at_or_after(clock.now(), period_us, phase_us)
    while True:
        while (now := clock.now()) < target or now >= target + period_us:
            if now >= target + period_us:  # the machine slept through, or its clock was set forward
                target = _at_or_after(now, period_us, phase_us)
            elif target - now > 2 * period_us:
                target = first = _at_or_after(now, period_us, phase_us)
            else:
                await clock.sleep_until(target)
        yield Slot(target, range(first, target, period_us))
        first = target + period_us
        target = max(first, _at_or_after(clock.now(), period_us, phase_us))


def _at_or_after(instant: int, period_us: int, phase_us: int) -> int:
    return instant + (phase_us - instant) % period_us


class Backoff(NamedTuple):
    """How long something that does not answer is left alone: 2 s more after every failure, at most 300 s.

    Counted from slot to slot: at a slot that is not yet due nothing is asked.
    """

    failures: int = 0
    not_before: int = 0  # [us, UTC]

    def due(self, slot: int) -> bool:
        """True if it may be asked at this slot [us, UTC]."""
        # A wait longer than the cap can only come from a clock that was set back since.
        return slot >= self.not_before or self.not_before - slot > BACKOFF_CAP_US

    def after_failure(self, slot: int) -> "Backoff":
        """The patience after one more failure at this slot [us, UTC]."""
        failures = self.failures + 1
        return Backoff(failures, slot + min(failures * BACKOFF_STEP_US, BACKOFF_CAP_US))


RESTED = Backoff()  # after any success
