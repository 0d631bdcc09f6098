"""Answers whoever asks the acquiring process how it fares: in the data folder, and on loopback where that is declared.

A few lines of HTTP: one question a connection, GET of two paths. Nothing that is asked here can hold up the field.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from collectors.counts_text import counts_lines, metrics_text
from collectors.line_counts import AcquireCounts
from gateway.acquire_socket import COUNTS, METRICS, NAME, short_path
from gateway.clock_state import clock_state
from gateway.clock_watch import ClockWatch
from gateway.destination_form import is_loopback

MOST_ASKING, PATIENCE_S, LONGEST_HEAD = 8, 5, 8192
_PIECES = 50  # written before others may run
_TYPES = {METRICS: "text/plain; version=0.0.4; charset=utf-8", COUNTS: "application/x-ndjson"}
log = logging.getLogger("emg.acquire")


class CountsServer:
    """The way to the counts of one process, from `start` to `close`."""

    def __init__(self, counts: AcquireCounts, watch: ClockWatch) -> None:
        self._counts = counts
        self._watch = watch
        self._servers: list[asyncio.Server] = []
        self._socket: Path | None = None
        self._asking = 0

    @property
    def started(self) -> bool:
        """True once it has begun to answer."""
        return bool(self._servers)

    async def start(self, data_dir: Path, listen: str) -> None:
        """Answer in the data folder, and at `listen` ("host:port") unless that is "".

        Where the system does not let us, that is logged: acquisition goes on.
        """
        try:
            with short_path(data_dir) as path:
                self._socket = data_dir / NAME
                self._socket.unlink(missing_ok=True)  # of a process that was killed; the journal's lock is ours
                listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                listener.bind(path)
            self._socket.chmod(0o660)
            self._servers.append(await asyncio.start_unix_server(self._meet, sock=listener, limit=LONGEST_HEAD))
        except OSError as error:
            log.warning("%s: counts cannot be asked for here: %s", data_dir / NAME, error)
        if not listen:
            return
        at = urlsplit(f"//{listen}")
        try:
            self._servers.append(await asyncio.start_server(self._meet, at.hostname, at.port, limit=LONGEST_HEAD))
        except OSError as error:
            log.error("[metrics] listen = %r: %s; acquisition goes on without it", listen, error)

    def close(self) -> None:
        """Answer nobody any more."""
        for server in self._servers:
            server.close()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._asking += 1
        try:
            if self._asking <= MOST_ASKING:
                async with asyncio.timeout(PATIENCE_S):
                    await self._answer((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"), writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks like that gets no answer
        finally:
            self._asking -= 1
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        method, _, rest = head.partition(" ")
        path = rest.partition(" ")[0]
        if method not in {"GET", "HEAD"}:
            status = "405 Method Not Allowed"
        elif not _is_ours(head):
            status = "421 Misdirected Request"
        else:
            status = "200 OK" if path in _TYPES else "404 Not Found"
        kind = _TYPES[path] if status == "200 OK" else "text/plain"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode())
        if status == "200 OK" and method == "GET":
            pieces = self._pieces(path)
            while some := "".join(islice(pieces, _PIECES)):
                writer.write(some.encode())
                await writer.drain()
                await asyncio.sleep(0)
        await writer.drain()

    def _pieces(self, path: str) -> Iterator[str]:
        text = metrics_text if path == METRICS else counts_lines
        return text(self._counts, clock_state(), trusted=self._watch.trusted, now=self._watch.now())


def _is_ours(head: str) -> bool:
    """True if it was asked of this machine by its own name: a foreign page reaches it through a rebound name only."""
    hosts = [line[5:].strip() for line in head.split("\r\n") if line[:5].lower() == "host:"]
    try:
        return len(hosts) == 1 and is_loopback(urlsplit(f"//{hosts[0]}").hostname or "")
    except ValueError:
        return False
