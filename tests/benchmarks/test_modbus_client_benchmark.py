"""The Modbus client's benchmark runs, at a size that measures nothing, and says what it is meant to say."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.modbus_client import main

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def everywhere() -> Iterator[None]:
    """The benchmark keeps to one core; the tests after it do not."""
    if shutil.which("cc") is None or not Path("/usr/include/modbus/modbus.h").is_file():
        pytest.skip("needs a C compiler and libmodbus: apt-get install gcc libmodbus-dev")
    cores = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, cores)


def told(tmp_path: Path, *options: str) -> dict:
    results = tmp_path / "results"
    size = ["--rounds", "1", "--seconds", "0.02", "--json", "--results", str(results)]
    assert main([*size, *options]) == 0
    (path,) = results.glob("modbus-client-*.json")
    return json.loads(path.read_text())


def test_one_connection_beside_libmodbus_and_pymodbus(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found = told(tmp_path, "--words", "2,125")
    assert json.loads(capsys.readouterr().out) == found
    assert set(found["registers"]) == {"2", "125"}
    for one in found["registers"].values():
        assert set(one["sides"]) == {"libmodbus (C)", "pymodbus async", "ours", "ours, uvloop"}
        for name in ("ours_to_libmodbus", "ours_to_pymodbus_async", "cpu_to_libmodbus"):
            assert one[name] > 0
    assert {"cpu", "cores", "load_1min", "python", "system"} <= set(found["machine"])


def test_many_connections_beside_a_c_epoll_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found = told(tmp_path, "--words", "60", "--connections", "5")
    assert found["connections"] == 5
    assert found["registers"]["60"]["ours_to_epoll"] > 0
    assert "epoll (C)" in capsys.readouterr().out
