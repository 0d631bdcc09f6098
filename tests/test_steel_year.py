"""A year of a real plant, replayed through a simulated meter over real Modbus on an injected clock, collected, journaled, settled."""

import asyncio
import csv
from contextlib import aclosing, closing
from decimal import Decimal
from pathlib import Path

import pytest

from analytics.rollups import rollup
from analytics.settle import settle_once
from collectors.polling import polled_devices
from collectors.polling_collector import PollingCollector
from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.domain.periods import midnight, period
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_interval_store, open_reading_store
from simulators.meter import MeterFromIntervals
from simulators.modbus_server import ModbusServer

# Monthly totals [kWh] as published beside the data set.
MONTHS = ["126238.29", "91497.34", "80230.41", "78769.80", "79059.28", "65404.64", "81674.41", "68559.43", "57883.07", "84665.65", "86217.61", "59436.78"]  # fmt: skip
ZONE = "Asia/Seoul"
MWH_PER_KWH = 1_000_000  # the simulator's fine unit of energy is the milliwatt-hour
SITE = """
[site]
name = "steel"
timezone = "Asia/Seoul"
data_dir = "data"
gateway_id = "replay"
[[enterprise]]
id = "steel"
name_zh = "钢厂"
name_en = "steel plant"
[[line]]
id = "bus"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
period_s = 900
[[meter]]
id = "M"
line = "bus"
profile = "{profile}"
device_address = 1
[[point]]
id = "main"
enterprise = "steel"
name_zh = "总表"
name_en = "main"
carrier = "electricity"
level = "enterprise"
role = "input"
counts = "active_energy_import"
meter = "M"
"""


def quarter_hours_mwh(real_data: Path) -> list[int]:
    """The year's amounts [mWh] in the order of the file, which is that of time."""
    with (real_data / "steel_industry_2018.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == 35040
    return [int(Decimal(row[1]) * MWH_PER_KWH) for row in rows]


async def replay(site: Site, amounts: list[int], server: ModbusServer, clock: ReplayClock, start: int) -> None:
    """Poll every quarter-hour boundary of the year over the wire, journal each answer."""
    line = site.lines["bus"]
    end = start + len(amounts) * 900 * MICROSECONDS
    journal = Journal.open(site.data_dir / "journal", gateway_id="replay", clock=clock)
    waiting: list[Reading] = []
    async with aclosing(PollingCollector(line, polled_devices(site, line), clock).readings()) as readings:
        async for batch in readings:
            waiting += [reading for reading in batch if reading.series.endswith("active_energy_import")]
            done = batch[0].instant >= end
            if done or len(waiting) >= 96:
                await journal.append(EntryKind.READINGS, readings_body("bus", waiting))
                waiting = []
            if done:
                break
    await journal.close()
    assert server.answered >= len(amounts)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("model", "profile", "initial"),
    [
        pytest.param("acrel_adw300", "electricity/acrel_adw300", 0, id="integer-total-of-0.01-kWh"),
        pytest.param("eastron_sdm630", "electricity/eastron_sdm630", 0, id="float32-total"),
    ],
)
async def test_the_replayed_year_gives_the_published_months(
    real_data: Path, tmp_path: Path, model: str, profile: str, initial: int
) -> None:
    amounts = quarter_hours_mwh(real_data)
    start = midnight(period("2018", ZONE).first_day, ZONE)
    meter = MeterFromIntervals(model, amounts, start=start, main="active_energy_import", initial=initial)
    clock = ReplayClock(start - MICROSECONDS)
    async with ModbusServer({1: meter}, clock=clock) as server:
        path = tmp_path / "site.toml"
        path.write_text(SITE.format(port=server.port, profile=profile), "utf-8")
        site = load_site(path)
        await replay(site, amounts, server, clock, start)
    found = await asyncio.to_thread(settled_months, site, clock)
    series = site.counting_series("main")
    resolution = series.resolution
    assert resolution is not None
    for row, published in zip(found, MONTHS, strict=True):
        assert row.counts is not None
        apart = abs(row.counts * resolution - Decimal(published))
        # One count for the integer total; for float32 one ulp of the total (0.0625 kWh above 524,288 kWh).
        assert apart <= max(resolution, row.step * resolution), (row.label, row.counts * resolution, published)
        assert row.coverage == 1
    assert verify_journal(site.data_dir / "journal").ok
    if model == "acrel_adw300":
        assert {row.step for row in found} == {1}
    else:
        # The year ends at 959,636.71 kWh: float32 moves there by 0.0625 kWh, and the figure's uncertainty is told so.
        assert found[-1].step * resolution == Decimal("0.07") or found[-1].step * resolution >= Decimal("0.0625")


def settled_months(site: Site, clock: ReplayClock) -> list:  # type: ignore[type-arg]  # rollups of analytics
    with (
        closing(open_reading_store(site, read_only=False)) as readings,
        closing(open_interval_store(site, read_only=False)) as intervals,
    ):
        drain_once(site.data_dir / "journal", readings)
        settle_once(site, readings, intervals, clock=clock, scope=EVERYTHING)
        key = site.counting_series("main").key
        return rollup(intervals, EVERYTHING, key, period("2018", ZONE), by="month")
