"""When meters are read: a grid aligned to the wall clock, and the patience with those that do not answer."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from gateway.clock_watch import WAITED_FOR_US
from gateway.clocks import Clock
from gateway.domain.readings import MICROSECONDS
from gateway.journal.slots import Grid

BACKOFF_STEP_US = 2 * MICROSECONDS
BACKOFF_CAP_US = 300 * MICROSECONDS


async def slots(
    clock: Clock, *, period_us: int, phase_us: int = 0, after: int | None = None
) -> AsyncGenerator[int, None]:
    """The instants t [us, UTC] with (t - phase) divisible by the period, each at its time, none twice.

    `after` is the slot that was run last, by whatever program; None where there was none. The grid hangs on the wall
    clock, so quarter-hours are met and restarts do not move it. A slot that passes while the work before it lasts,
    or while nothing runs, is left out: it is neither run late nor filled. A wall clock that is set back by up to an
    hour only lengthens the wait; one that is set back farther restarts the grid at the new time (waiting for the
    old time to come round again could leave the meters unread for days).
    """
    grid = Grid(period_us, phase_us)
    target = grid.at_or_after(clock.now())
    if after is not None:
        target = max(target, after + period_us)
    while True:
        while (now := clock.now()) < target or now >= target + period_us:
            if now >= target + period_us or target - now > period_us + WAITED_FOR_US:
                target = grid.at_or_after(now)
            else:
                await clock.sleep_until(target)
        yield target
        target = max(target + period_us, grid.at_or_after(clock.now()))


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

    def overdue(self, slot: int) -> bool:
        """True if it has been due for longer than the longest wait: it must not be put off any more."""
        return slot - self.not_before > BACKOFF_CAP_US

    def after_failure(self, slot: int) -> "Backoff":
        """The patience after one more failure at this slot [us, UTC]."""
        failures = self.failures + 1
        return Backoff(failures, slot + min(failures * BACKOFF_STEP_US, BACKOFF_CAP_US))


RESTED = Backoff()  # after any success
