"""The meters of the fleet benchmark, served by a process of their own, and the site file that reads them."""

import asyncio
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

PERIOD_US = 1_000_000
PROFILE = """
maker = "Fleet Instruments"
model = "F-3"
carrier = "electricity"
source = "a meter that exists in this benchmark only"
side = "primary"
modbus = { table = "input" }

[registers]
active_energy_import = { at = 0, as = "u32", unit = "kWh", kind = "cumulative", resolution = 1, modulus = 100000000 }
active_energy_export = { at = 2, as = "u32", unit = "kWh", kind = "cumulative", resolution = 1, modulus = 100000000 }
active_power = { at = 4, as = "float32", unit = "kW", kind = "instantaneous" }
voltage_l1 = { at = 200, as = "float32", unit = "V", kind = "instantaneous" }
voltage_l2 = { at = 202, as = "float32", unit = "V", kind = "instantaneous" }
voltage_l3 = { at = 204, as = "float32", unit = "V", kind = "instantaneous" }
frequency = { at = 400, as = "u16", scale = 0.01, unit = "Hz", kind = "instantaneous" }

[[example]]
origin = "worked"
from = "by hand: 2 x 65536 + 3 = 131075; 1.0 = 3F800000; 5000 x 0.01 Hz = 1388"
words = { 0 = "0002 0003 0000 0000 3F80 0000", 200 = "3F80 0000 3F80 0000 3F80 0000", 400 = "1388" }

[example.shows]
active_energy_import = 131075
active_energy_export = 0
active_power = 1
voltage_l1 = 1
voltage_l2 = 1
voltage_l3 = 1
frequency = 50
"""
SITE = """[site]
name = "fleet"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "fleet"

[[enterprise]]
id = "fleet"
name_zh = "车队"
name_en = "fleet"
"""
DEVICE = """
[[line]]
id = "L{n}"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
period_s = 1
timeout_s = 0.2
pipeline = {pipeline}

[[meter]]
id = "M{n}"
line = "L{n}"
profile = "electricity/fleet_f3"
phase_s = {phase_s}

[[point]]
id = "P{n}"
enterprise = "fleet"
name_zh = "点"
name_en = "point"
carrier = "electricity"
level = "equipment"
role = "internal"
counts = "active_energy_import"
meter = "M{n}"
"""
WORDS = {0: bytes.fromhex("00020003000000003F800000"), 200: bytes.fromhex("3F800000") * 3, 400: bytes.fromhex("1388")}


class Meter:
    """Answers its three blocks, and writes down when."""

    def __init__(self) -> None:
        self.answered: list[int] = []

    def read(self, table: str, address: int, count: int, instant: int) -> bytes | None:
        words = WORDS.get(address) if table == "input" else None
        if words is None or len(words) != 2 * count:
            return None
        self.answered.append(instant)
        return words


def go_first(pid: int) -> None:
    """Before whatever else the machine does, where that may be asked for; the results say whether it was."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, -20)


def serve(devices: int, core: int, pipe: Connection) -> None:
    """The simulator: one port a device. Told anything, it says what each has answered, and ends."""
    from gateway.clocks import SystemClock  # noqa: PLC0415 - in the process that needs it
    from simulators.modbus_server import ModbusServer  # noqa: PLC0415 - same

    async def run() -> None:
        meters = [Meter() for _ in range(devices)]
        servers = [ModbusServer({1: meter}, clock=SystemClock()) for meter in meters]
        pipe.send([await server.start() for server in servers])
        await asyncio.to_thread(pipe.recv)
        pipe.send([meter.answered for meter in meters])

    os.sched_setaffinity(0, {core})
    go_first(0)
    asyncio.run(run())


@contextmanager
def simulated(devices: int, core: int) -> Iterator[tuple[list[int], Connection]]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(devices, core, there), daemon=True)
    process.start()
    try:
        yield here.recv(), here
    finally:
        process.join(10)
        process.kill()


def phase_us(n: int, devices: int) -> int:
    """Spread over the first 0.8 s, so that an answer falls into its slot even after the timeout."""
    return n * 800_000 // devices


def write_site(folder: Path, ports: list[int], pipeline: int) -> Path:
    profile = folder / "profiles" / "electricity" / "fleet_f3.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(PROFILE, "utf-8")
    devices = [
        DEVICE.format(n=n, port=port, phase_s=f"{phase_us(n, len(ports)) / 1e6:.6f}", pipeline=pipeline)
        for n, port in enumerate(ports)
    ]
    site = folder / "site.toml"
    site.write_text(SITE + "".join(devices), "utf-8")
    return site
