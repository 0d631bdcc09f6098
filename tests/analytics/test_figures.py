"""Figures of a day at a small works, worked out by hand, and what they say when something is missing."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from analytics.figures import figures_of, resolve
from gateway.domain.readings import Quality
from gateway.domain.scopes import scope_of
from gateway.errors import LedgerError
from tests.analytics.cement_plant import ACCOUNTS, S, at, certificate, instrument, output_value, production

DAY = "2026-10-15"
ELECTRICITY = ("energy_consumption", "electricity_equivalent")
TOTAL = ("comprehensive_energy", "total")
PER_TONNE = ("energy_intensity_product", "cement")
NEXT = "2026-10-16T00:00"


def run(plant, *, without=()):
    """One day of the works: everything measured but the points named."""
    plant.enrol()
    for point, step in (("grid", 10_000), ("export", 100), ("gas", 0), ("water", 100), ("air", 50)):
        if point not in without and point != "gas":
            plant.run_day(point, DAY, step)
    if "gas" not in without:
        plant.show("gas", (f"{DAY}T00:00", 500), (NEXT, 70_500))
    if "yard" not in without:
        plant.show("yard", (f"{DAY}T00:00", 5230.5), (NEXT, 5100.25))
    plant.show("tickets", *((at(f"{DAY}T08:00") + n * 3600 * S, 1923) for n in range(6)))
    plant.settle("2026-10-16T01:00")


def test_physical_amounts_are_what_the_meters_say(plant):
    run(plant)
    found = plant.figures(DAY)
    electricity = found[ELECTRICITY]
    # 96 quarter-hours x 10 000 counts x 0.01 kWh = 9600 kWh in; 96 x 100 x 0.01 = 96 kWh out
    assert (electricity.value, electricity.unit, electricity.coverage) == (9504, "kWh", 1)
    # class 0.5 each: 9600 x 0.5 % / sqrt(3) = 27.71281, 96 x 0.5 % / sqrt(3) = 0.27713, independent of one another;
    # 0.01 kWh / sqrt(6) = 0.00408 twice: u = 27.714200, U = 55.4284
    assert electricity.expanded_uncertainty == Decimal("55.4284")
    assert electricity.pedigree.substituted == "E = grid 960000 x 0.01 kWh - export 9600 x 0.01 kWh = 9504 kWh"
    # two readings a day apart prove 70 000 x 0.1 m3, though none of it can be placed in a quarter-hour
    assert (found["energy_consumption", "natural_gas"].value, found["energy_consumption", "natural_gas"].coverage) == (
        7000,
        1,
    )
    # stock: 5230.5 + 6 x 1923 x 20 kg - 5100.25 = 361.01 t
    assert (found["energy_consumption", "raw_coal"].value, found["energy_consumption", "raw_coal"].unit) == (
        Decimal("361.01"),
        "t",
    )


def test_standard_coal_is_amount_times_coefficient(plant):
    run(plant)
    found = {key: figure for (kind, key), figure in plant.figures(DAY).items() if kind == "standard_coal"}
    assert found["electricity_equivalent"].value == Decimal("1168.0416")  # 9504 x 0.1229
    assert round(found["natural_gas"].value, 5) == Decimal("8489.53855")  # 7000 x 35544 / 29307.6
    assert found["new_water"].value == Decimal("24.6816")  # 96 m3 x 1 t/m3 x 0.2571
    assert found["raw_coal"].value == Decimal("257869.443")  # 361 010 kg x 0.7143
    assert found["compressed_air"].value == 192  # 4800 m3 x 0.04
    assert all(figure.edition == "2020" and figure.unit == "kgce" for figure in found.values())
    # U scales with the coefficient: 55.4284 x 0.1229 = 6.81215
    assert found["electricity_equivalent"].expanded_uncertainty == Decimal("6.81215")


def test_the_total_is_the_sum_of_what_was_purchased(plant):
    run(plant)
    found = plant.figures(DAY)
    total, parts = (
        found[TOTAL],
        [f for (kind, key), f in found.items() if kind == "standard_coal" and key != "compressed_air"],
    )
    # 1168.0416 + 8489.538549... + 24.6816 + 257869.443 = 267551.7047497...
    assert round(total.value, 5) == Decimal("267551.70475")
    assert round(total.value - sum(part.value for part in parts), 20) == 0
    assert (total.coverage, total.reason) == (1, "")
    assert "made on site and not added: compressed_air" in total.method
    assert total.marks == ("to_be_confirmed",)  # the row of new water is of medium confidence
    squares = sum(part.expanded_uncertainty**2 for part in parts)  # four sets of instruments, independent
    assert float(total.expanded_uncertainty) == pytest.approx(float(squares.sqrt()), rel=1e-5)


def test_a_missing_account_is_named_and_the_rest_is_not_called_the_total(plant):
    run(plant, without=("gas",))
    found = plant.figures(DAY)
    gas, total = found["energy_consumption", "natural_gas"], found[TOTAL]
    assert (gas.value, gas.coverage) == (None, 0)
    assert "nothing was measured" in gas.reason
    assert round(total.value, 4) == Decimal("259062.1662")
    assert total.coverage == Decimal("0.75")  # three accounts of four, each whole
    assert total.reason.startswith("without natural_gas: ")
    assert "partial_coverage" in total.marks
    assert (total.expanded_uncertainty, "natural_gas is missing" in total.uncertainty_note) == (None, True)


def test_a_survey_that_is_missing_leaves_no_figure_of_the_stock(plant):
    run(plant, without=("yard",))
    coal = plant.figures(DAY)["energy_consumption", "raw_coal"]
    assert coal.value is None
    assert "opening stock of yard: no survey within 24 h before 2026-10-15T00:00:00+08:00" in coal.reason


def test_energy_and_production_cover_the_same_day(plant):
    run(plant)
    plant.book(production(DAY, "2026-10-16", "3000"), output_value(DAY, "2026-10-16", "105", "constant-2020"))
    found = plant.figures(DAY)
    assert round(found[PER_TONNE].value, 6) == Decimal("89.183902")  # 267551.70475 / 3000
    assert found[PER_TONNE].unit == "kgce/t"
    # U of the energy / 3000
    assert float(found[PER_TONNE].expanded_uncertainty) == pytest.approx(
        float(found[TOTAL].expanded_uncertainty) / 3000, rel=1e-5
    )
    assert "without uncertainty" in found[PER_TONNE].uncertainty_note
    value = found["energy_intensity_output_value", "constant-2020"]
    assert (round(value.value, 4), value.unit) == (Decimal("2548.1115"), "kgce/10^4CNY")  # 267551.70475 / 105


def test_production_of_a_part_of_the_month_gives_no_intensity(plant):
    run(plant)
    plant.book(production("2026-10-01", "2026-10-16", "3000"))
    found = plant.figures("2026-10")
    assert (found[PER_TONNE].value, found[PER_TONNE].reason.split("; ")[0]) == (
        None,
        "the production of cement is recorded without a gap only to 2026-10-15",
    )


def test_two_products_without_allocation_give_no_intensity(plant):
    run(plant)
    clinker = replace(production(DAY, "2026-10-16", "2000"), product="clinker")
    plant.book(production(DAY, "2026-10-16", "3000"), clinker)
    assert plant.figures(DAY)[PER_TONNE].reason.startswith("the energy of cement, clinker is not allocated")


def test_a_running_period_is_to_date_and_its_intensity_is_of_whole_days(plant):
    run(plant)
    plant.run_day("grid", "2026-10-16", 10_000, first=960_000)
    plant.settle("2026-10-17T06:00")
    plant.book(*(production(f"2026-10-{day}", f"2026-10-{day + 1}", "3000") for day in range(15, 18)))
    found = plant.figures("2026-10-15..2026-10-18", now="2026-10-17T06:00")
    electricity = found[ELECTRICITY]
    assert electricity.value == 2 * 9600 - 96  # the export of the second day is not read
    assert electricity.coverage == Decimal("0.25")  # the least covered point: one day of four
    assert electricity.method.endswith("to date, the period ends on 2026-10-18")
    intensity = found[PER_TONNE]
    assert intensity.pedigree.parts == (
        "comprehensive_energy/cement/2026-10-15..2026-10-16/total@2026-10-16T22:00:00Z",
    )
    assert intensity.method.endswith("to date, 2026-10-15..2026-10-16")
    energy = resolve(plant.context("2026-10-17T06:00"), intensity.pedigree.parts[0])
    assert round(intensity.value * 6000 - energy.value, 20) == 0
    assert "partial_coverage" in intensity.marks


def test_an_undeclared_class_leaves_the_uncertainty_unknown(plant):
    run(plant)
    plant.book(instrument("grid", None))
    electricity = plant.figures(DAY)[ELECTRICITY]
    assert (electricity.expanded_uncertainty, electricity.uncertainty_note) == (
        None,
        "U unknown: class of M-grid not declared",
    )
    assert "uncertainty_unknown" in electricity.marks


def test_a_transformer_before_the_meter_adds_its_class_error(plant):
    run(plant)
    plant.book(instrument("grid", "0.5", id="CT-1", kind="measuring CT"))
    # 27.71281 twice for meter and transformer, and the export's 0.27713: u = 39.19282, U = 78.3856
    assert plant.figures(DAY)[ELECTRICITY].expanded_uncertainty == Decimal("78.3856")


def test_an_overdue_instrument_marks_every_figure_that_rests_on_it(plant):
    run(plant)
    plant.book(replace(certificate("grid"), valid_until=date(2026, 9, 1)))
    found = plant.figures(DAY)
    marked = {key for key, figure in found.items() if "instrument_overdue" in figure.marks}
    assert marked == {
        ELECTRICITY,
        ("standard_coal", "electricity_equivalent"),
        TOTAL,
        ("calibration_status", "M-grid"),
        ("instruments_in_date", "all"),
    }
    status = found["calibration_status", "M-grid"]
    assert (status.value, status.unit, status.period) == (-44, "d", DAY)  # 1 September to 15 October
    assert (found["instruments_in_date", "all"].value, found["instruments_in_date", "all"].unit) == (7, "1")


def test_what_was_known_then_is_answered_as_it_was(plant):
    run(plant)
    before = plant.figures(DAY, as_of="2026-10-16T00:00:00Z")[ELECTRICITY]
    plant.show("grid", ("2026-10-15T23:53", 959_999))  # a late reading moves nothing over the day ...
    plant.show("grid", ("2026-10-15T00:00", 960_000))  # ... and a repeat of an instant changes nothing
    plant.book(instrument("grid", "2"), recorded_at="2026-10-18T00:00", valid_from=date(2026, 1, 1))
    plant.settle("2026-10-18T00:00")
    assert resolve(plant.context(), before.id) == before
    assert plant.figures(DAY)[ELECTRICITY].expanded_uncertainty == Decimal(
        "221.703"
    )  # class 2: 2 x 9600 x 2 % / sqrt(3)


def test_a_figure_is_found_again_by_its_id(plant):
    run(plant)
    plant.book(production(DAY, "2026-10-16", "3000"), output_value(DAY, "2026-10-16", "105"))
    for figure in plant.figures(DAY).values():
        assert resolve(plant.context("2027-01-01T00:00"), figure.id) == figure


def test_estimated_amounts_are_told(plant):
    plant.enrol()
    plant.run_day("grid", DAY, 100)
    plant.show("export", (f"{DAY}T00:00", 0))
    plant.show("export", (NEXT, 10), quality=Quality.SUBSTITUTED)
    plant.settle()
    assert plant.figures(DAY)[ELECTRICITY].share_estimated == 0  # what no interval holds is not an estimate
    plant.run_day("water", DAY, 5)
    plant.show("water", ("2026-10-16T00:05", 500), quality=Quality.ESTIMATED)
    plant.settle()
    assert plant.figures("2026-10-16")["energy_consumption", "new_water"].share_estimated == 1


def test_the_edition_follows_the_period_and_is_never_mixed(plant):
    plant.enrol()
    plant.show("water", ("2021-03-01T00:00", 0), ("2021-04-01T00:00", 100_000), ("2021-05-01T00:00", 200_000))
    plant.settle()
    assert plant.figures("2021-03")["standard_coal", "new_water"].value == Decimal(
        "85.7"
    )  # 1000 t x 0.0857, edition 2008
    assert plant.figures("2021-04")["standard_coal", "new_water"].value == Decimal(
        "257.1"
    )  # 1000 t x 0.2571, edition 2020
    year = plant.figures("2021")
    assert year["energy_consumption", "new_water"].value == 2000
    assert year["standard_coal", "new_water"].value is None
    assert "crosses the change from edition 2008 to 2020" in year["standard_coal", "new_water"].reason
    assert year[TOTAL].value is None


def test_an_account_that_changed_within_the_period_is_not_guessed_at(plant):
    run(plant)
    changed = replace(ACCOUNTS[1], ncv=Decimal(36000))
    plant.book(changed, recorded_at="2026-10-17T00:00", valid_from=date(2026, 10, 10))
    # 7000 x 36000 / 29307.6 = 8598.45228...
    assert round(plant.figures(DAY)["standard_coal", "natural_gas"].value, 4) == Decimal("8598.4523")
    month = plant.figures("2026-10")["energy_consumption", "natural_gas"]
    assert month.value is None
    assert "the account natural_gas changed within the period (2026-10-10)" in month.reason


def test_an_enterprise_outside_the_scope_does_not_exist(plant):
    run(plant)
    with pytest.raises(LedgerError, match="no enterprise 'cement' is known here; known: none"):
        figures_of(plant.context(scope=scope_of("other")), "cement", DAY)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("comprehensive_energy/cement/2026-10", "a figure id is kind/enterprise/period/key"),
        ("happiness/cement/2026-10/total", "there is no kind of figure 'happiness'"),
        ("comprehensive_energy/cement/October/total", "a period is YYYY, YYYY-MM, YYYY-MM-DD"),
        (
            "comprehensive_energy/cement/2026-10-18..2026-10-15/total",
            "a span of days is YYYY-MM-DD..YYYY-MM-DD in order",
        ),
        ("comprehensive_energy/cement/2026-10/total@yesterday", "yesterday"),
        ("standard_coal/cement/2026-10/uranium", "cement has no standard coal of 'uranium' in 2026-10"),
    ],
)
def test_an_id_that_names_nothing_is_told_why(plant, text, sentence):
    plant.enrol()
    with pytest.raises(LedgerError, match=sentence):
        resolve(plant.context(), text)
