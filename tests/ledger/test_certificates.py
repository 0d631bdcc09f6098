"""When a certificate runs out, worked out by hand on the calendar."""

from datetime import date

import pytest

from gateway.domain.certificates import (
    CalibrationStatus,
    Certificate,
    CertificateKind,
    add_months,
    due_date,
    status_on,
)


def certificate(
    performed_on: date,
    *,
    valid_until: date | None = None,
    conforms: bool | None = True,
    number: str = "C-1",
    kind: CertificateKind = CertificateKind.VERIFICATION,
) -> Certificate:
    return Certificate(
        number=number,
        enterprise="works",
        instrument="M-1",
        kind=kind,
        laboratory="institute",
        performed_on=performed_on,
        valid_until=valid_until,
        conforms=conforms,
    )


@pytest.mark.parametrize(
    ("day", "months", "moved"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),  # 2024 is a leap year
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2024, 2, 29), 48, date(2028, 2, 29)),
        (date(2026, 8, 31), 1, date(2026, 9, 30)),
        (date(2026, 12, 15), 1, date(2027, 1, 15)),
        (date(2026, 11, 30), 1, date(2026, 12, 30)),
        (date(2026, 5, 31), 0, date(2026, 5, 31)),
        (date(1999, 12, 31), 2, date(2000, 2, 29)),  # 2000 is a leap year
        (date(2099, 12, 31), 2, date(2100, 2, 28)),  # 2100 is none
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(day: date, months: int, moved: date) -> None:
    assert add_months(day, months) == moved


def test_the_last_day_is_the_day_before_the_period_is_over() -> None:
    # 2020-06-15 + 72 months = 2026-06-15; the day before is the last.
    assert due_date(certificate(date(2020, 6, 15)), period_months=72) == date(2026, 6, 14)


def test_the_printed_date_goes_before_the_table_in_both_directions() -> None:
    for printed in (date(2022, 1, 1), date(2030, 1, 1)):
        assert due_date(certificate(date(2020, 6, 15), valid_until=printed), period_months=72) == printed


def test_nothing_declared_means_nothing_known() -> None:
    calibration = certificate(date(2020, 6, 15), kind=CertificateKind.CALIBRATION, conforms=None)
    assert due_date(calibration, period_months=None) is None
    assert status_on([calibration], on=date(2026, 1, 1), period_months=None) == (
        CalibrationStatus.UNKNOWN,
        calibration,
        None,
    )


def test_a_calibration_with_a_date_of_the_users_own_is_judged_by_it() -> None:
    calibration = certificate(
        date(2025, 6, 15), valid_until=date(2026, 6, 30), kind=CertificateKind.CALIBRATION, conforms=None
    )
    assert status_on([calibration], on=date(2026, 6, 30), period_months=None)[0] is CalibrationStatus.DUE_SOON
    assert status_on([calibration], on=date(2026, 7, 1), period_months=None)[0] is CalibrationStatus.OVERDUE


@pytest.mark.parametrize(
    ("on", "status"),
    [
        (date(2020, 6, 14), CalibrationStatus.MISSING),  # the day before it was performed
        (date(2020, 6, 15), CalibrationStatus.IN_DATE),
        (date(2026, 5, 14), CalibrationStatus.IN_DATE),  # 31 days before the last day
        (date(2026, 5, 15), CalibrationStatus.DUE_SOON),  # 30 days
        (date(2026, 6, 14), CalibrationStatus.DUE_SOON),  # the last day itself still holds
        (date(2026, 6, 15), CalibrationStatus.OVERDUE),
    ],
)
def test_the_boundary_days_of_a_verification(on: date, status: CalibrationStatus) -> None:
    assert status_on([certificate(date(2020, 6, 15))], on=on, period_months=72)[0] is status


def test_the_newest_certificate_decides_even_when_it_is_the_worse_one() -> None:
    good = certificate(date(2024, 1, 10), valid_until=date(2030, 1, 9), number="C-1")
    failed = certificate(date(2026, 3, 1), conforms=False, number="C-2")
    order = [failed, good]
    assert status_on(order, on=date(2026, 2, 28), period_months=72)[:2] == (CalibrationStatus.IN_DATE, good)
    assert status_on(order, on=date(2026, 3, 1), period_months=72)[:2] == (CalibrationStatus.FAILED, failed)


def test_an_instrument_without_certificate_is_missing_one() -> None:
    assert status_on([], on=date(2026, 1, 1), period_months=72) == (CalibrationStatus.MISSING, None, None)
