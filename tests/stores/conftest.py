"""The real servers, each started once for all tests that ask for it."""

from collections.abc import Iterator

import pytest

from tests.stores.influx_server import Influxd, VictoriaMetrics, need, running


@pytest.fixture(scope="session")
def influxd(tmp_path_factory) -> Iterator[Influxd]:
    """Debian's InfluxDB 1.6.7; skips with a reason where it is absent."""
    need("influxd", "influxdb")
    with running(Influxd(tmp_path_factory.mktemp("influxd"))) as server:
        yield server


@pytest.fixture(scope="session")
def victoria_metrics(tmp_path_factory) -> Iterator[VictoriaMetrics]:
    """Debian's VictoriaMetrics; skips with a reason where it is absent."""
    need("victoria-metrics", "victoria-metrics")
    with running(VictoriaMetrics(tmp_path_factory.mktemp("victoria-metrics"))) as server:
        yield server
