"""What is asked of an MQTT broker, a message as it comes from one, and the place where messages wait."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.tls_context import tls_context


class Status(NamedTuple):
    """What a session says of itself, retained: `online` when it is subscribed, `offline` at its end and as its will."""

    topic: str
    online: bytes
    offline: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What is asked of which broker. `client_id` names the session that the broker keeps while we are away.

    `receive_maximum` is how many messages may be unacknowledged at once (MQTT 5 tells the broker; with 3.1.1
    the broker has its own limit). Of a payload longer than `longest_payload` [bytes] only that much is kept.
    `share` names a group whose members divide the messages among them. `standing`: the broker keeps what comes while
    we are away. `status` makes what the session says of itself, at a moment [us, UTC].
    """

    host: str
    port: int
    client_id: str
    topics: Sequence[str]
    version: str = "5"  # "5" or "3.1.1"
    username: str = ""
    share: str = ""
    tls_ca: str = ""  # file of the CA that signed the broker's certificate; "" = no TLS
    tls_cert: str = ""  # files of our own certificate and its key, where the broker asks for one
    tls_key: str = ""
    standing: bool = True
    status: Callable[[int], Status] | None = None
    keepalive_s: int = 60
    session_expiry_s: int = 30 * 86400  # MQTT 5: how long the broker keeps our session
    receive_maximum: int = 500
    longest_payload: int = 65536

    @property
    def filters(self) -> list[str]:
        """The topic filters as the broker is asked for them. Source: MQTT Version 5.0 - §4.8.2."""
        return [f"$share/{self.share}/{topic}" if self.share else topic for topic in self.topics]

    def tls_context(self) -> ssl.SSLContext | None:
        """As `tls_context` of this module, with the files of this subscription."""
        return tls_context(self.tls_ca, self.tls_cert, self.tls_key)


class Message(NamedTuple):
    """One message as it came. `size` is the length of the whole payload, `connection` the one that brought it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    received_at: int  # [us, UTC]
    size: int
    connection: int


class Waiting:
    """Messages between the socket and their consumer; whoever fills it heeds `full`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._messages: deque[Message] = deque()
        self._arrived, self._taken = asyncio.Event(), asyncio.Event()
        self._closed = False

    @property
    def full(self) -> bool:
        """True when no more should be put in for now."""
        return len(self._messages) >= self._most

    def put(self, message: Message) -> None:
        """One more."""
        self._messages.append(message)
        self._arrived.set()

    def close(self) -> None:
        """Nothing will come any more: whoever waits is told."""
        self._closed = True
        self._arrived.set()

    async def take(self, most: int) -> list[Message]:
        """At least one, at most `most`, in order of arrival. Raises RuntimeError when closed and empty."""
        while not self._messages:
            if self._closed:
                raise RuntimeError("this MQTT session is closed")
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._messages.popleft() for _ in range(min(most, len(self._messages)))]
        self._taken.set()
        return taken

    async def room(self) -> None:
        """Wait until it is not full."""
        while self.full:
            self._taken.clear()
            await self._taken.wait()
