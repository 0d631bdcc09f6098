"""A foreign library's socket in our event loop: called when it can be read or written, never after it is let go."""

import asyncio
import ssl
from collections.abc import Callable

NONE = -1


class SocketWatch:
    """Calls `readable` and `writable` for one socket. All methods belong to the event loop."""

    def __init__(self, readable: Callable[[], object], writable: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._readable, self._writable = readable, writable
        self._fd = NONE
        self.reading = False

    def watch(self, fd: int) -> None:
        """Begin."""
        self._fd = fd
        self.resume()

    def resume(self) -> None:
        """Read on after a pause."""
        if not self.reading and self._fd != NONE:
            self.reading = True
            self._loop.add_reader(self._fd, self._readable)
            self.soon()

    def pause(self) -> None:
        """Read no more for now: the sender is slowed down by TCP itself."""
        if self.reading:
            self._loop.remove_reader(self._fd)
            self.reading = False

    def soon(self) -> None:
        """Call `readable` once more, for bytes that TLS has decrypted and the socket no longer shows."""
        self._loop.call_soon(self._readable)

    def want_write(self) -> None:
        """Call `writable` as soon and as long as the socket takes bytes."""
        if self._fd != NONE:
            self._loop.add_writer(self._fd, self._writable)

    def no_more_to_write(self) -> None:
        """Stop calling `writable`."""
        if self._fd != NONE:
            self._loop.remove_writer(self._fd)

    def let_go(self) -> None:
        """End: the number of a closed socket may soon be another's."""
        self.pause()
        self.no_more_to_write()
        self._fd = NONE


def buffered(sock: object) -> bool:
    """True if TLS holds decrypted bytes of this socket."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
