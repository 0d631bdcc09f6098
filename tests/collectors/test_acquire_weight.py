"""How heavy the acquiring process is, and what it does without."""

import asyncio
import os
import sys
from pathlib import Path

import gateway
from gateway.clocks import SystemClock
from gateway.line_status import acquire_status
from simulators.modbus_server import ModbusServer
from tests.collectors.fleet import fleet_site
from tests.collectors.test_counts import Meter
from tests.test_killed_acquire import until_true

ROOT = Path(gateway.__path__[0]).parent
MOST_MB = 90
WITHOUT = ("numpy", "pandas", "sqlalchemy", "alembic", "pyarrow", "fastapi", "duckdb", "uvloop")
BLOCKED = f"""
import sys
for name in {WITHOUT!r}:
    sys.modules[name] = None  # importing it raises ImportError
from gateway.__main__ import main
sys.exit(main(["acquire", sys.argv[1]]))
"""


def resident_mb(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def test_50_devices_are_read_in_90_mb_without_numpy_pandas_and_sqlalchemy(tmp_path: Path):
    lines, addresses = 10, range(1, 6)
    servers = [ModbusServer({n: Meter() for n in addresses}, clock=SystemClock()) for _ in range(lines)]
    ports = {f"L{n}": await server.start() for n, server in enumerate(servers)}
    site = fleet_site(tmp_path, ports, addresses)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", BLOCKED, str(site), env=environment)
    most = 0.0

    def all_read_often() -> bool:
        nonlocal most
        most = max(most, resident_mb(process.pid))
        status = acquire_status(tmp_path / "data")
        devices = [device for line in status.lines.values() for device in line["devices"].values()] if status else []
        return len(devices) == 50 and all(device["answered"] >= 3 * 5 for device in devices)

    try:
        assert await until_true(all_read_often, 60)
    finally:
        process.terminate()
        assert await process.wait() == 0
        for server in servers:
            await server.stop()
    print(f"VmRSS at most {most:.1f} MB")
    assert 10 < most <= MOST_MB
