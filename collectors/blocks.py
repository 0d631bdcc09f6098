"""Which registers of a meter are asked for in one request, so that the meter is asked as seldom as possible."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

# Source: MODBUS Application Protocol Specification V1.1b3 - §6.3, §6.4: quantity of registers 1 to 125
MAX_WORDS = 125


class Span(NamedTuple):
    """The words that hold one value: `words` words of `table` ("holding" or "input") from `address` (0-based)."""

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

    def cut(self, span: Span, answer: bytes) -> bytes:
        """The bytes of one value out of the answer to this block (big-endian words)."""
        start = 2 * (span.address - self.address)
        return answer[start : start + 2 * span.words]


def plan_blocks(spans: Iterable[Span], *, max_words: int = MAX_WORDS) -> list[Block]:
    """The fewest requests that bring every value whole, by table and address.

    Each span is in exactly one block; a block is at most `max_words` words long and touches no address
    that no span asked for: one illegal address would lose the whole block. Spans that overlap (an
    integer and a float view of the same words) share a block where they fit.
    Raises ValueError when a single value is longer than `max_words`.
    """
    wanted = sorted(set(spans))
    for span in wanted:
        if not 0 < span.words <= max_words:
            raise ValueError(
                f"the value at {span.table} {span.address} is {span.words} words long, "
                f"one request brings 1 to {max_words}; a value is never read in two halves"
            )
    return [block for run in _runs(wanted) for block in _blocks_of_run(run, max_words)]


def _runs(wanted: list[Span]) -> Iterator[list[Span]]:
    """Groups of spans without a hole between them. Here is the place to decide which holes are worth bridging."""
    run: list[Span] = []
    end = 0
    for span in wanted:
        if run and (span.table != run[0].table or span.address > end):
            yield run
            run = []
        end = max(end, span.end) if run else span.end
        run.append(span)
    if run:
        yield run


def _blocks_of_run(run: list[Span], max_words: int) -> Iterator[Block]:
    """Windows over one run, each beginning at the first value that is still unread: no fewer can do."""
    while run:
        first = run[0]
        inside = [span for span in run if span.end <= first.address + max_words]
        run = [span for span in run if span.end > first.address + max_words]
        end = max(span.end for span in inside)
        yield Block(first.table, first.address, end - first.address, tuple(inside))
