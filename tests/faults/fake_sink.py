"""A sink that fails and lies by a seed: it answers like an InfluxDB 1.x, and keeps account of what it did.

Troubles: "429" (with Retry-After), "503", "500", "reset" (in the middle of the answer), "hang", "lost" (stored, and then
the connection is reset) leave the client to try again. Lies answer 204: "nothing" stores nothing, "one" drops one line,
"twice" keeps every line twice. "400" refuses what it is
given, "401" lets nobody in.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from gateway.clocks import Clock
from gateway.domain.destinations import InfluxServer
from gateway.domain.readings import MICROSECONDS
from tests.stores.influx_answers import STORED, Asked, ContractServer, Told, failed

TROUBLES = ("429", "503", "500", "reset", "hang", "lost")
LIES = ("nothing", "one", "twice")


class Answered(NamedTuple):
    """One write as it was answered: when [us, by the test's clock], how, and how long it asked to wait [s]."""

    at: int
    how: str
    retry_after_s: int
    lines: int


class FakeSink:
    """`mood` says at each write how it goes: "" for well, one of TROUBLES or LIES otherwise."""

    def __init__(self, clock: Clock, seed: int, mood: Callable[[random.Random], str]) -> None:
        self.clock, self.mood = clock, mood
        self.answered: list[Answered] = []
        self.arrived: list[str] = []  # every line that was stored, in the order of storing, repeats included
        self.kept: dict[tuple[str, int], list[str]] = {}  # (series, instant) -> the lines kept for it
        self.readable = True
        self.poison = ""  # what has it in a line is refused, whatever the mood
        self._chance = random.Random(seed)
        self._server = ContractServer(self._answer)

    @contextmanager
    def serving(self) -> Iterator["FakeSink"]:
        with self._server.serving():
            yield self

    def declared(self, **options: Any) -> InfluxServer:
        return self._server.declared("1", **options)

    def lies(self) -> list[Answered]:
        return [one for one in self.answered if one.how in LIES]

    def _answer(self, asked: Asked) -> Told:
        if asked.path == "/query":
            return self._query(asked) if self.readable else failed(403, "not yours to read")
        if asked.path != "/write":
            return Told(404, b"404 page not found")
        how = self.mood(self._chance)
        if self.poison and any(self.poison in line for line in asked.lines):
            how = "400"
        retry_after_s = self._chance.choice((1, 7, 40)) if how in {"429", "503"} else 0
        self.answered.append(Answered(self.clock.now(), how, retry_after_s, len(asked.lines)))
        if how in {"", "lost", *LIES}:
            self._keep(asked.lines, how)
        if how in {"429", "503"}:
            return failed(int(how), "try again later", Retry_After=str(retry_after_s))
        if how in {"400", "401", "500"}:
            return failed(int(how), "no")
        if how in {"reset", "hang", "lost"}:
            return Told(200, b"", {}, "hang" if how == "hang" else "reset")
        return STORED

    def _keep(self, lines: list[str], how: str) -> None:
        dropped = self._chance.randrange(len(lines)) if how == "one" else -1
        for number, line in enumerate(lines):
            if how == "nothing" or number == dropped:
                continue
            head, _, instant = line.split(" ")
            self.arrived.append(line)
            kept = self.kept.setdefault((head, int(instant)), [])
            kept[:] = [line, line] if how == "twice" else [line]

    def _query(self, asked: Asked) -> Told:
        """The queries that the product asks, in InfluxDB's words: points of a series in a span, or how many of each."""
        form = dict(pair.split("=", 1) for pair in asked.body.decode().split("&"))
        bound = json.loads(unquote_plus(form["params"]))
        if "enterprise" not in bound:
            return self._counted(bound)
        head = "readings,enterprise={enterprise},point={point},quantity={quantity}".format(**bound)
        rows = [
            _row(instant, line)
            for (series, instant), lines in sorted(self.kept.items())
            if series == head and bound["first"] <= instant * 1000 <= bound["last"]
            for line in lines
        ]
        columns = ["time", "count", "value", "quality", "sequence", "reason"]
        series = [{"name": "readings", "columns": columns, "values": rows}] if rows else []
        return Told(200, json.dumps({"results": [{"statement_id": 0, "series": series}]}).encode() + b"\n")

    def _counted(self, bound: dict[str, int]) -> Told:
        there = {key for key in self.kept if bound["first"] <= key[1] * 1000 <= bound["last"]}
        series = [
            {
                "name": "readings",
                "tags": dict(tag.split("=", 1) for tag in head.split(",")[1:]),
                "columns": ["time", "count_quality"],
                "values": [[0, count]],
            }
            for head, count in sorted(Counter(head for head, _ in there).items())
        ]
        return Told(200, json.dumps({"results": [{"statement_id": 0, "series": series}]}).encode() + b"\n")


def _row(instant: int, line: str) -> list[Any]:
    fields = dict(pair.split("=", 1) for pair in line.split(" ")[1].split(","))
    whole = {name: int(text.removesuffix("i")) for name, text in fields.items() if text.endswith("i")}
    value = float(fields["value"]) if "value" in fields else None
    return [instant, whole.get("count"), value, whole["quality"], whole["sequence"], None]


def down_for(seconds: int, clock: Clock, afterwards: float) -> Callable[[random.Random], str]:
    """Every write fails for so long by the clock; then this share of them does."""
    until = clock.now() + seconds * MICROSECONDS

    def mood(chance: random.Random) -> str:
        if clock.now() < until or chance.random() < afterwards:
            return chance.choice(TROUBLES)
        return ""

    return mood
