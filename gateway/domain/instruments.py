"""Measuring instruments, their registers and their accuracy classes."""

import math
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class RegisterKind(StrEnum):
    """What successive values of a register mean; declared in the profile, never guessed."""

    CUMULATIVE = "cumulative"  # counts up, shows a total
    INSTANTANEOUS = "instantaneous"  # shows the present value
    INTERVAL = "interval"  # shows an amount that belongs to an interval, or to the instant of a ticket


class RecordClass(StrEnum):
    """How long a register's raw readings must be kept."""

    EVIDENCE = "evidence"  # a figure rests on it: kept and chained in full
    TELEMETRY = "telemetry"  # may be pruned by age; its digest stays in the chain


class Carriage(StrEnum):
    """How the wire carries a total; floats add their own quantisation to the uncertainty."""

    EXACT = "exact"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


_SIGNIFICAND_BITS = {Carriage.FLOAT32: 24, Carriage.FLOAT64: 53}


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A quantity that a meter shows (not a Modbus word).

    `resolution` [unit] is mandatory for cumulative and interval registers, whose readings are integer
    counts of it. `modulus` [counts] is the first count that is shown as zero again. `limit` [unit] is
    the physical limit of an instantaneous value; `max_rate` [unit per hour] that of a cumulative one.
    `interval_s` [s] is the length that an interval register's value covers; 0 = an amount booked at an
    instant (a weighbridge ticket).
    """

    quantity: str
    unit: str
    kind: RegisterKind
    resolution: Decimal | None = None
    modulus: int | None = None
    limit: Decimal | None = None
    max_rate: Decimal | None = None
    interval_s: int | None = None
    record: RecordClass = RecordClass.EVIDENCE
    carriage: Carriage = Carriage.EXACT

    def counts(self, shown: Decimal) -> int:
        """A shown value [unit] as the nearest integer count of the resolution (half to even)."""
        if self.resolution is None:
            raise ValueError(f"register {self.quantity} is {self.kind.value}: it has no counts")
        return int((shown / self.resolution).to_integral_value(rounding="ROUND_HALF_EVEN"))

    def quantisation(self, shown: Decimal) -> Decimal:
        """The step [unit] by which the total can move at `shown` [unit]: max(resolution, one ulp)."""
        step = self.resolution or Decimal(0)
        bits = _SIGNIFICAND_BITS.get(self.carriage)
        if bits is None or not shown:
            return step
        exponent = math.frexp(float(abs(shown)))[1]
        return max(step, Decimal(2) ** (exponent - bits))


@dataclass(frozen=True, slots=True)
class AccuracyClass:
    """A class sign as on the name plate ("0.5S", "1", "2.5") and the limit it stands for [%]."""

    sign: str

    @property
    def limit_pct(self) -> Decimal:
        """The limit of error in the main range [%]: the class number. Raises ValueError on other signs."""
        digits = self.sign.rstrip("S")
        try:
            return Decimal(digits)
        except ArithmeticError:
            raise ValueError(f"accuracy class {self.sign!r} has no numeric limit") from None


class InstrumentState(StrEnum):
    """The state marked on the instrument (formulas of GB 17167, clause 5; JJF 1356, Annex B)."""

    QUALIFIED = "qualified"  # 合格
    LIMITED_USE = "limited_use"  # 准用
    STOPPED = "stopped"  # 停用
    SEALED = "sealed"  # 封存
    SCRAPPED = "scrapped"  # 报废


STATE_ZH = {
    InstrumentState.QUALIFIED: "合格",
    InstrumentState.LIMITED_USE: "准用",
    InstrumentState.STOPPED: "停用",
    InstrumentState.SEALED: "封存",
    InstrumentState.SCRAPPED: "报废",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One physical measuring instrument of the ledger (能源计量器具一览表)."""

    id: str  # the enterprise's own management number 管理编号
    enterprise: str
    point: str  # the metering point where it is installed
    name_zh: str
    name_en: str
    kind: str  # key of verification_periods.csv's instrument_en, e.g. "static AC energy meter"
    maker: str
    model: str
    serial: str  # 出厂编号
    accuracy_class: AccuracyClass | None
    measuring_range: str
    place: str
    state: InstrumentState = InstrumentState.QUALIFIED
