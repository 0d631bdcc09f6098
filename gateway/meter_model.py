"""A meter model: its registers, where they are found, and the examples that prove it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.device_facts import Identity, Ratios
from gateway.domain.carriers import EnergyCarrier
from gateway.domain.instruments import AccuracyClass, Register
from gateway.encoding import IN_MESSAGE, Encoding
from gateway.meter_data import DataManner, DataPlace

MODBUS = "modbus"
MESSAGE = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRegister:
    """One register and where it is found.

    Wire "modbus": `table` ("holding" or "input"), `encoding`, and the first word of each of its pieces
    (0-based, as in the PDU): one for most, several where parts or a scale factor lie apart. Wire "message":
    `field` is the key under which the number stands, in the register's unit; its encoding has no words.
    `reread`: the meter does not renew the words of this total together, so it is read twice.
    `field` is the key under which the number stands, in the register's unit; its encoding has no words. Wires
    "dlt645" and "cjt188": `data` says which bytes of which data identifier.
    """

    register: Register
    table: str = ""
    addresses: tuple[int, ...] = ()
    encoding: Encoding = IN_MESSAGE
    field: str = ""
    reread: bool = False
    data: DataPlace | None = None

    @property
    def address(self) -> int:
        """The first word of its first piece; 0 for a message."""
        return self.addresses[0] if self.addresses else 0

    @property
    def pieces(self) -> tuple[range, ...]:
        """The words of its pieces, in the order of the encoding."""
        lengths = self.encoding.lengths
        return tuple(range(at, at + words) for at, words in zip(self.addresses, lengths, strict=True))

    @property
    def reach(self) -> range:
        """All words from its first to its last: what one request must bring, for the value to be of one instant."""
        return range(min(piece.start for piece in self.pieces), max(piece.stop for piece in self.pieces))


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What the wire carried and what the meter shows then: the proof of a profile.

    `words` are runs of words by their first address (big-endian bytes as on the wire), `message` numbers by
    key, `data` the bytes of data identifiers. `shows` holds values by quantity in the register's unit, None for
    "no value".
    """

    origin: str  # "captured" | "manual" | "worked"
    came_from: str
    words: Mapping[int, bytes]
    message: Mapping[str, Decimal]
    shows: Mapping[str, Decimal | None]
    data: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One meter model. `side`: which side of the instrument transformers its registers show."""

    name: str  # "<carrier>/<maker>_<model>"
    carrier: EnergyCarrier
    maker: str
    model: str
    source: str
    side: str  # "primary" | "secondary" | "none"
    wire: str  # MODBUS | MESSAGE | DLT645 | CJT188
    accuracy: Mapping[str, AccuracyClass]  # by quantity
    presupposes: tuple[str, ...]  # settings of the meter without which the profile is wrong
    registers: Mapping[str, ProfileRegister]  # by quantity, in the order of the file
    examples: tuple[Example, ...]
    max_words: int = 125  # the longest block that the meter answers
    forbidden: tuple[range, ...] | None = None  # words it refuses; None: any word that is no register may be refused
    by_hand: bool = False  # a person reads it: a file of its values says who
    relative: bool = False  # addresses count from where the site file says that the map begins
    identity: Identity | None = None  # how a device of this model is known
    ratios: Ratios = field(default_factory=Ratios)  # the transformer ratios that are read from the device
    manner: DataManner = field(default_factory=DataManner)  # how a meter that is asked by data identifier speaks

    def forbidden_from(self, base_address: int) -> tuple[range, ...] | None:
        """The words it refuses, in a meter whose map begins at `base_address`."""
        if self.forbidden is None:
            return None
        return tuple(range(base_address + words.start, base_address + words.stop) for words in self.forbidden)

    @property
    def basis(self) -> frozenset[str]:
        """The origins of its examples: what the profile rests on."""
        return frozenset(example.origin for example in self.examples)

    @property
    def not_exemplified(self) -> tuple[str, ...]:
        """Quantities that no example shows: their decoding is stated but not proven."""
        proven = {quantity for example in self.examples for quantity in example.shows}
        return tuple(quantity for quantity in self.registers if quantity not in proven)
