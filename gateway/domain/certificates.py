"""Verification and calibration: two different things that are never merged.

A verification (检定) states legal conformity and has a validity; a calibration (校准) states a result
with its uncertainty, and the next date is the user's own interval. Words: VIM; JJF 1001.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum


class CertificateKind(StrEnum):
    """Which of the two a certificate is."""

    VERIFICATION = "verification"  # 检定证书
    CALIBRATION = "calibration"  # 校准证书


class CalibrationStatus(StrEnum):
    """The state of an instrument's verification or calibration on a date."""

    IN_DATE = "in_date"  # 在有效期内
    DUE_SOON = "due_soon"  # 即将到期
    OVERDUE = "overdue"  # 超期
    FAILED = "failed"  # the newest certificate says it does not conform 不合格
    MISSING = "missing"  # no certificate is known 无证书
    UNKNOWN = "unknown"  # a certificate without a printed date, and no period is declared 待定


STATUS_ZH = {
    CalibrationStatus.IN_DATE: "在有效期内",
    CalibrationStatus.DUE_SOON: "即将到期",
    CalibrationStatus.OVERDUE: "超期",
    CalibrationStatus.FAILED: "不合格",
    CalibrationStatus.MISSING: "无证书",
    CalibrationStatus.UNKNOWN: "有效期待定",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate of one instrument. `expanded_uncertainty_pct` [%] and `k` only for a calibration."""

    number: str
    enterprise: str
    instrument: str
    kind: CertificateKind
    laboratory: str
    performed_on: date  # the day of verification or calibration
    valid_until: date | None  # printed on the certificate, inclusive; overrides every table
    conforms: bool | None  # None: the certificate makes no statement of conformity
    expanded_uncertainty_pct: Decimal | None = None
    k: Decimal | None = None
    file_sha256: str = ""


def due_date(certificate: Certificate, *, period_months: int | None) -> date | None:
    """The last day on which the certificate holds, inclusive; None when nothing declares it.

    The printed date overrides the period; otherwise date of verification + period - 1 day.
    Source: formulas of the national verification practice (JJG of the instrument); the one-day rule is
    common practice, to be confirmed against the official text.
    """
    if certificate.valid_until is not None:
        return certificate.valid_until
    if period_months is None:
        return None
    return add_months(certificate.performed_on, period_months) - timedelta(days=1)


def add_months(day: date, months: int) -> date:
    """`day` moved by whole months; the 31st becomes the month's last day where it has no 31st."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    first_of_next = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    last = (first_of_next - timedelta(days=1)).day
    return date(year, month + 1, min(day.day, last))


def status_on(
    certificates: list[Certificate], *, on: date, period_months: int | None, due_soon_days: int = 30
) -> tuple[CalibrationStatus, Certificate | None, date | None]:
    """(status, the certificate that decides, its last day) of one instrument on a date.

    Only certificates performed on or before `on` count; of several, the newest decides.
    """
    known = [certificate for certificate in certificates if certificate.performed_on <= on]
    if not known:
        return CalibrationStatus.MISSING, None, None
    newest = max(known, key=lambda certificate: (certificate.performed_on, certificate.number))
    due = due_date(newest, period_months=period_months)
    if newest.conforms is False:
        return CalibrationStatus.FAILED, newest, due
    if due is None:
        return CalibrationStatus.UNKNOWN, newest, None
    if on > due:
        return CalibrationStatus.OVERDUE, newest, due
    if (due - on).days <= due_soon_days:
        return CalibrationStatus.DUE_SOON, newest, due
    return CalibrationStatus.IN_DATE, newest, due
