"""What a message says, whatever its convention: of which meter, which numbers, of which instant."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from gateway.mqtt_messages import Message

LONGEST_PAYLOAD = 65536  # bytes

# A number, None where the meter showed nothing, a sentence where it is no number.
Shown = Decimal | str | None


class PayloadRefused(ValueError):
    """A message that says nothing that could be booked; its text says why."""


class NotOurs(ValueError):
    """A message that is in order and speaks of nothing that is read here; its text says why."""


class Numbered(NamedTuple):
    """The place of a message in its publisher's count, and the instant [us, UTC] that it speaks of.

    `modulus` is the number that is counted as 0 again, 0 where there is none. `anew`: the publisher says that it
    begins to count with this message.
    """

    counter: str  # whose count: a source, or the beginning of some sources up to a "/"
    number: int
    instant: int
    modulus: int = 0
    anew: bool = False


class Said(NamedTuple):
    """What one message says of one meter at one instant.

    `source` is what messages call the meter. `units` holds the unit of a field where it is not the register's.
    """

    source: str
    instant: int  # [us, UTC]
    values: Mapping[str, Shown]
    doubt: str = ""  # why it is doubted; "" = good
    absent: str = "message.no_value"  # why a value is None
    units: Mapping[str, str] = {}  # never written to
    remarks: Sequence[str] = ()  # what was not understood, beside values that were
    elsewhere: bool = False  # True: fields that the meter's profile does not know are meant for others


class Convention(Protocol):
    """How messages of one kind are read."""

    topics: Sequence[str]  # the topic filters that bring them
    standing: bool  # True if a message is worth reading that waited at the broker
    longest: int  # bytes of a payload

    def read(self, message: Message) -> tuple[Iterable[Said], Numbered | None]:
        """What a message says, and its place in a count. Raises PayloadRefused and NotOurs."""
        ...

    def missed(self, counter: str) -> None:
        """Messages of this count were lost before the one that was read last."""
        ...

    def replies(self) -> Iterable[tuple[str, bytes]]:
        """What is to be published now, as (topic, payload), each once."""
        ...
