"""What is asked of an MQTT broker, a message as it comes from one, and the place where messages wait."""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What is asked of which broker. `client_id` names the session that the broker keeps while we are away.

    `receive_maximum` is how many messages may be unacknowledged at once (MQTT 5 tells the broker; with 3.1.1
    the broker has its own limit). Of a payload longer than `longest_payload` [bytes] only that much is kept.
    """

    host: str
    port: int
    client_id: str
    topics: Sequence[str]
    version: str = "5"  # "5" or "3.1.1"
    username: str = ""
    tls_ca: str = ""  # file of the CA that signed the broker's certificate; "" = no TLS
    keepalive_s: int = 60
    session_expiry_s: int = 30 * 86400  # MQTT 5: how long the broker keeps our session
    receive_maximum: int = 500
    longest_payload: int = 65536

    def tls_context(self) -> ssl.SSLContext | None:
        """As `tls_context` of this module, with the CA of this subscription."""
        return tls_context(self.tls_ca)


def tls_context(ca_file: str) -> ssl.SSLContext | None:
    """Trusts this CA alone, checks the host's name, TLS 1.2 or newer; None = no TLS. Raises ConfigError."""
    if not ca_file:
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        expected = "a file with a CA certificate in PEM form"
        raise ConfigError(
            [Problem(file=ca_file, line=None, key="tls_ca", found=str(error), expected=expected)]
        ) from error
    context.sslsocket_class = _ClosedWhenRefused
    return context


class _ClosedWhenRefused(ssl.SSLSocket):
    """paho-mqtt forgets a socket whose handshake failed: it would stay open until somebody sweeps."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001 - as it is inherited
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


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
