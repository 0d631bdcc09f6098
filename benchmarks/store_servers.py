"""The sides of the store benchmark that are servers: InfluxDB 1.6.7 and VictoriaMetrics, started and stopped here.

Both get raw line protocol over one kept-alive HTTP connection, the lines made as text with series prefixes made before.
"""

import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.store_sides import DAY, Answer, Plant
from gateway.contracts import Delivery

_CONFIG = """reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[logging]
  level = "error"
"""


class Server:
    """A server of this benchmark: its process, its folder, one connection to it."""

    def __init__(self, folder: Path, plant: Plant, command: Callable[[int, int], list[str]], ready: str) -> None:
        self.folder, self.plant = folder, plant
        port, rpc = _free_port(), _free_port()
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command(port, rpc), stdout=log, stderr=log)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        for _ in range(300):
            try:
                if self.ask("GET", ready)[0] < 300:
                    return
            except OSError:
                self._connection.close()
            time.sleep(0.1)
        raise SystemExit(f"{folder}: the server does not answer; see {folder / 'log'}")

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """(status, body) of one request."""
        self._connection.request(method, path, body)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def send(self, path: str, lines: Sequence[str]) -> None:
        """Write lines. Raises SystemExit when the server refuses them."""
        status, told = self.ask("POST", path, "\n".join(lines).encode())
        if status >= 300:
            raise SystemExit(f"{self.folder.name}: {status} {told[:300]!r}")

    def size(self) -> int:
        """Of all its files, after it was stopped: then it has written what it held in memory."""
        self.close()
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def close(self) -> None:
        """Stop it; closing twice does no harm."""
        self._connection.close()
        self._process.terminate()
        self._process.wait(60)


class Influx(Server):
    """InfluxDB 1.6.7."""

    def __init__(self, folder: Path, plant: Plant) -> None:
        def command(port: int, rpc: int) -> list[str]:
            config = folder / "influxd.conf"
            config.write_text(_CONFIG.format(folder=folder, port=port, rpc=rpc))
            return ["influxd", "-config", str(config)]

        super().__init__(folder, plant, command, "/ping")
        self.ask("POST", "/query?" + urlencode({"q": 'CREATE DATABASE "b" WITH DURATION INF SHARD DURATION 7d'}))
        self._prefix = {name: f"energy,series={name} value=" for name in plant.series}

    def write(self, deliveries: Sequence[Delivery]) -> None:
        prefix = self._prefix
        lines = [f"{prefix[name]}{value}i {at}" for d in deliveries for name, at, value, _, _, _ in d.readings]
        self.send("/write?db=b&precision=u", lines)

    def settle(self) -> None:
        """Nothing: it moves what it has from its log by itself, after a while."""

    def reads(self) -> dict[str, Callable[[], Answer]]:
        plant = self.plant

        def ask(query: str) -> list[dict]:
            status, told = self.ask("GET", "/query?" + urlencode({"db": "b", "epoch": "u", "q": query}))
            if status != 200 or b'"error"' in told[:300]:
                raise SystemExit(f"influxd: {told[:300]!r}")
            return json.loads(told)["results"][0]["series"]

        def latest() -> Answer:
            found = ask('SELECT last("value") FROM energy GROUP BY "series"')
            return len(found), float(sum(one["values"][0][1] for one in found))

        def series() -> Answer:
            values = ask(f'SELECT "value" FROM energy WHERE "series" = \'{plant.one}\'')[0]["values"]
            return len(values), float(values[-1][1])

        def daily() -> Answer:
            since, until = plant.first_day * DAY, (plant.last_day + 1) * DAY
            found = ask(
                f'SELECT max("value") - min("value") FROM energy WHERE time >= {since}u AND time < {until}u '
                'GROUP BY "series", time(1d) fill(none)'
            )
            counted = [value for one in found for _, value in one["values"]]
            return len(counted), float(sum(counted))

        def total() -> Answer:
            [_, *numbers] = ask('SELECT count("value"), min("value"), max("value") FROM energy')[0]["values"][0]
            return tuple(map(float, numbers))

        return {"latest": latest, "series": series, "daily": daily, "total": total}


class Victoria(Server):
    """VictoriaMetrics 1.79 (Debian): keeps float64 values and milliseconds."""

    def __init__(self, folder: Path, plant: Plant, last: int) -> None:
        def command(port: int, _: int) -> list[str]:
            data, address = f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}"
            limits = ["-retentionPeriod=100y", "-search.maxUniqueTimeseries=1000000", "-search.disableCache"]
            return ["victoria-metrics", data, address, *limits, "-loggerLevel=ERROR"]

        super().__init__(folder, plant, command, "/health")
        self._prefix = {name: f"energy,series={name} value=" for name in plant.series}
        self._last_s = last // 1_000_000

    def write(self, deliveries: Sequence[Delivery]) -> None:
        prefix = self._prefix
        lines = [f"{prefix[name]}{value} {at // 1000}" for d in deliveries for name, at, value, _, _, _ in d.readings]
        self.send("/write?precision=ms", lines)

    def settle(self) -> None:
        self.ask("GET", "/internal/force_flush")

    def reads(self) -> dict[str, Callable[[], Answer]]:
        plant = self.plant

        def ask(path: str, **words: object) -> list[dict]:
            status, told = self.ask("GET", f"/api/v1/{path}?{urlencode(words)}")
            if status != 200:
                raise SystemExit(f"victoria-metrics: {told[:300]!r}")
            return json.loads(told)["data"]["result"]

        def instant(query: str) -> float:
            return float(ask("query", query=query, time=self._last_s)[0]["value"][1])

        def latest() -> Answer:
            found = ask("query", query="energy_value", time=self._last_s)
            return len(found), sum(float(one["value"][1]) for one in found)

        def series() -> Answer:
            _, told = self.ask(
                "GET", "/api/v1/export?" + urlencode({"match[]": f'energy_value{{series="{plant.one}"}}'})
            )
            found = json.loads(told.splitlines()[0])
            return len(found["values"]), float(found["values"][-1])

        def daily() -> Answer:
            first, last = ((day + 1) * 86_400 - 1 for day in (plant.first_day, plant.last_day))
            query = "max_over_time(energy_value[1d]) - min_over_time(energy_value[1d])"
            found = ask("query_range", query=query, start=first, end=last, step=86_400, nocache=1)
            counted = [float(value) for one in found for _, value in one["values"]]
            return len(counted), sum(counted)

        def total() -> Answer:
            over = "(energy_value[20y])"
            return (
                instant(f"sum(count_over_time{over})"),
                instant(f"min(min_over_time{over})"),
                instant(f"max(max_over_time{over})"),
            )

        return {"latest": latest, "series": series, "daily": daily, "total": total}


def installed(program: str) -> bool:
    """True if this server can be started here."""
    return shutil.which(program) is not None


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
