"""A small cement plant on real stores: its site, its readings, its ledger."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from analytics.context import FigureContext
from analytics.figures import figures_of
from analytics.settle import settle_once
from analytics.standards.tables import load_tables
from gateway.clocks import ReplayClock
from gateway.contracts import Delivery
from gateway.domain.carriers import EnergyCarrier
from gateway.domain.certificates import Certificate, CertificateKind
from gateway.domain.figures import Figure
from gateway.domain.instruments import AccuracyClass, Carriage, Instrument, Register, RegisterKind
from gateway.domain.periods import to_instant
from gateway.domain.production import OutputValue, Production
from gateway.domain.readings import Quality, Reading
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import (
    Account,
    AccountMethod,
    Enterprise,
    Meter,
    MeteringLevel,
    MeteringPoint,
    PointRole,
    Series,
    Site,
)

S = 1_000_000
QUARTER = 900 * S
ZONE = "Asia/Shanghai"
TABLES = load_tables()
RECORDED = {"recorded_by": "tester", "reason": "test plant"}


def at(text: str) -> int:
    """An instant [us, UTC] of the plant's wall clock."""
    return to_instant(datetime.fromisoformat(f"{text}+08:00"))


# point -> (carrier, role, quantity, register)
REGISTERS = {
    "grid": (
        EnergyCarrier.ELECTRICITY,
        PointRole.INPUT,
        Register(quantity="active_energy_import", unit="kWh", kind=RegisterKind.CUMULATIVE, resolution=Decimal("0.01"), modulus=10**9),
    ),
    "export": (
        EnergyCarrier.ELECTRICITY,
        PointRole.OUTPUT,
        Register(
            quantity="active_energy_import", unit="kWh", kind=RegisterKind.CUMULATIVE, resolution=Decimal("0.01"), carriage=Carriage.FLOAT32
        ),
    ),
    "gas": (
        EnergyCarrier.GAS,
        PointRole.INPUT,
        Register(quantity="volume", unit="m3", kind=RegisterKind.CUMULATIVE, resolution=Decimal("0.1")),
    ),
    "water": (
        EnergyCarrier.WATER,
        PointRole.INPUT,
        Register(quantity="volume", unit="m3", kind=RegisterKind.CUMULATIVE, resolution=Decimal("0.01")),
    ),
    "air": (
        EnergyCarrier.COMPRESSED_AIR,
        PointRole.INTERNAL,
        Register(quantity="volume", unit="m3", kind=RegisterKind.CUMULATIVE, resolution=Decimal(1)),
    ),
    "tickets": (
        EnergyCarrier.COAL,
        PointRole.INPUT,
        Register(quantity="mass", unit="kg", kind=RegisterKind.INTERVAL, resolution=Decimal(20), interval_s=0),
    ),
    "yard": (EnergyCarrier.COAL, PointRole.STOCK, Register(quantity="stock", unit="t", kind=RegisterKind.INSTANTANEOUS)),
    "steam": (
        EnergyCarrier.STEAM,
        PointRole.INTERNAL,
        Register(quantity="heat", unit="GJ", kind=RegisterKind.INTERVAL, resolution=Decimal("0.001"), interval_s=3600),
    ),
}  # fmt: skip

ACCOUNTS = (
    Account(
        enterprise="cement",
        carrier=EnergyCarrier.ELECTRICITY,
        conversion="electricity_equivalent",
        method=AccountMethod.METERED,
        plus=("grid",),
        minus=("export",),
    ),
    Account(
        enterprise="cement",
        carrier=EnergyCarrier.GAS,
        conversion="natural_gas",
        method=AccountMethod.METERED,
        plus=("gas",),
        ncv=Decimal(35544),
        ncv_source="laboratory 2026-10",
    ),
    Account(
        enterprise="cement",
        carrier=EnergyCarrier.WATER,
        conversion="new_water",
        method=AccountMethod.METERED,
        plus=("water",),
        density=Decimal(1000),
        density_source="agreed",
    ),
    Account(
        enterprise="cement", carrier=EnergyCarrier.COMPRESSED_AIR, conversion="compressed_air", method=AccountMethod.METERED, plus=("air",)
    ),
    Account(
        enterprise="cement",
        carrier=EnergyCarrier.COAL,
        conversion="raw_coal",
        method=AccountMethod.STOCK,
        plus=("tickets",),
        stock=("yard",),
    ),
)  # fmt: skip


def make_site(folder: Path, **changes: object) -> Site:
    points = {
        name: MeteringPoint(
            id=name,
            enterprise="cement",
            name_zh=name,
            name_en=name,
            carrier=carrier,
            level=MeteringLevel.ENTERPRISE,
            role=role,
            counts=register.quantity,
            meter=f"M-{name}",
        )
        for name, (carrier, role, register) in REGISTERS.items()
    }
    series = {
        f"cement/{name}/{register.quantity}": Series(
            key=f"cement/{name}/{register.quantity}",
            enterprise="cement",
            point=name,
            meter=f"M-{name}",
            profile="x/y",
            register=register,
            resolution=register.resolution,
        )
        for name, (_, _, register) in REGISTERS.items()
    }
    declared: dict[str, object] = {
        "name": "plant",
        "timezone": ZONE,
        "file": folder / "site.toml",
        "data_dir": folder / "data",
        "gateway_id": "gw",
        "enterprises": {"cement": Enterprise(id="cement", name_zh="水泥厂", name_en="cement works")},
        "lines": {},
        "meters": {f"M-{name}": Meter(id=f"M-{name}", line="l", profile="x/y") for name in REGISTERS},
        "points": points,
        "accounts": ACCOUNTS,
        "series": series,
    }
    return Site(**(declared | changes))


@dataclass
class Plant:
    """The plant with its stores open, and a journal that only counts."""

    site: Site
    readings: object
    intervals: object
    ledger: object
    sequence: int = 0

    def show(
        self,
        point: str,
        *shown: tuple[str | int, int | float | None],
        quality: Quality = Quality.GOOD,
        reason: str = "",
    ) -> None:
        """Deliver readings of a point, each as (plant time or instant, value), in one journal entry each."""
        series = f"cement/{point}/{REGISTERS[point][2].quantity}"
        first, self.sequence = self.sequence + 1, self.sequence + len(shown)
        self.readings.deliver(
            [
                Delivery(number, [Reading(series, at(when) if isinstance(when, str) else when, value, quality, reason)])
                for number, (when, value) in enumerate(shown, start=first)
            ]
        )

    def run_day(self, point: str, day: str, step: int, first: int = 0) -> None:
        """Totals on every quarter-hour of a day of plant time, each `step` counts above the one before."""
        start = at(f"{day}T00:00")
        self.show(point, *((start + n * QUARTER, first + n * step) for n in range(97)))

    def settle(self, now: str = "2026-11-20T00:00", site: Site | None = None, **options: object):
        clock = ReplayClock(at(now))
        return settle_once(site or self.site, self.readings, self.intervals, clock=clock, scope=EVERYTHING, **options)

    def amounts(self, point: str, start: str, end: str, **options: object):
        series = f"cement/{point}/{REGISTERS[point][2].quantity}"
        return [i.counts for i in self.intervals.intervals(EVERYTHING, series, at(start), at(end), **options)]

    def context(self, now: str = "2026-11-20T00:00", **changes: object) -> FigureContext:
        declared = {
            "site_timezone": ZONE,
            "intervals": self.intervals,
            "readings": self.readings,
            "ledger": self.ledger,
            "tables": TABLES,
            "scope": EVERYTHING,
            "now": at(now),
            "series": self.site.series,
        }
        return FigureContext(**(declared | changes))

    def figures(self, period: str, now: str = "2026-11-20T00:00", **options: object) -> dict[tuple[str, str], Figure]:
        """Every figure of a period by kind and key."""
        found = figures_of(self.context(now), "cement", period, **options)
        return {(figure.kind, figure.key): figure for figure in found}

    def book(self, *facts: object, recorded_at: str = "2026-01-02T00:00", **valid: object) -> None:
        """Record facts in the ledger."""
        with self.ledger.booking(EVERYTHING, recorded_at=at(recorded_at), **RECORDED) as booking:
            for fact in facts:
                booking.record(fact, **valid)

    def enrol(self, recorded_at: str = "2026-01-01T00:00") -> None:
        """Write the site's facts and an instrument with a certificate for every meter into the ledger."""
        self.book(
            *self.site.enterprises.values(),
            *self.site.points.values(),
            *self.site.accounts,
            *(instrument(name) for name in REGISTERS),
            *(certificate(name) for name in REGISTERS),
            recorded_at=recorded_at,
        )


def instrument(point: str, sign: str | None = "0.5", **changes: object) -> Instrument:
    declared = {
        "id": f"M-{point}", "enterprise": "cement", "point": point, "name_zh": "器具", "name_en": "meter", "kind": "test meter",
        "maker": "m", "model": "x", "serial": "1", "accuracy_class": AccuracyClass(sign) if sign else None,
        "measuring_range": "", "place": "",
    }  # fmt: skip
    return Instrument(**(declared | changes))


def certificate(point: str, until: str = "2027-05-31") -> Certificate:
    return Certificate(
        number=f"C-{point}", enterprise="cement", instrument=f"M-{point}", kind=CertificateKind.VERIFICATION, laboratory="lab",
        performed_on=date(2025, 6, 1), valid_until=date.fromisoformat(until), conforms=True,
    )  # fmt: skip


def production(first: str, after: str, quantity: str) -> Production:
    return Production(
        enterprise="cement", product="cement", name_zh="水泥", name_en="cement", unit="t", first_day=date.fromisoformat(first),
        day_after=date.fromisoformat(after), quantity=Decimal(quantity),
    )  # fmt: skip


def output_value(first: str, after: str, amount: str, basis: str = "current") -> OutputValue:
    return OutputValue(
        enterprise="cement", first_day=date.fromisoformat(first), day_after=date.fromisoformat(after), amount=Decimal(amount), price_basis=basis
    )  # fmt: skip
