"""Copies of what was settled for dashboards, in the InfluxDB store and in every InfluxDB and VictoriaMetrics sink.

The figures are made from the interval store alone: a copy that is late costs a dashboard some minutes and nothing else.
So trouble with a server is a line in the log, and what is missing there is noted and copied by the next settling.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from analytics.copy_book import CopyBook
from analytics.copy_lines import copy_lines
from gateway.contracts import ReadingStore, Touched
from gateway.destinations import secret, secret_of_sink
from gateway.domain.destinations import InfluxServer, SinkKind
from gateway.domain.readings import MICROSECONDS
from gateway.domain.scopes import EVERYTHING, Scope
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.stores.intervals import IntervalStore
from gateway.stores.opening import TOKEN

if TYPE_CHECKING:
    from gateway.stores.influx_writing import LineWriter

STEP_US = 32 * 86_400 * MICROSECONDS  # so much of a series is copied at a time
log = logging.getLogger("emg.settle")


class Destination(NamedTuple):
    """A server that gets copies, of the enterprises in `scope`."""

    name: str
    server: InfluxServer
    token: str
    scope: Scope

    @property
    def key(self) -> str:
        """What tells it from another: moved to another server or database, it is a new one."""
        return f"{self.name} {self.server.url} {self.server.database}"


def destinations(site: Site) -> list[Destination]:
    """Every server of a site that gets copies. Raises ConfigError when a secret cannot be read."""
    found = []
    if site.store.influx is not None:
        found.append(Destination("store", site.store.influx, secret(TOKEN), EVERYTHING))
    for sink in site.sinks.values():
        if sink.influx is None:
            continue
        # VictoriaMetrics makes a label of the database only on the path of version 1.
        server = replace(sink.influx, version="1") if sink.kind is SinkKind.VICTORIAMETRICS else sink.influx
        scope = Scope(frozenset(sink.enterprises)) if sink.enterprises else EVERYTHING
        found.append(Destination(f"sink {sink.id}", server, secret_of_sink(sink.id, "TOKEN"), scope))
    return found


def note_settled(
    site: Site, book: CopyBook, to: Sequence[Destination], readings: ReadingStore, spans: Sequence[Touched]
) -> None:
    """Note what was settled as to be copied; for a server never met before, everything. Raises StoreError."""

    def everything() -> list[Touched]:
        before = site.interval_s * MICROSECONDS  # the first reading lies within an interval
        return [span._replace(first=span.first - before) for span in readings.touched(EVERYTHING, 0)[1]]

    book.note([one.key for one in to], spans, everything)


def copy_settled(site: Site, book: CopyBook, to: Sequence[Destination], intervals: IntervalStore) -> int:
    """Copy what is noted. Returns how many servers could not be served; what they lack stays noted."""
    # Loaded only here: an installation without such a server may lack the client library.
    from gateway.stores.influx_writing import LineWriter  # noqa: PLC0415

    unserved = 0
    for one in to:
        try:
            with LineWriter(one.server, one.token) as writer:
                _copy(site, book, one, intervals, writer)
        except StoreError as error:
            unserved += 1
            log.warning("copies for %s are late; the next settling tries again: %s", one.name, error)
    return unserved


def _copy(site: Site, book: CopyBook, to: Destination, intervals: IntervalStore, writer: "LineWriter") -> None:
    described = set(intervals.series(to.scope))  # others have no amounts, or are none of this server's
    for span in book.pending(to.key):
        series = site.series.get(span.series)
        if series is None or span.series not in described:
            book.copied(to.key, span.series, span.last)
            continue
        for first in range(span.first, span.last + 1, STEP_US):
            last = min(first + STEP_US - 1, span.last)
            refused = writer.write(list(copy_lines(site, intervals, to.scope, series, first, last)))
            if refused:
                log.warning("%s refuses %d copies of %s: %s", to.name, len(refused), span.series, refused[0].reason)
            book.copied(to.key, span.series, last)
