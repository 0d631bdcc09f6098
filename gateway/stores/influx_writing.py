"""Writes lines to a server that takes line protocol, and finds the few that it refuses among those it stores.

Versions 2 and 3 (and VictoriaMetrics) take them at `/api/v2/write`, through influxdb-client's synchronous interface
with finished text; version 1 at `/write`. Repeating a write does no harm: equal series and instant are overwritten.
"""

import gzip
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from influxdb_client.client.write_api import SYNCHRONOUS

from gateway.domain.destinations import InfluxServer
from gateway.errors import SinkRefuses, StoreError
from gateway.stores.influx_http import Answer, AnsweredBadly, connect, outcome
from gateway.stores.line_protocol import PRECISION

MOST_LINES = 10_000  # in one request
UNUSABLE = frozenset({400, 422})  # something in what was sent is wrong
TOO_LARGE = 413
# More than so many lines of a request refused, and more than this share of it, are no matter of single lines any more.
MANY, MANY_SHARE = 20, 0.05
MOST_REFUSALS = 500  # answers while the poison of one request is sought: 20 lines of 10,000 need no more than 460
_DROPPED = re.compile(r"\bdropped=(\d{1,9})\b")


class RefusedLine(NamedTuple):
    """A line that the server will never store: which of those given it is (from 0), and what the server says of it."""

    number: int
    line: str
    reason: str


class LineWriter:
    """Writes to one server; for one thread at a time."""

    def __init__(self, server: InfluxServer, token: str) -> None:
        """`token` is the token, or the password where the server has a user name; "" where it asks for none."""
        self._server = server
        self._connection = connect(server, token)
        self._api: Any = self._connection.client.write_api(write_options=SYNCHRONOUS)

    def write(self, lines: Sequence[str]) -> list[RefusedLine]:
        """Store these lines, in their order. Returns those that the server refuses; all others are stored.

        Raises SinkBusy when the server cannot at present, SinkDenied when it does not let us in, SinkRefuses when it
        (or a proxy before it) refuses too many lines or every one, StoreError when the database is missing or the
        answer is none of InfluxDB's. Then some lines may be stored already: the same lines are given again.
        """
        if not lines:
            return []
        if "\n".join(lines).count("\n") != len(lines) - 1:
            raise StoreError("found a line of line protocol with a line feed in it; expected one point per line.")
        refused: list[RefusedLine] = []
        for start in range(0, len(lines), MOST_LINES):
            sift = _Sift(lines, start, min(start + MOST_LINES, len(lines)), self._post, self._server.url)
            refused += sift.refused()
        return refused

    def close(self) -> None:
        """Close the connections."""
        self._connection.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _post(self, lines: Sequence[str]) -> Answer | None:
        """Send lines; None when all are stored, the answer when something in them (or their size) is refused."""
        body = "\n".join(lines).encode("utf-8", "backslashreplace")
        try:
            if self._server.version == "1":
                self._post_to_version_1(body)
            else:
                self._api.write(self._server.database, self._server.org, body, PRECISION)
        except AnsweredBadly as error:
            if error.answer.status in UNUSABLE or error.answer.status == TOO_LARGE:
                return error.answer
            raise outcome(self._server, error.answer) from None
        return None

    def _post_to_version_1(self, body: bytes) -> None:
        headers = {**self._connection.headers, "Content-Type": "text/plain; charset=utf-8"}
        if self._server.gzip:
            body, headers["Content-Encoding"] = gzip.compress(body, 6), "gzip"
        query = urlencode({"db": self._server.database, "precision": "u"})
        self._connection.pool.request("POST", f"{self._server.url}/write?{query}", body=body, headers=headers)


class _Sift:
    """The lines [start:end] of a request on their way; halves what is refused until the poison is found.

    One poison line of a thousand takes 20 requests beside the first: a half is tried as a whole only while the other
    could hold the poison too. A line is refused only on an answer to itself alone, or to a batch of which the server
    says that it dropped as many lines as there were.
    """

    def __init__(
        self, lines: Sequence[str], start: int, end: int, post: Callable[[Sequence[str]], Answer | None], url: str
    ) -> None:
        self._lines, self._start, self._end, self._post, self._url = lines, start, end, post, url
        self._most = max(MANY, int(MANY_SHARE * (end - start)))
        self._taken = 0  # lines that are certainly stored
        self._answers = 0  # that refused something
        self._alone = 0  # lines refused on an answer that does not say itself how many it dropped
        self._reason = ""

    def refused(self) -> list[RefusedLine]:
        """Store the lines; those that are refused. Raises SinkRefuses when they are too many, or all."""
        found = self._store(self._start, self._end, None)
        if self._alone and not self._taken:
            raise self._trouble()
        return found

    def _store(self, start: int, end: int, known: Answer | None) -> list[RefusedLine]:
        """`known` is the answer to these lines where they were tried as part of more."""
        refusal = known or self._post(self._lines[start:end])
        if refusal is None:
            self._taken += end - start
            return []
        self._count(refusal)
        if _dropped(refusal) == end - start:
            return self._refusals(start, end, refusal)
        if end - start == 1:
            self._alone += 1
            if self._alone > self._most or (self._alone >= MANY and not self._taken):
                raise self._trouble()
            return self._refusals(start, end, refusal)
        middle = (start + end) // 2
        first = self._store(start, middle, None)
        must_be_there = not first and refusal.status in UNUSABLE and end - middle > 1
        return first + self._store(middle, end, refusal if must_be_there else None)

    def _count(self, refusal: Answer) -> None:
        self._answers += 1
        self._reason = refusal.sentence()
        if self._answers > MOST_REFUSALS:
            raise self._trouble()

    def _refusals(self, start: int, end: int, refusal: Answer) -> list[RefusedLine]:
        return [RefusedLine(number, self._lines[number], refusal.sentence()) for number in range(start, end)]

    def _trouble(self) -> SinkRefuses:
        whole = self._end - self._start
        return SinkRefuses(
            f"{self._url} refuses too much to be a matter of single readings: of {whole} lines {self._taken} were "
            f"taken and {self._alone} refused before this was given up. It says {self._reason}. Nothing is lost; look "
            "at the server, at what stands before it and at the types of its fields: the same is sent again"
        )


def _dropped(answer: Answer) -> int:
    """How many lines of a batch the server says it dropped; 0 where it does not say."""
    found = _DROPPED.search(answer.sentence())
    return int(found[1]) if found else 0
