"""One connection to an MQTT broker, from its opening to its loss: the one file that knows the library.

Source: MQTT Version 5.0, OASIS Standard - §3.1.2.5 will, §4.3.2 QoS 1, §4.8.2 shared subscriptions, §4.9 flow control;
MQTT Version 3.1.1, OASIS Standard - §4.3.2.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable
from itertools import repeat

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.clocks import Clock
from gateway.mqtt_messages import Message, Subscription
from gateway.socket_watch import SocketWatch, buffered

OPEN_WITHIN_S = 15  # from the first byte to the granted subscription
READ_AHEAD = 16384  # bytes
PACKETS_A_TURN = 64  # then the other tasks of the process have their turn
PROTOCOLS = {"5": paho.MQTTv5, "3.1.1": paho.MQTTv311}
log = logging.getLogger("emg.mqtt")


class _Client(paho.Client):
    """paho's client that reads ahead, and takes a PUBLISH of QoS 0 or 1 apart by itself.

    The library asks the socket three times for each message, and makes a table of all properties there are, which is
    most of its time. Should it call its own by other names one day, it does these things itself, as before.
    """

    take: Callable[[Message], None]
    longest: int
    number: int
    now: Callable[[], int]

    _read, _at = b"", 0  # what was read, and how far the library has come in it

    def ahead(self) -> bool:
        """True if something was read that the library has not asked for yet."""
        return self._at < len(self._read)

    def _sock_recv(self, bufsize: int) -> bytes:
        at = self._at
        if at >= len(self._read):
            self._read, at = super()._sock_recv(READ_AHEAD), 0
        self._at = at + bufsize
        return self._read[at : at + bufsize]

    def _handle_publish(self) -> MQTTErrorCode:
        """Source: MQTT Version 5.0, OASIS Standard - §3.3 PUBLISH."""
        head, packet = self._in_packet["command"], self._in_packet["packet"]
        qos = head >> 1 & 3
        if qos > 1:
            return super()._handle_publish()  # not subscribed; the library knows what to say
        at = 2 + int.from_bytes(packet[:2], "big")
        topic, mid = packet[2:at], 0
        if qos:
            mid = int.from_bytes(packet[at : at + 2], "big")
            at += 2
        if self._protocol == paho.MQTTv5:
            length, taken = VariableByteIntegers.decode(packet[at : at + 4])  # type: ignore[no-untyped-call]
            at += length + taken
        if at > len(packet) or (qos and not mid):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        payload = bytes(packet[at : at + self.longest])
        size, flags = len(packet) - at, (qos, bool(head & 1), bool(head & 8), mid)
        self.take(Message(topic.decode("utf-8", "backslashreplace"), payload, *flags, self.now(), size, self.number))
        return MQTTErrorCode.MQTT_ERR_SUCCESS


class Connection:
    """One TCP connection from its opening to its loss; nothing of it survives into the next."""

    def __init__(
        self,
        number: int,
        subscription: Subscription,
        arrive: Callable[[Message], bool],
        on_subscribed: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.number = number
        self._subscription = subscription
        self._arrive, self._on_subscribed, self._clock = arrive, on_subscribed, clock
        self._status = subscription.status(clock.now()) if subscription.status else None
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._subscribed = self._closed = False
        self._seen = 0
        self._watch = SocketWatch(self._readable, lambda: self._guarded(self._client.loop_write))
        self._client = client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=subscription.client_id,
            clean_session=None if subscription.version == "5" else not subscription.standing,
            protocol=PROTOCOLS[subscription.version],
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = OPEN_WITHIN_S
        client.suppress_exceptions = True  # ours below tell and end the connection; none may end silently
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.take, client.now = self._take, clock.now
        client.longest, client.number = subscription.longest_payload, number
        client.on_disconnect = lambda _c, _u, _f, reason, _p: self._lose(f"the connection ended: {reason}")
        client.on_socket_register_write = lambda _c, _u, _s: self._watch.want_write()
        client.on_socket_unregister_write = lambda _c, _u, _s: self._watch.no_more_to_write()
        client.on_socket_close = lambda _c, _u, _s: self._watch.let_go()
        if self._status is not None:
            client.will_set(self._status.topic, self._status.offline, qos=1, retain=True)

    def open(self, password: str, tls: ssl.SSLContext | None) -> None:
        """Connect and send CONNECT; blocks (runs in a worker thread). Raises OSError, ValueError."""
        subscription = self._subscription
        if subscription.username:
            self._client.username_pw_set(subscription.username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        address = (subscription.host, subscription.port, subscription.keepalive_s)
        if subscription.version == "5":
            properties = self._connect_properties()
            self._client.connect(*address, clean_start=not subscription.standing, properties=properties)
        else:
            self._client.connect(*address)
        if self._closed:  # given up while the handshake went on
            self._close_socket()

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        if self._subscription.standing:
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
            if self._status is not None:  # a will is not published when the goodbye is a proper one
                self._client.publish(self._status.topic, self._status.offline, qos=1, retain=True)
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

    def acknowledge(self, messages: Iterable[Message]) -> bool:
        """PUBACK for each that came at QoS 1."""
        mids = [message.mid for message in messages if message.qos == 1]
        return self._guarded(
            lambda: max(map(self._client.ack, mids, repeat(1)), default=MQTTErrorCode.MQTT_ERR_SUCCESS)
        )

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send one message at QoS 0; False when the connection has gone."""
        return self._guarded(lambda: self._client.publish(topic, payload, qos=0).rc)

    def _readable(self) -> None:
        for _ in range(PACKETS_A_TURN):
            seen = self._seen
            if not self._watch.reading or not self._guarded(self._client.loop_read):
                return
            if self._seen == seen and not self._more():
                return
        if self._more():
            self._watch.soon()

    def _more(self) -> bool:
        """True if bytes have been read that the socket no longer shows."""
        return self._client.ahead() or buffered(self._client.socket())

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
        topics = self._subscription.filters
        if self._subscription.version == "5":
            # Retained messages once per session only: they are refused as readings, and told so once.
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            client.subscribe([(topic, options) for topic in topics])
        else:
            client.subscribe([(topic, 1) for topic in topics])

    def _on_subscribe(self, _c: paho.Client, _u: object, _m: int, reasons: list[ReasonCode], _p: object) -> None:
        refused = [
            topic for topic, reason in zip(self._subscription.filters, reasons, strict=False) if reason.is_failure
        ]
        if refused:
            self._lose(f"the broker refuses the subscription to {', '.join(refused)}")
            return
        self._subscribed = True
        if self._status is not None:
            self._client.publish(self._status.topic, self._status.online, qos=1, retain=True)
        self._on_subscribed()

    def _on_message(self, _c: paho.Client, _u: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "(a topic that is not UTF-8)"
        payload = bytes(message.payload[: self._subscription.longest_payload])
        flags = (message.qos, message.retain, message.dup, message.mid)
        self._take(Message(topic, payload, *flags, self._clock.now(), len(message.payload), self.number))

    def _take(self, message: Message) -> None:
        self._seen += 1
        try:
            more = self._arrive(message)
        except Exception as error:  # unacknowledged, it comes again on the next connection
            log.exception("a message could not be taken")
            self._lose(f"a message could not be taken: {error!r}")
            return
        if not more:
            self._watch.pause()
