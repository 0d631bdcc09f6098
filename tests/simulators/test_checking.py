"""The checker is itself checked: it passes an honest ledger and finds each kind of planted error by its name."""

import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway.clocks import ReplayClock
from gateway.domain.periods import to_instant
from simulators.checking import compare_intervals, compare_live
from simulators.lab import load_lab
from simulators.modbus_server import ModbusServer
from simulators.plant import Plant, yard_readings
from simulators.reconciliation import reconcile
from simulators.truth import Publish, TruthLog, consumption, read_truth, wiring

EPOCH = to_instant(datetime(2026, 9, 30, 16, 0, tzinfo=UTC))
START = EPOCH + 12 * 3_600_000_000
SECOND = 1_000_000
SLOTS = 20
PLANT = Plant(load_lab("cement"), epoch=EPOCH)
MAIN, RAW, AUX = (f"cement-1/{point}/active_energy_import" for point in ("E-MAIN", "E-RAW", "E-AUX"))
GAS = "cement-1/G-MAIN/volume"
PERIODS = {MAIN: SECOND, RAW: SECOND, AUX: SECOND, GAS: SECOND}


def asking(unit, function, address):
    return struct.pack(">HHHBBHH", 1, 0, 6, unit, function, address, 2)


@pytest.fixture
def run(tmp_path):
    """(records, readings) of an honest collector: three Modbus series and one message, once a second; one file."""
    clock = ReplayClock(START)
    asked = {MAIN: (1, 3, 62), RAW: (2, 3, 62), AUX: (5, 4, 0x48)}
    readings = []
    with TruthLog(tmp_path / "truth.jsonl") as log:
        server = ModbusServer(PLANT.meters_on("el"), clock=clock, log=log)
        server.port = 1502
        for wired in wiring(PLANT, {"el": 1502}):
            log.series(wired)
        for slot in range(SLOTS):
            instant = START + slot * SECOND
            clock._now = instant + 3_000  # the answer comes three milliseconds after the slot
            for series, where in asked.items():
                words = server.answer(asking(*where))[9:]
                point = series.split("/")[1]
                value = PLANT.shown_at(point, "active_energy_import", instant)
                readings.append({"series": series, "instant": instant + 4_000, "value": value, "words": words.hex()})
            text = PLANT.meters["G-MAIN"].text_at("volume", instant)
            log.publish(Publish(instant, "G-MAIN", instant, slot, {"volume": text}), "topic")
            log.puback(instant, "G-MAIN", slot)
            readings.append({"series": GAS, "instant": instant, "value": int(Decimal(text) * 100), "words": ""})
        rows = [each for each in yard_readings(PLANT, START, START + 3_600_000_000) if "TICKETS" in each.series][:2]
        log.file(START, "tickets.csv", rows)
        readings += [{**each._asdict(), "words": ""} for each in rows]
    assert len(rows) == 2
    return read_truth(tmp_path / "truth.jsonl"), readings


def account_of(run_):
    records, readings = run_
    end = START + 3_600_000_000
    half = SECOND // 2
    account = reconcile(
        [each for each in readings if each["instant"] < START + SLOTS * SECOND - half],
        records,
        start=START - half,
        end=START + SLOTS * SECOND - half,
        periods_us=PERIODS,
    )
    assert end > START
    return account


def index_of(readings, series, slot):
    found = [n for n, each in enumerate(readings) if each["series"] == series]
    return found[slot]


def test_an_honest_ledger_is_clean_and_the_account_balances(run):
    records, readings = run
    live = compare_live(readings, records)
    assert live.mismatches == []
    assert live.by_wire == {"modbus": 3 * SLOTS, "mqtt": SLOTS, "files": 2}
    assert live.compared == 4 * SLOTS + 2
    account = account_of(run)
    assert account.clean, account.faults
    assert account.balances
    assert (account.slots, account.good) == (4 * SLOTS, 4 * SLOTS)


def test_a_flagged_slot_is_no_fault_and_no_value(run):
    records, readings = run
    place = index_of(readings, MAIN, 7)
    readings[place] = {**readings[place], "value": None, "words": ""}
    live = compare_live(readings, records)
    assert (live.mismatches, live.flagged, live.compared) == ([], 1, 4 * SLOTS + 1)
    account = account_of(run)
    assert account.clean
    assert account.balances
    assert (account.good, account.flagged) == (4 * SLOTS - 1, 1)


@pytest.mark.parametrize("series", [MAIN, AUX, GAS])
def test_an_altered_value_is_found(run, series):
    records, readings = run
    place = index_of(readings, series, 5)
    # far outside what the register shows in this minute
    readings[place] = {**readings[place], "value": readings[place]["value"] + 10_000_000}
    assert [(each.kind, each.series) for each in compare_live(readings, records).mismatches] == [("altered", series)]
    assert account_of(run).counts()["altered"] == 1


def test_a_value_that_fits_its_words_no_longer_is_found(run):
    records, readings = run
    place = index_of(readings, MAIN, 5)
    readings[place] = {**readings[place], "words": "00000000"}
    assert [each.kind for each in compare_live(readings, records).mismatches] == ["altered"]


def test_another_meters_value_is_misattributed(run):
    records, readings = run
    here, there = index_of(readings, MAIN, 5), index_of(readings, RAW, 5)
    stolen = {key: readings[there][key] for key in ("value", "words")}
    readings[here] = {**readings[here], **stolen}
    assert [(each.kind, each.series) for each in compare_live(readings, records).mismatches] == [
        ("misattributed", MAIN)
    ]
    account = account_of(run)
    assert account.counts()["misattributed"] == 1


def test_the_value_of_another_second_is_time_shifted(run):
    records, readings = run
    for series in (MAIN, GAS):
        here, earlier = index_of(readings, series, 9), index_of(readings, series, 2)
        assert readings[here]["value"] != readings[earlier]["value"]
        readings[here] = {**readings[here], **{key: readings[earlier][key] for key in ("value", "words")}}
    assert {(each.kind, each.series) for each in compare_live(readings, records).mismatches} == {
        ("time-shifted", MAIN),
        ("time-shifted", GAS),
    }
    assert account_of(run).counts()["time-shifted"] == 2


def test_a_reading_that_is_gone_is_lost_and_its_slot_silently_missing(run):
    _, readings = run
    del readings[index_of(readings, MAIN, 11)]
    del readings[index_of(readings, GAS, 11)]
    account = account_of(run)
    assert account.counts()["lost"] == 2  # a Modbus answer and an acknowledged message
    assert account.counts()["silently missing"] == 2
    assert account.balances


def test_a_message_that_was_not_acknowledged_may_be_missing(run):
    records, readings = run
    records.acknowledged.discard(("G-MAIN", 11))
    del readings[index_of(readings, GAS, 11)]
    counts = account_of(run).counts()
    assert (counts["lost"], counts["silently missing"]) == (0, 1)


def test_a_slot_without_answer_reading_or_gap_is_silently_missing(run):
    records, readings = run
    del readings[index_of(readings, MAIN, 4)]
    records.answers = [
        each for each in records.answers if each.device != 1 or each.at // SECOND != (START + 4 * SECOND) // SECOND
    ]
    counts = account_of(run).counts()
    assert (counts["lost"], counts["silently missing"]) == (0, 1)


@pytest.mark.parametrize("moved_us", [0, 200_000])
def test_a_reading_booked_twice_is_found(run, moved_us):
    _, readings = run
    again = readings[index_of(readings, MAIN, 6)]
    readings.append({**again, "instant": again["instant"] + moved_us})
    counts = account_of(run).counts()
    assert counts["duplicated"] == 1
    assert sum(counts.values()) == 1


def test_a_reading_that_no_meter_ever_said_is_unproven(run):
    records, readings = run
    invented = {"series": MAIN, "instant": START + 5_000 * SECOND, "value": 123, "words": ""}
    (mismatch,) = compare_live([*readings, invented], records).mismatches
    assert mismatch.kind == "unproven"


def test_a_ticket_that_is_not_booked_is_lost(run):
    records, readings = run
    ticket = next(each for each in readings if "TICKETS" in each["series"])
    account = reconcile([], records, start=ticket["instant"], end=ticket["instant"] + 1, periods_us={})
    assert account.counts()["lost"] == 1


def intervals_of(point, quantity, count=8):
    quarter = 900 * SECOND
    return [
        {
            "start": start,
            "end": start + quarter,
            "counts": consumption(PLANT, point, quantity, start, start + quarter)[0],
        }
        for start in range(START, START + count * quarter, quarter)
    ]


def test_true_intervals_differ_by_nothing():
    compared = compare_intervals(
        {
            MAIN: intervals_of("E-MAIN", "active_energy_import"),
            "cement-1/C-TICKETS/mass": intervals_of("C-TICKETS", "mass"),
        },
        PLANT,
    )
    assert compared[:3] == (2, 16, 0)


def test_a_wrong_interval_is_measured_in_resolutions_and_placed():
    rows = intervals_of("E-MAIN", "active_energy_import")
    rows[3]["counts"] += 7
    compared = compare_intervals({MAIN: rows}, PLANT)
    assert compared.worst_difference_in_resolutions == 7
    assert str(rows[3]["start"]) in compared.worst


def test_what_interpolation_declares_is_allowed_and_no_more():
    rows = intervals_of("E-MAIN", "active_energy_import")
    rows[3] |= {"counts": rows[3]["counts"] + 7, "edge_counts": 5}
    assert compare_intervals({MAIN: rows}, PLANT).worst_difference_in_resolutions == 2


def test_a_missing_interval_is_counted_and_never_a_zero():
    rows = intervals_of("E-MAIN", "active_energy_import")
    rows[3]["counts"] = None
    compared = compare_intervals({MAIN: rows}, PLANT)
    assert (compared.missing, compared.intervals_compared, compared.worst_difference_in_resolutions) == (1, 7, 0)


def test_a_float32_interval_is_measured_in_its_own_steps():
    end = START + 20 * 86_400_000_000  # above 2^17 kWh: a last place is 1.5625 counts of 0.01 kWh or more
    truth = consumption(PLANT, "E-AUX", "active_energy_import", START, end)
    row = {"start": START, "end": end, "counts": truth.counts + 3}
    worst = compare_intervals({AUX: [row]}, PLANT).worst_difference_in_resolutions
    assert worst == 3 / truth.step < 2
