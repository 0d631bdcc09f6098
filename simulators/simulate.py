"""`emg simulate`: the meters of a lab on the wire, until told to stop."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gateway.clocks import Clock, SystemClock
from gateway.command_line import console, run_app
from gateway.domain.periods import midnight, to_datetime, to_instant
from gateway.domain.readings import MICROSECONDS
from gateway.errors import GatewayError
from simulators.files_writer import FilesWriter
from simulators.lab import FILES, MODBUS, MQTT, LabLine, load_lab
from simulators.load_shapes import QUARTER_S
from simulators.modbus_server import ModbusServer
from simulators.models import MODELS
from simulators.mqtt_publisher import MqttPublisher, topic_of
from simulators.plant import Plant
from simulators.truth import TruthLog, wiring


class FastClock:
    """A clock that runs `speed` times as fast as the machine's, from `start` [us, UTC] on."""

    def __init__(self, start: int, speed: float) -> None:
        self._start, self._speed, self._began = start, speed, time.monotonic_ns()

    def now(self) -> int:
        """The plant's instant now [us, UTC]."""
        return self._start + int((time.monotonic_ns() - self._began) * self._speed) // 1000

    def monotonic_ns(self) -> int:
        """Nanoseconds of plant time, never stepping back."""
        return self.now() * 1000

    async def sleep_until(self, instant: int) -> None:
        """Wait until the plant's clock shows `instant` [us, UTC]."""
        while (remaining := instant - self.now()) > 0:  # noqa: ASYNC110 - it is time itself that is awaited
            await asyncio.sleep(remaining / MICROSECONDS / self._speed)


@dataclass(slots=True)
class LabOnTheWire:
    """A running lab: its Modbus servers by line, its publishers and its file writer; `stop` ends them all."""

    servers: dict[str, ModbusServer] = field(default_factory=dict)
    publishers: dict[str, MqttPublisher] = field(default_factory=dict)
    writers: dict[str, FilesWriter] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def ports(self) -> dict[str, int]:
        """The port of each Modbus line."""
        return {line: server.port for line, server in self.servers.items()}

    async def stop(self) -> None:
        """Stop publishing and writing, close every port."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for server in self.servers.values():
            await server.stop()


async def put_on_wire(
    plant: Plant,
    clock: Clock,
    *,
    log: TruthLog | None = None,
    host: str = "127.0.0.1",
    broker: tuple[str, int] | None = None,
    broker_version: str = "5",
    drop: Path | None = None,
    files_since: int | None = None,
) -> LabOnTheWire:
    """Start every meter of a plant; returns when all ports are open. Raises OSError where a port is taken.

    `broker` goes before what the lab file says; `drop` holds the folders of the lines; tickets and surveys are
    written from `files_since` [us, UTC] on, else from now on.
    """
    lab = LabOnTheWire()
    for line in plant.lab.line:
        if line.kind == MODBUS:
            lab.servers[line.id] = _server(plant, line, clock, log, host)
    try:
        for server in lab.servers.values():
            await server.start()
    except OSError:
        await lab.stop()
        raise
    if log is not None:
        for wired in wiring(plant, lab.ports):
            log.series(wired)
    for line in plant.lab.line:
        if line.kind == MQTT:
            to_host, to_port = broker or (line.host, line.port)
            points = plant.lab.points_on(line.id)
            publisher = MqttPublisher(
                plant,
                points,
                clock=clock,
                log=log,
                host=to_host,
                port=to_port,
                period_s=line.period_s,
                version=broker_version,
            )
            lab.publishers[line.id] = publisher
            lab.tasks.append(asyncio.create_task(publisher.run()))
        elif line.kind == FILES:
            folder = (drop or Path("drop")) / line.folder
            writer = FilesWriter(
                plant, [each.id for each in plant.lab.points_on(line.id)], folder, clock=clock, log=log
            )
            lab.writers[line.id] = writer
            lab.tasks.append(asyncio.create_task(writer.run(since=files_since)))
    return lab


def _server(plant: Plant, line: LabLine, clock: Clock, log: TruthLog | None, host: str) -> ModbusServer:
    return ModbusServer(
        plant.meters_on(line.id),
        clock=clock,
        log=log,
        host=host,
        port=line.port,
        unknown_addresses=line.unknown_addresses,
    )


def meters_table(plant: Plant, lab: LabOnTheWire) -> list[dict[str, str | int]]:
    """Where each point is found: port and device address, topic, or folder."""
    rows: list[dict[str, str | int]] = []
    for point in plant.lab.point:
        line = plant.lab.line_named(point.line)
        where = {MODBUS: f"port {lab.ports.get(line.id)}, address {point.address}", MQTT: topic_of(plant, point.id)}
        title = MODELS[point.model].title if point.model else "files"
        row = {
            "point": point.id,
            "name": point.name_zh,
            "meter": title,
            "line": line.id,
            "where": where.get(line.kind, f"drop folder {line.folder}"),
        }
        rows.append({**row, "port": lab.ports.get(line.id, 0), "address": point.address})
    return rows


app = typer.Typer(add_completion=False)


@app.command()
def simulate(
    lab: Annotated[str, typer.Argument(help="a lab file, or the name of one that comes along: cement")],
    speed: Annotated[float, typer.Option(min=0.001, help="how many times as fast as real time")] = 1.0,
    truth: Annotated[Path | None, typer.Option(help="where everything the meters say is written down")] = None,
    seconds: Annotated[float | None, typer.Option(help="stop after this many real seconds")] = None,
    seed: Annotated[int | None, typer.Option(help="another seed, another truth")] = None,
    epoch: Annotated[str, typer.Option(help="when the registers showed their initial values, ISO 8601")] = "",
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    mqtt: Annotated[str, typer.Option(help="broker HOST:PORT, before the lab file's")] = "",
    drop: Annotated[Path, typer.Option(help="where the drop folders lie")] = Path("drop"),
    as_json: Annotated[bool, typer.Option("--json", help="print where the meters are as one JSON object")] = False,
) -> None:
    """Put the meters of a lab on the wire: Modbus TCP, MQTT and a drop folder. Ends with Ctrl-C."""
    declared = load_lab(lab, seed=seed)
    now = SystemClock().now()
    today = midnight(to_datetime(now, declared.lab.timezone).date(), declared.lab.timezone)
    plant = Plant(declared, epoch=_epoch(epoch, now) if epoch else today)
    clock: Clock = SystemClock() if speed == 1 else FastClock(now, speed)
    name, _, port = mqtt.partition(":")
    broker = (name, int(port) if port.isdigit() else 1883) if mqtt else None

    async def run() -> None:
        with contextlib.ExitStack() as open_files:
            log = open_files.enter_context(TruthLog(truth)) if truth else None
            if log is not None:
                log.lab(plant, lab)
            on_wire = await put_on_wire(plant, clock, log=log, host=host, broker=broker, drop=drop, files_since=today)
            try:
                _print(plant, on_wire, as_json=as_json)
                await _told_to_stop(seconds)
            finally:
                await on_wire.stop()

    try:
        asyncio.run(run())
    except OSError as error:
        raise GatewayError(f"the lab cannot go on the wire: {error}") from error


def _epoch(text: str, now: int) -> int:
    try:
        epoch = to_instant(datetime.fromisoformat(text))
    except ValueError as error:
        raise GatewayError(f"--epoch: {error}; write it as 2026-10-01T00:00:00+08:00") from error
    if epoch % (QUARTER_S * MICROSECONDS) or epoch > now:
        raise GatewayError(f"--epoch: {text} is not a quarter-hour boundary in the past")
    return epoch


async def _told_to_stop(seconds: float | None) -> None:
    """Until Ctrl-C, SIGTERM, or the time is over."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or not Unix
            loop.add_signal_handler(sign, stop.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _print(plant: Plant, lab: LabOnTheWire, *, as_json: bool) -> None:
    rows = meters_table(plant, lab)
    if as_json:
        head = {"lab": plant.lab.lab.name, "seed": plant.lab.lab.seed, "epoch": plant.epoch, "ports": lab.ports}
        sys.stdout.write(json.dumps({**head, "meters": rows}, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    table = Table("point", "name", "meter", "line", "where")
    for row in rows:
        table.add_row(*(str(row[column]) for column in ("point", "name", "meter", "line", "where")))
    console().print(table)


def simulate_main(argv: Sequence[str]) -> int:
    """The command `emg simulate`: 0 when it ended as asked, 2 when it could not run."""
    return run_app(app, argv, "emg simulate")
