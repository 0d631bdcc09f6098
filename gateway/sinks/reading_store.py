"""The reading store as a sink that is opened when it is first needed, and opened again after trouble.

Evidence comes first: a store that cannot be opened costs nothing but its own drain, and fills by itself afterwards.
"""

import logging
from collections.abc import Sequence

from gateway.alarm import STORE, Alarm, set_alarm
from gateway.clocks import Clock
from gateway.contracts import Delivery
from gateway.domain.sites import Site
from gateway.errors import ConfigError, SinkBusy, SinkDenied, StoreError
from gateway.sinks.drain import Rests
from gateway.stores.opening import OpenedStore, open_reading_store

log = logging.getLogger("emg.sinks")


class ReadingStoreSink:
    """A Sink over the site's reading store: used in the thread of its drain, which tries again what failed."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self.name = site.store.kind.value
        self._site = site
        self._clock = clock
        self._store: OpenedStore | None = None
        self._alarmed: str | None = None  # why, as told last; None: nothing was told yet, an earlier run may have

    @property
    def store(self) -> OpenedStore | None:
        """The store while it is open; for any thread."""
        return self._store

    def cursor(self) -> int:
        """The last entry whose readings are durable in the store. Raises StoreError, also when it cannot be opened."""
        return self._opened().cursor()

    def witness(self) -> bytes:
        """The digest of that entry. Raises StoreError."""
        return self._opened().witness()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Store these and move the cursor. Raises StoreError; then the store is opened anew the next time."""
        try:
            self._opened().deliver(deliveries)
        except (SinkBusy, SinkDenied):
            raise  # a server asks for patience: the file beside it is in order
        except StoreError as error:
            self._alarm(error)
            self.close()
            raise
        if self._alarmed != "":
            set_alarm(self._site.data_dir, None, STORE)
            if self._alarmed:
                log.warning("the reading store takes readings again; it fills from the journal")
            self._alarmed = ""

    def rest(self) -> bool:
        """A step of the store's own work, where it has any. Raises StoreError."""
        store = self._opened()
        return isinstance(store, Rests) and store.rest()

    def close(self) -> None:
        """Close the store, if it is open."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _opened(self) -> OpenedStore:
        if self._store is None:
            try:
                self._store = open_reading_store(self._site, read_only=False)
            except StoreError as error:
                self._alarm(error)
                raise
            except ConfigError as error:  # a secret that cannot be read: no reason to stop acquiring
                self._alarm(error)
                raise StoreError(str(error)) from error
        return self._store

    def _alarm(self, error: StoreError | ConfigError) -> None:
        """Tell whoever watches that readings are kept in the journal alone, and why."""
        why = str(error)
        if why == self._alarmed:
            return
        log.error("ALARM: the reading store is not there; the journal keeps every reading meanwhile: %s", why)
        if not self._alarmed:
            set_alarm(self._site.data_dir, Alarm(self._clock.now(), why), STORE)
        self._alarmed = why
