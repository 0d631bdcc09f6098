"""Every route answers with what can be worked out by hand from the day that the two works were measured."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.api.works import DAY, QUARTER, Caller, application, at, routes

SNAPSHOT = Path(__file__).parent / "openapi.json"
ALPHA_DAY = {"enterprise": "alpha", "period": DAY}


async def test_the_program_and_the_plant_are_told_apart(caller, works):
    assert (await caller.json("/healthz"))["status"] == "alive"
    ready = await caller.json("/readyz")
    # the last totals were read five seconds before now
    assert (ready["ready"], ready["newest_reading_age_s"], ready["late_points"]) == (True, 5.0, [])
    # an hour later nothing came: a pushed point is late after a quarter-hour
    silent = await Caller(application(works, "2026-10-16T01:00:00")).get("/readyz")
    assert silent.status_code == 503
    assert silent.json()["late_points"] == ["alpha-gas", "alpha-grid", "beta-grid"]
    assert silent.json()["newest_reading_age_s"] == 3600.0


async def test_the_journal_says_where_it_stands(caller):
    # one entry for its creation, 97 of three totals, one of a power: 97 x 3 + 1 readings
    assert await caller.json("/api/v1/journal") == {
        "newest_sequence": 99, "stored_sequence": 99, "stored_readings": 292, "inbox_waiting": 0, "entries_waiting": 0,
    }  # fmt: skip


async def test_enterprises_points_instruments_and_certificates(caller):
    assert [one["id"] for one in await caller.json("/api/v1/enterprises")] == ["alpha", "beta"]
    points = await caller.json("/api/v1/points", enterprise="alpha")
    assert [(one["id"], one["carrier"], one["age_s"], one["late"]) for one in points] == [
        ("alpha-gas", "gas", 5.0, False),
        ("alpha-grid", "electricity", 5.0, False),
    ]
    found = {one["id"]: one for one in await caller.json("/api/v1/instruments", enterprise="alpha")}
    assert (found["ALPHA-G1"]["status"], found["ALPHA-G1"]["last_day"], found["ALPHA-G1"]["certificate"]) == (
        "in_date",
        "2027-05-31",
        "alpha-cert",
    )
    assert (found["ALPHA-E1"]["status"], found["ALPHA-E1"]["certificate"]) == ("missing", None)
    [overdue] = await caller.json("/api/v1/instruments", enterprise="beta")
    assert (overdue["status"], overdue["last_day"]) == ("overdue", "2026-09-30")
    [still] = await caller.json("/api/v1/instruments", enterprise="beta", on="2026-08-01")
    assert still["status"] == "in_date"
    [certificate] = await caller.json("/api/v1/certificates", enterprise="alpha")
    assert (certificate["number"], certificate["kind"], certificate["valid_until"]) == (
        "alpha-cert",
        "verification",
        "2027-05-31",
    )
    assert await caller.json("/api/v1/certificates", enterprise="alpha", instrument="ALPHA-E1") == []


async def test_readings_are_exact_and_each_names_the_entry_that_proves_it(caller):
    latest = {one["series"]: one for one in await caller.json("/api/v1/readings/latest", enterprise="alpha")}
    gas = latest["alpha/alpha-gas/volume"]
    # 96 steps of 1000 counts of 0.01 m3
    assert (gas["value"], gas["counts"], gas["resolution"], gas["unit"], gas["sequence"]) == (
        "960.00",
        96000,
        "0.01",
        "m3",
        98,
    )
    power = latest["alpha/alpha-grid/active_power"]
    assert (power["value"], power["counts"], power["unit"], power["instant"]) == (
        "230.25",
        None,
        "kW",
        "2026-10-15T23:59:55+08:00",
    )
    start = at(f"{DAY}T00:00")
    found = await caller.json(
        "/api/v1/readings", enterprise="alpha", point="alpha-gas", start=start, end=start + 2 * QUARTER
    )
    assert [(one["instant_us"], one["counts"]) for one in found] == [
        (start, 0),
        (start + QUARTER, 1000),
    ]  # the end is outside


async def test_intervals_and_their_sums_are_the_difference_of_the_register(caller):
    answer = await caller.json("/api/v1/intervals", point="alpha-gas", **ALPHA_DAY)
    assert (answer["unit"], answer["resolution"], answer["unallocated"]) == ("m3", "0.01", [])
    assert [one["counts"] for one in answer["intervals"]] == [1000] * 96
    assert answer["intervals"][0]["start"] == "2026-10-15T00:00:00+08:00"
    hours = await caller.json("/api/v1/consumption", point="alpha-gas", by="hour", **ALPHA_DAY)
    assert [one["value"] for one in hours["rows"]] == ["40.00"] * 24
    [day] = (await caller.json("/api/v1/consumption", point="alpha-gas", by="day", **ALPHA_DAY))["rows"]
    assert (day["value"], day["coverage"]) == ("960.00", 1.0)


async def test_a_day_that_nobody_measured_has_no_consumption_rather_than_zero(caller):
    [day] = (await caller.json("/api/v1/consumption", enterprise="alpha", point="alpha-gas", period="2026-10-14"))[
        "rows"
    ]
    assert (day["value"], day["counts"], day["coverage"]) == (None, None, 0.0)
    assert day["reason"]


async def test_figures_are_those_of_a_calculation_by_hand(caller):
    found = {(one["kind"], one["key"]): one for one in await caller.json("/api/v1/figures", **ALPHA_DAY)}
    gas = found["energy_consumption", "natural_gas"]
    # class 1: 9.6 / sqrt(3) = 5.5426; a count of 0.01 adds nothing seen; k = 2 gives 11.085
    assert (gas["value"], gas["expanded_uncertainty"], gas["display"]) == ("960", "11.0851", "960 ± 11")
    # 4800 kWh x 0.1229 kgce/kWh
    assert found["standard_coal", "electricity_equivalent"]["value"] == "589.92"
    # 960 m3 x 35544 kJ/m3 / 29307.6 kJ/kgce = 1164.2795725...
    total = found["comprehensive_energy", "total"]
    assert float(total["value"]) == pytest.approx(960 * 35544 / 29307.6 + 589.92, rel=1e-12)
    assert (total["unit"], total["display"], total["expanded_uncertainty"]) == ("kgce", "1,754.20", None)
    assert "class of ALPHA-E1 not declared" in total["uncertainty_note"]
    # over 200 t
    assert float(found["energy_intensity_product", "cement"]["value"]) == pytest.approx(1754.1995725 / 200)
    assert found["instruments_in_date", "all"]["value"] == "1"


async def test_each_figure_is_found_by_its_id_and_unfolds(caller):
    figures = await caller.json("/api/v1/figures", **ALPHA_DAY)
    assert len(figures) >= 8
    for figure in figures:
        assert await caller.json(f"/api/v1/figures/{figure['id']}") == figure
        pedigree = await caller.json(figure["pedigree_url"])
        assert pedigree["figure"] == figure["id"]
        assert pedigree["tree"]["value"] == figure["value"]


async def test_the_digest_of_a_pedigree_can_be_computed_from_the_readings_alone(caller):
    figures = await caller.json("/api/v1/figures", **ALPHA_DAY)
    [gas] = [one for one in figures if (one["kind"], one["key"]) == ("energy_consumption", "natural_gas")]
    [told] = (await caller.json(gas["pedigree_url"]))["tree"]["readings"]
    start = at(f"{DAY}T00:00")
    # instant, counts, quality GOOD = 1
    lines = "".join(f"{start + n * QUARTER},{n * 1000},1\n" for n in range(97))
    assert (told["count"], told["digest"]) == (97, hashlib.sha256(lines.encode()).hexdigest())


async def test_a_derived_point_is_worked_out_of_its_parts(caller):
    [told] = await caller.json("/api/v1/derived", **ALPHA_DAY)
    assert (told["point"], told["formula"], told["unit"]) == ("alpha-ratio", "alpha-grid / alpha-gas", "kWh/m3")
    # 5000 x 0.01 kWh by 1000 x 0.01 m3 in each of the day's 96 quarter-hours
    assert [(one["value"], one["quality"]) for one in told["intervals"]] == [("5", "good")] * 96
    parts = told["intervals"][0]["parts"]
    assert [(part["series"].split("/")[1], part["value"], part["unit"]) for part in parts] == [
        ("alpha-grid", "50", "kWh"),
        ("alpha-gas", "10", "m3"),
    ]
    # entry 1 is the journal's creation; the totals of 00:00 and 00:15 are entries 2 and 3
    assert {(part["first_sequence"], part["last_sequence"]) for part in parts} == {(2, 3)}


async def test_a_figure_can_be_asked_for_as_it_was_known_before(caller):
    earlier = await caller.json("/api/v1/figures", as_of="2026-10-15T15:30:00Z", **ALPHA_DAY)
    assert all(one["id"].endswith("@2026-10-15T15:30:00Z") for one in earlier)
    before = await caller.json("/api/v1/figures", as_of="2026-10-14T00:00:00+08:00", **ALPHA_DAY)
    total = next(one for one in before if one["kind"] == "comprehensive_energy")
    assert total["value"] is None  # nothing was measured, and no account was known


async def test_the_interface_is_the_one_that_was_agreed(caller):
    """A change of the interface is meant: EMG_WRITE_SNAPSHOT=1 pytest tests/api/test_api_answers.py writes it anew."""
    document = await caller.json("/api/v1/openapi.json")
    document["info"].pop("version")
    if os.environ.get("EMG_WRITE_SNAPSHOT") == "1":
        SNAPSHOT.write_text(json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert document == json.loads(SNAPSHOT.read_text("utf-8"))


async def test_every_route_is_named_on_the_page_of_routes(caller):
    page = (await caller.get("/docs")).text
    for path, _ in routes(caller.app):
        assert f"<code>{path}</code>" in page
