"""`emg import influx`: the history of an InfluxDB, asked for in InfluxQL at `/query`, which versions 1 to 3 answer.

Names of the mapping are quoted, its values are bound. Each series is asked for in the order of time and in pieces; an
import that was interrupted, or is repeated later, goes on behind the last instant that it has booked.
"""

import getpass
import json as json_lines
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from pydantic import TypeAdapter, ValidationError

from collectors.history import History, as_document, booked_to, print_tally, shown_progress
from collectors.history_mapping import SourceForm, load_history_mapping
from collectors.tables import quoted
from gateway.clocks import SystemClock
from gateway.command_line import print_json, run_app
from gateway.config import load_site
from gateway.destination_form import ServerUrl
from gateway.destinations import secret
from gateway.domain.destinations import InfluxServer
from gateway.domain.periods import to_instant
from gateway.domain.sites import Site
from gateway.errors import ImportRefused, StoreError
from gateway.stores.influx_http import escaped
from gateway.stores.influx_query import Questions
from gateway.stores.influx_reading import EARLIEST, LATEST

ORIGIN = "emg import influx"
TOKEN = "EMG_IMPORT_INFLUX_TOKEN"  # noqa: S105 - the name of the secret, not the secret
FINDINGS = 1
LAST_NS = 2**63 - 2  # the last time that InfluxDB holds
app = typer.Typer(add_completion=False)


@app.command()
def import_command(
    url: Annotated[str, typer.Option(help="address of the server, e.g. http://127.0.0.1:8086")],
    database: Annotated[str, typer.Option(help="database (1, 3) or bucket (2)")],
    mapping_file: Annotated[Path, typer.Option("--map", help="the mapping from measurement, tags and field to points")],
    site_file: Annotated[Path, typer.Option("--site", help="the site file")],
    measurement: Annotated[str, typer.Option(help="only this measurement of the mapping")] = "",
    retention: Annotated[str, typer.Option(help="retention policy, where it is not the default one")] = "",
    start: Annotated[str, typer.Option("--from", help="from this time on, plant time, booked before or not")] = "",
    end: Annotated[str, typer.Option("--to", help="up to this time, itself left out, plant time")] = "",
    server_version: Annotated[str, typer.Option("--server", help="version of the server: 1, 2 or 3")] = "1",
    username: Annotated[str, typer.Option(help=f"user of version 1; password or token in {TOKEN}")] = "",
    by: Annotated[str, typer.Option(help="who imports; the journal keeps the name")] = "",
    check: Annotated[bool, typer.Option("--check", help="read only; book nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Ask an InfluxDB for the series that the mapping names and book their points.

    Started again it goes on behind what it has booked; with --from it asks for everything from there, and leaves out
    what was booked before.
    """
    site, mapping = load_site(site_file), load_history_mapping(mapping_file)
    span = _instant(start, "--from", site, EARLIEST), _instant(end, "--to", site, LATEST + 1) - 1
    server = _server(url, database, server_version, username)
    source = {"influx": f"{server.url} {database} {retention}".rstrip(), "mapping_sha256": mapping.sha256}
    author, begun = by or getpass.getuser(), time.monotonic()
    history = History(site, mapping, source, origin=ORIGIN, author=author, clock=SystemClock())
    wanted = [n for n, one in enumerate(mapping.sources) if measurement in {"", one.measurement}]
    if not wanted:
        known = ", ".join(sorted({one.measurement for one in mapping.sources}))
        raise ImportRefused(f"--measurement: found {measurement!r}; expected one of the mapping: {known}.")
    with closing(Questions(server, secret(TOKEN))) as questions:
        asking = [_Asking(questions, server, mapping.sources[n], retention, span) for n in wanted]
        for one in asking:
            one.be_one_series()
        total = sum(one.count() for one in asking)
        with shown_progress(database, total, quiet=json) as show:
            for number, one in zip(wanted, asking, strict=True):
                booked = None if start else booked_to(site, source, number)
                for upto in _batches(one, number, history, booked):
                    history.book(number, upto, check=check)
                    show(history.tally.read, history.tally.read)
    tally, seconds = history.tally, time.monotonic() - begun
    what = str(source["influx"])
    if json:
        print_json(as_document(what, tally, site, seconds=seconds, checked_only=check))
    else:
        print_tally(what, tally, site, seconds=seconds, checked_only=check)
    if tally.refused or tally.findings:
        raise typer.Exit(FINDINGS)


class _Asking:
    """What is asked of one series. Raises StoreError, SinkBusy and SinkDenied as the server answers."""

    def __init__(
        self, questions: Questions, server: InfluxServer, source: SourceForm, retention: str, span: tuple[int, int]
    ) -> None:
        self._questions, self._server, self._source, self._span = questions, server, source, span
        policy = f"{_quoted(retention)}." if retention else ""
        tags = [f"{_quoted(tag)} = $tag{n}" for n, tag in enumerate(source.tags)]
        within = " AND ".join([*tags, "time >= $first", "time <= $last"])
        self._from = f"FROM {policy}{_quoted(source.measurement)} WHERE {within}"
        self._bound = {f"tag{n}": value for n, value in enumerate(source.tags.values())}
        told = ", ".join(f"{tag}={value}" for tag, value in source.tags.items())
        self._name = f"{source.measurement} {source.field} {told}".rstrip()

    def be_one_series(self) -> None:
        """Raise ImportRefused where several series answer: of two meters nobody could tell which is meant."""
        found: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        for series in self._series(f"SELECT {_quoted(self._source.field)} {self._from} GROUP BY * LIMIT 1", self._span):
            tags = {k: str(v) for k, v in series.get("tags", {}).items() if k not in self._source.may_vary}
            found[tuple(sorted(tags.items()))] = tags
        if len(found) > 1:
            one, other = list(found.values())[:2]
            names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
            shown = " and ".join(
                quoted(", ".join(f"{name}={tags.get(name, '')}" for name in names)) for tags in (one, other)
            )
            raise ImportRefused(
                f"{self._name}: found {len(found)} series, e.g. {shown}; expected one. Name the tags that tell them "
                "apart in tags of the mapping, or those that change although it is one meter in may_vary."
            )

    def count(self) -> int:
        """How many points there are."""
        for series in self._series(f"SELECT count({_quoted(self._source.field)}) {self._from}", self._span):
            return int(series["values"][0][1])
        return 0

    def points(self, after: int | None) -> Iterator[tuple[int, Any]]:
        """(time [ns], value) of every point behind `after` [us], in the order of time."""
        first, last = self._span
        span = (first if after is None else max(first, after + 1), last)
        if span[0] > span[1]:
            return
        for series in self._series(f"SELECT {_quoted(self._source.field)} {self._from} ORDER BY time", span):
            for row in series["values"]:
                if len(row) != 2 or type(row[0]) is not int:
                    raise self._strange(row)
                if row[1] is not None:
                    yield row[0], row[1]

    def _series(self, statement: str, span: tuple[int, int]) -> Iterator[dict[str, Any]]:
        bound = {**self._bound, "first": span[0] * 1000, "last": min(span[1] * 1000 + 999, LAST_NS)}
        for piece in self._questions.pieces(statement, bound, epoch="ns"):
            try:
                answer = json_lines.loads(piece, parse_float=Decimal)
                (result,) = answer["results"]
                error = answer.get("error") or result.get("error")
                found = [series for series in result.get("series", []) if series["values"]]
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as trouble:
                raise self._strange(piece[:200]) from trouble
            if error:
                raise StoreError(f"{self._server.url} answered about {self._name}: {escaped(str(error))}.")
            yield from found

    def _strange(self, found: object) -> StoreError:
        return StoreError(f"{self._server.url}: found {escaped(repr(found))}; expected rows of time and value.")


def _batches(asking: _Asking, number: int, history: History, booked: int | None) -> Iterator[int]:
    """Fills one batch after the other; the instant [us] of the source up to which each goes."""
    upto = 0
    for line, (nanoseconds, value) in enumerate(asking.points(booked), 1):
        upto = nanoseconds // 1000
        history.tally.below_us += nanoseconds % 1000 != 0
        known = isinstance(value, int | Decimal | bool | str)
        history.take(number, value if known else str(value), upto, line)
        if history.full:
            yield upto
    yield upto


def _server(url: str, database: str, version: str, username: str) -> InfluxServer:
    if version not in {"1", "2", "3"}:
        raise ImportRefused(f"--server: found {version!r}; expected 1, 2 or 3.")
    try:
        address = TypeAdapter(ServerUrl).validate_python(url)
    except ValidationError as error:
        raise ImportRefused(f"--url: found {quoted(url)}; expected {error.errors()[0]['msg']}.") from error
    return InfluxServer(url=address, database=database, version=version, username=username, timeout_s=Decimal(60))


def _instant(text: str, option: str, site: Site, otherwise: int) -> int:
    """A time of the command line [us, UTC], in plant time where it names no offset."""
    if not text:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ImportRefused(f"{option}: found {quoted(text)}; expected a time like 2026-03-01T00:00.") from None
    return to_instant(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(site.timezone)))


def _quoted(name: str) -> str:
    """A name as InfluxQL takes it; it cannot be bound."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def import_influx_main(argv: list[str]) -> int:
    """`emg import influx`."""
    return run_app(app, argv, "emg import influx")
