"""How statements change what is known, against the plainest model: a list of days."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.spans import Known, Piece, Span, stated, withdrawn

FIRST = date(2026, 1, 1)
DAYS = 12


def day(n: int) -> date:
    return FIRST + timedelta(days=n)


spans = st.tuples(st.integers(0, DAYS - 1), st.integers(1, DAYS)).map(
    lambda pair: Span(day(pair[0]), None if pair[0] + pair[1] >= DAYS else day(pair[0] + pair[1]))
)
statements = st.lists(st.tuples(st.sampled_from(["A", "B", None]), spans), max_size=8)


def apply(known: list[Known[str]], pieces: list[Piece[str]]) -> list[Known[str]]:
    superseded = {piece.supersedes for piece in pieces}
    fresh = max((row.row_id for row in known), default=0) + 1
    added = [Known(fresh + n, piece.span, piece.fact) for n, piece in enumerate(pieces)]
    return [row for row in [*known, *added] if row.row_id not in superseded and row.span.valid_from < row.span.end]


def on(known: list[Known[str]], when: date) -> list[str]:
    return [row.fact for row in known if row.span.valid_from <= when < row.span.end]


@given(statements)
def test_the_last_statement_about_a_day_holds_on_it_and_no_day_has_two(history: list[tuple[str | None, Span]]) -> None:
    known: list[Known[str]] = []
    model: list[str | None] = [None] * (DAYS + 5)
    for fact, span in history:
        known = apply(known, withdrawn(known, span) if fact is None else stated(known, fact, span))
        model = [fact if span.valid_from <= day(n) < span.end else old for n, old in enumerate(model)]
    assert [on(known, day(n)) for n in range(DAYS + 5)] == [[] if fact is None else [fact] for fact in model]


@given(statements, st.sampled_from(["A", "B"]), spans)
def test_what_was_stated_is_stated_again_without_a_row(
    history: list[tuple[str | None, Span]], fact: str, span: Span
) -> None:
    known: list[Known[str]] = []
    for old, when in [*history, (fact, span)]:
        known = apply(known, withdrawn(known, when) if old is None else stated(known, old, when))
    assert stated(known, fact, span) == []


def test_a_change_in_the_middle_leaves_both_ends() -> None:
    known = [Known(7, Span(day(0), None), "A")]
    assert stated(known, "B", Span(day(3), day(5))) == [
        Piece(7, Span(day(0), day(3)), "A"),
        Piece(7, Span(day(5), None), "A"),
        Piece(7, Span(day(3), day(5)), "B"),
    ]


def test_what_is_withdrawn_whole_never_held() -> None:
    known = [Known(7, Span(day(4), day(6)), "A")]
    assert withdrawn(known, Span(day(2), None)) == [Piece(7, Span(day(4), day(4)), "A")]
