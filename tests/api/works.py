"""Two small enterprises on real files: journal, drain, store, settle, ledger, and the application that serves them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from analytics.settle import settle_once
from analytics.standards.tables import load_tables
from api.access import Installation
from api.app import create_app
from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.domain.certificates import Certificate, CertificateKind
from gateway.domain.instruments import AccuracyClass, Instrument
from gateway.domain.periods import to_instant
from gateway.domain.production import Production
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.writer import Journal
from gateway.ledger.opening import open_ledger
from gateway.ledger.topology import record_topology
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_interval_store, open_reading_store

DAY = "2026-10-15"
QUARTER = 900_000_000
SCRIPT = "<script>alert('x')</script>"

SITE = """
[site]
name = "two works"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "gw-1"
[api]
port = 0
[[enterprise]]
id = "alpha"
name_zh = "阿尔法厂"
name_en = "Alpha works"
[[enterprise]]
id = "beta"
name_zh = "贝塔厂"
name_en = "Beta mill"
[[line]]
id = "broker"
kind = "mqtt"
host = "127.0.0.1"
""" + "".join(
    f"""
[[meter]]
id = "{meter}"
line = "broker"
profile = "{profile}"
[[point]]
id = "{point}"
enterprise = "{enterprise}"
name_zh = "{name}"
name_en = "{name}"
carrier = "{carrier}"
level = "enterprise"
role = "input"
counts = "{counts}"
meter = "{meter}"
"""
    for enterprise, point, meter, name, carrier, profile, counts in (
        ("alpha", "alpha-gas", "ALPHA-G1", SCRIPT, "gas", "gas/emg_message_gas", "volume"),
        ("alpha", "alpha-grid", "ALPHA-E1", "alpha grid", "electricity", "electricity/emg_message_electricity", "active_energy_import"),
        ("beta", "beta-grid", "BETA-E1", "beta grid", "electricity", "electricity/emg_message_electricity", "active_energy_import"),
    )
) + """
[[point]]
id = "alpha-ratio"
enterprise = "alpha"
name_zh = "比"
name_en = "ratio"
formula = "alpha-grid / alpha-gas"
unit = "kWh/m3"
[[account]]
enterprise = "alpha"
carrier = "gas"
conversion = "natural_gas"
method = "metered"
plus = ["alpha-gas"]
ncv = 35544
ncv_source = "supplier's analysis [kJ/m3]"
[[account]]
enterprise = "alpha"
carrier = "electricity"
conversion = "electricity_equivalent"
method = "metered"
plus = ["alpha-grid"]
[[account]]
enterprise = "beta"
carrier = "electricity"
conversion = "electricity_equivalent"
method = "metered"
plus = ["beta-grid"]
"""  # fmt: skip


def at(text: str) -> int:
    """An instant [us, UTC] of the plant's wall clock."""
    return to_instant(datetime.fromisoformat(f"{text}+08:00"))


NOW = "2026-10-16T00:00:05"  # five seconds after the last reading


def site_in(folder: Path) -> Site:
    """The two enterprises as a site file that was read; nothing is acquired yet."""
    file = folder / "site.toml"
    file.write_text(SITE, encoding="utf-8")
    return load_site(file)


def measured_site(folder: Path) -> Site:
    """The site with one day of quarter-hourly totals, settled, and with what people recorded."""
    site = site_in(folder)
    acquire_day(site)
    settle(site)
    record(site)
    return site


def acquire_day(site: Site) -> None:
    """97 totals of each point: alpha-gas moves 1000, alpha-grid 5000, beta-grid 700 counts of 0.01 in a quarter-hour."""
    start = at(f"{DAY}T00:00")
    steps = {
        "alpha/alpha-gas/volume": 1000,
        "alpha/alpha-grid/active_energy_import": 5000,
        "beta/beta-grid/active_energy_import": 700,
    }
    with Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=ReplayClock(start)) as journal:
        for n in range(97):
            batch = [Reading(series, start + n * QUARTER, n * step) for series, step in steps.items()]
            journal.append_now(EntryKind.READINGS, readings_body("broker", batch))
        power = [Reading("alpha/alpha-grid/active_power", at(f"{DAY}T23:59:55"), 230.25)]
        journal.append_now(EntryKind.READINGS, readings_body("broker", power))
    with open_reading_store(site, read_only=False) as store:
        drain_once(site.data_dir / "journal", store)


def settle(site: Site) -> None:
    """Readings to intervals, once."""
    with open_reading_store(site, read_only=False) as store, open_interval_store(site, read_only=False) as intervals:
        settle_once(site, store, intervals, clock=ReplayClock(at(NOW)), scope=EVERYTHING)


def record(site: Site) -> None:
    """Topology; the class of one gas meter; a certificate of each enterprise; 200 t of cement on the day."""
    when = {"recorded_at": at(f"{DAY}T08:00"), "recorded_by": "tester", "reason": "small works"}
    with closing(open_ledger(site, read_only=False)) as ledger:
        record_topology(site, ledger, recorded_at=at(f"{DAY}T07:00"), recorded_by="site file")
        with ledger.booking(EVERYTHING, **when) as booking:
            booking.record(Instrument(
                id="ALPHA-G1", enterprise="alpha", point="alpha-gas", name_zh="气表", name_en="gas meter", kind="test meter", maker="m",
                model="x", serial="1", accuracy_class=AccuracyClass("1"), measuring_range="", place="",
            ), valid_from=date(2026, 1, 1))  # fmt: skip
            for enterprise, meter, until in (
                ("alpha", "ALPHA-G1", date(2027, 5, 31)),
                ("beta", "BETA-E1", date(2026, 9, 30)),
            ):
                booking.record(Certificate(
                    number=f"{enterprise}-cert", enterprise=enterprise, instrument=meter, kind=CertificateKind.VERIFICATION,
                    laboratory="lab", performed_on=date(2025, 6, 1), valid_until=until, conforms=True,
                ))  # fmt: skip
            booking.record(Production(
                enterprise="alpha", product="cement", name_zh="水泥", name_en="cement", unit="t", first_day=date(2026, 10, 15),
                day_after=date(2026, 10, 16), quantity=Decimal(200),
            ))  # fmt: skip


def application(site: Site, now: str = NOW) -> FastAPI:
    """The real application over the site's files, at a moment of plant time."""
    return create_app(Installation(site=site, clock=ReplayClock(at(now)), tables=load_tables()))


@dataclass(frozen=True)
class Caller:
    """Somebody who asks an application over HTTP, without a socket in between."""

    app: FastAPI

    async def get(self, url: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        """One answer; an error that nobody foresaw is an answer too (500), as a server gives it."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8460") as client:
            return await client.get(url, params=params or None, headers=headers)

    async def json(self, url: str, **params: Any) -> Any:
        """The document of a good answer."""
        answer = await self.get(url, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()


def routes(app: FastAPI) -> Iterator[tuple[str, list[str]]]:
    """Every path of the interface with the names of its parameters."""
    for path, operations in app.openapi()["paths"].items():
        assert list(operations) == ["get"], f"{path}: the interface only reads"
        yield path, [parameter["name"] for parameter in operations["get"].get("parameters", [])]
