"""A broker that is killed while meters publish at QoS 1 and `emg acquire` takes their readings.

The publisher knows what it sent. What the gateway has is read back from its journal and its store. What the gateway
acknowledged is read from the broker's own log: no word of the gateway's is taken for it.
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gateway.config import load_site
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store
from tests.mosquitto import Mosquitto

ROOT = Path(__file__).resolve().parents[2]
POINTS, RATE = 20, 1500  # messages a second, all together
PILE = 800  # more than may be on the way to the gateway: the rest waits in the broker's memory
FIRST_S = 1_577_836_800  # 2020-01-01T00:00:00Z: date -u -d 2020-01-01 +%s; message n of a point is n seconds later
CLIENT = "emg-gw"
SITE = """
[site]
name = "Works"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "gw"

[[enterprise]]
id = "works"
name_zh = "工厂"
name_en = "Works"

[[line]]
id = "broker"
kind = "mqtt"
host = "127.0.0.1"
port = {port}
client_id = "emg-gw"
"""
POINT = """
[[meter]]
id = "M{0}"
line = "broker"
profile = "water/emg_message_water"

[[point]]
id = "W{0}"
enterprise = "works"
name_zh = "水"
name_en = "water"
carrier = "water"
level = "enterprise"
role = "input"
counts = "volume"
meter = "M{0}"
"""
SENDING = re.compile(rf"Sending PUBLISH to {CLIENT} \(d\d, q1, r0, m(\d+), '([^']+)'")
ACKED = re.compile(rf"Received PUBACK from {CLIENT} \(Mid: (\d+)")


@dataclass
class Figures:
    """What the kills did. `lost`: messages that the broker took over and never brought, each within a recorded gap."""

    kills: int = 0
    published: int = 0
    journaled: int = 0
    repeated: int = 0  # brought again by the broker and journaled again; the store keeps one
    late: int = 0  # told as lost, brought later by a broker that changed the order, and told as found
    lost: int = 0
    acknowledged: int = 0  # by the gateway, as far as the log of the killed broker was written
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kills} kills, {self.published} published, {self.lost} lost by the broker, {self.wrong or 'none unaccounted'}"


class Meters:
    """Publishes with QoS 1 in a thread of its own; what it has sent follows from `sent`, the count of each point."""

    def __init__(self, port: int) -> None:
        self.sent = [0] * POINTS
        self.acked = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="meters", clean_session=False)
        self._client.suppress_exceptions = True
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(1000)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()

    def _on_publish(self, *_: object) -> None:
        self.acked += 1

    def _publish(self) -> None:
        while not self._ending.wait(POINTS / RATE):
            self.publish_all()

    def publish_all(self) -> None:
        """The next message of every point."""
        for point in range(POINTS):
            self.sent[point] = number = self.sent[point] + 1
            ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(FIRST_S + number))
            text = json.dumps({"ts": ts, "seq": number, "values": {"volume": value_of(point, number)}})
            self._client.publish(f"emg/v1/works/north/W{point}/reading", text, qos=1)

    def silence(self) -> None:
        """Send nothing more, and wait until the broker has taken over all there is."""
        self._ending.set()
        self._thread.join()
        until(lambda: self.acked >= sum(self.sent), 60, "the broker takes over what was published")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def value_of(point: int, number: int) -> float:
    """What a point shows [m3]: rising, another for every point."""
    return point * 1000 + number


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Gateway:
    """`emg acquire`, and what lies in its journal."""

    def __init__(self, folder: Path, port: int) -> None:
        self.site_file = folder / "site.toml"
        self.site_file.write_text(SITE.format(port=port) + "".join(map(POINT.format, range(POINTS))), "utf-8")
        self._log = (folder / "acquire.log").open("wb")
        command = [sys.executable, "-m", "gateway", "acquire", str(self.site_file)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=self._log)
        self._read = 0  # entries looked at
        self.readings: list[Reading] = []
        self.gaps: dict[str, set[int]] = defaultdict(set)
        self.late = 0

    def look(self) -> int:
        """Read on in the journal; how many readings there are."""
        journal = self.site_file.parent / "data" / "journal"
        for entry in entries(journal, after=self._read) if journal.is_dir() else ():
            self._read = entry.sequence
            self.readings += readings_of(entry)
            if entry.kind is EntryKind.GAP:
                assert entry.body["reason"] == "payload.lost"
                first, last = entry.body["numbers"]
                assert entry.body["slots"] == last - first - 1
                for series in entry.body["series"]:
                    self.gaps[series] |= set(range(first + 1, last))
            elif entry.kind is EntryKind.EVENT and entry.body["event"] == "payloads_came_late":
                for counter, ranges in entry.body["counts"].items():
                    late = {number for first, last in ranges for number in range(first, last + 1)}
                    assert late <= self.gaps[f"{counter}/volume"], "found what was never told as lost"
                    self.gaps[f"{counter}/volume"] -= late
                    self.late += len(late)
        return len(self.readings)

    def pause(self, *, on: bool) -> None:
        """Let it stand still, so that messages pile up at the broker."""
        self._process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def end(self) -> int:
        self.pause(on=False)
        self._process.terminate()
        code = self._process.wait(30)
        self._log.close()
        return code


def kill_broker(folder: Path, kills: int, progress: Callable[[int], None] = lambda _: None) -> Figures:
    """Kill the broker `kills` times under load, let all come to rest, and take account."""
    (folder / "broker").mkdir(parents=True)
    broker = Mosquitto(folder / "broker")
    # A killed broker comes back with what it wrote last; before the odd kills that is without this session of ours.
    broker.options += ["max_queued_messages 0", "autosave_interval 2", "log_type all"]
    broker.start()
    gateway = Gateway(folder, broker.port)
    meters = None
    figures = Figures()
    try:
        until(lambda: ACKED_SUBSCRIPTION in log_of(broker), 30, "the gateway subscribes")
        meters = Meters(broker.port)
        for number in range(1, kills + 1):
            before = gateway.look()
            until(lambda before=before: gateway.look() > before + RATE // 8, 60, "readings are journaled again")
            if number % 2 == 0:
                written = log_of(broker).count(WRITTEN)
                until(
                    lambda written=written: log_of(broker).count(WRITTEN) > written, 60, "the broker writes its store"
                )
            gateway.pause(on=True)
            until(lambda told=meters.acked: meters.acked > told + PILE, 60, "messages pile up at the broker")
            broker.kill()
            gateway.pause(on=False)
            broker.start()
            figures.kills = number
            progress(number)
        before = gateway.look()
        until(lambda: gateway.look() > before, 60, "readings are journaled again")
        meters.silence()
        meters.publish_all()  # a loss shows with the next message
        until(lambda: gateway.look() >= 0 and newest(gateway) == meters.sent, 60, "the last messages are journaled")
    finally:
        code = gateway.end()
        if meters is not None:
            meters.close()
        broker.stop()
    gateway.look()
    assert code == 0
    take_account(figures, gateway, meters, log_of(broker))
    return figures


WRITTEN = "Saving in-memory database"
ACKED_SUBSCRIPTION = f"Sending SUBACK to {CLIENT}"


def log_of(broker: Mosquitto) -> str:
    return (broker.folder / "mosquitto.log").read_text("utf-8", errors="replace")


def newest(gateway: Gateway) -> list[int]:
    """The newest number of every point that is journaled."""
    found = dict.fromkeys(range(POINTS), 0)
    for reading in gateway.readings:
        point, number = place(reading.series, reading.instant)
        found[point] = max(found[point], number)
    return list(found.values())


def place(series: str, instant: int) -> tuple[int, int]:
    """(point, number of the message) of a reading."""
    return int(series.split("/")[1][1:]), instant // 1_000_000 - FIRST_S


def take_account(figures: Figures, gateway: Gateway, meters: Meters, log: str) -> None:
    """Compare what was sent, journaled, stored, told as lost, and acknowledged."""
    journaled = Counter(place(reading.series, reading.instant) for reading in gateway.readings)
    figures.published, figures.journaled = sum(meters.sent), len(journaled)
    figures.late = gateway.late
    figures.repeated = sum(journaled.values()) - len(journaled)
    for reading in gateway.readings:
        if reading.value != 1000 * value_of(*place(reading.series, reading.instant)):  # counts of 0.001 m3
            figures.wrong.append(f"altered: {reading}")
    acknowledged = acknowledged_by_topic(log)
    figures.acknowledged = sum(acknowledged.values())
    site = load_site(gateway.site_file)
    with contextlib.closing(open_reading_store(site, read_only=False)) as store:
        drain_once(site.data_dir / "journal", store)
        for point in range(POINTS):
            series = f"works/W{point}/volume"
            sent = set(range(1, meters.sent[point] + 1))
            have = {number for other, number in journaled if other == point}
            missing, told = sent - have, gateway.gaps[series]
            figures.lost += len(missing)
            if missing != told:
                figures.wrong.append(
                    f"{series}: missing and not told {len(missing - told)}, told and there {len(told & have)}"
                )
            stored = store.readings(EVERYTHING, series, 0, 2**62)
            if sorted(place(series, one.instant)[1] for one in stored) != sorted(have):
                figures.wrong.append(f"{series}: the store holds {len(stored)} of {len(have)}")
            brought = sum(times for (other, _), times in journaled.items() if other == point)
            if acknowledged[f"emg/v1/works/north/W{point}/reading"] > brought:
                figures.wrong.append(f"{series}: more was acknowledged than journaled")


def acknowledged_by_topic(log: str) -> Counter[str]:
    """How many messages of each topic the gateway has acknowledged, as the broker heard it."""
    topics: dict[str, str] = {}
    found: Counter[str] = Counter()
    for line in log.splitlines():
        if sending := SENDING.search(line):
            topics[sending[1]] = sending[2]
        elif (acked := ACKED.search(line)) and acked[1] in topics:
            found[topics.pop(acked[1])] += 1
    return found
