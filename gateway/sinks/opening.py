"""The sinks of a site: the only place that says which kind has which outlet, and how all of them are drained."""

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from gateway.alarm import SINKS, Alarm, set_alarm
from gateway.clocks import Clock
from gateway.contracts import Sink
from gateway.destinations import secret_of_sink
from gateway.domain.destinations import SinkKind, SinkSettings
from gateway.domain.readings import MICROSECONDS
from gateway.domain.sites import Site
from gateway.errors import GatewayError
from gateway.journal.writer import Journal
from gateway.mqtt_publishing import Publisher
from gateway.sinks.delivery_book import DeliveryBook
from gateway.sinks.drain import PACE_S, InThread
from gateway.sinks.draining import READING_STORE, RESTART_S, Drained, keep_draining
from gateway.sinks.files_outlet import FilesOutlet, Rows
from gateway.sinks.mqtt_outlet import MqttOutlet
from gateway.sinks.outlet import Outlet
from gateway.sinks.plant_days import PlantDays
from gateway.sinks.recorded import RecordedSink

COPY_PACES = 5  # a copy may be a second late: each delivery costs a durable commit
log = logging.getLogger("emg.sinks")


async def drain_site(
    site: Site,
    journal: Journal,
    store: Sink,
    clock: Clock,
    *,
    chance: random.Random | None = None,
    pace_s: float = PACE_S,
) -> None:
    """Drain the journal into the reading store and the site's sinks until cancelled.

    Trouble stays with the sink that has it; a delivery book that cannot be opened holds the sinks, with an alarm, and
    not the reading store. Raises (in groups) JournalStopped alone.
    """
    journal_dir = site.data_dir / "journal"
    stored = Drained(READING_STORE, store, None, clock=clock, chance=chance, pace_s=pace_s)

    def drained(sink: Sink, book: DeliveryBook) -> Drained:
        return Drained(sink.name, sink, book, clock=clock, chance=chance, pace_s=COPY_PACES * pace_s)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_draining(journal, journal_dir, [stored]))
        with ExitStack() as opened:
            stored.book, sinks = await _opened(site, clock, opened)
            try:
                await keep_draining(journal, journal_dir, [drained(sink, stored.book) for sink in sinks])
            finally:
                stored.book = None


async def _opened(site: Site, clock: Clock, opened: ExitStack) -> tuple[DeliveryBook, list[RecordedSink]]:
    """The delivery book and the sinks, as soon as they let themselves be opened; meanwhile there is an alarm."""
    why = ""
    while True:
        try:
            found = await InThread(None)(partial(opened.enter_context, open_sinks(site, clock)))
        except (GatewayError, OSError) as error:  # evidence first: what keeps copies away stops no acquiring
            log.error("ALARM: no sink is given anything; tried again in %d s: %s", RESTART_S, error)
            if str(error) != why:
                why = str(error)
                set_alarm(site.data_dir, Alarm(clock.now(), why), SINKS)
        else:
            if why:
                log.warning("the sinks are given readings again, from where each stands")
            set_alarm(site.data_dir, None, SINKS)
            return found
        await clock.sleep_until(clock.now() + RESTART_S * MICROSECONDS)


@contextmanager
def open_sinks(site: Site, clock: Clock) -> Iterator[tuple[DeliveryBook, list[RecordedSink]]]:
    """The delivery book, for writing, and every sink of the site; no server is asked yet. Raises StoreError."""
    with ExitStack() as opened:
        book = opened.enter_context(DeliveryBook.open(site.data_dir))
        book.enrol(READING_STORE, site.store.kind.value)
        sinks = []
        for settings in site.sinks.values():
            sinks.append(open_sink(site, settings, book, clock))
            opened.callback(sinks[-1].close)
        yield book, sinks


def open_sink(site: Site, settings: SinkSettings, book: DeliveryBook, clock: Clock) -> RecordedSink:
    """One sink of the site. Raises StoreError when the book cannot be written."""
    book.enrol(settings.id, target(settings))
    days = PlantDays(site.timezone)
    outlet = _outlet(site, settings, book, days)
    return RecordedSink(settings, outlet, book, data_dir=site.data_dir, days=days, clock=clock)


def target(settings: SinkSettings) -> str:
    """Where a sink leads, in words: another place has got nothing yet."""
    if settings.influx is not None:
        return f"{settings.kind.value} {settings.influx.url} {settings.influx.org} {settings.influx.database}"
    if settings.broker is not None:
        return f"{settings.kind.value} {settings.broker.host}:{settings.broker.port} {settings.topic}"
    return f"{settings.kind.value} {settings.folder} {settings.format}"


def _outlet(site: Site, settings: SinkSettings, book: DeliveryBook, days: PlantDays) -> Outlet:
    if settings.broker is not None:
        password = secret_of_sink(settings.id, "PASSWORD")
        return MqttOutlet(settings, site, Publisher(settings.broker, password), book)
    if settings.influx is not None:
        token = secret_of_sink(settings.id, "TOKEN")
        # Loaded only where such a sink is declared: a core installation has no client of InfluxDB.
        if settings.kind is SinkKind.VICTORIAMETRICS:
            from gateway.sinks.victoria_outlet import VictoriaOutlet  # noqa: PLC0415

            return VictoriaOutlet(settings.influx, token)
        from gateway.sinks.influx_outlet import InfluxOutlet  # noqa: PLC0415

        return InfluxOutlet(settings.influx, token, settings.enterprises)
    rows = Rows(settings.format, site.series, site.timezone)
    return FilesOutlet(settings.id, settings.folder, rows, days, book)
