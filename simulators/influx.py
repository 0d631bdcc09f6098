"""The demo's InfluxDB: the one that is given, or Debian's influxd on loopback for as long as the demo runs."""

import asyncio
import shutil
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from gateway.errors import GatewayError
from simulators.broker import free_port

START_S = 20


class DemoStore(StrEnum):
    """Where the demo's gateway keeps its readings."""

    EMBEDDED = "embedded"
    INFLUXDB = "influxdb"


class WantedStore(NamedTuple):
    """The store asked for; of an InfluxDB its address ("" = start one here), version and organisation."""

    kind: DemoStore = DemoStore.EMBEDDED
    url: str = ""
    version: str = "1"
    org: str = ""


@asynccontextmanager
async def running_store(folder: Path, wanted: WantedStore, database: str) -> AsyncIterator[str]:
    """The `[store]` table of the site file, and its server for as long as the context lasts. Raises GatewayError.

    A server that is started here keeps its files in `folder`. The token of one that is given is EMG_STORE_TOKEN.
    """
    if wanted.kind is DemoStore.EMBEDDED:
        yield ""
    elif wanted.url:
        yield _table(wanted.url, database, wanted.version, wanted.org)
    else:
        async with _influxd(folder) as url:
            yield _table(url, database, "1", "")


def _table(url: str, database: str, version: str, org: str) -> str:
    keys = {"kind": "influxdb", "url": url, "database": database, "version": version, "org": org}
    return "\n".join(["[store]", *(f'{key} = "{value}"' for key, value in keys.items() if value), ""])


@asynccontextmanager
async def _influxd(folder: Path) -> AsyncIterator[str]:
    executable = shutil.which("influxd")
    if executable is None:
        raise GatewayError(
            "influxd is not installed; install the Debian package influxdb, name a server with --influx-url, "
            "or take --store embedded"
        )
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        executable,
        "run",
        "-config",
        str(_configuration(folder, port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the demo's: its gateway stores to the end
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await _answering(url)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _configuration(folder: Path, port: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "influxdb.conf"
    config.write_text(
        f"""reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
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
""",
        "utf-8",
    )
    return config


async def _answering(url: str) -> None:
    for _ in range(START_S * 10):
        try:
            await asyncio.to_thread(_ping, url)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            return
    raise GatewayError(f"influxd did not answer at {url} within {START_S} s")


def _ping(url: str) -> None:
    with urllib.request.urlopen(f"{url}/ping", timeout=2):  # noqa: S310 - our own child on loopback
        pass
