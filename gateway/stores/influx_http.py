"""The connection to a server that speaks InfluxDB's interfaces: who we are, and what its answers mean.

What a server answers is not ours: an answer is read as far as a bound in size and time, and shown escaped. Nothing
is sent again behind the caller's back and no redirection is followed, which would carry the token elsewhere.
"""

import base64
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from urllib3.exceptions import HTTPError

from gateway.domain.destinations import InfluxServer
from gateway.errors import SinkBusy, SinkDenied, StoreError

ANSWER_LIMIT = 65_536  # [bytes] of an answer that is no result of a query
SHOWN = 300  # characters of a server's words that reach a message
LONGEST_PATIENCE_S = 3600.0
DENIED = frozenset({401, 403})
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class Answer(NamedTuple):
    """What a server answered; `body` holds no more than ANSWER_LIMIT bytes of it."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def sentence(self) -> str:
        """What the server says went wrong, escaped and cut to a line."""
        said = _said(self.body) or self.headers.get("X-Influxdb-Error", "") or "(no words)"
        return f"HTTP {self.status}: {escaped(said)}"


class AnsweredBadly(Exception):
    """An answer that is not 2xx, thrown through the client library, which has nothing to add to it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Whole:
    """A whole answer, in the form that the client library takes."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.reason = ""
        self.headers = answer.headers
        self.data = answer.body.decode("utf-8", "replace").encode()  # it would fail on a byte that is no UTF-8


class Pool:
    """Connections that are kept open; in the place of the pool that the client library would use."""

    def __init__(self, pool: urllib3.PoolManager, server: InfluxServer) -> None:
        self._pool = pool
        self._server = server
        self._timeout_s = float(server.timeout_s)

    def request(
        self,
        method: str,
        url: str,
        *,
        body: str | bytes | None = None,
        fields: Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> Whole:
        """Ask once. Raises AnsweredBadly unless the answer is 2xx, SinkBusy when there is none.

        Other options of the client library are not taken: time and size of an answer are bounded here.
        """
        asked = f"{url}?{urlencode(fields)}" if fields else url
        with self.open(method, asked, body=body, headers=headers) as response:
            answer = Answer(response.status, self._bounded(response), response.headers)
        if not 200 <= answer.status < 300:
            raise AnsweredBadly(answer)
        return Whole(answer)

    @contextmanager
    def open(
        self, method: str, url: str, *, body: str | bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[urllib3.HTTPResponse]:
        """An answer whose body is still to be read. Raises SinkBusy on any trouble with the connection."""
        wait = urllib3.Timeout(connect=self._timeout_s, read=self._timeout_s)
        try:
            response = self._pool.urlopen(
                method,
                url,
                redirect=False,
                body=body,
                headers=headers or {},
                preload_content=False,
                decode_content=False,
                retries=False,
                timeout=wait,
            )
            try:
                yield response
            finally:
                response.close()
        except (HTTPError, OSError) as error:
            raise SinkBusy(f"{self._server.url} did not answer: {escaped(_why(error))}") from error

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def _bounded(self, response: urllib3.HTTPResponse) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        body = b""
        while len(body) < ANSWER_LIMIT and (piece := response.read1(ANSWER_LIMIT - len(body), decode_content=False)):
            body += piece
            if time.monotonic() > deadline:
                raise SinkBusy(f"{self._server.url} did not finish its answer within {self._timeout_s:g} s.")
        return body


def _why(error: Exception) -> str:
    """What went wrong on the wire, without the library's own names for its objects."""
    return re.sub(r"<?[\w.]+Connection\w*(?: object at 0x[0-9a-f]+>|\([^)]*\)): ", "", str(error))


class Connection(NamedTuple):
    """A client of the library and the pool it asks through."""

    client: InfluxDBClient
    pool: Pool
    headers: dict[str, str]  # who we are; in a header only, never in an address or a log


def connect(server: InfluxServer, token: str) -> Connection:
    """A connection to `server`, opened when it is first used."""
    client = InfluxDBClient(
        server.url, org=server.org, enable_gzip=server.gzip, timeout=int(server.timeout_s * 1000), debug=False
    )
    headers = _authorization(server, token)
    library: Any = client.api_client  # the library's own types say too little here
    for name, value in headers.items():
        library.set_default_header(name, value)
    pool = library.rest_client.pool_manager = Pool(library.rest_client.pool_manager, server)
    return Connection(client, pool, headers)


def outcome(server: InfluxServer, answer: Answer) -> StoreError:
    """The error that an answer amounts to, unless it is one about what was sent (400, 413, 422)."""
    said = f"{server.url} answered {answer.sentence()}"
    if answer.status in DENIED:
        return SinkDenied(f"{said}. Nothing is lost; mend the token or password in the environment.")
    if answer.status in BUSY:
        return SinkBusy(said, retry_after_s=_patience(answer.headers))
    if answer.status == 404:
        return StoreError(
            f"{said}. Is {server.database!r} there, and is the server of version {server.version}? "
            "`emg db init SITE` makes the one and checks the other."
        )
    if 300 <= answer.status < 400:
        to = escaped(answer.headers.get("Location", "elsewhere"))
        return StoreError(f"{said}: it points to {to}; give that address in the site file if it is the right one.")
    return StoreError(f"{said}; expected an answer of InfluxDB {server.version}.")


def escaped(text: str) -> str:
    """Words from outside in one line: what cannot be printed is escaped, what is too long is cut."""
    cut = text[:SHOWN] + ("..." if len(text) > SHOWN else "")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in cut)


def _authorization(server: InfluxServer, token: str) -> dict[str, str]:
    if server.username:
        pair = base64.b64encode(f"{server.username}:{token}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    scheme = "Bearer" if server.version == "3" else "Token"
    return {"Authorization": f"{scheme} {token}"} if token else {}


def _said(body: bytes) -> str:
    """The words in an error body: 1.x and 3.x put them under `error`, 2.x under `message`."""
    text = body.decode("utf-8", "replace").strip()
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(parsed, dict):
        return text
    words = [parsed[key] for key in ("error", "message") if isinstance(parsed.get(key), str)]
    details = parsed.get("data")
    if isinstance(details, list) and details and isinstance(details[0], dict):
        words.append(str(details[0].get("error_message", "")))
    return ": ".join(filter(None, words)) or text


def _patience(headers: Mapping[str, str]) -> float:
    """How long Retry-After asks to wait [s], of its two forms; a date is taken against the server's own clock."""
    asked = headers.get("Retry-After", "").strip()
    try:
        seconds = float(asked) if asked[:1].isdigit() else _until(asked, headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_PATIENCE_S)


def _until(then: str, now: str) -> float:
    return (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
