"""Our collector reads a server that is not ours: written in C on Debian's libmodbus."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from collectors.polling import polled_devices
from collectors.polling_collector import PollingCollector
from gateway.clocks import ReplayClock, SystemClock
from gateway.domain.readings import Quality, Reading, series_key
from gateway.domain.sites import Meter, Series, Site
from gateway.profile import load_profile
from tests.collectors.modbus_lab import SECOND, lab_site

SOURCE = Path(__file__).with_name("libmodbus_server.c")
T0 = 1_790_000_400 * SECOND

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None or not Path("/usr/include/modbus/modbus.h").is_file():
        pytest.skip("needs a C compiler and libmodbus: apt-get install gcc libmodbus-dev")
    program = tmp_path_factory.mktemp("libmodbus") / "server"
    command = ["cc", "-Wall", "-I/usr/include/modbus", str(SOURCE), "-o", str(program), "-lmodbus"]
    subprocess.run(command, check=True, timeout=60)
    return program


@contextmanager
def running(program: Path, *registers: str) -> Iterator[int]:
    pipe = subprocess.PIPE
    with subprocess.Popen([str(program), *registers], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.fixture
def serve(server_program: Path) -> Iterator[Callable[..., int]]:
    with ExitStack() as stack:
        yield lambda *registers: stack.enter_context(running(server_program, *registers))


async def first_list(site: Site, clock) -> dict[str, Reading]:
    line = site.lines["bus"]
    async with aclosing(PollingCollector(line, polled_devices(site, line), clock).readings()) as lists:
        return {reading.series.split("/")[2]: reading for reading in await anext(lists)}


async def test_what_a_libmodbus_server_shows_is_what_we_read(tmp_path: Path, serve):
    port = serve("10:i32:123456", "12:i32:99999999", "14:f32:123.456", "40:u16:4998", "60:f32:-17.25")
    read = await first_list(lab_site(tmp_path, [1], port=port, period_s="0.05"), SystemClock())
    assert read["active_energy_import"].value == 123456
    assert read["active_energy_export"].value == 99999999
    # 123.456 as float32 is 0x42F6E979: significand 0xF6E979 = 16181625, exponent 0x85 - 127 - 23 = -17
    assert read["active_power"].value == 16181625 / 2**17
    assert read["active_power"].words == bytes.fromhex("42F6E979")
    assert read["frequency"].value == 49.98
    assert read["temperature"].value == -17.25
    assert all(reading.quality is Quality.GOOD for reading in read.values())


def with_profile(site: Site, name: str) -> Site:
    """The laboratory site with another meter model at its only point."""
    profile = load_profile(name)
    site.meters["m1"] = Meter(id="m1", line="bus", profile=name, device_address=1)
    site.series.clear()
    for quantity, found in profile.registers.items():
        key = series_key("e", "p1", quantity)
        site.series[key] = Series(
            key=key,
            enterprise="e",
            point="p1",
            meter="m1",
            profile=name,
            register=found.register,
            resolution=found.register.resolution,
        )
    return site


async def test_an_adw300_with_integer_totals_is_read_over_libmodbus(tmp_path: Path, serve):
    # interfaces of the maker: +Ea at 62, -Ea at 64, i32 x 0.01 kWh; voltages u16 x 0.1 V from 20
    port = serve("62:i32:1234567", "64:i32:89", "20:u16:2301")
    site = with_profile(lab_site(tmp_path, [1], port=port), "electricity/acrel_adw300")
    read = await first_list(site, ReplayClock(T0))
    imported = site.series["e/p1/active_energy_import"]
    assert read["active_energy_import"].value * imported.resolution == Decimal("12345.67")
    assert read["voltage_l1"].value == 230.1
    assert read["active_energy_import"].instant == T0  # a replayed clock stands still while the wire is asked


async def test_an_sdm630_with_float_totals_is_read_over_libmodbus_within_its_float(tmp_path: Path, serve):
    # import at 0x0048 = 72, float32 kWh, input registers; 131072.02 lies between steps of 1/64 kWh there
    port = serve("72:f32:131072.02", "52:f32:1500")
    site = with_profile(lab_site(tmp_path, [1], port=port), "electricity/eastron_sdm630")
    read = await first_list(site, ReplayClock(T0))
    imported = site.series["e/p1/active_energy_import"]
    assert abs(read["active_energy_import"].value * imported.resolution - Decimal("131072.02")) <= Decimal(1) / 64
    assert read["active_power"].value == 1500.0
