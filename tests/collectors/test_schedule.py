"""What the sampling grid and the back-off promise."""

import asyncio
import time
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.schedule import RESTED, Backoff, slots
from gateway.clocks import ReplayClock, SystemClock

SECOND = 1_000_000
T0 = 1_790_000_000 * SECOND  # 2026-09-21T14:13:20Z, 800 s past a quarter-hour


async def run_slots(clock: ReplayClock, work_us: list[int], **grid: int) -> list[int]:
    """The slots run when the work at the n-th of them takes work_us[n]."""
    seen = []
    async with aclosing(slots(clock, **grid)) as running:
        async for slot in running:
            seen.append(slot)
            if len(seen) > len(work_us):
                break
            await clock.sleep_until(clock.now() + work_us[len(seen) - 1])
    return seen


async def test_slots_lie_on_the_wall_clocks_quarter_hours_plus_the_phase():
    seen = await run_slots(ReplayClock(T0), [0, 0], period_us=900 * SECOND, phase_us=5 * SECOND)
    assert seen == [T0 + 105 * SECOND, T0 + 1005 * SECOND, T0 + 1905 * SECOND]


async def test_a_grid_that_is_met_at_the_start_begins_at_once():
    assert await run_slots(ReplayClock(T0), [], period_us=10 * SECOND) == [T0]


async def test_a_slot_that_passed_during_the_work_is_left_out_and_not_run_late():
    # 25 s of work on a 10 s grid: the slots at +10 and +20 pass; the next run is +30
    assert await run_slots(ReplayClock(T0), [25 * SECOND], period_us=10 * SECOND) == [T0, T0 + 30 * SECOND]


async def test_work_that_ends_on_the_next_slot_misses_nothing():
    assert await run_slots(ReplayClock(T0), [10 * SECOND], period_us=10 * SECOND) == [T0, T0 + 10 * SECOND]


async def test_a_slot_that_an_earlier_run_has_read_is_not_run_again():
    # started 3 s after the slot T0, which was run before; and just at it
    for start in (T0, T0 + 3 * SECOND):
        assert await run_slots(ReplayClock(start), [], period_us=10 * SECOND, after=T0) == [T0 + 10 * SECOND]


class SteppedClock(ReplayClock):
    """A clock whose wall time is set to another time at its next waits."""

    def __init__(self, start: int, steps: list[int]) -> None:
        super().__init__(start)
        self.steps = steps

    async def sleep_until(self, instant: int) -> None:
        if self.steps:
            self._now += self.steps.pop(0)
            await asyncio.sleep(0)
        else:
            await super().sleep_until(instant)


async def test_a_clock_set_back_by_a_month_does_not_silence_the_line_for_a_month():
    clock = SteppedClock(T0 + 1, [-30 * 86400 * SECOND])
    assert await run_slots(clock, [], period_us=10 * SECOND) == [T0 - 30 * 86400 * SECOND + 10 * SECOND]


@pytest.mark.parametrize("back_s", [9, 11, 600, 3590])
async def test_a_clock_set_back_by_up_to_an_hour_runs_no_slot_twice(back_s: int):
    clock = SteppedClock(T0, [])
    async with aclosing(slots(clock, period_us=10 * SECOND)) as running:
        first = await anext(running)
        clock.steps = [-back_s * SECOND]
        second = await anext(running)
    assert (first, second) == (T0, T0 + 10 * SECOND)


async def test_slots_that_the_machine_slept_through_are_left_out():
    clock = SteppedClock(T0 + 1, [35 * SECOND])
    assert await run_slots(clock, [], period_us=10 * SECOND) == [T0 + 40 * SECOND]


@given(
    start=st.integers(T0, T0 + 3600 * SECOND),
    period=st.integers(1, 900 * SECOND),
    phase=st.integers(0, 900 * SECOND),
    work=st.lists(st.floats(0, 5), max_size=20),
)
def test_slots_are_run_in_order_on_the_grid_and_only_those_that_passed_are_left_out(
    start: int, period: int, phase: int, work: list[float]
):
    durations = [int(periods * period) for periods in work]
    seen = asyncio.run(run_slots(ReplayClock(start), durations, period_us=period, phase_us=phase))
    assert all((slot - phase) % period == 0 for slot in seen)
    assert start <= seen[0] < start + period
    for slot, next_slot, took in zip(seen, seen[1:], durations, strict=False):
        assert next_slot == max(slot + period, slot + took + (phase - slot - took) % period)


def test_patience_grows_by_two_seconds_a_failure_up_to_five_minutes():
    patience, waits = RESTED, []
    for _ in range(200):
        patience = patience.after_failure(T0)
        waits.append((patience.not_before - T0) // SECOND)
    assert waits[:4] == [2, 4, 6, 8]
    assert max(waits) == waits[149] == waits[-1] == 300


def test_a_slot_is_due_from_the_end_of_the_wait():
    patience = Backoff().after_failure(T0).after_failure(T0)
    assert not patience.due(T0 + 4 * SECOND - 1)
    assert patience.due(T0 + 4 * SECOND)


def test_a_clock_set_back_does_not_lengthen_the_patience():
    assert Backoff().after_failure(T0).due(T0 - 86400 * SECOND)


async def test_the_machines_clock_set_back_while_waiting_does_not_lengthen_the_wait():
    class SetBackWhileWaiting(SystemClock):
        looks = 0

        def now(self) -> int:
            self.looks += 1
            return super().now() - (0 if self.looks <= 2 else 30 * 86400 * SECOND)

    clock = SetBackWhileWaiting()
    started = time.monotonic()
    await clock.sleep_until(clock.now() + SECOND // 20)
    assert 0.05 <= time.monotonic() - started < 5
