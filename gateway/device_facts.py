"""What a device says of itself: who it is, its serial number, the transformer ratios that are set in it.

What comes from a device is text of a stranger: it is cut to what can be printed, and to `MOST_TEXT` characters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from gateway.decoding import decode_words
from gateway.domain.instruments import Register, RegisterKind
from gateway.encoding import Encoding

MOST_TEXT = 64
# Source: MODBUS Application Protocol Specification V1.1b3 - §6.21: the basic objects of a device identification
OBJECTS = {"vendor": 0, "product": 1, "revision": 2}


def printable(raw: bytes) -> str:
    """Text of a device without padding; a byte that is no printable ASCII is shown as a question mark."""
    text = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw.replace(b"\0", b" ").strip(b" "))
    return text[:MOST_TEXT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Words in which a device says one thing of itself. `encoding` is None for text, two characters a word."""

    table: str
    at: int
    words: int
    encoding: Encoding | None = None

    def said(self, raw: bytes) -> str:
        """What these words (big-endian, as they came) say, as a person would write it; "" where they say nothing."""
        if self.encoding is None:
            return printable(raw)
        floating = self.encoding.type in {"float32", "float64"}
        kind = RegisterKind.INSTANTANEOUS if floating else RegisterKind.CUMULATIVE
        scale = self.encoding.scale
        register = Register(quantity="fact", unit="1", kind=kind, resolution=None if floating else scale)
        value = decode_words(self.encoding, register, raw)
        if value is None:
            return ""
        shown = Decimal(repr(value)) if floating else Decimal(value) * scale
        return format(shown.normalize(), "f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A fact by which the model is known: one of `equals` ("B23*": begins with), or a number from `least` to `most`."""

    what: str
    fact: Fact
    equals: tuple[str, ...] = ()
    least: Decimal | None = None
    most: Decimal | None = None

    def agrees(self, said: str) -> bool:
        """True if a device of this model says so."""
        if self.least is not None and self.most is not None:
            number = number_of(said)
            return number is not None and self.least <= number <= self.most
        return matches(said, self.equals)

    @property
    def expected(self) -> str:
        """What a device of this model says."""
        return " or ".join(self.equals) if self.least is None else f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """By what a model is known. `objects` are patterns of its Modbus device identification, by their number."""

    marks: tuple[Mark, ...] = ()
    objects: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    serial: Fact | None = None

    @property
    def decisive(self) -> bool:
        """True if it tells this model from others; a serial number alone does not."""
        return bool(self.marks or self.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """Where the transformer ratios are read that are set in the device; None where it has none."""

    ct: Fact | None = None
    pt: Fact | None = None

    @property
    def facts(self) -> dict[str, Fact]:
        """Those that are there, by the key of the meter in the site file."""
        named = {"ct_ratio": self.ct, "pt_ratio": self.pt}
        return {key: fact for key, fact in named.items() if fact is not None}


def matches(said: str, patterns: tuple[str, ...]) -> bool:
    """True if a text is one of the patterns; one that ends with a star names how it begins."""
    return any(said.startswith(one[:-1]) if one.endswith("*") else said == one for one in patterns)


def number_of(said: str) -> Decimal | None:
    """The number that a device says; None where it says none."""
    try:
        number = Decimal(said)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def ratio_of(said: str) -> Decimal | None:
    """The transformer ratio that a device says; None where it says nothing that can be one."""
    number = number_of(said)
    return number if number is not None and number > 0 else None
