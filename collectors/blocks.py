"""Which registers of a meter are asked for in one request, so that the line is occupied as short as possible."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from collectors.wire_time import TCP_WIRE, WireTime

# Source: MODBUS Application Protocol Specification V1.1b3 - §6.3, §6.4: quantity of registers 1 to 125
MAX_WORDS = 125
_END = 0x10000  # behind the last address of a table


class Span(NamedTuple):
    """Words that are never parted: `words` words of `table` ("holding", "input", ...) from `address` (0-based).

    They hold one value, or one value with its parts and its scale factor and whatever lies between them.
    """

    table: str
    address: int
    words: int

    @property
    def end(self) -> int:
        """The first address behind the value."""
        return self.address + self.words


class Block(NamedTuple):
    """One request: `words` contiguous words from `address`, and the values that it brings."""

    table: str
    address: int
    words: int
    spans: tuple[Span, ...]

    @property
    def place(self) -> tuple[str, int]:
        """Where it begins: enough to tell the blocks of one device apart."""
        return self.table, self.address

    def place_of(self, span: Span) -> slice:
        """Where the bytes of one value stand in the answer to this block."""
        start = 2 * (span.address - self.address)
        return slice(start, start + 2 * span.words)


def plan_blocks(
    spans: Iterable[Span],
    *,
    max_words: int = MAX_WORDS,
    wire: WireTime = TCP_WIRE,
    forbidden: Sequence[range] | None = None,
) -> list[Block]:
    """The requests that bring every value whole in the least time on the wire, by table and address.

    Each span is in exactly one block; a block is at most `max_words` words long. Holes between values are read
    where that takes less time than a request of its own, which is when 2 h characters < 13 characters + 2 gaps +
    turn-around for a hole of h words. One address that the meter refuses would lose the whole block:
    `forbidden` are those addresses, and without them (None) no hole is touched at all. Among plans of the
    same time the one with the fewest words is taken.
    Raises ValueError when a single value is longer than `max_words`, or touches a forbidden address.
    """
    wanted = sorted(set(spans))
    for span in wanted:
        if not 0 < span.words <= max_words:
            raise ValueError(
                f"the value at {span.table} {span.address} is {span.words} words long, "
                f"one request brings 1 to {max_words}; a value is never read in two halves"
            )
    blocks: list[Block] = []
    for _, of_table in groupby(wanted, key=lambda span: span.table):
        found = list(of_table)
        blocks += _shortest(found, _refused(found, forbidden), max_words, wire)
    return blocks


def _shortest(spans: list[Span], refused: Sequence[int], max_words: int, wire: WireTime) -> list[Block]:
    """The best plan for the first 1, 2, ... spans, each from the best plan for fewer and one more block.

    It is enough to look at blocks of neighbours in the order of the addresses: of two blocks, the one that
    begins later also ends later (or it would bring nothing new), so that it holds every span of the other
    that begins behind its own beginning.
    """
    best: list[tuple[int, int, int]] = [(0, 0, 0)]  # time [ns], words, spans before the last block
    for count in range(1, len(spans) + 1):
        choices = []
        end = spans[count - 1].end
        for first in range(count - 1, -1, -1):
            start = spans[first].address
            end = max(end, spans[first].end)
            if end - start > max_words or end > _first_refused(refused, start):
                if spans[count - 1].end - start > max_words:
                    break
                continue
            time, words, _ = best[first]
            choices.append((time + wire.of(end - start), words + end - start, -first))
        if not choices:
            raise ValueError(
                f"the value at {spans[count - 1].table} {spans[count - 1].address} touches forbidden words"
            )
        time, words, first = min(choices)
        best.append((time, words, -first))
    return list(reversed([*_back(spans, best)]))


def _back(spans: list[Span], best: list[tuple[int, int, int]]) -> Iterator[Block]:
    """The blocks of the best plan, the last one first."""
    count = len(spans)
    while count:
        first = best[count][2]
        inside = tuple(spans[first:count])
        start = inside[0].address
        yield Block(inside[0].table, start, max(span.end for span in inside) - start, inside)
        count = first


def _refused(spans: list[Span], forbidden: Sequence[range] | None) -> list[int]:
    """The addresses that no block may touch, as far as they matter, in order."""
    if forbidden is not None:
        return sorted({address for refused in forbidden for address in refused})
    asked = list(_asked(spans))
    behind = {address + 1 for address in asked} - set(asked)
    return sorted(behind)


def _first_refused(refused: Sequence[int], start: int) -> int:
    at = bisect_left(refused, start)
    return refused[at] if at < len(refused) else _END


def _asked(spans: Iterable[Span]) -> Iterator[int]:
    """Every address that belongs to one of the spans, once."""
    end = -1
    for span in sorted(spans):
        yield from range(max(span.address, end), span.end)
        end = max(end, span.end)
