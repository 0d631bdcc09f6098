"""The demo as a newcomer starts it: its promises, its second start, and the commands on what it leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulators.checking import compare_live
from simulators.demo_process import only_demo
from simulators.truth import read_truth

EMG = (sys.executable, "-m", "gateway")
CARRIERS = {"coal", "oil", "water", "electricity", "gas"}


def emg(*words: str | Path, seconds: float = 200) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EMG, *words], capture_output=True, text=True, timeout=seconds, check=False)


def demo(*words: str | Path) -> subprocess.Popen[str]:
    command = [*EMG, "demo", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@dataclass
class Demo:
    """A folder in which the demo ran for eight seconds with the broker that needs no installation."""

    folder: Path
    report: dict[str, Any]

    @property
    def site(self) -> Path:
        return self.folder / "site.toml"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    done = emg("demo", "--dir", folder, "--broker", "amqtt", "--headless", "--seconds", "8", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "MQTT broker: amqtt" in done.stderr
    return Demo(folder, json.loads(done.stdout))


def test_everything_that_the_demo_compares_agrees_with_the_truth(ran: Demo) -> None:
    report, truth = ran.report, ran.report["truth"]
    assert report["ok"] is True
    assert set(report["carriers"]) >= CARRIERS
    assert report["meters"] >= 14
    assert report["journal_verified"] is True
    # What came in between the two questions may still be on its way to the store.
    assert 0 < report["readings_stored"] <= report["readings_journaled"]
    assert truth["worst_difference_in_resolutions"] <= 1
    assert truth["points_compared"] >= 14
    assert truth["tickets_kg"]["gateway"] == truth["tickets_kg"]["truth"] > 0


def test_what_came_over_both_wires_is_what_the_meters_said(ran: Demo) -> None:
    live = ran.report["truth"]["live"]
    assert live["mismatches"] == 0
    assert live["readings_compared"] >= 200
    assert live["by_wire"]["modbus"] > 0
    assert live["by_wire"]["mqtt"] > 0


def test_the_enterprise_has_its_figures_and_every_figure_its_pedigree(ran: Demo) -> None:
    enterprise = ran.report["enterprise"]
    assert re.fullmatch(r"\d{4}-\d\d", enterprise["period"])
    assert enterprise["agrees"] is True
    assert enterprise["comprehensive_energy_kgce"] == pytest.approx(enterprise["true_kgce"], rel=1e-5)
    assert 0 < enterprise["expanded_uncertainty_kgce"] < enterprise["comprehensive_energy_kgce"] / 20
    assert enterprise["intensity_kgce_per_t"] > 0
    assert 0 < enterprise["instruments_in_date"] <= enterprise["instruments"]
    assert enterprise["without_pedigree"] == []
    assert {"/", "/api/v1/figures", "/api/v1/readings", "/api/v1/intervals"} <= set(ran.report["api"]["checked"])


def test_a_planted_lie_is_found(ran: Demo) -> None:
    truth = read_truth(ran.folder / "truth.jsonl")
    message = truth.publishes[-1]
    (series, wired), *_ = [(s, w) for s, w in truth.series.items() if w.point == message.point and not w.port]
    instant, text = message.instant, message.values[wired.quantity]
    # The register shows steps of 0.01; a total is held in counts of them.
    honest = {"series": series, "instant": instant, "value": round(float(text) * 100), "words": ""}
    assert compare_live([honest], truth).mismatches == []
    for lie in (honest | {"value": honest["value"] + 1}, honest | {"instant": instant + 1}):
        found = compare_live([honest, lie], truth)
        assert found.compared == 2
        assert [(each.series, each.instant) for each in found.mismatches] == [(series, lie["instant"])]


def test_the_commands_work_on_what_the_demo_left(ran: Demo) -> None:
    period = ran.report["enterprise"]["period"]
    assert emg("check", ran.site).returncode == 0
    verified = emg("verify", ran.folder / "data" / "journal", "--json")
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["ok"] is True
    status = emg("status", ran.site, "--json")
    points = json.loads(status.stdout)["points"]
    assert len(points) == ran.report["points"]
    assert status.returncode == (1 if any(point["late"] for point in points) else 0)
    figures = emg("figures", "--site", ran.site, "--enterprise", "cement-1", "--period", period, "--json")
    assert figures.returncode == 0, figures.stderr
    assert f"comprehensive_energy/cement-1/{period}/total" in figures.stdout


def test_a_figure_unfolds_down_to_readings_and_certificates(ran: Demo) -> None:
    total = f"comprehensive_energy/cement-1/{ran.report['enterprise']['period']}/total"
    pedigree = emg("pedigree", total, "--site", ran.site, "--json")
    assert pedigree.returncode == 0, pedigree.stderr
    assert '"digest"' in pedigree.stdout
    assert '"certificate"' in pedigree.stdout


def test_meters_that_are_not_on_the_wire_are_a_finding_and_not_a_trace(ran: Demo) -> None:
    read = emg("read", ran.site)
    assert read.returncode in {1, 2}
    assert "Traceback" not in read.stderr + read.stdout
    assert read.stderr + read.stdout


def test_a_second_start_is_live_again_within_fifteen_seconds(ran: Demo) -> None:
    began = time.monotonic()
    with demo("--dir", ran.folder, "--headless", "--seconds", "3", "--json") as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "every meter read" in line:
                break
        live_after = time.monotonic() - began
        out, rest = process.communicate(timeout=150)
    assert process.returncode == 0, "".join(said) + rest
    assert live_after < 15
    report = json.loads(out)
    assert report["ok"] is True
    # One quarter-hour of 27 totals at most: only what passed since the first start.
    assert report["history_readings_handed_over"] < 200


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with only_demo(tmp_path):
        refused = emg("demo", "--dir", tmp_path, "--headless", "--seconds", "1")
    assert refused.returncode == 2
    assert "another demo is running there" in refused.stderr
    assert str(os.getpid()) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "site.toml"
    own.write_text("# mine\n")
    refused = emg("demo", "--dir", tmp_path, "--fresh", "--headless", "--seconds", "1")
    assert refused.returncode == 2
    assert "was not made by the demo" in refused.stderr
    assert own.read_text() == "# mine\n"


def test_the_past_of_another_plant_is_not_continued(tmp_path: Path) -> None:
    state = {"epoch": 0, "installed_on": "2026-01-01", "history_until": 0, "api_port": 1, "made_of": "another"}
    (tmp_path / "state.json").write_text(json.dumps(state))
    refused = emg("demo", "--dir", tmp_path, "--headless", "--seconds", "1")
    assert refused.returncode == 2
    assert "--fresh" in refused.stderr


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A demo that has put its plant on the wire."""
    with demo("--dir", tmp_path, "--broker", "amqtt", "--headless", "--seconds", "30") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "on the wire" in line:
                break
        yield process, tmp_path
        if process.poll() is None:
            process.kill()


def test_ctrl_c_during_the_start_is_one_sentence(starting: tuple[subprocess.Popen[str], Path]) -> None:
    process, _ = starting
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=100)
    assert process.returncode == 2
    assert out == ""
    assert "stopped before every meter was read" in said
    assert "Traceback" not in said


def test_a_gateway_that_dies_is_one_sentence(starting: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = starting
    assert process.stderr is not None
    for line in process.stderr:
        if "serving" in line or "every meter read" in line:
            break
    gateway = child_of(process.pid, "run")
    os.kill(gateway, signal.SIGTERM)
    out, said = process.communicate(timeout=100)
    assert process.returncode == 2
    assert out == ""
    assert "ended by itself with exit code" in said
    assert "Traceback" not in said
    with only_demo(folder):  # the folder is free again
        pass


def child_of(parent: int, word: str) -> int:
    """The child of a process that runs `emg WORD`."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if word in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
            return int(child)
    raise LookupError(f"process {parent} runs no emg {word}")
