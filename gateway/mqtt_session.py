"""A standing session with an MQTT broker: what arrives waits here until it is acknowledged, and only then is it gone.

Source: MQTT Version 5.0, OASIS Standard - §4.3.2 QoS 1, §4.4 message delivery retry, §4.9 flow control;
MQTT Version 3.1.1, OASIS Standard - §4.3.2, §4.4.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.clocks import Clock
from gateway.mqtt_messages import Message, Subscription, Waiting
from gateway.socket_watch import SocketWatch, buffered

RECONNECT_FIRST_S, RECONNECT_MOST_S = 1, 30
OPEN_WITHIN_S = 15  # from the first byte to the granted subscription
PACKETS_A_TURN = 64  # then the other tasks of the process have their turn
PROTOCOLS = {"5": paho.MQTTv5, "3.1.1": paho.MQTTv311}
log = logging.getLogger("emg.mqtt")


class MqttSession:
    """An asyncio face of paho-mqtt: no thread of its own, so an acknowledgement never meets a wrong connection.

    Reconnects for ever, waiting 1, 2, 4 ... 30 s. A slow consumer stops the broker (nothing is acknowledged)
    and, for messages of QoS 0, the socket: memory stays bounded. All methods belong to the event loop.
    """

    def __init__(self, subscription: Subscription, clock: Clock, *, password: str = "") -> None:
        if subscription.version not in PROTOCOLS:
            raise ValueError(f"MQTT version {subscription.version!r}; known: {', '.join(PROTOCOLS)}")
        self.trouble = "not yet connected"  # a sentence; "" while connected and subscribed
        self._subscription = subscription
        self._password = password
        self._clock = clock
        self._tls: ssl.SSLContext | None = None
        self._waiting = Waiting(subscription.receive_maximum)
        self._numbers = 0
        self._connection: _Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to connect; returns at once. Raises ConfigError when the CA file cannot be used."""
        self._tls = self._subscription.tls_context()
        self._task = asyncio.create_task(self._stay_connected(), name=f"mqtt {self._subscription.client_id}")
        self._task.add_done_callback(lambda _: self._waiting.close())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye; the broker keeps the session and what was not acknowledged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def waiting(self, *, most: int = 1000) -> list[Message]:
        """All messages that wait, at least one, at most `most`, in order of arrival."""
        taken = await self._waiting.take(most)
        if self._connection is not None and not self._waiting.full:
            self._connection.resume()
        return taken

    async def messages(self) -> AsyncIterator[Message]:
        """Messages one by one, for ever."""
        while True:
            for message in await self.waiting(most=1):
                yield message

    def acknowledge(self, message: Message) -> bool:
        """Tell the broker that it may forget this message. Call in the order of arrival (MQTT 5 - §4.6).

        False when the connection that brought it has gone: the broker brings it again, with `dup` set.
        """
        connection = self._connection
        if connection is None or connection.number != message.connection:
            return False
        return connection.acknowledge(message)

    async def _stay_connected(self) -> None:
        delay = RECONNECT_FIRST_S
        while True:
            await self._waiting.room()  # what waits here would come again on the new connection
            opened = asyncio.get_running_loop().time()
            try:
                self._tell(await self._one_connection())
            except Exception as error:  # whatever it was, the next connection starts from nothing
                log.exception("MQTT session %s", self._subscription.client_id)
                self._tell(f"the connection was given up after {error!r}")
            if asyncio.get_running_loop().time() - opened > RECONNECT_MOST_S:
                delay = RECONNECT_FIRST_S
            await asyncio.sleep(delay)
            delay = min(2 * delay, RECONNECT_MOST_S)

    async def _one_connection(self) -> str:
        """Connect, serve until it is lost. Returns why it was lost."""
        self._numbers += 1
        connection = _Connection(self._numbers, self._subscription, self._arrive, lambda: self._tell(""))
        try:
            await asyncio.to_thread(connection.open, self._password, self._tls)  # name lookup, TCP and TLS block
            self._connection = connection
            return await connection.serve()
        except (OSError, ValueError) as error:
            return f"no connection: {error}"
        finally:
            self._connection = None
            connection.close()

    def _arrive(self, number: int, message: paho.MQTTMessage) -> bool:
        """Keep a message. Returns False when no more should be read for now."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "(a topic that is not UTF-8)"
        payload = bytes(message.payload[: self._subscription.longest_payload])
        head = (topic, payload, message.qos, message.retain, message.dup, message.mid)
        self._waiting.put(Message(*head, self._clock.now(), len(message.payload), number))
        return not self._waiting.full

    def _tell(self, trouble: str) -> None:
        """Remember how the session stands, and log each change once."""
        if trouble == self.trouble:
            return
        self.trouble = trouble
        where = f"MQTT broker {self._subscription.host}:{self._subscription.port}"
        if trouble:
            log.warning("%s: %s; trying again, at the latest every %d s", where, trouble, RECONNECT_MOST_S)
        else:
            log.info("%s: connected and subscribed as %s", where, self._subscription.client_id)


class _Connection:
    """One TCP connection from its opening to its loss; nothing of it survives into the next."""

    def __init__(
        self,
        number: int,
        subscription: Subscription,
        arrive: Callable[[int, paho.MQTTMessage], bool],
        on_subscribed: Callable[[], None],
    ) -> None:
        self.number = number
        self._subscription = subscription
        self._arrive, self._on_subscribed = arrive, on_subscribed
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._subscribed = self._closed = False
        self._seen = 0
        self._watch = SocketWatch(self._readable, lambda: self._guarded(self._client.loop_write))
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=subscription.client_id,
            clean_session=None if subscription.version == "5" else False,
            protocol=PROTOCOLS[subscription.version],
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = OPEN_WITHIN_S
        client.suppress_exceptions = True  # ours below tell and end the connection; none may end silently
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = lambda _c, _u, _f, reason, _p: self._lose(f"the connection ended: {reason}")
        client.on_socket_register_write = lambda _c, _u, _s: self._watch.want_write()
        client.on_socket_unregister_write = lambda _c, _u, _s: self._watch.no_more_to_write()
        client.on_socket_close = lambda _c, _u, _s: self._watch.let_go()

    def open(self, password: str, tls: ssl.SSLContext | None) -> None:
        """Connect and send CONNECT; blocks (runs in a worker thread). Raises OSError, ValueError."""
        subscription = self._subscription
        if subscription.username:
            self._client.username_pw_set(subscription.username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        address = (subscription.host, subscription.port, subscription.keepalive_s)
        if subscription.version == "5":
            self._client.connect(*address, clean_start=False, properties=self._connect_properties())
        else:
            self._client.connect(*address)
        if self._closed:  # given up while the handshake went on
            self._close_socket()

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._subscription.session_expiry_s
        properties.ReceiveMaximum = self._subscription.receive_maximum
        properties.MaximumPacketSize = 16 * self._subscription.longest_payload  # longer ones the broker drops
        return properties

    async def serve(self) -> str:
        """Read and write until the connection is lost. Returns why."""
        sock = self._client.socket()
        if sock is None:
            return "the connection ended before it was used"
        self._watch.watch(sock.fileno())
        if self._client.want_write():
            self._watch.want_write()
        opened = self._loop.time()
        while not self._lost.done():
            await asyncio.wait([self._lost], timeout=1)
            if not self._subscribed and self._loop.time() - opened > OPEN_WITHIN_S:
                self._lose(f"the broker did not grant the subscription within {OPEN_WITHIN_S} s")
            self._guarded(self._client.loop_misc)
        return self._lost.result()

    def close(self) -> None:
        """Send DISCONNECT where that is still possible, and close the socket."""
        self._closed = True
        if self._client.is_connected():
            self._client.disconnect()
            self._client.loop_write()
        self._watch.let_go()
        self._close_socket()

    def _close_socket(self) -> None:
        if (sock := self._client.socket()) is not None:
            sock.close()

    def resume(self) -> None:
        """Read on after a pause."""
        self._watch.resume()

    def acknowledge(self, message: Message) -> bool:
        """PUBACK."""
        return self._guarded(lambda: self._client.ack(message.mid, message.qos))

    def _readable(self) -> None:
        for _ in range(PACKETS_A_TURN):
            seen = self._seen
            if not self._watch.reading or not self._guarded(self._client.loop_read):
                return
            if self._seen == seen and not buffered(self._client.socket()):
                return
        if buffered(self._client.socket()):
            self._watch.soon()

    def _guarded(self, step: Callable[[], MQTTErrorCode]) -> bool:
        """Do one step of paho; whatever goes wrong ends this connection and is told."""
        try:
            code = step()
        except Exception as error:  # a library that fails must not take the process along
            log.exception("paho-mqtt failed")
            self._lose(f"the library failed: {error!r}")
            return False
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lose(f"the connection ended: {paho.error_string(code)}")
        return not self._lost.done()

    def _lose(self, why: str) -> None:
        self._watch.let_go()
        if not self._lost.done():
            self._lost.set_result(why)

    def _on_connect(self, client: paho.Client, _u: object, _f: object, reason: ReasonCode, _p: object) -> None:
        if reason.is_failure:
            self._lose(f"the broker refuses client {self._subscription.client_id!r}: {reason}")
            return
        topics = self._subscription.topics
        if self._subscription.version == "5":
            # Retained messages once per session only: they are refused as readings, and told so once.
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            client.subscribe([(topic, options) for topic in topics])
        else:
            client.subscribe([(topic, 1) for topic in topics])

    def _on_subscribe(self, _c: paho.Client, _u: object, _m: int, reasons: list[ReasonCode], _p: object) -> None:
        refused = [
            topic for topic, reason in zip(self._subscription.topics, reasons, strict=False) if reason.is_failure
        ]
        if refused:
            self._lose(f"the broker refuses the subscription to {', '.join(refused)}")
            return
        self._subscribed = True
        self._on_subscribed()

    def _on_message(self, _c: paho.Client, _u: object, message: paho.MQTTMessage) -> None:
        self._seen += 1
        try:
            more = self._arrive(self.number, message)
        except Exception as error:  # unacknowledged, it comes again on the next connection
            log.exception("a message could not be taken")
            self._lose(f"a message could not be taken: {error!r}")
            return
        if not more:
            self._watch.pause()
