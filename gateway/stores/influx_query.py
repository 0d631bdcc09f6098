"""Questions in InfluxQL to a server at `/query`; answers come in pieces, each of a bounded size."""

import json
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

import urllib3

from gateway.domain.destinations import InfluxServer
from gateway.errors import StoreError
from gateway.stores.influx_http import ANSWER_LIMIT, Answer, connect, outcome

CHUNK = 10_000  # rows in one piece of an answer
PIECE_LIMIT = 16_777_216  # [bytes] of one piece: a server that never ends a line is told off


class Questions:
    """Asks one database. Raises StoreError, SinkBusy and SinkDenied as the server answers."""

    def __init__(self, server: InfluxServer, token: str) -> None:
        self._server = server
        self._connection = connect(server, token)

    def close(self) -> None:
        """Close the connections."""
        self._connection.pool.close()

    def pieces(self, statement: str, bound: Mapping[str, object], *, epoch: str = "u") -> Iterator[bytes]:
        """The pieces of an answer, each a JSON document; times in `epoch` ("u" = us, "ns"). Values go in `bound`."""
        asked = {"db": self._server.database, "epoch": epoch, "chunked": "true", "chunk_size": CHUNK, "q": statement}
        body = urlencode({**asked, "params": json.dumps(bound)})
        headers = {
            **self._connection.headers,
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        with self._connection.pool.open("POST", f"{self._server.url}/query", body=body, headers=headers) as response:
            if not 200 <= response.status < 300:
                said = response.read1(ANSWER_LIMIT, decode_content=False)
                raise outcome(self._server, Answer(response.status, said, response.headers))
            yield from self._lines(response)

    def _lines(self, response: urllib3.HTTPResponse) -> Iterator[bytes]:
        held = bytearray()
        while more := response.read1(ANSWER_LIMIT, decode_content=False):
            held += more
            if b"\n" in more:
                *whole, rest = held.split(b"\n")
                yield from (bytes(line) for line in whole if line)
                held = rest
            if len(held) > PIECE_LIMIT:
                raise StoreError(f"{self._server.url} sent {len(held)} bytes without an end; expected chunks.")
        if held.strip():
            yield bytes(held)
