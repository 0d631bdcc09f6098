"""The site file in the ledger: only differences are appended, and what people booked stays theirs."""

from dataclasses import replace
from datetime import date

from gateway.domain.instruments import AccuracyClass
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Meter, Site
from gateway.ledger.booking import BEGINNING
from gateway.ledger.ledger import Ledger
from gateway.ledger.topology import TopologyChanges, record_topology
from gateway.profile import load_profile, profile_names

NOON = 1_793_246_400_000_000  # 2026-10-29, noon in Shanghai
DAY = 86_400_000_000
TODAY = date(2026, 10, 29)


def bring(site: Site, ledger: Ledger, at: int = NOON, valid_from: date | None = None) -> TopologyChanges:
    return record_topology(site, ledger, recorded_at=at, recorded_by="site file", valid_from=valid_from)


def test_the_first_time_everything_holds_from_the_beginning(site: Site, ledger: Ledger) -> None:
    changes = bring(site, ledger)
    assert len(changes.added) == 8  # 2 enterprises, 2 points, 2 accounts, 2 instruments
    assert "instrument M-1 of works" in changes.added
    assert not changes.changed + changes.ended + changes.left
    for rows in (
        ledger.enterprises(EVERYTHING, as_of=None, on=BEGINNING),
        ledger.points(EVERYTHING, as_of=None, on=BEGINNING),
        ledger.accounts(EVERYTHING, as_of=None, on=BEGINNING),
        ledger.instruments(EVERYTHING, as_of=None, on=BEGINNING),
    ):
        assert len(rows) == 2
    (first, _) = ledger.instruments(EVERYTHING, as_of=None, on=TODAY)[::-1]
    assert (first.fact.id, first.fact.point, first.fact.serial) == ("M-1", "main", "0117")
    assert "gw-1" in first.reason


def test_a_second_time_changes_nothing(site: Site, ledger: Ledger) -> None:
    assert bring(site, ledger)
    assert not bring(site, ledger, NOON + DAY)


def test_a_changed_point_changes_from_the_day_it_was_told(site: Site, ledger: Ledger) -> None:
    bring(site, ledger)
    renamed = replace(site.points["main"], name_zh="总进线")
    changes = bring(replace(site, points={**site.points, "main": renamed}), ledger, NOON + DAY)
    assert changes.changed == ["metering point main of works"]
    rows = ledger.points(EVERYTHING, as_of=None, on=None, enterprise="works")
    assert [(row.valid_from, row.valid_to, row.fact.name_zh) for row in rows] == [
        (BEGINNING, date(2026, 10, 30), "进线"),
        (date(2026, 10, 30), None, "总进线"),
    ]
    assert [row.fact.name_zh for row in ledger.points(EVERYTHING, as_of=NOON, on=None, enterprise="works")] == ["进线"]


def test_what_the_file_no_longer_declares_ends(site: Site, ledger: Ledger) -> None:
    bring(site, ledger)
    smaller = replace(
        site,
        enterprises={"works": site.enterprises["works"]},
        points={"main": site.points["main"]},
        accounts=site.accounts[:1],
    )
    changes = bring(smaller, ledger, valid_from=date(2026, 10, 1))
    assert changes.ended == [
        "instrument M-2 of brick",
        "account electricity electricity_equivalent kiln of brick",
        "metering point kiln of brick",
        "enterprise brick",
    ]
    assert not changes.added + changes.changed
    assert len(ledger.points(EVERYTHING, as_of=None, on=date(2026, 9, 30))) == 2
    assert [row.fact.id for row in ledger.points(EVERYTHING, as_of=None, on=date(2026, 10, 1))] == ["main"]
    assert not bring(smaller, ledger, NOON + DAY)
    again = bring(site, ledger, NOON + DAY)  # it comes back: known before, so from the day of the change
    assert again.changed[0] == "enterprise brick"
    (_, back) = ledger.points(EVERYTHING, as_of=None, on=None, enterprise="brick")
    assert back.valid_from == date(2026, 10, 30)


def test_another_conversion_of_the_same_carrier_does_not_count_the_past_twice(site: Site, ledger: Ledger) -> None:
    bring(site, ledger)
    other = replace(site.accounts[0], conversion="electricity_equal")
    bring(replace(site, accounts=(other, site.accounts[1])), ledger)
    rows = ledger.accounts(EVERYTHING, as_of=None, on=None, enterprise="works")
    assert [(row.fact.conversion, row.valid_from, row.valid_to) for row in rows] == [
        ("electricity_equal", TODAY, None),
        ("electricity_equivalent", BEGINNING, TODAY),
    ]


def test_two_heaps_of_one_coal_are_two_accounts(site: Site, ledger: Ledger) -> None:
    heaps = [replace(site.accounts[0], plus=(), stock=(name,)) for name in ("main", "second")]
    second = replace(site.points["main"], id="second", meter="")
    both = replace(site, points={**site.points, "second": second}, accounts=tuple(heaps))
    bring(both, ledger)
    assert {row.fact for row in ledger.accounts(EVERYTHING, as_of=None, on=TODAY)} == set(heaps)
    assert not bring(both, ledger, NOON + DAY)


def test_plate_data_booked_by_people_outlive_the_site_file(site: Site, ledger: Ledger) -> None:
    bring(site, ledger)
    (known,) = ledger.instruments(EVERYTHING, as_of=None, on=TODAY, enterprise="works")
    plate = replace(known.fact, maker="Acrel", accuracy_class=AccuracyClass("0.5S"), kind="static AC energy meter")
    ledger.record_instrument(EVERYTHING, plate, recorded_at=NOON, recorded_by="Li Wei", reason="name plate")
    assert not bring(site, ledger, NOON + DAY)
    without = replace(site, points={"kiln": site.points["kiln"]}, accounts=site.accounts[1:])
    changes = bring(without, ledger, NOON + DAY)
    assert changes.left == ["instrument M-1 of works"]  # booked by Li Wei: hers to end
    assert "metering point main of works" in changes.ended


def test_another_serial_number_is_another_instrument(site: Site, ledger: Ledger) -> None:
    bring(site, ledger)
    (known,) = ledger.instruments(EVERYTHING, as_of=None, on=TODAY, enterprise="works")
    plate = replace(known.fact, maker="Acrel", accuracy_class=AccuracyClass("0.5S"), place="substation 1")
    ledger.record_instrument(EVERYTHING, plate, recorded_at=NOON, recorded_by="Li Wei", reason="name plate")
    exchanged = replace(site.meters["M-1"], serial="9000")
    bring(replace(site, meters={**site.meters, "M-1": exchanged}), ledger, NOON + DAY)
    (now,) = ledger.instruments(EVERYTHING, as_of=None, on=date(2026, 10, 30), enterprise="works")
    assert (now.fact.serial, now.fact.maker, now.fact.accuracy_class) == ("9000", "", None)
    assert now.fact.place == "substation 1"


def test_maker_model_and_class_come_from_the_profile(site: Site, ledger: Ledger) -> None:
    name = next(name for name in profile_names() if name.startswith("electricity/"))
    profile = load_profile(name)
    meters = {"M-1": Meter(id="M-1", line="bus", profile=name), "M-2": site.meters["M-2"]}
    bring(replace(site, meters=meters), ledger)
    (row,) = ledger.instruments(EVERYTHING, as_of=None, on=TODAY, enterprise="works")
    assert (row.fact.maker, row.fact.model) == (profile.maker, profile.model)
    assert row.fact.accuracy_class == profile.accuracy.get("active_energy_import")


def test_two_gateways_share_a_ledger_without_ending_each_others_points(site: Site, ledger: Ledger) -> None:
    bring(site, ledger)
    other = replace(site, gateway_id="gw-2", enterprises={}, points={}, accounts=(), meters={})
    assert not bring(other, ledger)
    assert len(ledger.points(EVERYTHING, as_of=None, on=TODAY)) == 2
