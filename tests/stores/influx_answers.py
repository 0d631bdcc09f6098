"""A server of the contract: it answers as InfluxDB 2 and 3 do (and as servers in trouble do), for what is not installed.

It keeps what it was given, so that a test can tell what is stored from what was acknowledged.
"""

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from gateway.domain.destinations import InfluxServer


class Asked(NamedTuple):
    """A request as it arrived; `lines` is the body, unpacked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def lines(self) -> list[str]:
        return self.body.decode().split("\n")

    @property
    def form(self) -> dict[str, str]:
        """The fields of a query."""
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def parameters(self) -> dict[str, Any]:
        """The bound values of a query."""
        return json.loads(self.form["params"])


class Told(NamedTuple):
    """An answer. `trouble`: "reset" (mid-answer), "hang" (after the header) or "" (none)."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never written to
    trouble: str = ""


def failed(status: int, message: str, **headers: str) -> Told:
    """An error in the form of version 2."""
    body = json.dumps({"code": "some code", "message": message}).encode()
    return Told(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


STORED = Told(204)


class ContractServer:
    """Answers each request with `answer(asked)`; `asked` lists what arrived, `stored` the lines acknowledged or not."""

    def __init__(self, answer: Callable[[Asked], Told]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.stored: dict[str, str] = {}  # series and instant -> line, as a server that overwrites keeps them
        contract = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                address = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                asked = Asked(self.command, address.path, query, dict(self.headers), body)
                contract.asked.append(asked)
                self._tell(contract.answer(asked))

            do_GET = do_PATCH = do_POST  # noqa: N815 - the names that http.server asks for

            def _tell(self, told: Told) -> None:
                self.send_response_only(told.status)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(told.body) + bool(told.trouble)))
                self.end_headers()
                self.wfile.write(told.body)
                if told.trouble == "hang":
                    contract.hung.wait(20)
                if told.trouble:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.hung = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def declared(self, version: str = "2", **options: Any) -> InfluxServer:
        """This server as the site file would declare it."""
        return InfluxServer(url=self.url, database="emg", version=version, org="works", **options)

    def keep(self, lines: list[str]) -> None:
        """Store lines as InfluxDB does: equal series and instant overwrite."""
        for line in lines:
            series, _, instant = line.split(" ")
            self.stored[f"{series} {instant}"] = line

    @contextmanager
    def serving(self) -> Iterator["ContractServer"]:
        self._thread.start()
        try:
            yield self
        finally:
            self.hung.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)
