"""The real servers of Debian for tests: InfluxDB 1.6.7 and VictoriaMetrics, on free loopback ports, in own folders."""

import http.client
import itertools
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.domain.destinations import InfluxServer
from gateway.stores.influxdb import InfluxStore

_NUMBERS = itertools.count(1)
INFLUXD_CONFIG = """reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
  query-log-enabled = false
[coordinator]
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
  log-enabled = false
[subscriber]
  enabled = false
[continuous_queries]
  enabled = false
[logging]
  level = "warn"
"""


class RealServer:
    """A server process of Debian. `kill` is SIGKILL, after which `start` begins again in the same folder."""

    def __init__(self, folder: Path, command: list[str], port: int, ping: str) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._ping = ping
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            with suppress(OSError, http.client.HTTPException):
                if self.ask("GET", self._ping)[0] < 300:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"{self._command[0]} does not answer: {(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """A foreign client: one request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Influxd(RealServer):
    """Debian's influxd 1.6.7."""

    def __init__(self, folder: Path, *, auth: bool = False) -> None:
        port = free_port()
        config = folder / "influxdb.conf"
        text = INFLUXD_CONFIG.format(rpc=free_port(), port=port, folder=folder, auth=str(auth).lower())
        config.write_text(text, "utf-8")
        super().__init__(folder, ["influxd", "run", "-config", str(config)], port, "/ping")

    def query(self, statement: str, database: str = "") -> list[dict[str, Any]]:
        """The series of one InfluxQL statement, as the server gives them."""
        fields = urlencode({"q": statement, "db": database, "epoch": "u"})
        status, body = self.ask("POST", f"/query?{fields}")
        answer = json.loads(body)
        assert status == 200, answer
        assert "error" not in answer["results"][0], answer
        return answer["results"][0].get("series", [])

    def database(self, name: str) -> InfluxServer:
        """An empty database of this name, as the site file would declare it."""
        self.query(f'DROP DATABASE "{name}"')
        self.query(f'CREATE DATABASE "{name}"')
        return InfluxServer(url=self.url, database=name, version="1")


class InfluxStores:
    """Opens the InfluxDB store of a folder, with a database of its own; that of a folder that is gone is dropped."""

    def __init__(self, influxd: Influxd) -> None:
        self._influxd = influxd
        self._databases: dict[Path, InfluxServer] = {}

    def __call__(self, folder: Path, *, read_only: bool = False) -> InfluxStore:
        if folder not in self._databases:
            for gone in [known for known in self._databases if not known.exists()]:
                self._influxd.query(f'DROP DATABASE "{self._databases.pop(gone).database}"')
            self._databases[folder] = self._influxd.database(f"store-{next(_NUMBERS)}")
        return InfluxStore.open(folder / "influx-store.db", self._databases[folder], "", read_only=read_only)


class VictoriaMetrics(RealServer):
    """Debian's victoria-metrics."""

    def __init__(self, folder: Path, *options: str) -> None:
        port = free_port()
        command = ["victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder}/data"]
        super().__init__(folder, [*command, "-retentionPeriod=100y", "-loggerLevel=ERROR", *options], port, "/health")

    def server(self, database: str = "emg") -> InfluxServer:
        """This server, as the site file would declare it."""
        return InfluxServer(url=self.url, database=database, version="2")

    def export(self, selector: str) -> list[dict[str, Any]]:
        """Every series and sample of a selector, of what was flushed so far."""
        self.ask("GET", "/internal/force_flush")
        status, body = self.ask("GET", f"/api/v1/export?{urlencode({'match[]': selector})}")
        assert status == 200, body
        return [json.loads(line) for line in body.splitlines()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def need(command: str, package: str) -> None:
    """Skip, with the reason, where a Debian package is absent."""
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed (Debian package {package})")


@contextmanager
def running(server: RealServer) -> Iterator[RealServer]:
    """The server while the block runs; ended even when the block fails."""
    server.start()
    try:
        yield server
    finally:
        server.stop()
