"""The contracts between the rooms: what a collector, a sink and a reading store promise."""

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from gateway.domain.readings import Quality, Reading
from gateway.domain.scopes import Scope


class Collector(Protocol):
    """One line into the field, poll or push alike."""

    line: str

    def readings(self) -> AsyncGenerator[list[Reading], None]:
        """Readings in small lists, for as long as it is iterated.

        Asking for the next list says that the one before is durable: only then does a collector
        acknowledge it to the field (MQTT PUBACK, ticket moved out of the drop folder). A slot at which
        nothing usable was read yields readings of quality MISSING with their reason.
        """
        ...


class Delivery(NamedTuple):
    """One journal entry on its way to a sink; `readings` is empty for entries that carry none.

    `digest` is the entry's hash in the chain: a sink keeps that of the entry its cursor stands on.
    """

    sequence: int
    readings: Sequence[Reading]
    digest: bytes = b""


class Sink(Protocol):
    """Something that wants every reading, in the order of the journal."""

    name: str

    def cursor(self) -> int:
        """The last journal sequence number whose readings are durable here; 0 before the first."""
        ...

    def witness(self) -> bytes:
        """The digest that came with the entry the cursor stands on; empty when there was none.

        It tells a journal that was restored from an older copy, and has grown since, from the one drained here.
        """
        ...

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Store these and move the cursor to the last of them, both or neither. Repeating does no harm.

        Raises StoreError; then nothing was stored and the cursor stands.
        """
        ...


class StoredReading(NamedTuple):
    """A reading as a store gives it back, with the journal sequence number that proves it."""

    series: str
    instant: int
    value: int | float | None
    quality: Quality
    reason: str
    sequence: int


class Touched(NamedTuple):
    """A span of one series that changed: settle looks at it again. Instants [us, UTC], inclusive."""

    series: str
    first: int
    last: int


class ReadingStore(Protocol):
    """Readings and latest values. All reads take the caller's scope and see nothing outside it."""

    def latest(self, scope: Scope) -> list[StoredReading]:
        """The newest reading of every series that is not MISSING, by series name."""
        ...

    def readings(self, scope: Scope, series: str, start: int, end: int) -> list[StoredReading]:
        """Readings of one series in [start, end) [us, UTC] by instant, one per instant.

        Of several readings of the same instant the first journaled usable one stands: retries are harmless.
        """
        ...

    def around(self, scope: Scope, series: str, start: int, end: int) -> list[StoredReading]:
        """As `readings`, from the nearest usable reading before `start` to the nearest at or after `end`."""
        ...

    def touched(self, scope: Scope, after_sequence: int) -> tuple[int, list[Touched]]:
        """(newest sequence stored, spans changed by entries after `after_sequence`)."""
        ...
