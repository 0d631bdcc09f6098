"""What the ledger knew, and when: corrections, late facts, scope, and rows that nobody can change."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from gateway.domain.certificates import Certificate, CertificateKind
from gateway.domain.instruments import InstrumentState
from gateway.domain.production import OutputValue, Production
from gateway.domain.scopes import EVERYTHING, Scope, scope_of
from gateway.domain.sites import Account, Enterprise, MeteringPoint, Site
from gateway.errors import LedgerError
from gateway.ledger import schema
from gateway.ledger.booking import BEGINNING, Entry
from gateway.ledger.ledger import Ledger
from gateway.ledger.refusals import EntryRefused
from gateway.ledger.topology import record_topology

NOON = 1_793_246_400_000_000  # 2026-10-29 04:00 UTC = noon in Shanghai
HOUR = 3_600_000_000
OCTOBER = {"first_day": date(2026, 10, 1), "day_after": date(2026, 11, 1)}


def entry(at: int, reason: str = "as reported") -> Entry:
    return Entry(recorded_at=at, recorded_by="Li Wei", reason=reason)


@pytest.fixture
def plant(site: Site, ledger: Ledger) -> Ledger:
    record_topology(site, ledger, recorded_at=NOON, recorded_by="site file")
    return ledger


def clinker(quantity: str, **other: object) -> Production:
    whole = Production(
        enterprise="works",
        product="clinker",
        name_zh="熟料",
        name_en="clinker",
        unit="t",
        quantity=Decimal(quantity),
        **OCTOBER,
    )
    return replace(whole, **other)


def verification(number: str = "DN-0117", **other: object) -> Certificate:
    whole = Certificate(
        number=number,
        enterprise="works",
        instrument="M-1",
        kind=CertificateKind.VERIFICATION,
        laboratory="省计量院",
        performed_on=date(2025, 3, 1),
        valid_until=None,
        conforms=True,
    )
    return replace(whole, **other)


def quantities(ledger: Ledger, as_of: int | None) -> list[Decimal]:
    rows = ledger.production(EVERYTHING, as_of=as_of, enterprise="works", **OCTOBER)
    return [row.fact.quantity for row in rows]


def test_every_fact_comes_back_as_it_went_in(site: Site, plant: Ledger) -> None:
    calibration = verification(
        "C-9", kind=CertificateKind.CALIBRATION, conforms=None, expanded_uncertainty_pct=Decimal("0.060"), k=Decimal(2)
    )
    value = OutputValue(enterprise="works", amount=Decimal("1234.50"), price_basis="constant-2020", **OCTOBER)
    assert plant.record_certificate(EVERYTHING, calibration, **entry(NOON))
    assert plant.record_production(EVERYTHING, clinker("12.340"), **entry(NOON))
    assert plant.record_output_value(EVERYTHING, value, **entry(NOON))
    today = date(2026, 10, 29)
    assert {row.fact.id: row.fact for row in plant.points(EVERYTHING, as_of=None, on=today)} == site.points
    assert {row.fact for row in plant.accounts(EVERYTHING, as_of=None, on=today)} == set(site.accounts)
    assert [row.fact for row in plant.certificates(EVERYTHING, as_of=None)] == [calibration]
    assert str(plant.certificates(EVERYTHING, as_of=None)[0].fact.expanded_uncertainty_pct) == "0.060"
    (made,) = plant.production(EVERYTHING, as_of=None, enterprise="works", **OCTOBER)
    assert (str(made.fact.quantity), made.recorded_at, made.recorded_by, made.reason) == (
        "12.340",
        NOON,
        "Li Wei",
        "as reported",
    )
    assert [row.fact for row in plant.output_value(EVERYTHING, as_of=None, enterprise="works", **OCTOBER)] == [value]


def test_two_corrections_and_each_instant_still_knows_what_it_knew(plant: Ledger) -> None:
    for hour, quantity in enumerate(["100", "90", "95"]):
        assert plant.record_production(EVERYTHING, clinker(quantity), **entry(NOON + hour * HOUR))
    assert quantities(plant, NOON - 1) == []
    assert quantities(plant, NOON) == [Decimal(100)]
    assert quantities(plant, NOON + HOUR - 1) == [Decimal(100)]
    assert quantities(plant, NOON + HOUR) == [Decimal(90)]
    assert quantities(plant, NOON + 2 * HOUR) == quantities(plant, None) == [Decimal(95)]


def test_what_is_known_already_appends_nothing(plant: Ledger) -> None:
    assert plant.record_production(EVERYTHING, clinker("100"), **entry(NOON))
    assert not plant.record_production(EVERYTHING, clinker("100.0"), **entry(NOON + HOUR))
    (row,) = plant.production(EVERYTHING, as_of=None, enterprise="works", **OCTOBER)
    assert row.recorded_at == NOON


def test_a_fact_learned_late_holds_from_its_own_day_and_was_not_known_before(plant: Ledger) -> None:
    (known,) = plant.instruments(EVERYTHING, as_of=None, on=None, enterprise="works")
    stopped = replace(known.fact, state=InstrumentState.STOPPED)
    plant.record_instrument(EVERYTHING, stopped, valid_from=date(2026, 9, 1), **entry(NOON + HOUR))

    def state(on: date, as_of: int | None) -> InstrumentState:
        (row,) = plant.instruments(EVERYTHING, as_of=as_of, on=on, enterprise="works")
        return row.fact.state

    assert state(date(2026, 9, 1), NOON) is InstrumentState.QUALIFIED  # as known before
    assert state(date(2026, 9, 1), None) is InstrumentState.STOPPED
    assert state(date(2026, 8, 31), None) is InstrumentState.QUALIFIED


def test_without_a_date_a_change_holds_from_the_plants_day_and_spares_what_is_planned(plant: Ledger) -> None:
    (known,) = plant.instruments(EVERYTHING, as_of=None, on=None, enterprise="works")
    planned = replace(known.fact, state=InstrumentState.SCRAPPED)
    moved = replace(known.fact, place="substation 2")
    plant.record_instrument(EVERYTHING, planned, valid_from=date(2027, 1, 1), **entry(NOON))
    # 16:30 UTC on the 29th is already the 30th in Shanghai
    plant.record_instrument(EVERYTHING, moved, **entry(NOON + 12 * HOUR + HOUR // 2))
    rows = plant.instruments(EVERYTHING, as_of=None, on=None, enterprise="works")
    assert [(row.valid_from, row.valid_to, row.fact) for row in rows] == [
        (BEGINNING, date(2026, 10, 30), known.fact),
        (date(2026, 10, 30), date(2027, 1, 1), moved),
        (date(2027, 1, 1), None, planned),
    ]


def test_a_withdrawn_certificate_is_gone_for_later_readers_only(plant: Ledger) -> None:
    plant.record_certificate(EVERYTHING, verification(), **entry(NOON))
    with plant.booking(EVERYTHING, **entry(NOON + HOUR, "wrong number")) as booking:
        assert booking.withdraw(verification())
        assert not booking.withdraw(verification())
    assert plant.certificates(EVERYTHING, as_of=None) == []
    assert [row.fact for row in plant.certificates(EVERYTHING, as_of=NOON)] == [verification()]
    assert plant.record_certificate(EVERYTHING, verification(), **entry(NOON + 2 * HOUR))


def test_an_entry_cannot_be_dated_before_what_it_corrects(plant: Ledger) -> None:
    plant.record_production(EVERYTHING, clinker("100"), **entry(NOON))
    with pytest.raises(EntryRefused, match="Set the clock right"):
        plant.record_production(EVERYTHING, clinker("90"), **entry(NOON - 1))
    assert quantities(plant, None) == [Decimal(100)]


def test_an_error_in_a_booking_leaves_nothing_of_it(plant: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), plant.booking(EVERYTHING, **entry(NOON)) as booking:
        booking.record(clinker("100"))
        _ = 1 / 0
    assert quantities(plant, None) == []


@pytest.mark.parametrize(
    ("wrong", "column"),
    [
        (clinker("100", enterprise="nobody"), "enterprise"),
        (clinker("-1"), "quantity"),
        (clinker("NaN"), "quantity"),
        (clinker("1", product="熟料/1"), "product"),
        (clinker("1", unit=" "), "unit"),
        (clinker("1", day_after=date(2026, 10, 1)), "period"),
        (clinker("1", first_day=date(2026, 10, 7), day_after=date(2026, 10, 8)), "period"),
        (clinker("1", first_day=date(2026, 11, 1), day_after=date(2026, 12, 1), unit="kg"), "unit"),
        (verification(instrument="M-9"), "instrument"),
        (verification(instrument="M-2"), "instrument"),  # the other enterprise's
        (verification(number=" "), "number"),
        (verification(valid_until=date(2025, 2, 28)), "valid_until"),
        (verification(k=Decimal(2), expanded_uncertainty_pct=Decimal("0.1")), "expanded_uncertainty_pct"),
        (verification(kind=CertificateKind.CALIBRATION, expanded_uncertainty_pct=Decimal("0.1")), "k"),
        (verification(kind=CertificateKind.CALIBRATION, k=Decimal(0), expanded_uncertainty_pct=Decimal(1)), "k"),
        (OutputValue(enterprise="works", amount=Decimal(1), price_basis="2020", **OCTOBER), "price_basis"),
        (OutputValue(enterprise="works", amount=Decimal("Infinity"), price_basis="current", **OCTOBER), "amount"),
    ],
)
def test_what_contradicts_itself_or_the_ledger_is_refused_by_column(
    plant: Ledger, wrong: Production | Certificate | OutputValue, column: str
) -> None:
    plant.record_production(EVERYTHING, clinker("100"), **entry(NOON))
    with pytest.raises(EntryRefused) as refusal, plant.booking(EVERYTHING, **entry(NOON)) as booking:
        booking.record(wrong)
    assert refusal.value.column == column
    assert quantities(plant, None) == [Decimal(100)]
    assert plant.certificates(EVERYTHING, as_of=None) == []


@pytest.mark.parametrize("missing", ["recorded_by", "reason"])
def test_nobody_records_without_name_and_reason(plant: Ledger, missing: str) -> None:
    anonymous = Entry(**{**entry(NOON), missing: " "})  # type: ignore[typeddict-item]
    with pytest.raises(LedgerError, match="who made it and why"):
        plant.record_production(EVERYTHING, clinker("1"), **anonymous)


def everything_seen(ledger: Ledger, scope: Scope) -> set[str]:
    seen = {row.fact.id for row in ledger.enterprises(scope, as_of=None, on=None)}
    for rows in (
        ledger.points(scope, as_of=None, on=None),
        ledger.accounts(scope, as_of=None, on=None),
        ledger.instruments(scope, as_of=None, on=None),
        ledger.certificates(scope, as_of=None),
        ledger.production(scope, as_of=None, enterprise="works", **OCTOBER),
        ledger.output_value(scope, as_of=None, enterprise="works", **OCTOBER),
    ):
        seen |= {row.fact.enterprise for row in rows}
    return seen


def test_a_scope_sees_and_writes_its_own_enterprises_only(plant: Ledger) -> None:
    facts = [
        clinker("1"),
        verification(),
        OutputValue(enterprise="works", amount=Decimal(1), price_basis="current", **OCTOBER),
    ]
    with plant.booking(EVERYTHING, **entry(NOON)) as booking:
        assert all(booking.record(fact) for fact in facts)
    assert everything_seen(plant, EVERYTHING) == {"works", "brick"}
    assert everything_seen(plant, scope_of("works")) == {"works"}
    assert everything_seen(plant, scope_of("brick")) == {"brick"}
    assert everything_seen(plant, Scope(frozenset())) == set()
    with pytest.raises(LedgerError, match="may write for"):
        plant.record_production(scope_of("brick"), clinker("2"), **entry(NOON))
    with pytest.raises(LedgerError, match="may write for"):
        plant.record_enterprise(scope_of("brick"), Enterprise(id="third", name_zh="", name_en=""), **entry(NOON))
    with pytest.raises(LedgerError), plant.booking(scope_of("brick"), **entry(NOON)) as booking:
        booking.withdraw(clinker("1"))
    assert quantities(plant, None) == [Decimal(1)]


def test_the_named_ways_of_recording_are_the_same_as_booking(site: Site, ledger: Ledger) -> None:
    works, main = site.enterprises["works"], site.points["main"]
    account: Account = site.accounts[0]
    point: MeteringPoint = main
    assert ledger.record_enterprise(EVERYTHING, works, **entry(NOON))
    assert ledger.record_point(EVERYTHING, point, **entry(NOON))
    assert ledger.record_account(EVERYTHING, account, **entry(NOON))
    assert [row.fact for row in ledger.accounts(EVERYTHING, as_of=NOON, on=BEGINNING)] == [account]


@pytest.mark.parametrize("table", sorted(schema.metadata.tables))
def test_the_database_itself_refuses_to_change_a_row(plant: Ledger, site: Site, table: str) -> None:
    for fact in (
        clinker("1"),
        verification(),
        OutputValue(enterprise="works", amount=Decimal(1), price_basis="current", **OCTOBER),
    ):
        with plant.booking(EVERYTHING, **entry(NOON)) as booking:
            booking.record(fact)
    with closing(sqlite3.connect(site.data_dir / "ledger.db")) as anybody:
        before = anybody.execute(f"SELECT * FROM {table}").fetchall()
        assert before
        for attempt in (
            f"UPDATE {table} SET recorded_by = 'me'",
            f"DELETE FROM {table}",
            f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                anybody.execute(attempt)
            anybody.rollback()
        assert anybody.execute(f"SELECT * FROM {table}").fetchall() == before
