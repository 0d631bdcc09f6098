"""SIGKILL of the MQTT broker under load: what we acknowledged is kept, nothing is doubled, what it lost is told."""

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.killed_broker import kill_broker

KILLS = int(os.environ.get("EMG_BROKER_KILLS", "4"))


@pytest.mark.servers
def test_a_killed_broker_costs_what_it_lost_and_that_is_told(tmp_path: Path) -> None:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    figures = kill_broker(tmp_path, KILLS)
    print(figures)
    assert figures.wrong == []
    assert figures.kills == KILLS
    assert figures.lost > 0, "the broker lost nothing: the kills did not reach what it held"
    assert figures.acknowledged > 0
    assert figures.journaled + figures.lost == figures.published
