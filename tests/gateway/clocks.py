"""A replayed clock whose wall time can be set, as somebody sets the clock of a machine."""

from gateway.clocks import ReplayClock


class SettableClock(ReplayClock):
    """Time that passes only when it is waited for; `set_by` moves the wall clock alone, `pass_by` both."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self._set_by = 0

    def now(self) -> int:
        return self._now + self._set_by

    async def sleep_until(self, instant: int) -> None:
        await super().sleep_until(instant - self._set_by)

    def set_by(self, step_us: int) -> None:
        self._set_by += step_us

    def pass_by(self, time_us: int) -> None:
        self._now += time_us
