"""How long a sink that failed is left alone: longer each time, never shorter than the server asks for."""

import random

from gateway.errors import SinkBusy, SinkDenied, StoreError

FIRST_S = 0.5
LONGEST_S = 30.0
DENIED_S = 60.0  # somebody must mend a credential: asking more often only fills logs


class Patience:
    """The waits of one sink: doubling from `first_s` to `longest_s` [s], each shortened by chance to half at most.

    Without chance, sinks that failed together would be tried together for ever.
    """

    def __init__(
        self, chance: random.Random | None = None, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S
    ) -> None:
        self.wait_s = 0.0  # the wait that was told last
        self._chance = chance
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def after(self, error: StoreError) -> float:
        """How long to wait after this failure [s]."""
        if isinstance(error, SinkDenied):
            self.wait_s = DENIED_S
            return self.wait_s
        share = 1.0 if self._chance is None else self._chance.uniform(0.5, 1.0)
        asked_s = error.retry_after_s if isinstance(error, SinkBusy) else 0.0
        self.wait_s = max(self._next_s * share, asked_s)
        self._next_s = min(2 * self._next_s, self._longest_s)
        return self.wait_s

    def restore(self) -> None:
        """It went well: the next failure is a first one."""
        self._next_s = self._first_s
