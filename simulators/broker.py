"""The demo's own MQTT broker on loopback: mosquitto where it is installed, otherwise amqtt inside this process."""

import asyncio
import logging
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from amqtt.broker import Broker

from gateway.errors import GatewayError

START_S = 10


class BrokerKind(StrEnum):
    """Which broker is wanted."""

    AUTO = "auto"  # mosquitto where it is installed, otherwise amqtt
    MOSQUITTO = "mosquitto"
    AMQTT = "amqtt"


class RunningBroker(NamedTuple):
    """Where it listens, the newest MQTT version it speaks, and what it is."""

    port: int
    version: str
    name: str


@asynccontextmanager
async def running_broker(folder: Path, kind: BrokerKind = BrokerKind.AUTO) -> AsyncIterator[RunningBroker]:
    """A broker for as long as the context lasts; mosquitto has its settings in `folder`. Raises GatewayError."""
    executable = None if kind is BrokerKind.AMQTT else mosquitto()
    if kind is BrokerKind.MOSQUITTO and executable is None:
        raise GatewayError("mosquitto is not installed; install the Debian package mosquitto, or take --broker amqtt")
    opened = _mosquitto(executable, folder) if executable else _amqtt()
    async with opened as broker:
        yield broker


def mosquitto() -> str | None:
    """The mosquitto of this machine; Debian puts it where only root's PATH leads."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def _mosquitto(executable: str, folder: Path) -> AsyncIterator[RunningBroker]:
    port = free_port()
    config = _configuration(folder, port)
    process = await asyncio.create_subprocess_exec(
        executable,
        "-c",
        str(config),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the demo's: its meters publish to the end
    )
    try:
        await _listening(port)
        yield RunningBroker(port, "5", "mosquitto")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _configuration(folder: Path, port: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",  # loopback only, and nothing but the demo's own meters
        "max_inflight_messages 1000",
        "max_queued_messages 100000",
        "persistence false",
        *(["user root"] if folder.owner() == "root" else []),
    ]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n", "utf-8")
    return config


@asynccontextmanager
async def _amqtt() -> AsyncIterator[RunningBroker]:
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    port = free_port()
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    try:
        yield RunningBroker(port, "3.1.1", "amqtt")
    finally:
        await broker.shutdown()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """True if nobody listens on this TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def _listening(port: int) -> None:
    for _ in range(START_S * 20):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise GatewayError(f"the MQTT broker did not open port {port} within {START_S} s")
