"""A small cement works and its empty ledger."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.sites import (
    Account,
    AccountMethod,
    Enterprise,
    Line,
    LineKind,
    Meter,
    MeteringLevel,
    MeteringPoint,
    PointRole,
    Site,
)
from gateway.ledger.ledger import Ledger
from gateway.ledger.opening import open_ledger


@pytest.fixture
def site(tmp_path: Path) -> Site:
    def point(name: str, enterprise: str, meter: str, parent: str = "") -> MeteringPoint:
        return MeteringPoint(
            id=name,
            enterprise=enterprise,
            name_zh="进线",
            name_en="incomer",
            carrier=EnergyCarrier.ELECTRICITY,
            level=MeteringLevel.ENTERPRISE,
            role=PointRole.INPUT,
            counts="active_energy_import",
            meter=meter,
            parent=parent,
        )

    def account(enterprise: str, name: str) -> Account:
        return Account(
            enterprise=enterprise,
            carrier=EnergyCarrier.ELECTRICITY,
            conversion="electricity_equivalent",
            method=AccountMethod.METERED,
            plus=(name,),
            ncv=Decimal("3600.0"),
        )

    return Site(
        name="works",
        timezone="Asia/Shanghai",
        file=tmp_path / "site.toml",
        data_dir=tmp_path / "data",
        gateway_id="gw-1",
        enterprises={
            "works": Enterprise(id="works", name_zh="水泥厂", name_en="cement works"),
            "brick": Enterprise(id="brick", name_zh="砖厂", name_en="brick works"),
        },
        lines={"bus": Line(id="bus", kind=LineKind.MODBUS_TCP)},
        meters={
            "M-1": Meter(id="M-1", line="bus", profile="electricity/none_such", serial="0117"),
            "M-2": Meter(id="M-2", line="bus", profile="electricity/none_such"),
        },
        points={"main": point("main", "works", "M-1"), "kiln": point("kiln", "brick", "M-2")},
        accounts=(account("works", "main"), account("brick", "kiln")),
    )


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file without a row; copying it is quicker than migrating for every test."""
    folder = tmp_path_factory.mktemp("empty")
    bare = Site(
        name="",
        timezone="UTC",
        file=folder / "site.toml",
        data_dir=folder,
        gateway_id="",
        enterprises={},
        lines={},
        meters={},
        points={},
        accounts=(),
    )
    open_ledger(bare, read_only=False).close()
    return folder / "ledger.db"


@pytest.fixture
def ledger(site: Site, empty_ledger: Path) -> Iterator[Ledger]:
    site.data_dir.mkdir()
    shutil.copy(empty_ledger, site.data_dir)
    with closing(open_ledger(site, read_only=False)) as opened:
        yield opened
