"""How one value lies in a meter's 16-bit words: its numbers, and the order of their words and bytes."""

import struct
from dataclasses import dataclass
from decimal import Decimal

from gateway.domain.instruments import Carriage

ONE = Decimal(1)
SUM = "sum"  # a value of several parts, each with what one unit of it is worth

# Closed list: the numbers that make up a value, as struct's codes, in the order in which they stand on the wire.
# "i32+float32" is an integer part followed by its fraction. "number" stands in a message and has no words.
_NUMBERS: dict[str, tuple[str, ...]] = {
    "u16": ("H",),
    "i16": ("h",),
    "u32": ("I",),
    "i32": ("i",),
    "u64": ("Q",),
    "i64": ("q",),
    "float32": ("f",),
    "float64": ("d",),
    "bcd16": ("H",),
    "bcd32": ("I",),
    "bcd64": ("Q",),
    "acc32": ("I",),  # SunSpec's accumulators: zero says that nothing is accumulated
    "acc64": ("Q",),
    "bit": ("H",),  # one bit of a word, as status registers have them
    "i32+float32": ("i", "f"),
    "number": (),
}
TYPES = tuple(_NUMBERS)
ORDERS = ("big", "little")
_EXPONENT_WORDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How one value lies in 16-bit words.

    `type` is one of TYPES, or SUM. `word_order` is the order of the words of one number of the value: "big", "little",
    or the rank of each word as
    they come, 1 being the most significant ("2143"). `byte_order` is that of the two bytes
    within a word: big/big = ABCD, little/big = CDAB, big/little = BADC, little/little = DCBA.
    `scale` [unit of the register]: one raw unit. `absent`: bit patterns that mean "no value", read as one
    unsigned number after words and bytes are put in order. `bit` [0 = least significant]: which one, for type "bit".
    `parts`: what a SUM is made of, each with its `scale` as weight. `exponent`: a SunSpec scale factor follows
    as the last word, and the value is raw x 10^factor x scale. Raises ValueError; the message begins with the
    name of the wrong field.
    """

    type: str
    word_order: str = "big"
    byte_order: str = "big"
    scale: Decimal = ONE
    absent: tuple[int, ...] = ()
    bit: int = 0
    parts: tuple["Encoding", ...] = ()
    exponent: bool = False

    def __post_init__(self) -> None:
        if self.type not in _NUMBERS and self.type != SUM:
            raise ValueError(f"type: unknown type {self.type!r}; known: {', '.join(TYPES)}")
        self._check_parts()
        self._check_order()
        if not self.scale.is_finite() or self.scale <= 0:
            raise ValueError(f"scale: {self.scale} is not a positive number")
        words = 0 if self.parts else self.lengths[0]
        for pattern in self.absent:
            if not 0 <= pattern < 1 << (16 * words):
                raise ValueError(f"absent: pattern {pattern:#x} does not fit into {words} words")
        if not 0 <= self.bit <= 15:
            raise ValueError(f"bit: {self.bit} is none of the bits 0 to 15 of a word")

    def _check_parts(self) -> None:
        if (self.type == SUM) != bool(self.parts):
            raise ValueError("parts: a sum has parts, and nothing else has")
        if any(len(part.codes) != 1 or part.exponent or part.type == "bit" for part in self.parts):
            raise ValueError("parts: a part is one number with neither parts nor a scale factor of its own")

    def _check_order(self) -> None:
        if self.byte_order not in ORDERS:
            raise ValueError(f"byte_order: {self.byte_order!r} is neither big nor little")
        if self.word_order not in ORDERS:
            _word_places(self.word_order, len(self.word_order))
        for code in self.codes if not self.parts else ():
            _word_places(self.word_order, struct.calcsize(">" + code) // 2)

    @property
    def codes(self) -> tuple[str, ...]:
        """Its numbers as struct's codes, in the order of the wire; the scale factor is not among them."""
        return tuple(part.codes[0] for part in self.parts) or _NUMBERS[self.type]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Words of each piece that is found at a place of its own: the value or its parts, then the scale factor."""
        pieces = tuple(part.words for part in self.parts) or (struct.calcsize(">" + "".join(self.codes)) // 2,)
        return (*pieces, _EXPONENT_WORDS) if self.exponent else pieces

    @property
    def words(self) -> int:
        """Number of 16-bit words, the scale factor's included."""
        return sum(self.lengths)

    @property
    def numbers(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Each number as (struct's code, the bytes of the value's words that make it up, big-endian)."""
        found: list[tuple[str, tuple[int, ...]]] = []
        start = 0
        for code, owner in zip(self.codes, self.parts or (self,) * len(self.codes), strict=True):
            words = struct.calcsize(">" + code) // 2
            pairs = [(start + 2 * word, start + 2 * word + 1) for word in _word_places(owner.word_order, words)]
            ordered = pairs if owner.byte_order == "big" else [(low, high) for high, low in pairs]
            found.append((code, tuple(place for pair in ordered for place in pair)))
            start += 2 * words
        return (*found, ("h", (start, start + 1))) if self.exponent else tuple(found)

    @property
    def carriage(self) -> Carriage:
        """How exactly these words carry a total. The fraction of a composite is finer than any resolution."""
        return {"float32": Carriage.FLOAT32, "float64": Carriage.FLOAT64}.get(self.type, Carriage.EXACT)

    @property
    def full_scale(self) -> Decimal | None:
        """The first value [unit] above zero that these words cannot hold; None where that is open.

        It is open for floats, for messages, and where a scale factor decides it.
        """
        if self.exponent or self.type == "number":
            return None
        if self.parts:
            return self._full_scale_of_sum()
        if self.type.startswith("bcd"):
            return self.scale * Decimal(10) ** (4 * self.words)
        if self.type == "bit":
            return self.scale * 2
        whole = self.codes[0]
        bits = 8 * struct.calcsize(">" + whole) - (0 if whole.isupper() else 1)
        return None if whole in "fd" else self.scale * Decimal(2) ** bits

    @property
    def tear(self) -> Decimal | None:
        """The least step [unit] that is wrong when one word or part of a total is older than the others.

        None for a number of one word, for floats and for what a scale factor stretches: there is no such step.
        """
        if self.parts:
            steps = [part.tear for part in self.parts] + sorted(part.scale for part in self.parts)[1:]
            return min((self.scale * step for step in steps if step is not None), default=None)
        if self.type == "i32+float32":
            return self.scale
        if self.exponent or len(self.codes) != 1 or self.codes[0] in "fd" or self.words == 1:
            return None
        return self.scale * (10**4 if self.type.startswith("bcd") else 2**16)

    def _full_scale_of_sum(self) -> Decimal | None:
        """All parts at their greatest, and then the smallest step more."""
        most = [part.full_scale for part in self.parts]
        known = [full for full in most if full is not None]
        if len(known) < len(most):
            return None
        steps = [part.scale for part in self.parts]
        return self.scale * (sum(known, Decimal(0)) - sum(steps, Decimal(0)) + min(steps))


IN_MESSAGE = Encoding(type="number")


def _word_places(order: str, words: int) -> tuple[int, ...]:
    """Which word of the wire is the most significant, the next one, and so on. Raises ValueError."""
    if order == "big" or (words == 1 and order in ORDERS):
        return tuple(range(words))
    if order == "little":
        return tuple(reversed(range(words)))
    if words == 1 or sorted(order) != [str(word + 1) for word in range(words)]:
        raise ValueError(f"word_order: {order!r} is neither big nor little nor an order of {words} words, as 2143 is")
    return tuple(order.index(str(word + 1)) for word in range(words))
