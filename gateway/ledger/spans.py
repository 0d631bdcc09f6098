"""How a new statement changes what is known of a subject: which rows to append, as pure arithmetic of dates."""

from collections.abc import Sequence
from datetime import date
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Span(NamedTuple):
    """[valid_from, valid_to) in plant time; None = until further notice; an empty span holds never."""

    valid_from: date
    valid_to: date | None

    @property
    def end(self) -> date:
        """`valid_to`, with the end of the calendar for "until further notice"."""
        return date.max if self.valid_to is None else self.valid_to


class Known(NamedTuple, Generic[T]):
    """A row that stands, of one subject."""

    row_id: int
    span: Span
    fact: T


class Piece(NamedTuple, Generic[T]):
    """A row to append."""

    supersedes: int | None
    span: Span
    fact: T


def stated(known: Sequence[Known[T]], fact: T, span: Span) -> list[Piece[T]]:
    """The rows that make `fact` hold on `span`; what was known outside of it stays. Empty when it was known.

    `known` are the standing rows of the subject, disjoint. A row that differs is superseded by what is left
    of it before and after `span`, and by the new fact on the part that they share.
    """
    pieces: list[Piece[T]] = []
    reached = span.valid_from
    for row in _overlapping(known, span):
        if row.fact == fact:
            if reached < row.span.valid_from:
                pieces.append(Piece(None, _span(reached, row.span.valid_from), fact))
        else:
            pieces += _left_over(row, span)
            pieces.append(Piece(row.row_id, _span(reached, min(row.span.end, span.end)), fact))
        reached = max(reached, min(row.span.end, span.end))
    if reached < span.end:
        pieces.append(Piece(None, _span(reached, span.end), fact))
    return pieces


def withdrawn(known: Sequence[Known[T]], span: Span) -> list[Piece[T]]:
    """The rows that leave nothing known of the subject on `span`.

    A row that is withdrawn whole is superseded by itself on an empty span: it never held.
    """
    pieces: list[Piece[T]] = []
    for row in _overlapping(known, span):
        never = Span(row.span.valid_from, row.span.valid_from)
        pieces += _left_over(row, span) or [Piece(row.row_id, never, row.fact)]
    return pieces


def _overlapping(known: Sequence[Known[T]], span: Span) -> list[Known[T]]:
    rows = sorted(known, key=lambda row: row.span.valid_from)
    return [row for row in rows if row.span.valid_from < span.end and span.valid_from < row.span.end]


def _left_over(row: Known[T], span: Span) -> list[Piece[T]]:
    left: list[Piece[T]] = []
    if row.span.valid_from < span.valid_from:
        left.append(Piece(row.row_id, _span(row.span.valid_from, span.valid_from), row.fact))
    if span.end < row.span.end:
        left.append(Piece(row.row_id, _span(span.end, row.span.end), row.fact))
    return left


def _span(start: date, end: date) -> Span:
    return Span(start, None if end == date.max else end)
