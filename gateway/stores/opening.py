"""The stores of a site: the only place that says which file holds what."""

from gateway.domain.sites import Site
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.intervals import IntervalStore


def open_reading_store(site: Site, *, read_only: bool) -> EmbeddedStore:
    """The site's readings and latest values. Raises StoreError; read-only when they were never written yet."""
    return EmbeddedStore.open(site.data_dir / "readings.db", read_only=read_only)


def open_interval_store(site: Site, *, read_only: bool) -> IntervalStore:
    """The site's intervals. Raises StoreError; read-only when they were never written yet."""
    return IntervalStore.open(site.data_dir / "intervals.db", read_only=read_only)
