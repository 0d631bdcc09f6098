"""A pedigree ends in readings and certificates, and its digest can be computed again from the journal's content."""

import hashlib
import json
from decimal import Decimal

import pytest

from analytics.figures import resolve
from analytics.pedigree import digest_of, unfold
from gateway.contracts import StoredReading
from gateway.domain.readings import Quality
from tests.analytics.cement_plant import S, at, production

DAY = "2026-10-15"
START = "2026-10-15T00:00"


@pytest.fixture
def worked(plant):
    plant.enrol()
    plant.show("grid", ("2026-10-14T23:50", 90), (START, 100))
    plant.show("grid", ("2026-10-15T00:15", None), quality=Quality.MISSING, reason="line.silent")
    plant.show("grid", ("2026-10-15T00:30", 300), ("2026-10-16T00:10", 20_300))
    plant.show("tickets", ("2026-10-14T23:59", 7), ("2026-10-15T08:00", 1923), ("2026-10-16T08:00", 8))
    plant.show("yard", (START, 5230.5), ("2026-10-15T22:00", 5100.25))
    plant.show("export", (START, 0), ("2026-10-16T00:00", 0))
    plant.book(production(DAY, "2026-10-16", "3000"))
    plant.settle()
    return plant


def node_of(plant, figure_id):
    context = plant.context()
    return unfold(context, resolve(context, figure_id))


def test_the_digest_is_over_one_plain_line_per_reading():
    readings = [
        StoredReading("s", 1_000_000, 42, Quality.GOOD, "", 1),
        StoredReading("s", 2_000_000, None, Quality.MISSING, "line.silent", 2),
        StoredReading("s", 3_000_000, 5230.5, Quality.SUSPECT, "", 3),
    ]
    assert digest_of(readings) == hashlib.sha256(b"1000000,42,1\n2000000,,16\n3000000,5230.5,2\n").hexdigest()


def test_a_total_rests_on_the_readings_from_edge_to_edge(worked):
    node = node_of(worked, f"energy_consumption/cement/{DAY}/electricity_equivalent")
    grid = node["readings"][0]
    # the reading on the first edge counts, the one before it does not; the one after the last edge does
    lines = [
        f"{at(START)},100,1",
        f"{at('2026-10-15T00:15')},,16",
        f"{at('2026-10-15T00:30')},300,1",
        f"{at('2026-10-16T00:10')},20300,1",
    ]
    assert grid["digest"] == hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    assert (grid["count"], grid["first"]["value"], grid["last"]["value"]) == (4, "100", "20300")
    assert grid["first"] == {"instant": "2026-10-15T00:00:00+08:00", "value": "100", "quality": "good", "sequence": 2}
    assert (grid["instrument"], grid["resolution"], grid["unit"]) == ("M-grid", "0.01", "kWh")


def test_tickets_and_surveys_rest_on_themselves_alone(worked):
    node = node_of(worked, f"energy_consumption/cement/{DAY}/raw_coal")
    by_series = {}
    for one in node["readings"]:
        by_series.setdefault(one["series"], []).append(one)
    (tickets,) = by_series["cement/tickets/mass"]
    assert (tickets["count"], tickets["counts"], tickets["first"]["value"]) == (1, 1923, "1923")
    assert [one["first"]["value"] for one in by_series["cement/yard/stock"]] == ["5230.5", "5100.25"]
    assert [one["count"] for one in by_series["cement/yard/stock"]] == [1, 1]


def test_a_survey_before_the_edge_shortens_what_is_spoken_for(worked):
    node = node_of(worked, f"energy_consumption/cement/{DAY}/raw_coal")
    # 5230.5 + 1923 x 20 kg - 5100.25 = 168.71 t, from midnight to 22:00: 22 of 24 hours
    assert node["value"] == "168.71"
    assert Decimal(node["coverage"]).quantize(Decimal("1E-6")) == Decimal("0.916667")
    assert "partial_coverage" in node["marks"]
    assert "from the survey of 2026-10-15T00:00:00+08:00 to that of 2026-10-15T22:00:00+08:00" in node["method"]
    # class 0.5 of each survey, independent: 5230.5 and 5100.25 x 0.5 % / sqrt(3) = 15.09915 and 14.72315; the ticket's
    # class 38.46 x 0.5 % / sqrt(3) = 0.11102 and rounding 0.02 / sqrt(12) = 0.00577: u = 21.08952, U = 42.1790
    assert float(node["expanded_uncertainty"]) == pytest.approx(42.1790, abs=2e-4)


def test_every_energy_figure_unfolds_to_readings_and_certificates_as_json(worked):
    node = json.loads(json.dumps(node_of(worked, f"energy_intensity_product/cement/{DAY}/cement"), allow_nan=False))
    assert node["kind"] == "energy_intensity_product"
    assert node["ledger"][0]["text"] == "3000 t of cement, 2026-10-15 to 2026-10-15"
    (total,) = node["parts"]
    assert total["kind"] == "comprehensive_energy"
    coal = next(part for part in total["parts"] if part["key"] == "raw_coal")
    assert (coal["rows"][0]["file"], coal["rows"][0]["value"], coal["rows"][0]["confirmed"]) == (
        "carriers.csv",
        "0.7143",
        False,
    )
    (physical,) = coal["parts"]
    assert {one["kind"] for one in physical["ledger"]} == {"account", "instrument", "certificate"}
    assert all(len(one["digest"]) == 64 for one in physical["readings"])


def test_a_status_rests_on_its_certificate(worked):
    node = node_of(worked, f"calibration_status/cement/{DAY}/M-grid")
    # 15 October 2026 to 31 May 2027: 16 + 30 + 31 + 31 + 28 + 31 + 30 + 31 = 228 days
    assert (node["value"], node["unit"], node["substituted"]) == ("228", "d", "2027-05-31 - 2026-10-15 = 228 d")
    assert [one["kind"] for one in node["ledger"]] == ["instrument", "certificate"]
    counted = node_of(worked, f"instruments_in_date/cement/{DAY}/all")
    assert (counted["value"], len(counted["parts"])) == ("8", 8)


def test_the_value_at_an_interpolated_edge_says_how_far_it_can_be_wrong(plant):
    plant.enrol()
    plant.show(
        "water",
        ("2026-10-14T23:55", 0),
        ("2026-10-15T00:05", 40),
        *((at("2026-10-15T00:15") + n * 900 * S, 100 + n) for n in range(96)),
    )
    plant.settle()
    node = node_of(plant, f"energy_consumption/cement/{DAY}/new_water")
    # midnight lies half way from 0 to 40: 20 counts of 0.01 m3; at the day's end 195 counts: 1.75 m3
    assert node["value"] == "1.75"
    # 0.4 m3 / sqrt(3) = 0.23094 at the edge, class 1.75 x 0.5 % / sqrt(3) = 0.00505, 0.01 / sqrt(6) = 0.00408
    assert float(node["expanded_uncertainty"]) == pytest.approx(2 * 0.231032, abs=2e-5)
