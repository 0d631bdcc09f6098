"""The demo as a newcomer starts it: its promises, its second start, and the commands on what it leaves behind."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

EMG = (sys.executable, "-m", "gateway")


def emg(*words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EMG, *words], capture_output=True, text=True, timeout=seconds, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def test_the_demo_agrees_with_its_truth_and_its_folder_can_be_worked_with(folder: Path) -> None:
    done = emg("demo", "--dir", str(folder), "--broker", "amqtt", "--headless", "--seconds", "8", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert report["ok"] is True
    assert {"coal", "oil", "water", "electricity", "gas"} <= set(report["carriers"])
    assert report["journal_verified"] is True
    assert report["meters"] >= 14
    assert report["readings_stored"] == report["readings_journaled"]
    assert report["truth"]["worst_difference_in_resolutions"] <= 1
    live = report["truth"]["live"]
    assert live["mismatches"] == 0
    assert live["readings_compared"] >= 200
    assert live["by_wire"]["modbus"] > 0
    assert live["by_wire"]["mqtt"] > 0
    assert report["enterprise"]["without_pedigree"] == []
    site = str(folder / "site.toml")
    assert emg("check", site).returncode == 0
    assert emg("verify", str(folder / "data" / "journal")).returncode == 0
    period = report["enterprise"]["period"]
    figures = emg("figures", "--site", site, "--enterprise", "cement-1", "--period", period, "--json")
    assert figures.returncode == 0, figures.stderr
    total = f"comprehensive_energy/cement-1/{period}/total"
    pedigree = emg("pedigree", total, "--site", site, "--json")
    assert pedigree.returncode == 0, pedigree.stderr
    assert '"digest"' in pedigree.stdout
    assert '"certificate"' in pedigree.stdout
    assert emg("status", site).returncode in {0, 1}  # 1: nobody reads the meters any more


def test_a_second_start_continues_the_same_plant(folder: Path) -> None:
    done = emg("demo", "--dir", str(folder), "--headless", "--seconds", "3", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["history_readings_handed_over"] < 1000  # only what passed since the first start


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = emg("demo", "--dir", str(tmp_path), "--headless", "--seconds", "1")
    assert refused.returncode == 2
    assert "another demo is running there" in refused.stderr
