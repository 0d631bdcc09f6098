"""A site file with meters on DL/T 645 and CJ/T 188 lines, and the simulated buses that they stand on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.domain.sites import LineKind
from simulators.meter_bus import BusMeter, MeterBus, digits_of
from simulators.meter_bus_wires import bus_on_pty, bus_on_tcp

ENERGY, VOLTAGES = 0x00010000, 0x0201FF00
E_METER, W_METER, H_METER = "000000000161", "78330011223344", "00000040314132"
SITE = """
[site]
name = "laboratory"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "lab"

[[enterprise]]
id = "e"
name_zh = "企业"
name_en = "enterprise"
"""
METER = """
[[meter]]
id = "m{n}"
line = "{line}"
profile = "{profile}"
address = "{digits}"

[[point]]
id = "p{n}"
enterprise = "e"
name_zh = "点"
name_en = "point"
carrier = "{carrier}"
level = "enterprise"
role = "input"
counts = "{counts}"
meter = "m{n}"
"""
COUNTS = {"electricity": "active_energy_import", "water": "volume", "heat": "heat", "gas": "volume"}


def line_table(name: str, kind: str, where: str | int, *, period_s: str = "60", timeout_s: str = "1") -> str:
    """A [[line]] of the site file; `where` is a TCP port, or the device file of a serial port."""
    place = (
        f'serial_port = "{where}"\nparity = "none"'
        if LineKind(kind).is_serial
        else f'host = "127.0.0.1"\nport = {where}'
    )
    return f'\n[[line]]\nid = "{name}"\nkind = "{kind}"\n{place}\nperiod_s = {period_s}\ntimeout_s = {timeout_s}\n'


def meter_tables(n: int, line: str, profile: str, digits: str) -> str:
    """A [[meter]] with its [[point]]."""
    carrier = profile.partition("/")[0]
    return METER.format(n=n, line=line, profile=profile, digits=digits, carrier=carrier, counts=COUNTS[carrier])


def electricity(digits: str = E_METER, *, kwh_counts: int = 123456) -> BusMeter:
    """A three-phase meter with 16 values: total [0.01 kWh], tariffs a quarter each, 230.1 V, -5.25 A, -12.3456 kW."""
    values = {ENERGY + 0x100 * tariff: digits_of(kwh_counts // (4 if tariff else 1), 4) for tariff in range(5)}
    values |= {0x00020000: digits_of(7, 4), 0x02030000: digits_of(-123456, 3, sign=True)}
    values |= {0x02010000 + 0x100 * phase: digits_of(2300 + phase, 2) for phase in (1, 2, 3)}
    values |= {0x02020000 + 0x100 * phase: digits_of(-5250, 3, sign=True) for phase in (1, 2, 3)}
    values |= {0x02060000: digits_of(987, 2, sign=True), 0x02800002: digits_of(5001, 2), 0x02800004: digits_of(9, 3)}
    values[VOLTAGES] = digits_of(2301, 2) + digits_of(2302, 2) + digits_of(2303, 2)
    return BusMeter(digits, values.get)


def water(digits: str = W_METER, *, counts: int = 55667701, unit: int = 0x2C, state: int = 0x04) -> BusMeter:
    """A cold water meter: total, total of the settlement day, clock, state."""
    total = digits_of(counts, 4) + bytes([unit])
    data = total + total + bytes.fromhex("31 01 22 11 05 15 20") + bytes([state, 0])
    return BusMeter(digits, {0x901F: data}.get, meter_type=0x10)


@asynccontextmanager
async def on_wire(bus: MeterBus, kind: str) -> AsyncIterator[str | int]:
    """The bus where a line of this kind reaches it."""
    wire = bus_on_pty(bus) if LineKind(kind).is_serial else bus_on_tcp(bus)
    async with wire as where:
        yield where


def write_site(folder: Path, *tables: str) -> Path:
    """The site file of these tables."""
    file = folder / "site.toml"
    file.write_text(SITE + "".join(tables), "utf-8")
    return file
