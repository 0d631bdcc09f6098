"""What the acquiring process counts is what the meters saw; it is told in a form that Prometheus takes."""

import asyncio
import http.client
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.acquire import acquire
from collectors.counts_text import metrics_text
from collectors.line_counts import AcquireCounts, Histogram, LineCounts
from collectors.schedule import RESTED
from gateway.acquire_socket import COUNTS, METRICS, NAME, ask_acquire
from gateway.clock_state import ClockState
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Site
from gateway.errors import ConfigError
from gateway.line_status import acquire_status
from gateway.status import status_main
from simulators.modbus_server import ModbusServer
from tests.collectors.fleet import fleet_site
from tests.collectors.test_modbus_polling import WORDS
from tests.test_killed_acquire import until_true

T0 = 1_790_000_000_000_000
SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+\n')


@given(st.lists(st.integers(0, 10**8)), st.lists(st.integers(1, 10**7), min_size=1, unique=True))
def test_a_histogram_counts_each_value_at_the_first_bound_that_is_not_below_it(values: list[int], bounds: list[int]):
    bounds.sort()
    histogram = Histogram(bounds)
    for value in values:
        histogram.add(value)
    for place, bound in enumerate(bounds):
        assert sum(histogram.counts[: place + 1]) == sum(value <= bound for value in values)
    assert (histogram.number, histogram.total) == (len(values), sum(values))


def readings(instants: Sequence[int], *, value: float | None = 1.0) -> list[Reading]:
    quality = Quality.MISSING if value is None else Quality.GOOD
    return [Reading(f"e/p/q{n}", instant, value, quality, "") for n, instant in enumerate(instants)]


@pytest.mark.parametrize(("offset", "on_time"), [(0, 1), (600_000, 1), (600_001, 0), (-600_000, 1), (-600_001, 0)])
def test_a_sample_is_on_time_within_1_percent_of_the_period(offset: int, on_time: int):
    # PTB-A 50.8: 1 % of 60 s is 0.6 s; the farthest block of the device counts
    counts = LineCounts()
    counts.serve([("m", 1, ["e/p/q0", "e/p/q1"])])
    counts.slot(T0, 60_000_000, readings([T0, T0 + offset]), RESTED)
    counts.slot(T0, 60_000_000, readings([T0, T0], value=None), RESTED.after_failure(T0))
    device = counts.devices["m"]
    assert (device.read, device.on_time, device.empty, device.patience.failures) == (1, on_time, 1, 1)
    assert counts.jitter.total == abs(offset)


def test_what_was_counted_of_devices_that_stay_on_the_line_goes_on():
    counts = LineCounts()
    counts.serve([("a", 1, ["e/a/q"]), ("b", 2, ["e/b/q"])])
    counts.answer(1, 100)
    counts.answer(2, 100)
    counts.serve([("a", 7, ["e/a/q"])])
    counts.answer(7, 100)
    counts.answer(2, 100)  # nobody has this address any more
    assert {meter: device.answered for meter, device in counts.devices.items()} == {"a": 2}
    counts.pass_over(3, ["e/a/q", "e/b/q"])
    assert counts.devices["a"].passed == 3


class Meter:
    def __init__(self, missing: int = -1) -> None:
        self.missing = missing
        self.answered = self.refused = 0

    def read(self, table: str, address: int, count: int, instant: int) -> bytes | None:
        if address == self.missing:
            self.refused += 1
            return None
        self.answered += 1
        return WORDS[address]


@asynccontextmanager
async def acquired(folder: Path, meters: dict[int, Meter], *, more: str = "") -> AsyncIterator[Site]:
    """A site whose meters are read ten times a second; 9 is an address where nobody is."""
    async with ModbusServer(meters, clock=SystemClock()) as server:
        site = load_site(fleet_site(folder, {"bus": server.port}, [*meters, 9], more=more))
        stop = asyncio.Event()
        running = asyncio.create_task(acquire(site, SystemClock(), stop))
        try:
            yield site
        finally:
            stop.set()
            await running


async def test_questions_are_counted_as_the_meters_saw_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    meters = {1: Meter(), 2: Meter(missing=40)}
    async with acquired(tmp_path, meters) as site:

        def seen() -> bool:
            status = acquire_status(site.data_dir)
            return status is not None and (status.lines["bus"]["newest_age_s"] is not None) and meters[1].answered > 5

        assert await until_true(seen, 20)
        status = await asyncio.to_thread(acquire_status, site.data_dir)
        text = await asyncio.to_thread(ask_acquire, site.data_dir, METRICS)
        answered, refused = meters[1].answered, meters[2].refused
        code = await asyncio.to_thread(status_main, [str(site.file)])
        assert code in {0, 1}
    assert status is not None
    line = status.lines["bus"]
    one, two, nobody = line["devices"].values()
    assert answered - 3 <= one["answered"] <= answered  # it is asked while we look
    assert (one["silent"], one["garbled"], one["refused"]) == (0, 0, {})
    assert one["slots_on_time"] + one["slots_late"] >= 2
    assert set(two["refused"]) == {"2"}
    assert refused - 1 <= two["refused"]["2"] <= refused
    assert (nobody["answered"], nobody["silent"] > 0, nobody["failures_in_a_row"] > 0) == (0, True, True)
    assert nobody["newest_age_s"] is None
    assert 0 < one["newest_age_s"] < 30
    assert sum(line["round_trip"]["counts"]) == one["answered"] + two["answered"]
    assert line["readings"] > 0
    assert sum(status.process["commit"]["counts"]) > 0
    assert status.process["clock"] in {"synchronised", "unsynchronised", "unknown"}
    assert text is not None
    assert 'emg_device_polls_total{line="bus",meter="bus-1",result="answered"}' in text
    shown = capsys.readouterr().out
    assert "bus-9" in shown
    assert "Clock of the machine" in shown
    assert ask_acquire(site.data_dir, METRICS) is None  # nobody runs any more
    assert not (site.data_dir / NAME).exists()


def full_counts() -> AcquireCounts:
    """Counts of which every metric has something to tell."""
    counts = AcquireCounts(since=T0)
    line = counts.line("bus")
    line.serve([("m-1", 1, ["e/p/q0"]), ("m.2", 2, [])])
    line.answer(1, 1234)
    line.store(readings([T0]))
    line.slot(T0, 1_000_000, readings([T0 + 20_000]), RESTED.after_failure(T0))
    line.devices["m.2"].refused[2] += 1
    counts.line("broker").store(readings([T0]))
    counts.commit.add(10)
    return counts


@pytest.mark.servers
@pytest.mark.parametrize("counts", [full_counts(), AcquireCounts(since=T0)], ids=["full", "empty"])
def test_prometheus_takes_it_and_finds_nothing_to_mend(counts: AcquireCounts):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt-get install prometheus")
    text = "".join(metrics_text(counts, ClockState("synchronised", 15), trusted=True, now=T0 + 1))
    check = [promtool, "check", "metrics"]
    said = subprocess.run(check, input=text, check=False, capture_output=True, text=True, timeout=20)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    spoilt = subprocess.run(check, input=text.replace("gauge", "gage", 1), check=False, capture_output=True, text=True)
    assert spoilt.returncode != 0  # it does look


def test_every_line_of_the_text_is_a_sample_or_a_comment():
    text = "".join(metrics_text(full_counts(), ClockState("unknown"), trusted=False, now=T0 + 1))
    for line in text.splitlines(keepends=True):
        assert line.startswith(("# HELP emg_", "# TYPE emg_")) or SAMPLE.fullmatch(line), line
    assert 'emg_clock_state{state="unknown"} 1\n' in text
    assert 'emg_line_round_trip_seconds_bucket{line="bus",le="0.001"} 0\n' in text
    assert 'emg_line_round_trip_seconds_bucket{line="bus",le="0.0025"} 1\n' in text
    assert 'emg_line_round_trip_seconds_sum{line="bus"} 0.001234\n' in text
    assert 'emg_device_slots_total{line="bus",meter="m-1",outcome="late"} 1\n' in text  # 20 ms of 1 s
    assert 'emg_device_backoff_seconds{line="bus",meter="m-1"} 1.999999\n' in text
    assert 'emg_line_newest_reading_timestamp_seconds{line="broker"} 1790000000.0\n' in text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def asked(port: int, method: str, path: str, host: str = "localhost") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


async def test_it_listens_only_where_the_site_file_says_so_and_only_to_this_machine(tmp_path: Path):
    port = free_port()
    async with acquired(tmp_path, {1: Meter()}, more=f'[metrics]\nlisten = "127.0.0.1:{port}"\n') as site:
        assert await until_true((site.data_dir / NAME).exists, 20)
        status, kind, text = await asyncio.to_thread(asked, port, "GET", METRICS)
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "emg_acquire_running 1\n" in text
        assert (await asyncio.to_thread(asked, port, "GET", COUNTS))[0] == 200
        assert (await asyncio.to_thread(asked, port, "HEAD", METRICS))[::2] == (200, "")
        assert (await asyncio.to_thread(asked, port, "GET", "/etc/passwd"))[0] == 404
        assert (await asyncio.to_thread(asked, port, "POST", METRICS))[0] == 405
        assert (await asyncio.to_thread(asked, port, "GET", METRICS, "evil.example:9464"))[0] == 421
        assert (await asyncio.to_thread(asked, port, "GET", METRICS, "[::1"))[0] == 421
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 20_000)  # no head ends there
        assert await reader.read() == b""
        writer.close()
        assert (site.data_dir / NAME).stat().st_mode & 0o007 == 0
    with pytest.raises(ConnectionRefusedError):
        asked(port, "GET", METRICS)


async def test_a_port_that_is_taken_does_not_stop_the_acquiring(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with acquired(tmp_path, {1: Meter()}, more=f'[metrics]\nlisten = "127.0.0.1:{port}"\n') as site:
            assert await until_true((site.data_dir / NAME).exists, 20)
            assert await asyncio.to_thread(ask_acquire, site.data_dir, METRICS)
    assert "acquisition goes on without it" in caplog.text


async def test_a_data_folder_with_a_long_name_has_a_socket_too(tmp_path: Path):
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    folder.mkdir(parents=True)
    async with acquired(folder, {1: Meter()}) as site:
        assert len(str(site.data_dir / NAME)) > 150
        assert await until_true((site.data_dir / NAME).exists, 20)
        assert await asyncio.to_thread(ask_acquire, site.data_dir, COUNTS)


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9464", "9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "u@127.0.0.1:1"]
)
def test_metrics_are_offered_to_this_machine_alone(tmp_path: Path, listen: str):
    with pytest.raises(ConfigError) as refused:
        load_site(fleet_site(tmp_path, {"bus": 1502}, [1], more=f'[metrics]\nlisten = "{listen}"\n'))
    assert "metrics.listen" in str(refused.value)
    assert "a loopback address with its port, like 127.0.0.1:9464" in str(refused.value)
