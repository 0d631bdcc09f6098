"""A meter model: its registers, where they are found, and the examples that prove it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from gateway.decoding import IN_MESSAGE, Encoding
from gateway.domain.carriers import EnergyCarrier
from gateway.domain.instruments import AccuracyClass, Register

MODBUS = "modbus"
MESSAGE = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRegister:
    """One register and where it is found.

    Wire "modbus": `table` ("holding" or "input"), `address` of the first word (0-based, as in the PDU) and
    `encoding`. Wire "message": `field` is the key under which the number stands, in the register's unit;
    its encoding has no words.
    """

    register: Register
    table: str = ""
    address: int = 0
    encoding: Encoding = IN_MESSAGE
    field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What the wire carried and what the meter shows then: the proof of a profile.

    `words` are runs of words by their first address (big-endian bytes as on the wire), `message` numbers by
    key. `shows` holds values by quantity in the register's unit, None for "no value".
    """

    origin: str  # "captured" | "manual" | "worked"
    came_from: str
    words: Mapping[int, bytes]
    message: Mapping[str, Decimal]
    shows: Mapping[str, Decimal | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One meter model. `side`: which side of the instrument transformers its registers show."""

    name: str  # "<carrier>/<maker>_<model>"
    carrier: EnergyCarrier
    maker: str
    model: str
    source: str
    side: str  # "primary" | "secondary" | "none"
    wire: str  # MODBUS | MESSAGE
    accuracy: Mapping[str, AccuracyClass]  # by quantity
    presupposes: tuple[str, ...]  # settings of the meter without which the profile is wrong
    registers: Mapping[str, ProfileRegister]  # by quantity, in the order of the file
    examples: tuple[Example, ...]

    @property
    def basis(self) -> frozenset[str]:
        """The origins of its examples: what the profile rests on."""
        return frozenset(example.origin for example in self.examples)

    @property
    def not_exemplified(self) -> tuple[str, ...]:
        """Quantities that no example shows: their decoding is stated but not proven."""
        proven = {quantity for example in self.examples for quantity in example.shows}
        return tuple(quantity for quantity in self.registers if quantity not in proven)
