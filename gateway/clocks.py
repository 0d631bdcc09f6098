"""Time comes in through the door: the real clock, and one that tests and replays move by hand."""

import asyncio
import time
from typing import Protocol

from gateway.domain.readings import MICROSECONDS

# Goes on while the machine sleeps, so that waking up is not taken for a wall clock that was set.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Wall time, monotonic time and waiting, as one thing that can be replaced."""

    def now(self) -> int:
        """The instant now [us, UTC]."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never steps back."""
        ...

    async def sleep_until(self, instant: int) -> None:
        """Wait until `instant` [us, UTC]; returns at once when it has passed.

        Returns before `instant` only when the wall clock was set back meanwhile: who waits looks again.
        """
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """The instant now [us, UTC]."""
        return time.time_ns() // 1000

    def monotonic_ns(self) -> int:
        """Nanoseconds since an unspecified start, never stepping back."""
        return time.clock_gettime_ns(_SINCE_BOOT)

    async def sleep_until(self, instant: int) -> None:
        """Wait until `instant` [us, UTC]; a clock step in between is noticed within a second.

        Waits no longer than it looked at the start: a clock set back by a month must not cost a month.
        """
        start = self.monotonic_ns()
        longest = max(0, instant - self.now()) * 1000 + 1_000_000
        while (  # noqa: ASYNC110 - it is time itself that is awaited
            (remaining := instant - self.now()) > 0 and self.monotonic_ns() - start < longest
        ):
            await asyncio.sleep(min(remaining / MICROSECONDS, 1.0))


class ReplayClock:
    """A clock that jumps to whatever is waited for: a year passes as fast as the work in it."""

    def __init__(self, start: int) -> None:
        self._now = start

    def now(self) -> int:
        """The instant now [us, UTC]."""
        return self._now

    def monotonic_ns(self) -> int:
        """Moves with the replayed time."""
        return self._now * 1000

    async def sleep_until(self, instant: int) -> None:
        """Jump to `instant` [us, UTC] and let others run once."""
        self._now = max(self._now, instant)
        await asyncio.sleep(0)
