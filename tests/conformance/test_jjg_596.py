"""JJG 596-2012 - static AC energy meters: how long a verification holds."""

from datetime import date

import pytest

from analytics.calibration import instrument_status
from analytics.standards.tables import load_tables
from gateway.domain.certificates import CalibrationStatus, Certificate, CertificateKind
from gateway.domain.instruments import AccuracyClass, Instrument

TABLES = load_tables()


def status(sign, verified, on):
    meter = Instrument(
        id="E-1", enterprise="e", point="p", name_zh="", name_en="", kind="static AC energy meter", maker="", model="", serial="",
        accuracy_class=AccuracyClass(sign), measuring_range="", place="",
    )  # fmt: skip
    certificate = Certificate(
        number="1", enterprise="e", instrument="E-1", kind=CertificateKind.VERIFICATION, laboratory="", performed_on=verified,
        valid_until=None, conforms=True,
    )  # fmt: skip
    return instrument_status(meter, [certificate], on=on, tables=TABLES)


@pytest.mark.parametrize(
    ("sign", "verified", "last_day"),
    [
        ("0.2S", date(2020, 10, 15), date(2026, 10, 14)),  # 72 months, less one day
        ("0.5S", date(2020, 2, 29), date(2026, 2, 27)),  # 2026 has no 29 February: 28 less one day
        ("1", date(2018, 11, 1), date(2026, 10, 31)),  # 96 months
        ("2", date(2018, 11, 1), date(2026, 10, 31)),
    ],
)
def test_the_period_depends_on_the_class_and_the_last_day_is_the_one_before(sign, verified, last_day):
    assert status(sign, verified, date(2026, 1, 1)).last_day == last_day


def test_the_day_after_the_last_is_overdue():
    assert status("0.5S", date(2020, 10, 15), date(2026, 10, 14)).status is CalibrationStatus.DUE_SOON
    assert status("0.5S", date(2020, 10, 15), date(2026, 10, 15)).status is CalibrationStatus.OVERDUE
