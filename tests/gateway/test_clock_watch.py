"""What the clock watch promises: a clock that was set is told once, and the labels behind it are judged rightly."""

import pytest

from gateway.clock_watch import (
    STEP_US,
    STEPPED_BACK,
    UNSET,
    UNSET_BEFORE,
    ClockWatch,
    Stamp,
)
from gateway.clocks import ReplayClock
from tests.gateway.clocks import SettableClock

SECOND = 1_000_000
HOUR = 3600 * SECOND
T0 = 1_790_000_000 * SECOND
BOOT = "b"


def watching(clock: SettableClock, *, newest: int = 0, known: Stamp | None = None) -> ClockWatch:
    watch = ClockWatch(clock)
    watch.begin(newest=newest, known=known, boot=BOOT)
    watch.now()
    return watch


def told(watch: ClockWatch) -> list[tuple[object, ...]]:
    return [(event["event"], event.get("step_us"), event["order"]) for event in watch.untold]


@pytest.mark.parametrize("step_us", [-STEP_US, -1, 0, 1, STEP_US])
def test_what_a_scheduler_or_a_slewed_clock_does_is_no_step(step_us: int):
    clock = SettableClock(T0)
    watch = watching(clock)
    clock.set_by(step_us)
    assert watch.now() == T0 + step_us
    assert watch.untold == []


@pytest.mark.parametrize("step_us", [-STEP_US - 1, STEP_US + 1, -HOUR, HOUR, 30 * 24 * HOUR])
def test_a_step_is_told_once_with_what_the_clock_said_and_should_have_said(step_us: int):
    clock = SettableClock(T0)
    watch = watching(clock)
    clock.pass_by(7 * SECOND)
    clock.set_by(step_us)
    watch.now()
    clock.pass_by(HOUR)
    watch.now()
    assert watch.untold == [
        {
            "event": "clock_step",
            "from": T0 + 7 * SECOND,
            "to": T0 + 7 * SECOND + step_us,
            "step_us": step_us,
            "monotonic_ns": (T0 + 7 * SECOND) * 1000,
            "order": "kept",
        }
    ]
    assert watch.doubt(watch.now()) == ""


def test_small_steps_add_up_to_one_that_is_told():
    clock = SettableClock(T0)
    watch = watching(clock)
    for _ in range(3):
        clock.set_by(-200_000)
        watch.now()
    assert told(watch) == [("clock_step", -600_000, "kept")]


def test_a_clock_set_back_by_more_than_an_hour_is_believed_and_doubted_until_it_has_caught_up():
    clock = SettableClock(T0)
    watch = watching(clock)
    clock.set_by(-HOUR - SECOND)
    watch.now()
    assert told(watch) == [("clock_step", -HOUR - SECOND, "broken")]
    assert watch.doubt(watch.now()) == STEPPED_BACK
    assert watch.doubt(T0) == STEPPED_BACK
    assert watch.doubt(T0 + 1) == ""
    clock.pass_by(HOUR + 2 * SECOND)
    assert watch.doubt(watch.now()) == ""
    assert told(watch)[1:] == [("clock_caught_up", None, "restored")]


def test_two_steps_back_that_are_more_than_an_hour_together_break_the_order():
    clock = SettableClock(T0)
    watch = watching(clock)
    for _ in range(2):
        clock.set_by(-40 * 60 * SECOND)
        watch.now()
    assert [order for _, _, order in told(watch)] == ["kept", "broken"]


def test_the_order_is_restored_when_the_clock_is_set_forward_beyond_all_labels():
    clock = SettableClock(T0)
    watch = watching(clock)
    for step_h in (-48, 20, 29):  # the second one still ends among earlier labels
        clock.set_by(step_h * HOUR)
        watch.now()
    assert [order for _, _, order in told(watch)] == ["broken", "broken", "restored"]
    assert watch.doubt(watch.now()) == ""


def test_slots_that_a_clock_set_forward_passed_over_are_known():
    clock = SettableClock(T0)
    watch = watching(clock)
    clock.set_by(HOUR)
    watch.now()
    assert watch.skipped(T0 + SECOND, T0 + HOUR)
    assert watch.skipped(T0 - HOUR, T0)
    assert not watch.skipped(T0 + HOUR + 1, T0 + 2 * HOUR)
    assert not watch.skipped(T0 - HOUR, T0 - 1)


def test_a_clock_that_was_never_set_is_doubted_until_it_is():
    clock = SettableClock(17 * SECOND)
    watch = watching(clock)
    assert told(watch) == [("clock_unset", None, "broken")]
    assert watch.broken
    assert watch.doubt(watch.now()) == UNSET
    clock.set_by(T0)
    assert watch.doubt(watch.now()) == ""
    assert told(watch)[1:] == [("clock_step", T0, "restored")]
    assert not watch.broken


def test_a_clock_reset_to_1970_while_running_is_a_step_to_an_unset_clock():
    clock = SettableClock(T0)
    watch = watching(clock)
    clock.set_by(-T0)
    watch.now()
    assert told(watch) == [("clock_step", -T0, "broken")]
    assert watch.doubt(UNSET_BEFORE) == UNSET


@pytest.mark.parametrize(
    ("behind", "order"), [(SECOND, "kept"), (HOUR, "kept"), (HOUR + 1, "broken"), (400 * 24 * HOUR, "broken")]
)
def test_a_clock_behind_the_journal_is_told_and_doubted_until_it_has_caught_up(behind: int, order: str):
    watch = watching(SettableClock(T0), newest=T0 + behind)
    (event,) = watch.untold
    expected = {"event": "clock_behind_journal", "journal": T0 + behind, "to": T0, "order": order}
    assert event == expected
    assert watch.doubt(T0 + behind) == UNSET
    assert watch.doubt(T0 + behind + 1) == ""


@pytest.mark.parametrize("step", [HOUR, -2 * HOUR])
def test_a_clock_set_while_nothing_ran_is_found_within_the_same_boot(step: int):
    known = Stamp(T0, T0 * 1000, BOOT)
    clock = SettableClock(T0 + 500 * SECOND)
    clock.set_by(step)
    watch = watching(clock, newest=T0, known=known)
    assert told(watch) == [("clock_step", step, "kept" if step > 0 else "broken")]
    assert watch.untold[0]["from"] == T0 + 500 * SECOND


def test_after_another_boot_the_monotonic_clock_proves_nothing():
    clock = SettableClock(T0 + 500 * SECOND)
    clock.set_by(HOUR)
    assert watching(clock, newest=T0, known=Stamp(T0, T0 * 1000, "another")).untold == []


async def test_a_replayed_clock_that_jumps_takes_no_step():
    clock = ReplayClock(T0)
    watch = ClockWatch(clock)
    watch.begin(newest=T0, known=Stamp(T0, T0 * 1000, BOOT), boot=BOOT)
    for _ in range(5):
        await watch.sleep_until(watch.now() + 400 * HOUR)
    assert watch.now() == T0 + 2000 * HOUR
    assert watch.untold == []
