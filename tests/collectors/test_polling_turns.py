"""Who is asked when: each device at its phase, the silent ones only where nobody waits for them."""

import dataclasses
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.check import check_main
from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.domain.sites import Site
from gateway.errors import ConfigError
from tests.collectors.modbus_lab import PROFILE, SECOND, lab_site
from tests.collectors.test_acquire_clock import POLLED, SITE
from tests.collectors.test_modbus_polling import T0, TimedLine, polled

ANSWER_US = 10_000  # TimedLine's; three blocks a device


def with_phases(site: Site, phases: dict[int, str]) -> Site:
    meters = {
        meter.id: dataclasses.replace(meter, phase_s=Decimal(phases.get(meter.device_address, "0")))
        for meter in site.meters.values()
    }
    return dataclasses.replace(site, meters=meters)


def first_questions(wire: TimedLine, address: int) -> list[int]:
    """When the device was asked for its first block, after the first instant of replayed time [us]."""
    return [instant - T0 for instant, device, block in wire.asked if device == address and block == 10]


async def test_each_device_is_asked_at_its_phase_whatever_the_order_of_the_file(tmp_path: Path):
    site = with_phases(lab_site(tmp_path, [1, 2, 3], period_s="10"), {1: "7.5", 2: "0.25"})
    wire = TimedLine(ReplayClock(T0))
    lists = await polled(site, wire, 9)
    assert first_questions(wire, 3) == [0, 10 * SECOND, 20 * SECOND]
    assert first_questions(wire, 2) == [250_000, 10_250_000, 20_250_000]
    assert first_questions(wire, 1) == [7_500_000, 17_500_000, 27_500_000]
    for readings in lists:  # the instant that is recorded is that of the sample, not of the slot
        asked = {1: 7_500_000, 2: 250_000, 3: 0}[int(readings[0].series.split("/")[1][1:])]
        assert readings[0].instant % (10 * SECOND) == asked + ANSWER_US // 2


async def test_two_devices_of_one_phase_do_not_push_each_other_out(tmp_path: Path):
    site = with_phases(lab_site(tmp_path, [1, 2], period_s="10"), {1: "3", 2: "3"})
    wire = TimedLine(ReplayClock(T0))
    await polled(site, wire, 4)
    assert first_questions(wire, 1) == [3_000_000, 13_000_000]
    assert first_questions(wire, 2) == [3_030_000, 13_030_000]


def kept(lists: Iterable[list], address: int, period_us: int) -> set[int]:
    """The slots in which the device brought values."""
    own = [readings for readings in lists if readings[0].series.startswith(f"e/p{address}/")]
    return {reading.instant // period_us for readings in own for reading in readings if reading.value is not None}


async def test_many_silent_devices_on_one_bus_take_no_slot_of_the_others(tmp_path: Path):
    # 12 silences of 1 s do not fit into a period of 5 s: at the first slot nobody knows of them yet, later nobody pays
    living, dead = [1, 2, 3], list(range(4, 16))
    wire = TimedLine(ReplayClock(T0), dead=set(dead))
    site = lab_site(tmp_path, [*living, *dead], period_s="5")
    lists = await polled(site, wire, 15 * 200)
    known_from = next(instant for instant, device, _ in wire.asked if device == 1 and instant >= T0 + 5 * SECOND)
    slots = {instant // (5 * SECOND) for instant, _, _ in wire.asked if instant >= known_from}
    every = set(range(min(slots), max(slots) + 1))
    for address in living:
        assert every - {max(every)} <= kept(lists, address, 5 * SECOND)
        late = [instant % (5 * SECOND) for instant, device, _ in wire.asked if device == address]
        assert max(late) < 3 * 3 * ANSWER_US
    # and none of the silent ones is forgotten for that: each is tried at least every 300 + 300 s
    for address in dead:
        tried = [instant for instant, device, _ in wire.unanswered if device == address]
        assert len(tried) > 3
        assert max(b - a for a, b in pairwise(tried)) <= 605 * SECOND


async def test_a_silent_device_that_never_fits_is_tried_all_the_same_and_comes_back(tmp_path: Path):
    # the timeout is the whole period: after a living device there is never time left for a silence
    wire = TimedLine(ReplayClock(T0), dead={2})
    site = lab_site(tmp_path, [1, 2], period_s="1")
    await polled(site, wire, 2 * 500)
    tried = [instant for instant, device, _ in wire.unanswered if device == 2]
    assert len(tried) == 2  # at the start, and when it had been due for longer than 300 s
    assert 300 * SECOND < tried[1] - tried[0] < 305 * SECOND
    # with nobody to spare, it is asked as often as its patience allows: after 2, 4, 6, 8 s
    alone = TimedLine(ReplayClock(T0), dead={2})
    await polled(lab_site(tmp_path, [2], period_s="1"), alone, 21)
    assert [(instant - T0) // SECOND for instant, _, _ in alone.unanswered] == [0, 2, 6, 12, 20]


def site_with_phase(folder: Path, phase: str, period_s: str = "0.2") -> Path:
    profile = folder / "profiles" / "electricity" / "lab_lm3.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(PROFILE, "utf-8")
    text = SITE.format(zone="Asia/Shanghai") + POLLED.format(port=1502).replace(
        "period_s = 0.2", f"period_s = {period_s}"
    )
    assert f"period_s = {period_s}" in text
    site = folder / "site.toml"
    site.write_text(text.replace("[[point]]", f"phase_s = {phase}\n\n[[point]]", 1), "utf-8")
    return site


def test_a_phase_in_the_site_file_is_that_of_the_meter(tmp_path: Path):
    site = load_site(site_with_phase(tmp_path, "29.5", "60"))
    assert [meter.phase_s for meter in site.meters.values()] == [Decimal("29.5")]
    assert check_main([str(site.file)]) == 0


@pytest.mark.parametrize(
    ("phase", "period_s", "said"),
    [
        ("60", "900", "found 60; expected less than 60"),
        ("-1", "60", "found -1; expected greater than or equal to 0"),
        ("59.9", "60", "found 59.9; expected a phase that leaves the timeout of 0.2 s within the period of 60 s"),
        ('"soon"', "60", 'found "soon"'),
    ],
)
def test_a_phase_that_cannot_be_kept_is_told(tmp_path: Path, phase: str, period_s: str, said: str):
    with pytest.raises(ConfigError) as refused:
        load_site(site_with_phase(tmp_path, phase, period_s))
    (problem,) = refused.value.problems
    assert (problem.key, problem.line is not None) == ("meter[1].phase_s", True)
    assert said in str(refused.value)
