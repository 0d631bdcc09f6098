"""An instrument's state on a date follows its certificates; a period is never guessed."""

from datetime import date
from decimal import Decimal

import pytest

from analytics.calibration import instrument_status, statuses, verification_row
from analytics.standards.tables import load_tables
from gateway.domain.certificates import CalibrationStatus, Certificate, CertificateKind
from gateway.domain.instruments import AccuracyClass, Instrument


@pytest.fixture(scope="module")
def tables():
    return load_tables()


def instrument(kind, sign="0.5S", name="E-01"):
    return Instrument(
        id=name, enterprise="cement", point="p", name_zh="电能表", name_en="meter", kind=kind, maker="", model="", serial="",
        accuracy_class=AccuracyClass(sign) if sign else None, measuring_range="", place="",
    )  # fmt: skip


def certificate(on, until=None, kind=CertificateKind.VERIFICATION, conforms=True, name="E-01"):
    return Certificate(
        number=f"N-{on}", enterprise="cement", instrument=name, kind=kind, laboratory="lab", performed_on=on, valid_until=until,
        conforms=conforms, expanded_uncertainty_pct=Decimal("0.1") if kind is CertificateKind.CALIBRATION else None,
    )  # fmt: skip


def test_the_printed_date_overrides_the_table(tables):
    found = instrument_status(
        instrument("static AC energy meter"),
        [certificate(date(2024, 5, 10), date(2026, 10, 9))],
        on=date(2026, 10, 10),
        tables=tables,
    )
    assert (found.status, found.last_day, found.days_left, found.row) == (
        CalibrationStatus.OVERDUE,
        date(2026, 10, 9),
        -1,
        None,
    )


def test_the_last_day_is_inclusive_and_due_soon_is_told(tables):
    certificates = [certificate(date(2024, 5, 10), date(2026, 10, 9))]
    found = instrument_status(instrument("static AC energy meter"), certificates, on=date(2026, 10, 9), tables=tables)
    assert (found.status, found.days_left) == (CalibrationStatus.DUE_SOON, 0)


def test_a_period_of_one_fitting_row_gives_the_date(tables):
    # class 0.5S: 72 months from 2021-03-15 -> 2027-03-15, minus one day
    found = instrument_status(
        instrument("static AC energy meter"), [certificate(date(2021, 3, 15))], on=date(2026, 10, 31), tables=tables
    )
    assert (found.status, found.last_day) == (CalibrationStatus.IN_DATE, date(2027, 3, 14))
    assert (found.row.key, found.row.value, found.row.confirmed) == ("JJG 596-2012, class 0.2S, 0.5S", "72", False)


@pytest.mark.parametrize(
    ("kind", "sign", "months"),
    [
        ("static AC energy meter", "0.5S", "72"),
        ("static AC energy meter", "1", "96"),
        ("static AC energy meter", "1.0", "96"),
        ("static AC energy meter", "0.5", None),  # the rows speak of 0.2S, 0.5S, 1, 2, 3
        ("static AC energy meter", None, None),
        ("turbine flowmeter", "0.5", "12"),
        ("turbine flowmeter", "1.5", "24"),
        ("belt weigher", None, "12"),  # one row, no condition
        ("cold water meter", "2", None),  # depends on DN and Q3, which nobody declared
        ("heat meter", "2", None),
        ("electromagnetic flowmeter", "0.5", None),  # the row also speaks of quoted errors
        ("crystal ball", "1", None),
    ],
)
def test_a_row_applies_only_when_kind_and_class_name_it_alone(tables, kind, sign, months):
    row = verification_row(instrument(kind, sign), tables)
    assert (row and row.text("months")) == months


def test_without_a_printed_date_and_without_a_row_the_state_is_unknown(tables):
    found = instrument_status(
        instrument("cold water meter", "2"), [certificate(date(2026, 1, 1))], on=date(2026, 2, 1), tables=tables
    )
    assert (found.status, found.last_day) == (CalibrationStatus.UNKNOWN, None)


def test_a_calibration_has_no_period_of_a_regulation(tables):
    calibrated = certificate(date(2026, 1, 1), kind=CertificateKind.CALIBRATION, conforms=None)
    found = instrument_status(instrument("belt weigher", None), [calibrated], on=date(2026, 2, 1), tables=tables)
    assert found.status is CalibrationStatus.UNKNOWN


def test_a_failed_verification_and_a_missing_certificate_are_told_apart(tables):
    failed = certificate(date(2026, 1, 1), date(2027, 1, 1), conforms=False)
    meters = [instrument("belt weigher", None), instrument("belt weigher", None, name="E-02")]
    found = statuses(meters, [failed], on=date(2026, 2, 1), tables=tables)
    assert [one.status for one in found] == [CalibrationStatus.FAILED, CalibrationStatus.MISSING]


def test_a_certificate_of_tomorrow_does_not_count_today(tables):
    later = certificate(date(2026, 2, 2), date(2027, 2, 1))
    assert (
        instrument_status(instrument("belt weigher"), [later], on=date(2026, 2, 1), tables=tables).status
        is CalibrationStatus.MISSING
    )
