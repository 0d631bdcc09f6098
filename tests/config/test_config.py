"""A sound site file becomes a site: paths, defaults, series and ratios."""

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.config import load_site, site_json_schema
from gateway.destinations import secret_of_sink
from gateway.domain.sites import AccountMethod, LineKind, MeteringLevel
from gateway.errors import ConfigError
from tests.profiles.conftest import SOUND as LAB_PROFILE

ROOT = Path(__file__).resolve().parents[2]


def test_a_sound_file_becomes_a_site(site_file: Callable[..., Path]) -> None:
    path = site_file()
    site = load_site(path)
    assert site.data_dir == path.parent / "data"
    assert (site.timezone, site.gateway_id, site.api_port) == ("Asia/Shanghai", "gw-1", 8460)
    assert site.lines["hall"].kind is LineKind.MODBUS_TCP
    assert (site.lines["hall"].port, site.lines["hall"].period_s) == (502, Decimal(10))
    assert (site.lines["broker"].port, site.lines["broker"].client_id) == (1883, "gw-1-broker")
    assert site.points["mill"].level is MeteringLevel.EQUIPMENT
    assert site.accounts[0].method is AccountMethod.METERED
    assert site.accounts[0].plus == ("main",)


def test_every_register_of_a_points_meter_is_a_series(site_file: Callable[..., Path]) -> None:
    site = load_site(site_file())
    # 12 registers of the ADW300, 13 of the SDM630, 2 of the gas message.
    assert len(site.series) == 12 + 13 + 2
    series = site.series["works/mill/active_energy_import"]
    assert (series.point, series.meter, series.profile) == ("mill", "E-2", "electricity/eastron_sdm630")
    assert series.resolution == Decimal("0.01")
    assert site.counting_series("gas").key == "works/gas/volume"
    assert list(site.series)[:1] == ["works/main/active_energy_import"]


def test_ratios_enter_the_resolution_of_totals_and_the_ratio_of_momentary_values(
    site_file: Callable[..., Path],
) -> None:
    path = site_file(
        "electricity/acrel_adw300", "electricity/lab_lm3", "device_address = 1", "ct_ratio = 300\npt_ratio = 100"
    )
    profile = path.parent / "profiles" / "electricity" / "lab_lm3.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(LAB_PROFILE, encoding="utf-8")
    site = load_site(path)
    total = site.series["works/main/active_energy_import"]
    assert total.resolution == Decimal(300)  # 0.01 kWh x 300 x 100
    assert total.register.resolution == Decimal("0.01")
    assert site.series["works/main/active_power"].ratio == Decimal(30000)


def test_a_files_line_lies_beside_the_site_file(site_file: Callable[..., Path]) -> None:
    path = site_file('kind = "mqtt"\nhost = "192.0.2.2"', 'kind = "files"\nfolder = "drop"\nmapping = "map.toml"')
    (path.parent / "map.toml").write_text("", encoding="utf-8")
    line = load_site(path).lines["broker"]
    assert (line.folder, line.mapping) == (path.parent / "drop", path.parent / "map.toml")


def test_reading_a_site_needs_neither_the_ledger_nor_numpy() -> None:
    program = (
        "import sys; import gateway.config, gateway.check; "
        "print([name for name in ('sqlalchemy', 'numpy', 'pandas', 'pymodbus') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_json_schema_names_every_table_and_refuses_other_keys() -> None:
    schema = site_json_schema()
    assert {"site", "enterprise", "line", "meter", "point", "account"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["MeterForm"]["properties"]["ct_ratio"]["type"] == "number"


DESTINATIONS = """\
[store]
kind = "influxdb"
url = "http://127.0.0.1:8086/"
database = "emg"
version = "1"

[journal]
keep_telemetry_months = 3

[witness]
kind = "mqtt"
host = "192.0.2.9"

[[sink]]
id = "vm"
kind = "victoriametrics"
url = "https://metrics.example.org"
enterprises = ["works"]

[[sink]]
id = "day-files"
kind = "files"
folder = "out"
format = "line-protocol"

[[sink]]
id = "ha"
kind = "mqtt"
host = "192.0.2.8"
discovery = "homeassistant"

[api]
"""


def test_store_sinks_and_witness_are_read_as_declared(site_file: Callable[..., Path]) -> None:
    path = site_file("[api]\n", DESTINATIONS)
    site = load_site(path)
    assert site.store.influx is not None
    assert (site.store.kind, site.store.influx.url, site.store.influx.timeout_s) == (
        "influxdb",
        "http://127.0.0.1:8086",
        10,
    )
    vm, files, ha = site.sinks.values()
    assert vm.influx is not None
    assert (vm.kind, vm.ack_lag_s, vm.influx.database, vm.enterprises) == ("victoriametrics", 30, "emg", ("works",))
    assert (files.folder, files.format) == (path.parent / "out", "line-protocol")
    assert ha.broker is not None
    assert (ha.broker.client_id, ha.discovery) == (f"{site.gateway_id}-ha", "homeassistant")
    assert (site.journal.checkpoint_every_s, site.journal.keep_telemetry_months) == (60, 3)
    assert site.journal.witness is not None
    assert (site.journal.witness.kind, site.journal.witness.topic) == ("mqtt", "emg/v1/checkpoints")


def test_secrets_come_from_the_environment_or_the_secrets_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMG_SECRETS_DIR", str(tmp_path))
    (tmp_path / "EMG_SINK_DAY_FILES_TOKEN").write_text("from a file\n", encoding="utf-8")
    assert secret_of_sink("day-files", "TOKEN") == "from a file"
    monkeypatch.setenv("EMG_SINK_DAY_FILES_TOKEN", "from outside")
    assert secret_of_sink("day-files", "TOKEN") == "from outside"
    assert secret_of_sink("other", "TOKEN") == ""
    (tmp_path / "EMG_SINK_OTHER_TOKEN").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="EMG_SINK_OTHER_TOKEN: found bytes that are no UTF-8"):
        secret_of_sink("other", "TOKEN")
