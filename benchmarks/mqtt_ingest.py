"""MQTT messages/s from a broker to the disk, beside a bare paho-mqtt loop on the same broker: `--json` writes a file.

Every side has a standing session at one mosquitto. While all are away, messages of QoS 1 pile up in each session
alike; then one side after another connects and takes its own pile, as fast as it can. Both speak the same MQTT (5,
with the same Receive Maximum, or --version 3.1.1). The bare loop counts messages in a callback, and the library
acknowledges them at once. Ours reads each message into typed readings (two a message), checks its count, journals it,
and acknowledges what is on the disk.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.mqtt_site import POINT, SITE

RESULTS = Path(__file__).parent / "results"
POINTS = 100
RECEIVE_MAXIMUM = 500
TOPIC = "emg/v1/works/north/W{}/reading"
START_US = 1_795_489_200_000_000  # 2026-11-24T03:00:00Z
PROTOCOLS = {"5": paho.MQTTv5, "3.1.1": paho.MQTTv311}
SIDES = ("bare paho loop", "emg")


def message(number: int) -> tuple[str, str]:
    """(topic, payload) number `number`: its point's turn, a second after the one before."""
    point, turn = number % POINTS, number // POINTS
    moment = datetime.fromtimestamp(START_US // 1_000_000 + turn, UTC)
    values = f'"volume":{turn}.{point:03d},"volume_flow":12.5'
    return TOPIC.format(point), f'{{"ts":"{moment:%Y-%m-%dT%H:%M:%S}.125Z","seq":{turn},"values":{{{values}}},"q":0}}'


class Mosquitto:
    """A broker of its own, with room for the whole pile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        from simulators.broker import free_port, mosquitto  # noqa: PLC0415 - only the measuring process needs it

        executable = mosquitto()
        if executable is None:
            raise SystemExit("mosquitto is not installed (apt-get install mosquitto)")
        self.port = free_port()
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence false"]
        lines += ["max_queued_messages 0", f"max_inflight_messages {RECEIVE_MAXIMUM}"]
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n", "utf-8")
        with (self.folder / "mosquitto.log").open("wb") as log:
            self._process = subprocess.Popen([executable, "-c", str(config)], stdout=log, stderr=log)
        for _ in range(200):
            with suppress(OSError):
                standing_session(self.port, "probe")
                return self
            time.sleep(0.05)
        raise SystemExit("mosquitto does not listen")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def client_of(name: str, version: str) -> paho.Client:
    clean = None if version == "5" else False
    kind = {"protocol": PROTOCOLS[version], "clean_session": clean, "reconnect_on_failure": False}
    return paho.Client(CallbackAPIVersion.VERSION2, client_id=name, **kind)


def connect(client: paho.Client, port: int, version: str) -> None:
    if version != "5":
        client.connect("127.0.0.1", port)
        return
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)


def standing_session(port: int, name: str, version: str = "5") -> None:
    """Leave a session at the broker that is subscribed to everything."""
    client = client_of(name, version)
    client.on_connect = lambda c, *_: c.subscribe("emg/v1/#", qos=1)
    client.on_subscribe = lambda c, *_: c.disconnect()
    connect(client, port, version)
    client.loop_forever()


def publish(port: int, count: int) -> None:
    """`count` messages; returns when the broker has acknowledged all."""
    client = client_of("publisher", "5")
    client.max_inflight_messages_set(1000)
    done = 0

    def on_publish(*_: object) -> None:
        nonlocal done
        done += 1

    client.on_publish = on_publish
    client.connect("127.0.0.1", port)
    client.loop_start()
    for number in range(count):
        topic, payload = message(number)
        client.publish(topic, payload, qos=1)
    while done < count:
        time.sleep(0.01)
    client.loop_stop()


def bare(port: int, name: str, version: str, count: int) -> None:
    """The bare loop: every message counted."""
    client = client_of(name, version)
    seen = 0

    def on_message(c: paho.Client, *_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            c.disconnect()

    client.on_message = on_message
    connect(client, port, version)
    client.loop_forever()


async def ours(port: int, name: str, version: str, count: int, folder: Path) -> None:
    """The line of a site, into a journal."""
    from collectors.acquire_line import read_pushed  # noqa: PLC0415 - the bare side does not load the product
    from collectors.recording import Recording  # noqa: PLC0415
    from collectors.slot_account import SlotAccount  # noqa: PLC0415
    from gateway.clock_watch import ClockWatch  # noqa: PLC0415
    from gateway.clocks import SystemClock  # noqa: PLC0415
    from gateway.config import load_site  # noqa: PLC0415
    from gateway.journal.writer import Journal  # noqa: PLC0415
    from gateway.profile import site_profiles  # noqa: PLC0415

    file = folder / "site.toml"
    file.write_text(
        SITE.format(port=port, client=name, version=version) + "".join(map(POINT.format, range(POINTS))), "utf-8"
    )
    site, clock, complete = load_site(file), SystemClock(), asyncio.Event()

    class Counting(Recording):
        durable = 0

        async def record(self, line, readings):
            await super().record(line, readings)
            self.durable += len(readings)
            if self.durable >= 2 * count:
                complete.set()

    journal = Journal.open(folder / "data" / "journal", gateway_id="gw", clock=clock)
    watch = ClockWatch(clock)
    recording = Counting(site, journal, SlotAccount({}), watch=watch, clock=clock, why="", sequences={})
    begin()
    reading = asyncio.create_task(read_pushed(site, site_profiles(site), site.lines["broker"], recording))
    await asyncio.wait([reading, asyncio.create_task(complete.wait())], return_when=asyncio.FIRST_COMPLETED)
    end(count, entries=journal.durable_sequence)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    await journal.close()


_began = (0.0, 0.0)


def begin() -> None:
    global _began  # noqa: PLW0603 - one measurement a process
    _began = time.perf_counter(), time.process_time()


def end(count: int, **more: int) -> None:
    seconds, cpu = time.perf_counter() - _began[0], time.process_time() - _began[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"per_s": count / seconds, "cpu_us": cpu / count * 1e6, "rss_mib": peak, **more}), flush=True)


def run_side(side: str, port: int, name: str, version: str, count: int) -> None:
    """One side in this process; prints its figures."""
    if side == SIDES[0]:
        begin()
        bare(port, name, version, count)
        end(count)
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(ours(port, name, version, count, Path(folder)))


def measure(messages: int, rounds: int, version: str) -> dict[str, object]:
    """All sides in turns, the order changing; medians."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        for number in range(rounds):
            for side in SIDES:
                standing_session(broker.port, f"{side[:3]}-{number}", version)
            publish(broker.port, messages)
            for side in SIDES if number % 2 else SIDES[::-1]:
                words = ["--side", side, "--version", version, "--port", str(broker.port), "--messages", str(messages)]
                command = [sys.executable, "-m", "benchmarks.mqtt_ingest", *words, "--client", f"{side[:3]}-{number}"]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[side].append(json.loads(done.stdout.splitlines()[-1]))
    sides = {
        side: {key: round(statistics.median(told[key] for told in tolds), 1) for key in tolds[0]}
        for side, tolds in found.items()
    }
    ratios = [one["per_s"] / two["per_s"] for one, two in zip(found[SIDES[1]], found[SIDES[0]], strict=True)]
    return {
        "version": version,
        "messages": messages,
        "rounds": rounds,
        "points": POINTS,
        "receive_maximum": RECEIVE_MAXIMUM,
        "payload_bytes": len(message(0)[1]),
        "sides": sides,
        "ours_to_bare_paho": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mqtt_ingest", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--version", choices=PROTOCOLS, default="5", help="of MQTT")
    parser.add_argument(
        "--json", action="store_true", help="also write benchmarks/results/mqtt-ingest-<version>-<date>.json"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.side:
        run_side(chosen.side, chosen.port, chosen.client, chosen.version, chosen.messages)
        return 0
    now = datetime.now(UTC)
    measured = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    found = {"measured": measured, "machine": machine(), **measure(chosen.messages, chosen.rounds, chosen.version)}
    print(f"{found['measured']}  {found['machine']}")
    for side, told in found["sides"].items():
        print(f"  {side:16} {told['per_s']:>10,.0f} messages/s  {told['cpu_us']:>6.1f} us  {told['rss_mib']:.0f} MiB")
    print(f"  ours / bare paho loop: {found['ours_to_bare_paho']} (target 0.7)")
    if chosen.json:
        chosen.results.mkdir(parents=True, exist_ok=True)
        path = chosen.results / f"mqtt-ingest-{chosen.version}-{now:%Y-%m-%d}.json"
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
