"""One request with the series that it serves: how its answer becomes their readings."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import repeat
from typing import NamedTuple, Protocol

from collectors.blocks import Block, Span
from gateway.decoding import DecodePlan, Doubt, Planned
from gateway.domain.instruments import Register
from gateway.domain.readings import Quality, Reading
from gateway.encoding import Encoding


class PolledRegister(NamedTuple):
    """One series: where its words are and what they mean.

    `pieces` are the runs of words that make up its value, `span` all words from the first to the last of them.
    A momentary value, and the limit above which it is doubted, are multiplied by `ratio`.
    """

    series: str
    span: Span
    pieces: tuple[Span, ...]
    encoding: Encoding
    register: Register
    ratio: Decimal
    reread: bool = False  # the meter does not renew its words together


class Plan(Protocol):
    """How an answer becomes values."""

    def decode(self, words: bytes) -> tuple[list[int | float | None], dict[int, Doubt]]:
        """(the values in the order of the series, which of them are missing or doubtful, and why)."""
        ...


class PolledBlock(NamedTuple):
    """One request and the series it serves (several, where points share a meter), its decoding prepared."""

    block: Block
    registers: tuple[PolledRegister, ...]
    plan: Plan
    series: tuple[str, ...]  # of each register
    cuts: tuple[tuple[slice, ...], ...]  # of each register, where its pieces stand in the answer

    @property
    def bridged(self) -> int:
        """How many words belong to no series: they are read because that is shorter than asking twice."""
        pieces = (range(piece.address, piece.end) for register in self.registers for piece in register.pieces)
        return self.block.words - len({word for piece in pieces for word in piece})


def serve(block: Block, registers: Sequence[PolledRegister]) -> PolledBlock:
    """The request with those of `registers` that it brings."""
    served = tuple(register for register in registers if register.span in block.spans)
    planned = [
        Planned(
            register.encoding,
            register.register,
            tuple(piece.address - block.address for piece in register.pieces),
            register.ratio,
        )
        for register in served
    ]
    cuts = tuple(tuple(block.place_of(piece) for piece in register.pieces) for register in served)
    series = tuple(register.series for register in served)
    return PolledBlock(block, served, DecodePlan(planned, words=block.words), series, cuts)


def readings_in(polled: PolledBlock, words: bytes, instant: int) -> list[Reading]:
    """The readings in the answer to one request, all of one instant [us, UTC], each with its own words."""
    values, doubts = polled.plan.decode(words)
    own_words = [words[cuts[0]] if len(cuts) == 1 else b"".join([words[cut] for cut in cuts]) for cuts in polled.cuts]
    good, no_reason = repeat(Quality.GOOD), repeat("")
    fields = zip(polled.series, repeat(instant), values, good, no_reason, own_words, strict=False)
    readings = list(map(Reading._make, fields))
    for index, doubt in doubts.items():
        readings[index] = readings[index]._replace(quality=doubt.quality, reason=doubt.reason)
    return readings
