"""A standing session with an MQTT broker: what arrives waits here until it is acknowledged, and only then is it gone.

Source: MQTT Version 5.0, OASIS Standard - §4.3.2 QoS 1, §4.4 message delivery retry, §4.9 flow control;
MQTT Version 3.1.1, OASIS Standard - §4.3.2, §4.4.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from random import SystemRandom
from types import TracebackType
from typing import Self

from gateway.clocks import Clock
from gateway.mqtt_connection import PROTOCOLS, Connection
from gateway.mqtt_messages import Message, Subscription, Waiting

RECONNECT_FIRST_S, RECONNECT_MOST_S = 1, 30
STEADY_S = 5  # a connection that lasted so long was a good one: the next is tried soon
CHANCE = SystemRandom().random
log = logging.getLogger("emg.mqtt")


def reconnect_delays(chance: Callable[[], float]) -> Iterator[float]:
    """Waits before the next connections [s]: 1, 2, 4 ... 30, of each the half and a part of the rest by chance."""
    delay = RECONNECT_FIRST_S
    while True:
        yield delay * (1 + chance()) / 2
        delay = min(2 * delay, RECONNECT_MOST_S)


class MqttSession:
    """An asyncio face of paho-mqtt: no thread of its own, so an acknowledgement never meets a wrong connection.

    Reconnects for ever, waiting 1, 2, 4 ... 30 s, of each a part by chance: many gateways that lost one broker do not
    come back at one moment. A slow consumer stops the broker (nothing is acknowledged)
    and, for messages of QoS 0, the socket: memory stays bounded. All methods belong to the event loop.
    """

    def __init__(
        self,
        subscription: Subscription,
        clock: Clock,
        *,
        password: str = "",
        chance: Callable[[], float] = CHANCE,
    ) -> None:
        if subscription.version not in PROTOCOLS:
            raise ValueError(f"MQTT version {subscription.version!r}; known: {', '.join(PROTOCOLS)}")
        self.trouble = "not yet connected"  # a sentence; "" while connected and subscribed
        self._subscription = subscription
        self._password = password
        self._clock = clock
        self._chance = chance
        self._tls: ssl.SSLContext | None = None
        self._waiting = Waiting(subscription.receive_maximum)
        self._numbers = 0
        self._connection: Connection | None = None
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

    def acknowledge(self, *messages: Message) -> bool:
        """Tell the broker that it may forget these messages. Call in the order of arrival (MQTT 5 - §4.6).

        False when the connection that brought some has gone: the broker brings those again, with `dup` set.
        """
        connection = self._connection
        if connection is None:
            return False
        here = [message for message in messages if message.connection == connection.number]
        return connection.acknowledge(here) and len(here) == len(messages)

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send one message at QoS 0. False when there is no connection: it is not sent later."""
        return self._connection is not None and self._connection.publish(topic, payload)

    async def _stay_connected(self) -> None:
        delays = reconnect_delays(self._chance)
        while True:
            await self._waiting.room()  # what waits here would come again on the new connection
            opened = asyncio.get_running_loop().time()
            try:
                self._tell(await self._one_connection())
            except Exception as error:  # whatever it was, the next connection starts from nothing
                log.exception("MQTT session %s", self._subscription.client_id)
                self._tell(f"the connection was given up after {error!r}")
            if asyncio.get_running_loop().time() - opened > STEADY_S:
                delays = reconnect_delays(self._chance)
            await asyncio.sleep(next(delays))

    async def _one_connection(self) -> str:
        """Connect, serve until it is lost. Returns why it was lost."""
        self._numbers += 1
        connection = Connection(self._numbers, self._subscription, self._arrive, lambda: self._tell(""), self._clock)
        try:
            await asyncio.to_thread(connection.open, self._password, self._tls)  # name lookup, TCP and TLS block
            self._connection = connection
            return await connection.serve()
        except (OSError, ValueError) as error:
            return f"no connection: {error}"
        finally:
            self._connection = None
            connection.close()

    def _arrive(self, message: Message) -> bool:
        """Keep a message. Returns False when no more should be read for now."""
        self._waiting.put(message)
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
