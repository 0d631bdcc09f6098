"""The MQTT benchmark runs, at a size that measures nothing, and says what it is meant to say."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.mqtt_ingest import main


@pytest.mark.servers
def test_it_runs_and_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    assert main(["--messages", "600", "--rounds", "1", "--json", "--results", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("mqtt-ingest-*.json")
    told = json.loads(path.read_text())
    assert set(told["sides"]) == {"bare paho loop", "emg"}
    assert all(side["per_s"] > 0 for side in told["sides"].values())
    assert told["ours_to_bare_paho"] > 0
    assert "ours / bare paho loop" in capsys.readouterr().out
