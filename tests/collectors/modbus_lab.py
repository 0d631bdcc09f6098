"""A laboratory meter for the Modbus tests: its profile as a file, and sites that read it."""

from decimal import Decimal
from pathlib import Path

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.readings import series_key
from gateway.domain.sites import (
    Enterprise,
    Line,
    LineKind,
    Meter,
    MeteringLevel,
    MeteringPoint,
    PointRole,
    Series,
    Site,
)
from gateway.profile import load_profile

SECOND = 1_000_000
# Three blocks: words 10..15, word 40, words 60..61. 0x0001E240 = 123456; 0x42C80000 = 100.0; 5000 = 0x1388.
PROFILE = """
maker = "Lab Instruments"
model = "LM-3"
carrier = "electricity"
source = "a meter that exists in these tests only"
side = "secondary"
modbus = { table = "input" }

[registers]
active_energy_import = { at = 10, as = "u32", scale = 0.01, unit = "kWh", kind = "cumulative", resolution = 0.01, modulus = 100000000 }
active_energy_export = { at = 12, as = "u32", scale = 0.01, unit = "kWh", kind = "cumulative", resolution = 0.01, modulus = 100000000 }
active_power = { at = 14, as = "float32", unit = "kW", kind = "instantaneous", limit = 200 }
frequency = { at = 40, as = "u16", scale = 0.01, unit = "Hz", kind = "instantaneous", absent = 0xFFFF }
temperature = { at = 60, as = "float32", unit = "Cel", kind = "instantaneous" }

[[example]]
origin = "worked"
from = "by hand: 123456 x 0.01 kWh, 0 kWh, 100.0 kW = 42C80000, 5000 x 0.01 Hz, 20.5 Cel = 41A40000"
words = { 10 = "0001 E240 0000 0000 42C8 0000", 40 = "1388", 60 = "41A4 0000" }
shows = { active_energy_import = 1234.56, active_energy_export = 0, active_power = 100, frequency = 50, temperature = 20.5 }
"""
QUANTITIES = ("active_energy_import", "active_energy_export", "active_power", "frequency", "temperature")
POWER_BLOCK, FREQUENCY_BLOCK, TEMPERATURE_BLOCK = 10, 40, 60  # first addresses


def lab_site(
    folder: Path,
    addresses: list[int],
    *,
    port: int = 0,
    period_s: str = "60",
    timeout_s: str = "1",
    ct_ratio: str = "1",
    max_words: int = 125,
    quantities: tuple[str, ...] = QUANTITIES,
) -> Site:
    """A site with one line "bus" and, per device address n, meter "m<n>" at point "p<n>" of enterprise "e"."""
    profile_file = folder / "profiles" / "electricity" / "lab_lm3.toml"
    profile_file.parent.mkdir(parents=True, exist_ok=True)
    profile_file.write_text(PROFILE, "utf-8")
    profile = load_profile("electricity/lab_lm3", extra_dir=folder / "profiles")
    line = Line(
        id="bus",
        kind=LineKind.MODBUS_TCP,
        host="127.0.0.1",
        port=port,
        period_s=Decimal(period_s),
        timeout_s=Decimal(timeout_s),
        max_words=max_words,
    )
    meters = {
        f"m{n}": Meter(id=f"m{n}", line="bus", profile=profile.name, device_address=n, ct_ratio=Decimal(ct_ratio))
        for n in addresses
    }
    points = {
        f"p{n}": MeteringPoint(
            id=f"p{n}",
            enterprise="e",
            name_zh="点",
            name_en="point",
            carrier=EnergyCarrier.ELECTRICITY,
            level=MeteringLevel.ENTERPRISE,
            role=PointRole.INPUT,
            counts="active_energy_import",
            meter=f"m{n}",
        )
        for n in addresses
    }
    series = {}
    for n in addresses:
        for quantity in quantities:
            register = profile.registers[quantity].register
            electrical = quantity.startswith("active")
            ratio = Decimal(ct_ratio) if electrical else Decimal(1)
            key = series_key("e", f"p{n}", quantity)
            resolution = None if register.resolution is None else register.resolution * ratio
            series[key] = Series(
                key=key,
                enterprise="e",
                point=f"p{n}",
                meter=f"m{n}",
                profile=profile.name,
                register=register,
                resolution=resolution,
                ratio=ratio,
            )
    return Site(
        name="laboratory",
        timezone="Asia/Shanghai",
        file=folder / "site.toml",
        data_dir=folder / "data",
        gateway_id="lab",
        enterprises={"e": Enterprise(id="e", name_zh="企业", name_en="enterprise")},
        lines={"bus": line},
        meters=meters,
        points=points,
        accounts=(),
        series=series,
    )
