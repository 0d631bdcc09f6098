"""Headings and cells of imported tables: each known by one column, none evaluated."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger import cells
from gateway.ledger.headings import HEADINGS, REQUIRED, recognise


@pytest.mark.parametrize("kind", HEADINGS)
def test_every_heading_is_known_by_one_column_only(kind: str) -> None:
    for column, others in HEADINGS[kind].items():
        for heading in (column, *others):
            found = recognise(kind, [f" {heading.upper()} "])
            assert list(found.places) == [column], heading
    assert set(HEADINGS[kind]) >= REQUIRED[kind]


@given(st.text(max_size=12))
def test_no_cell_is_evaluated_or_breaks_the_readers(cell: str) -> None:
    for read in (
        cells.day,
        cells.number,
        cells.text,
        cells.unit,
        cells.accuracy_class,
        cells.price_basis,
        cells.word(cells.KINDS),
        cells.period_in("Asia/Shanghai"),
    ):
        try:
            read(cell)
        except cells.WrongCell as refusal:
            assert refusal.expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=6))
def test_a_number_is_read_exactly(value: Decimal) -> None:
    assert cells.number(f"{value:f}") == value
