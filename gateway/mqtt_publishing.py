"""Publishing to an MQTT broker: a message counts as published when the broker has acknowledged it, not before.

Source: MQTT Version 5.0, OASIS Standard - §3.4.2.1 PUBACK reason codes, §4.3.2 QoS 1, §4.9 flow control;
MQTT Version 3.1.1, OASIS Standard - §4.3.2.
"""

import select
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import NoReturn, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.domain.destinations import BrokerAddress
from gateway.errors import SinkBusy, SinkDenied, StoreError
from gateway.mqtt_connection import OPEN_WITHIN_S, PROTOCOLS
from gateway.socket_watch import buffered
from gateway.tls_context import tls_context

KEEPALIVE_S = 60
ACKNOWLEDGED_WITHIN_S = 15  # counted anew with every acknowledgement
ON_THE_WAY = 20  # messages at once, unless the broker permits fewer
# Bad user name or password, not authorised, banned, bad authentication method.
DENIED = {0x86, 0x87, 0x8A, 0x8C}
# Server unavailable, server busy, shutting down, message rate too high, quota exceeded, connection rate exceeded.
BUSY = {0x88, 0x89, 0x8B, 0x96, 0x97, 0x9F}


class Publisher:
    """Publishes with QoS 1; every call returns when the broker has acknowledged, or raises.

    Has no thread and no session at the broker: a call that raises leaves no connection behind, and the next one
    opens a new one. What was on the way then may reach the broker twice. For one thread at a time.
    """

    def __init__(self, broker: BrokerAddress, password: str = "") -> None:
        if broker.version not in PROTOCOLS:
            raise ValueError(f"MQTT version {broker.version!r}; known: {', '.join(PROTOCOLS)}")
        self._broker, self._password = broker, password
        self._connection: _Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Open a connection, unless one stands; `publish` does so by itself.

        Raises ConfigError when the CA file cannot be used, SinkDenied and SinkBusy when the broker refuses for
        these reasons, StoreError when there is no connection for another one.
        """
        if self._connection is not None and self._connection.stands():
            return
        self.close()
        connection = _Connection(self._broker, self._password)
        try:
            connection.open()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish one message. Raises as `connect`, and ValueError on a topic with wildcards."""
        self.publish_all([(topic, payload)], retain=retain)

    def publish_all(self, messages: Iterable[tuple[str, bytes]], *, retain: bool = False) -> None:
        """Publish (topic, payload) in their order, many on the way at once. Raises as `publish`.

        When it raises, any number of them may have arrived: publish all of them again.
        """
        self.connect()
        if self._connection is not None:
            try:
                self._connection.publish(iter(messages), retain=retain)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Say goodbye to the broker, where there is a connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Connection:
    """One connection from CONNECT to its loss."""

    def __init__(self, broker: BrokerAddress, password: str) -> None:
        self._broker, self._password = broker, password
        self._where = f"MQTT broker {broker.host}:{broker.port}"
        self._lost = ""  # why; "" while it stands
        self._welcome: ReasonCode | None = None  # the broker's answer to CONNECT
        self._ended: ReasonCode | None = None  # what the broker said when it ended the connection
        self._answers: dict[int, ReasonCode] = {}
        self._window = ON_THE_WAY
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if broker.version == "5" else True,
            protocol=PROTOCOLS[broker.version],
            reconnect_on_failure=False,
        )
        client.connect_timeout = OPEN_WITHIN_S
        client.suppress_exceptions = True
        client.max_inflight_messages_set(0)  # we do not hand over more than may be on the way
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect

    def open(self) -> None:
        """CONNECT, and wait for the broker's answer."""
        tls = tls_context(self._broker.tls_ca)
        if self._broker.username:
            self._client.username_pw_set(self._broker.username, self._password)
        if tls is not None:
            self._client.tls_set_context(tls)
        try:
            address = (self._broker.host, self._broker.port, KEEPALIVE_S)
            if self._broker.version == "5":
                self._client.connect(*address, clean_start=True)
            else:
                self._client.connect(*address)
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._where}: no connection: {error}") from error
        until = time.monotonic() + OPEN_WITHIN_S
        while self._welcome is None:
            self._turn(until, "did not answer to CONNECT")
        if self._welcome.is_failure:
            self._refused(self._welcome, f"refuses client {self._broker.client_id!r}")

    def stands(self) -> bool:
        """False when the other side has ended it meanwhile."""
        if not self._lost:
            self._serve(0)
        return not self._lost

    def publish(self, messages: Iterator[tuple[str, bytes]], *, retain: bool) -> None:
        """PUBLISH all, as many on the way at once as the broker permits, and wait for every PUBACK."""
        pending: dict[int, str] = {}
        until = time.monotonic() + ACKNOWLEDGED_WITHIN_S
        while True:
            for topic, payload in islice(messages, self._window - len(pending)):
                info = self._client.publish(topic, payload, qos=1, retain=retain)
                if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    raise StoreError(f"{self._where}: {topic} could not be sent: {paho.error_string(info.rc)}")
                pending[info.mid] = topic
            if not pending:
                return
            self._turn(until, f"did not acknowledge {len(pending)} messages, one of them on {min(pending.values())},")
            while self._answers:
                mid, reason = self._answers.popitem()
                topic = pending.pop(mid, "")
                if reason.is_failure:
                    self._refused(reason, f"refuses a message on {topic}")
                until = time.monotonic() + ACKNOWLEDGED_WITHIN_S

    def close(self) -> None:
        """DISCONNECT where that is still possible, and close the socket."""
        if self._client.is_connected():
            self._client.disconnect()
            self._client.loop_write()
        if (sock := self._client.socket()) is not None:
            sock.close()

    def _turn(self, until: float, complaint: str) -> None:
        """Wait for the socket and serve it once. Raises StoreError when the connection is lost or time is up."""
        left = until - time.monotonic()
        if left <= 0:
            raise StoreError(f"{self._where}: {complaint} within {ACKNOWLEDGED_WITHIN_S} s")
        self._serve(min(left, 1.0))
        if self._ended is not None and self._ended.is_failure:
            self._refused(self._ended, "ended the connection")
        if self._lost and (self._welcome is None or not self._welcome.is_failure):
            raise StoreError(f"{self._where}: the connection ended: {self._lost}")

    def _serve(self, wait_s: float) -> None:
        sock = self._client.socket()
        if sock is None:
            self._lost = self._lost or "the socket is closed"
            return
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        ready = dict(poll.poll(0 if buffered(sock) else round(wait_s * 1000)))
        events = ready.get(sock.fileno(), 0)
        if events & select.POLLOUT:
            self._check(self._client.loop_write())
        if events & ~select.POLLOUT or buffered(sock):
            self._check(self._client.loop_read())
        self._check(self._client.loop_misc())

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS and not self._lost:
            self._lost = paho.error_string(code)

    def _refused(self, reason: ReasonCode, what: str) -> NoReturn:
        if reason.value in DENIED:
            raise SinkDenied(f"{self._where}: {what}: {reason}. Check its user name, password and rights.")
        if reason.value in BUSY:
            raise SinkBusy(f"{self._where}: {what}: {reason}")
        raise StoreError(f"{self._where}: {what}: {reason}")

    def _on_connect(
        self, _c: paho.Client, _u: object, _f: object, reason: ReasonCode, given: Properties | None
    ) -> None:
        self._window = min(ON_THE_WAY, getattr(given, "ReceiveMaximum", ON_THE_WAY))
        self._welcome = reason

    def _on_publish(self, _c: paho.Client, _u: object, mid: int, reason: ReasonCode, _p: object) -> None:
        self._answers[mid] = reason

    def _on_disconnect(
        self, _c: paho.Client, _u: object, flags: paho.DisconnectFlags, reason: ReasonCode, _p: object
    ) -> None:
        self._lost = self._lost or str(reason)
        if flags.is_disconnect_packet_from_server:
            self._ended = reason
