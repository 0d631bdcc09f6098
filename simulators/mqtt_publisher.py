"""Simulated meters that publish their readings over MQTT, and write down what they said and what was taken over."""

import asyncio
import contextlib
import json
from collections.abc import Sequence

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.clocks import Clock
from gateway.domain.periods import to_datetime
from gateway.domain.readings import MICROSECONDS
from simulators.lab import LabPoint
from simulators.plant import Plant
from simulators.truth import Publish, TruthLog


def topic_of(plant: Plant, point: str) -> str:
    """The topic on which a point publishes."""
    return f"emg/v1/{plant.lab.enterprise.id}/{plant.lab.lab.site}/{point}/reading"


def time_text(instant: int) -> str:
    """An instant [us, UTC] as the messages write it: ISO 8601 with Z, with microseconds only where there are any."""
    return to_datetime(instant).isoformat().replace("+00:00", "Z")


def payload(instant: int, sequence: int, values: dict[str, str]) -> bytes:
    """One message. Values are JSON numbers with exactly the digits that the register shows."""
    numbers = ",".join(f"{json.dumps(quantity)}:{text}" for quantity, text in values.items())
    return f'{{"ts":"{time_text(instant)}","seq":{sequence},"values":{{{numbers}}}}}'.encode()


class MqttPublisher:
    """The MQTT meters of one line: each publishes with QoS 1 at every whole period of the clock.

    `version` is "5" or "3.1.1". A broker that is away is waited for; messages made meanwhile are sent when it is back.
    """

    def __init__(
        self,
        plant: Plant,
        points: Sequence[LabPoint],
        *,
        clock: Clock,
        log: TruthLog | None = None,
        host: str = "127.0.0.1",
        port: int = 1883,
        period_s: int = 1,
        client_id: str = "emg-simulated-meters",
        username: str = "",
        password: str = "",
        version: str = "5",
    ) -> None:
        self.published = self.acknowledged = 0
        self._plant, self._points = plant, points
        self._clock, self._log, self._period = clock, log, period_s * MICROSECONDS
        self._host, self._port = host, port
        self._sequences = dict.fromkeys((point.id for point in points), 0)
        self._waiting: dict[int, tuple[str, int]] = {}
        self._idle = asyncio.Event()  # set whenever the broker has taken over all there is
        self._loop: asyncio.AbstractEventLoop | None = None
        spoken = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=spoken)
        self._client.suppress_exceptions = True  # an exception in a callback would end the network thread
        self._client.reconnect_delay_set(1, 5)
        self._client.on_publish = self._on_publish
        if username:
            self._client.username_pw_set(username, password)

    async def run(self) -> None:
        """Publish at every whole period until cancelled; then wait a second for what is still on the way."""
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(self._host, self._port, keepalive=30)
        self._client.loop_start()
        try:
            instant = self._clock.now() // self._period * self._period
            while True:
                instant = max(instant + self._period, self._clock.now() // self._period * self._period)
                await self._clock.sleep_until(instant)
                self.publish(instant)
        finally:
            await self._finish()

    def publish(self, instant: int) -> None:
        """Publish what every point shows at `instant` [us, UTC]."""
        for point in self._points:
            meter = self._plant.meters[point.id]
            self._sequences[point.id] += 1
            sequence = self._sequences[point.id]
            values = {shown.quantity: meter.text_at(shown.quantity, instant) for shown in meter.model.fields}
            topic = topic_of(self._plant, point.id)
            if self._log is not None:
                self._log.publish(Publish(self._clock.now(), point.id, instant, sequence, values), topic)
            info = self._client.publish(topic, payload(instant, sequence, values), qos=1)
            self.published += 1
            if info.rc in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN}:
                self._waiting[info.mid] = (point.id, sequence)

    def _on_publish(
        self, client: paho.Client, userdata: object, mid: int, reason: ReasonCode, properties: Properties
    ) -> None:
        """From the network thread: over to the loop, which has noted the message id by then."""
        del client, userdata, properties
        if self._loop is not None and not self._loop.is_closed() and not reason.is_failure:
            self._loop.call_soon_threadsafe(self._taken_over, mid)

    def _taken_over(self, mid: int) -> None:
        found = self._waiting.pop(mid, None)
        if found is not None:
            self.acknowledged += 1
            if not self._waiting:
                self._idle.set()
            if self._log is not None:
                self._log.puback(self._clock.now(), *found)

    async def _finish(self) -> None:
        if self._waiting and self._client.is_connected():
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), 1)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
