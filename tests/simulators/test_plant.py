"""The known truth: repeatable, and bound by the laws of its own pipes and wires."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.periods import to_instant
from gateway.domain.readings import MICROSECONDS
from simulators.coal_yard import Ticket
from simulators.lab import load_lab
from simulators.plant import Plant, booked_at, history
from simulators.truth import consumption

EPOCH = to_instant(datetime(2026, 9, 30, 16, 0, tzinfo=UTC))  # 1 October in Shanghai
DAY = 86_400 * MICROSECONDS
LAB = load_lab("cement")
PLANT = Plant(LAB, epoch=EPOCH)
INSTANTS = st.integers(0, 40 * DAY).map(lambda offset: EPOCH + offset)
SUBS = {
    "E-MAIN": ["E-RAW", "E-KILN", "E-MILL", "E-AUX", "E-OFFICE"],
    "W-MAIN": ["W-COOL", "W-KILN"],
}


def all_totals(plant, instant):
    return {
        (point, shown.quantity): plant.register_at(point, shown.quantity, instant)
        for point, meter in plant.meters.items()
        for shown in meter.model.fields
        if shown.total
    }


def test_the_same_seed_gives_the_same_truth_in_whatever_order_it_is_asked():
    forwards, backwards = Plant(LAB, epoch=EPOCH), Plant(LAB, epoch=EPOCH)
    days = [EPOCH + n * DAY + n * 1_234_567 for n in range(12)]
    first = [all_totals(forwards, day) for day in days]
    second = [all_totals(backwards, day) for day in reversed(days)]
    assert first == second[::-1]
    assert list(forwards.yard.tickets(EPOCH, days[-1])) == list(backwards.yard.tickets(EPOCH, days[-1]))


def test_another_seed_gives_another_truth():
    other = Plant(load_lab("cement", seed=7), epoch=EPOCH)
    here, there = all_totals(PLANT, EPOCH + 5 * DAY), all_totals(other, EPOCH + 5 * DAY)
    moving = [key for key in here if "export" not in key[1] and "reverse" not in key[1]]
    assert all(here[key] != there[key] for key in moving)


def test_what_flows_does_not_depend_on_the_epoch():
    later = Plant(LAB, epoch=EPOCH + 3 * DAY)
    start, end = EPOCH + 4 * DAY, EPOCH + 6 * DAY
    for point in ("E-MAIN", "W-COOL", "C-BELT"):
        assert PLANT.flow(point).total(end) - PLANT.flow(point).total(start) == later.flow(point).total(
            end
        ) - later.flow(point).total(start)


@given(INSTANTS)
def test_sub_meters_and_loss_are_the_main_meter_exactly_at_every_second(instant):
    for main, subs in SUBS.items():
        parts = sum(PLANT.flow(sub).total(instant) for sub in subs)
        assert PLANT.flow(main).total(instant) == parts + PLANT.losses[main].total(instant)


def test_the_loss_is_the_declared_share_of_the_main_meter():
    end = EPOCH + 30 * DAY
    share = Decimal(PLANT.losses["E-MAIN"].total(end)) / PLANT.flow("E-MAIN").total(end)
    assert abs(share - Decimal("0.015")) < Decimal("1e-9")  # cut to whole mWh in each quarter-hour


def test_the_kiln_shows_its_fan_and_more():
    end = EPOCH + 30 * DAY
    assert PLANT.flow("E-KILN").total(end) > PLANT.flow("E-KILN-FAN").total(end) > 0


@given(INSTANTS, st.integers(0, 999_999))
def test_a_register_stands_still_within_a_second_and_never_runs_back(instant, offset):
    second = instant // MICROSECONDS * MICROSECONDS
    meter = PLANT.meters["E-MAIN"]
    at_second = meter.register_at("active_energy_import", second)
    assert meter.register_at("active_energy_import", second + offset) == at_second
    assert meter.register_at("active_energy_import", second + MICROSECONDS) >= at_second


def test_within_a_quarter_hour_the_flow_is_even():
    flow, start = PLANT.flow("E-RAW"), EPOCH + 17 * 900 * MICROSECONDS
    whole = flow.total(start + 900 * MICROSECONDS) - flow.total(start)
    third = flow.total(start + 300 * MICROSECONDS) - flow.total(start)
    assert third == whole // 3


@pytest.mark.parametrize("days", [1, 7, 33])
def test_opening_plus_tickets_minus_closing_is_what_the_belt_took(days):
    start, end = EPOCH + DAY, EPOCH + (1 + days) * DAY
    tickets = sum(ticket.net_kg for ticket in PLANT.yard.tickets(start, end))
    surveys = {survey.instant: survey.stock_kg for survey in PLANT.yard.surveys(start, end + 1)}
    belt = PLANT.register_at("C-BELT", "mass", end) - PLANT.register_at("C-BELT", "mass", start)  # kg
    assert abs(surveys[start] + tickets - surveys[end] - belt) <= 1  # each cut to whole kg
    assert tickets > 0
    assert belt > 0


def test_tickets_are_weighed_in_divisions_and_numbered_once():
    tickets = list(PLANT.yard.tickets(EPOCH, EPOCH + 20 * DAY))
    assert len({ticket.number for ticket in tickets}) == len(tickets)
    assert all(ticket.net_kg % 20 == 0 and ticket.tare_kg % 20 == 0 for ticket in tickets)
    assert all(12_000 <= ticket.net_kg <= 15_400 for ticket in tickets)
    assert [ticket.instant for ticket in tickets] == sorted(ticket.instant for ticket in tickets)


def test_the_steam_meter_rolls_over_within_the_history_and_its_consumption_does_not():
    start, end = EPOCH, EPOCH + 35 * DAY
    first, last = (PLANT.register_at("S-WHR", "mass", instant) for instant in (start, end))
    assert first == 4_293_000_000
    assert last < first
    truth = consumption(PLANT, "S-WHR", "mass", start, end)
    assert truth.counts == last + 2**32 - first
    assert truth.counts == truth.fine // 1000  # g to kg; the register stood at a whole count at the epoch


def test_the_kiln_stops_in_thirty_five_days_and_stands_for_eight_hours_or_more():
    amounts = [PLANT.flow("C-BELT").amount(EPOCH // (900 * MICROSECONDS) + n) for n in range(35 * 96)]
    standing = [amount < 14_000_000 / 4 / 5 for amount in amounts]  # below a fifth of 14 t/h
    assert 32 <= sum(standing) <= 4 * 120


def test_history_is_what_the_registers_showed():
    start, end = EPOCH + DAY, EPOCH + DAY + 4 * 900 * MICROSECONDS
    steps = list(history(PLANT, start, end))
    assert len(steps) == 5
    readings = {(reading.series, reading.instant): reading for step in steps for reading in step}
    for instant in range(start, end + 1, 900 * MICROSECONDS):
        reading = readings["cement-1/E-RAW/active_energy_import", instant]
        assert reading.value == PLANT.register_at("E-RAW", "active_energy_import", instant)
        assert int.from_bytes(reading.words) == reading.value


def test_a_ticket_is_booked_in_its_second_at_the_last_six_digits_of_its_number():
    assert booked_at(Ticket("T20261124-003", 7 * MICROSECONDS, "A", 30_000, 14_000)) == 7_124_003


def test_history_holds_every_ticket_and_survey_once():
    start, end = EPOCH, EPOCH + 3 * DAY
    readings = [reading for step in history(PLANT, start, end) for reading in step]
    tickets = [reading for reading in readings if reading.series == "cement-1/C-TICKETS/mass"]
    assert [(each.instant, each.value * 20) for each in tickets] == [
        (booked_at(ticket), ticket.net_kg) for ticket in PLANT.yard.tickets(start, end)
    ]
    surveys = [reading for reading in readings if reading.series == "cement-1/C-STOCK/stock"]
    assert [each.instant for each in surveys] == [EPOCH, EPOCH + DAY, EPOCH + 2 * DAY]
    assert surveys[0].value == 8200.0


def test_an_epoch_off_the_quarter_hour_is_refused():
    with pytest.raises(ValueError, match="whole number of steps"):
        Plant(LAB, epoch=EPOCH + 1)


def test_nothing_is_known_before_the_epoch():
    with pytest.raises(ValueError, match="before the epoch"):
        PLANT.register_at("E-MAIN", "active_energy_import", EPOCH - MICROSECONDS)


def test_the_lab_has_the_meters_it_promises():
    carriers = {point.carrier for point in LAB.point}
    assert {"electricity", "water", "gas", "oil", "coal", "steam"} <= carriers
    assert {point.level for point in LAB.point} == {"enterprise", "subunit", "equipment"}
    assert len(LAB.point) >= 16
    assert {line.kind for line in LAB.line} == {"modbus-tcp", "mqtt", "files"}


def test_no_momentary_value_leaves_its_display_in_five_weeks():
    for quarter in range(0, 35 * 96, 7):
        instant = EPOCH + quarter * 900 * MICROSECONDS
        for point, quantity in (("E-MAIN", "current_l1"), ("E-MAIN", "voltage_l2"), ("S-WHR", "mass_flow")):
            meter = PLANT.meters[point]
            assert meter.shown_at(quantity, instant) == pytest.approx(meter.momentary_at(quantity, instant), abs=0.51)
