"""The truth log survives its writer, and the truth can be built again from it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway.domain.periods import to_instant
from simulators.lab import load_lab
from simulators.plant import Plant
from simulators.truth import Publish, TruthLog, consumption, read_truth, truth_of, wiring

EPOCH = to_instant(datetime(2026, 10, 1, tzinfo=UTC))
DAY = 86_400_000_000


def test_a_torn_last_line_is_passed_over_and_all_before_it_kept(tmp_path):
    path = tmp_path / "truth.jsonl"
    with TruthLog(path) as log:
        log.answer(1, 502, 1, "holding", 62, b"\x00\x01")
        log.answer(2, 502, 1, "holding", 62, b"\x00\x02")
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1]) + 1):
        path.write_bytes(whole[:-cut])
        assert [answer.at for answer in read_truth(path).answers] == [1]


def test_each_line_is_with_the_operating_system_before_the_next_begins(tmp_path):
    path = tmp_path / "truth.jsonl"
    with TruthLog(path) as log:
        for at in range(3):
            log.puback(at, "G-MAIN", at)
            assert len(read_truth(path).acknowledged) == at + 1


def test_a_log_that_is_opened_again_goes_on(tmp_path):
    path = tmp_path / "truth.jsonl"
    for at in (1, 2):
        with TruthLog(path) as log:
            log.publish(Publish(at, "G-MAIN", at, at, {"volume": "1.00"}), "a/topic")
    assert [message.instant for message in read_truth(path).publishes] == [1, 2]


def test_the_plant_is_built_again_from_its_log(tmp_path):
    plant = Plant(load_lab("cement", seed=99), epoch=EPOCH)
    with TruthLog(tmp_path / "truth.jsonl") as log:
        log.lab(plant, "cement")
        for wired in wiring(plant, {"el": 1502, "pr": 1503}):
            log.series(wired)
    records = read_truth(tmp_path / "truth.jsonl")
    again = truth_of(records)
    at = EPOCH + 2 * DAY
    assert again.register_at("E-MAIN", "active_energy_import", at) == plant.register_at(
        "E-MAIN", "active_energy_import", at
    )
    wired = records.series["cement-1/W-MAIN/volume"]
    assert (wired.port, wired.device, wired.model) == (1503, 11, "siemens_mag6000")
    assert records.series["cement-1/G-MAIN/volume"].port == 0


def test_a_log_without_a_lab_names_no_truth(tmp_path):
    (tmp_path / "truth.jsonl").touch()
    with pytest.raises(LookupError):
        truth_of(read_truth(tmp_path / "truth.jsonl"))


def test_consumption_of_an_integer_register_is_its_difference():
    plant = Plant(load_lab("cement"), epoch=EPOCH)
    truth = consumption(plant, "E-RAW", "active_energy_import", EPOCH, EPOCH + DAY)
    assert truth.counts * 10_000 <= truth.fine < (truth.counts + 1) * 10_000  # the register started on a whole count
    assert truth.step == 1


def test_the_step_of_a_float32_total_is_its_last_place():
    plant = Plant(load_lab("cement"), epoch=EPOCH)
    truth = consumption(plant, "E-AUX", "active_energy_import", EPOCH, EPOCH + 10 * DAY)
    # about 165 000 kWh: between 2^17 and 2^18, one last place is 2^-6 kWh = 1.5625 counts of 0.01 kWh
    assert truth.step == Decimal("1.5625")


def test_consumption_of_tickets_is_their_net_mass_in_divisions():
    plant = Plant(load_lab("cement"), epoch=EPOCH)
    truth = consumption(plant, "C-TICKETS", "mass", EPOCH, EPOCH + DAY)
    assert truth.counts * 20 == sum(ticket.net_kg for ticket in plant.yard.tickets(EPOCH, EPOCH + DAY)) > 0
