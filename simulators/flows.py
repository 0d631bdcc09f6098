"""What flows past a metering point: amounts per quarter-hour in whole fine units (mWh, mL, g), even within each."""

import threading
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from gateway.domain.readings import MICROSECONDS
from simulators.load_shapes import QUARTER_S, Calendar, Shape


class Flow(Protocol):
    """A flow known at every instant from its epoch on."""

    def amount(self, step: int) -> int:
        """What flows in the step with this number since 1970 UTC [fine units]."""
        ...

    def total(self, instant: int) -> int:
        """What has flowed since the epoch [fine units] at `instant` [us, UTC], in steps of whole seconds.

        Raises ValueError before the epoch.
        """
        ...

    def per_hour(self, instant: int) -> float:
        """The flow at `instant` [fine units per hour]."""
        ...


class Accumulated:
    """A flow made of amounts per step; subclasses say how much each step holds."""

    def __init__(self, epoch: int, step_s: int = QUARTER_S) -> None:
        self.step_s = step_s
        self._first, rest = divmod(epoch, step_s * MICROSECONDS)
        if rest:
            raise ValueError(f"an epoch is a whole number of steps of {step_s} s since 1970 UTC, not {epoch} us")
        self._sums = [0]
        self._growing = threading.Lock()

    def amount(self, step: int) -> int:
        """What flows in this step [fine units]."""
        raise NotImplementedError

    def total(self, instant: int) -> int:
        """What has flowed since the epoch [fine units]; even within a step, cut to whole fine units."""
        step, second = divmod(instant // MICROSECONDS, self.step_s)
        index = step - self._first
        if index < 0:
            raise ValueError(f"instant {instant} us lies before the epoch")
        if len(self._sums) < index + 2:
            with self._growing:  # the wire and a comparison ask from different threads
                while len(self._sums) < index + 2:
                    self._sums.append(self._sums[-1] + self.amount(self._first + len(self._sums) - 1))
        before = self._sums[index]
        return before + (self._sums[index + 1] - before) * second // self.step_s

    def per_hour(self, instant: int) -> float:
        """The flow at `instant` [fine units per hour]."""
        return self.amount(instant // MICROSECONDS // self.step_s) * 3600 / self.step_s


class ShapedFlow(Accumulated):
    """A load: its mean [fine units per quarter-hour] through a shape."""

    def __init__(self, epoch: int, *, mean: int, shape: Shape, calendar: Calendar, key: int) -> None:
        super().__init__(epoch)
        self._mean, self._shape, self._calendar, self._key = mean, shape, calendar, key

    def amount(self, step: int) -> int:
        """The mean times the shape, cut to whole fine units."""
        return self._mean * self._shape.parts_per_million(self._calendar, step, self._key) // 1_000_000


class LossFlow(Accumulated):
    """What is lost between a main meter and its sub-meters: a share of what the main meter shows."""

    def __init__(self, epoch: int, *, behind: Flow, share: Fraction) -> None:
        super().__init__(epoch)
        self._behind, self._share = behind, share

    def amount(self, step: int) -> int:
        """The share is that of (loss + what arrives); cut to whole fine units."""
        arriving = self._behind.amount(step)
        return arriving * self._share.numerator // (self._share.denominator - self._share.numerator)


class ListedFlow(Accumulated):
    """Amounts from a list, one per step from the epoch on; nothing flows after its end."""

    def __init__(self, epoch: int, amounts: Sequence[int], step_s: int = QUARTER_S) -> None:
        super().__init__(epoch, step_s)
        self._amounts = amounts

    def amount(self, step: int) -> int:
        """The amount listed for this step."""
        index = step - self._first
        return self._amounts[index] if 0 <= index < len(self._amounts) else 0


class SumFlow:
    """Several flows as one: exactly their sum at every instant."""

    def __init__(self, parts: Sequence[Flow]) -> None:
        self.parts = tuple(parts)

    def amount(self, step: int) -> int:
        """The sum of the parts' amounts."""
        return sum(part.amount(step) for part in self.parts)

    def total(self, instant: int) -> int:
        """The sum of the parts' totals."""
        return sum(part.total(instant) for part in self.parts)

    def per_hour(self, instant: int) -> float:
        """The sum of the parts' flows."""
        return sum(part.per_hour(instant) for part in self.parts)


class MultipliedFlow:
    """A flow that goes with another by a whole factor: the heat in steam [mWh] with its mass [g]."""

    def __init__(self, of: Flow, factor: int) -> None:
        self._of, self._factor = of, factor

    def amount(self, step: int) -> int:
        """The other flow's amount times the factor."""
        return self._of.amount(step) * self._factor

    def total(self, instant: int) -> int:
        """The other flow's total times the factor."""
        return self._of.total(instant) * self._factor

    def per_hour(self, instant: int) -> float:
        """The other flow times the factor."""
        return self._of.per_hour(instant) * self._factor
