"""What a sink's outlet promises: it stores readings elsewhere, and says which of them it never will."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.domain.readings import Reading


class Item(NamedTuple):
    """One reading with its identity: the journal entry it came in, and its place there."""

    sequence: int
    place: int
    reading: Reading


class Refused(NamedTuple):
    """A reading that the other side will never store: what was sent for it, and what was said of it."""

    item: Item
    content: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the items of one call: all are stored but the refused ones.

    `marks` are numbers that must be kept together with the cursor, by name (the durable length of a file).
    """

    refused: Sequence[Refused] = ()
    marks: Mapping[str, int] = field(default_factory=dict)


class Outlet(Protocol):
    """The way to one server, broker or folder."""

    def send(self, items: Sequence[Item]) -> Sent:
        """Store these, in their order. Repeating does no harm.

        Raises SinkBusy, SinkDenied, StoreError; then some may be stored, and all are given again.
        """
        ...

    def started(self) -> str:
        """What changes when the other side was started anew; "" where that cannot be told. Raises as `send` does."""
        ...

    def close(self) -> None:
        """Let go of the other side."""
        ...
