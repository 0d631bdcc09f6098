"""Derived points: exact at every common interval, of the worst quality of their parts, with the parts named."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from analytics.commands import settle_main
from analytics.derived import derived_amounts, measured_parts
from analytics.derived_command import derived_main
from gateway.config import load_site
from gateway.contracts import Delivery
from gateway.domain.formulas import parse
from gateway.domain.readings import Quality, Reading
from gateway.domain.scopes import EVERYTHING, Scope
from gateway.domain.sites import DerivedPoint
from gateway.stores.opening import open_interval_store, open_reading_store
from tests.analytics.cement_plant import Plant, at
from tests.analytics.test_analytics_commands import SITE

DAY = "2026-10-01"


def derived(plant: Plant, **formulas: tuple[str, str]) -> None:
    points = {
        name: DerivedPoint(
            id=name,
            enterprise="cement",
            name_zh=name,
            name_en=name,
            formula=text,
            unit=unit,
            expression=parse(text),
        )
        for name, (text, unit) in formulas.items()
    }
    plant.site = replace(plant.site, derived=points)


def values(plant: Plant, name: str, *, scope: Scope = EVERYTHING):
    point = plant.site.derived[name]
    return derived_amounts(plant.site, plant.intervals, scope, point, at(f"{DAY}T00:00"), at(f"{DAY}T01:00"))


def hour(plant: Plant, point: str, *totals: int | None, **how: object) -> None:
    """Totals [counts] at 00:00, 00:15, ... of the day; None was not read."""
    shown = [(f"{DAY}T{n // 4:02}:{n % 4 * 15:02}", total) for n, total in enumerate(totals) if total is not None]
    plant.show(point, *shown, **how)


def test_sums_differences_and_ratios_of_amounts_are_exact(plant: Plant):
    hour(plant, "grid", 0, 1000, 3000)  # 10 kWh, 20 kWh (0.01 kWh)
    hour(plant, "export", 0, 7, 14)  # 0.07 kWh, 0.07 kWh
    hour(plant, "gas", 0, 30, 60)  # 3 m3, 3 m3 (0.1 m3)
    plant.settle()
    derived(
        plant,
        net=("grid - export", "kWh"),
        weighted=("0.1 * grid + export / 3", "Wh"),
        share=("export / grid", "%"),
        per_gas=("net / gas", "kWh/m3"),
    )
    assert [one.value for one in values(plant, "net")] == [Fraction(993, 100), Fraction(1993, 100)]
    # 0.1 x 10 kWh + 0.07 kWh / 3 = 1.0233... kWh, in Wh
    assert [one.value for one in values(plant, "weighted")] == [Fraction(3070, 3), Fraction(6070, 3)]
    assert [one.value for one in values(plant, "share")] == [Fraction(7, 10), Fraction(7, 20)]  # per cent
    assert [one.value for one in values(plant, "per_gas")] == [Fraction(331, 100), Fraction(1993, 300)]
    assert {one.quality for name in plant.site.derived for one in values(plant, name)} == {Quality.GOOD}


def test_every_value_names_its_parts_down_to_the_journal(plant: Plant):
    hour(plant, "grid", 0, 1000)  # entries 1 and 2
    hour(plant, "export", 0, 7)  # entries 3 and 4
    plant.settle()
    derived(plant, net=("grid - export", "kWh"), twice=("net + net", "kWh"))
    (only,) = values(plant, "twice")
    assert only.value == Fraction(1986, 100)
    assert [(part.series, part.value, part.unit, part.first_sequence, part.last_sequence) for part in only.parts] == [
        ("cement/grid/active_energy_import", Fraction(10), "kWh", 1, 2),
        ("cement/export/active_energy_import", Fraction(7, 100), "kWh", 3, 4),
    ]
    assert measured_parts(plant.site, plant.site.derived["twice"]) == tuple(part.series for part in only.parts)


def test_a_part_that_is_missing_leaves_no_value_and_is_named(plant: Plant):
    hour(plant, "grid", 0, 1000, 2000, 3000)
    hour(plant, "export", 0, 7)
    plant.settle()
    derived(plant, net=("grid - export", "kWh"))
    first, second, third = values(plant, "net")
    assert (first.value, first.quality) == (Fraction(993, 100), Quality.GOOD)
    for one in (second, third):
        assert (one.value, one.quality) == (None, Quality.MISSING)
        assert one.reason == "part_missing: cement/export/active_energy_import"
        assert one.parts[0].value == 10  # what there is is shown all the same


def test_the_worst_quality_of_the_parts_is_that_of_the_whole(plant: Plant):
    hour(plant, "grid", 0, 1000, 2000)
    hour(plant, "export", 0, 7, quality=Quality.GOOD)
    plant.show("export", (f"{DAY}T00:30", 14), quality=Quality.SUSPECT, reason="device.identity")
    plant.settle()
    derived(plant, net=("grid - export", "kWh"))
    first, second = values(plant, "net")
    assert first.quality is Quality.GOOD
    assert second.quality == Quality.SUSPECT
    assert second.value == Fraction(993, 100)
    assert "cement/export/active_energy_import" in second.reason


def test_an_amount_that_is_not_of_the_whole_interval_makes_the_value_doubtful(plant: Plant):
    hour(plant, "grid", 0, 1000)
    plant.show("export", (f"{DAY}T00:05", 0), (f"{DAY}T00:15", 7))  # ten of fifteen minutes
    plant.settle()
    derived(plant, net=("grid - export", "kWh"))
    (only,) = values(plant, "net")
    assert only.quality & Quality.SUSPECT
    assert only.reason == "part_incomplete: cement/export/active_energy_import"


def test_nothing_divided_by_nothing_is_missing_and_no_error(plant: Plant):
    hour(plant, "grid", 500, 500)
    hour(plant, "export", 0, 7)
    plant.settle()
    derived(plant, share=("export / grid", "%"))
    (only,) = values(plant, "share")
    assert (only.value, only.quality, only.reason) == (None, Quality.MISSING, "divided_by_zero")


def test_a_value_follows_its_parts_when_they_are_settled_anew(plant: Plant):
    hour(plant, "grid", 0, 1000)
    hour(plant, "export", 0, 7)
    plant.settle()
    derived(plant, net=("grid - export", "kWh"))
    before = values(plant, "net")
    hour(plant, "export", None, None, 14)
    hour(plant, "grid", None, None, 2500)
    plant.settle("2026-11-21T00:00")
    after = values(plant, "net")
    assert after[0] == before[0]
    assert after[1].value == Fraction(1493, 100)


def test_what_the_caller_may_not_see_is_in_no_value(plant: Plant):
    hour(plant, "grid", 0, 1000)
    plant.settle()
    derived(plant, same=("grid", "kWh"))
    assert len(values(plant, "same", scope=Scope(frozenset({"cement"})))) == 1
    assert values(plant, "same", scope=Scope(frozenset({"other"}))) == []


def test_points_made_of_points_made_of_points_take_no_time(plant: Plant):
    hour(plant, "grid", 0, 1000)
    plant.settle()
    levels: dict[str, tuple[str, str]] = {"a0": ("grid", "kWh"), "b0": ("grid", "kWh")}
    for n in range(1, 40):  # 2^40 ways down
        levels[f"a{n}"] = (f"a{n - 1} + b{n - 1} - b{n - 1}", "kWh")
        levels[f"b{n}"] = (f"b{n - 1} + a{n - 1} - a{n - 1}", "kWh")
    derived(plant, **levels)
    assert [one.value for one in values(plant, "a39")] == [10]


FORMULA = """
[[point]]
id = "double"
enterprise = "works"
name_zh = "双"
name_en = "double"
formula = "2 * gas-in"
unit = "L"
"""


def test_the_command_shows_values_with_their_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "site.toml"
    path.write_text(SITE + FORMULA, "utf-8")
    site = load_site(path)
    key = "works/gas-in/volume"
    totals = [Reading(key, at(f"{DAY}T00:{15 * n:02}"), 1000 + 25 * n) for n in range(3)]
    with open_reading_store(site, read_only=False) as store:
        store.deliver([Delivery(n, [reading]) for n, reading in enumerate(totals, start=1)])
    with open_interval_store(site, read_only=False):
        pass
    assert settle_main([str(path), "--quiet"]) == 0
    assert derived_main([str(path), "double", "--period", DAY, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    resolution = Fraction(site.series[key].resolution)
    assert [Fraction(one["value"]) for one in told["intervals"]] == [50 * 1000 * resolution] * 2  # m3 to L
    assert told["intervals"][0]["parts"][0]["series"] == key
    assert derived_main([str(path), "double", "--period", DAY]) == 0
    assert "double = 2 * gas-in" in capsys.readouterr().out
    assert derived_main([str(path), "dubble", "--period", DAY]) == 2
    assert "found dubble; expected one of double" in capsys.readouterr().err
    assert derived_main([str(path), "double", "--period", "soon"]) == 2
