"""The stores of a site: the only place that says which file or server holds what."""

from typing import Protocol, Self

from gateway.contracts import ReadingStore, Sink, StoredReading
from gateway.destinations import secret
from gateway.domain.scopes import Scope
from gateway.domain.sites import Site
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.hot_rows import Conflict, Refused
from gateway.stores.intervals import IntervalStore

TOKEN = "EMG_STORE_TOKEN"  # noqa: S105 - the name of the secret, not the secret


class OpenedStore(Sink, ReadingStore, Protocol):
    """A site's reading store, whichever it is: the way in, the reads, and what tells it apart from the journal."""

    def versions(self, scope: Scope, series: str, instant: int) -> list[StoredReading]:
        """Every reading that was journaled for an instant [us, UTC], in the order of the journal."""
        ...

    def series(self, scope: Scope) -> list[str]:
        """The names of all series that have readings here."""
        ...

    def count(self, scope: Scope) -> int:
        """How many journaled readings came, repeats and MISSING ones included."""
        ...

    def duplicates(self, scope: Scope) -> int:
        """How many readings only repeat another of their instant."""
        ...

    def conflicts(self, scope: Scope) -> list[Conflict]:
        """Usable readings that contradict the one that stands at their instant."""
        ...

    def refused(self, scope: Scope, most: int = 100) -> Refused:
        """How many readings it will never take, and the newest of them, at most so many."""
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_reading_store(site: Site, *, read_only: bool) -> OpenedStore:
    """The site's readings and latest values. Raises StoreError; read-only when they were never written yet."""
    if site.store.influx is None:
        return EmbeddedStore.open(site.data_dir / "readings.db", read_only=read_only)
    # Loaded only here: a core installation leaves the client library out.
    from gateway.stores.influxdb import InfluxStore  # noqa: PLC0415

    path = site.data_dir / "influx-store.db"
    return InfluxStore.open(path, site.store.influx, secret(TOKEN), read_only=read_only)


def open_interval_store(site: Site, *, read_only: bool) -> IntervalStore:
    """The site's intervals. Raises StoreError; read-only when they were never written yet."""
    return IntervalStore.open(site.data_dir / "intervals.db", read_only=read_only)
