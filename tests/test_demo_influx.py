"""The demo on the real InfluxDB: it agrees with the truth, and the figures are those of the embedded store."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load_site
from gateway.domain.scopes import EVERYTHING
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_interval_store, open_reading_store
from tests.stores.influx_server import Influxd, need, running

pytestmark = pytest.mark.servers
EMG = (sys.executable, "-m", "gateway")


def emg(*words: str | Path, seconds: float = 200, **environment: str) -> subprocess.CompletedProcess[str]:
    command, env = [*EMG, *words], environment or None
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=env)


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    need("influxd", "influxdb")
    with running(Influxd(tmp_path_factory.mktemp("influxd"))) as server:
        yield server


@pytest.fixture(scope="module")
def ran(influxd: Influxd, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a short demo on InfluxDB, and its report."""
    folder = tmp_path_factory.mktemp("demo")
    words = ["--broker", "amqtt", "--store", "influxdb", "--influx-url", influxd.url]
    done = emg("demo", "--dir", folder, *words, "--headless", "--seconds", "3", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return folder, json.loads(done.stdout)


def test_everything_agrees_with_the_truth(ran, influxd):
    folder, report = ran
    assert report["ok"] is True
    assert report["truth"]["live"]["mismatches"] == 0
    assert report["truth"]["worst_difference_in_resolutions"] <= 1
    assert report["truth"]["tickets_kg"]["gateway"] == report["truth"]["tickets_kg"]["truth"] > 0
    assert report["enterprise"]["agrees"] is True
    assert report["enterprise"]["without_pedigree"] == []
    assert not (folder / "data" / "readings.db").exists()
    with open_reading_store(load_site(folder / "site.toml"), read_only=True) as store:
        stored = store.count(EVERYTHING) - store.duplicates(EVERYTHING)
        assert store.conflicts(EVERYTHING) == []
    (found,) = influxd.query("SELECT count(quality) FROM readings", database_of(folder))
    assert found["values"][0][1] == stored


def test_the_figures_are_those_of_the_embedded_store(ran, tmp_path):
    folder, report = ran
    shutil.copytree(
        folder, tmp_path / "twin", ignore=shutil.ignore_patterns("influx-store.db*", "intervals.db*", "copies.db*")
    )
    site_file = tmp_path / "twin" / "site.toml"
    site_file.write_text(re.sub(r"(?s)\[store\].*?(\n\[|\Z)", r"\1", site_file.read_text("utf-8")), "utf-8")
    twin, site = load_site(site_file), load_site(folder / "site.toml")
    assert (twin.store.influx, site.store.influx is None) == (None, False)
    with closing(open_reading_store(twin, read_only=False)) as store:
        drain_once(twin.data_dir / "journal", store)
    for one in (site_file, folder / "site.toml"):
        assert emg("settle", one, "--quiet").returncode == 0
    with open_interval_store(twin, read_only=True) as twins, open_interval_store(site, read_only=True) as own:
        assert own.series(EVERYTHING) == twins.series(EVERYTHING) != []
        for series in own.series(EVERYTHING):
            assert own.columns(EVERYTHING, series, 0, 2**62) == twins.columns(EVERYTHING, series, 0, 2**62)
            assert own.unallocated(EVERYTHING, series, 0, 2**62) == twins.unallocated(EVERYTHING, series, 0, 2**62)
    period = report["enterprise"]["period"]
    told = [
        emg("figures", "--site", one, "--enterprise", report["enterprise"]["id"], "--period", period, "--json")
        for one in (site_file, folder / "site.toml")
    ]
    assert [one.returncode for one in told] == [0, 0], told[0].stderr + told[1].stderr
    assert len(json.loads(told[0].stdout)) > 20
    assert stated(told[0]) == stated(told[1])


def stated(told: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Figures without the instant at which they were asked for."""
    return json.loads(re.sub(r"@\d{4}-[0-9T:.+Z-]+", "", told.stdout))


def test_an_influxd_that_is_not_installed_is_one_sentence(tmp_path):
    refused = emg("demo", "--dir", tmp_path, "--broker", "amqtt", "--store", "influxdb", "--headless", PATH="/nowhere")
    assert refused.returncode == 2
    assert "--influx-url" in refused.stderr
    assert "Traceback" not in refused.stderr


def database_of(folder: Path) -> str:
    found = load_site(folder / "site.toml").store.influx
    assert found is not None
    return found.database
