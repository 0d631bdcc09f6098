"""What the block planner promises about the requests it makes of a meter's values."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.blocks import Block, Span, plan_blocks

SPANS = st.lists(
    st.builds(Span, st.sampled_from(["holding", "input"]), st.integers(0, 300), st.sampled_from([1, 2, 4])), max_size=60
)


def addresses(table: str, address: int, words: int) -> set[tuple[str, int]]:
    return {(table, address + n) for n in range(words)}


def test_contiguous_values_are_one_request():
    # SDM630's totals: import 0x0048 and export 0x004A, float32 each
    plan = plan_blocks([Span("input", 0x4A, 2), Span("input", 0x48, 2)])
    assert [(b.table, b.address, b.words) for b in plan] == [("input", 0x48, 4)]


def test_holes_and_tables_part_requests():
    plan = plan_blocks([Span("holding", 0, 2), Span("holding", 3, 1), Span("input", 2, 1)])
    assert [(b.table, b.address, b.words) for b in plan] == [("holding", 0, 2), ("holding", 3, 1), ("input", 2, 1)]


def test_a_value_is_never_split():
    # 63 float32 in a row are 126 words: one more than a request brings, and the last value moves as a whole
    plan = plan_blocks([Span("input", 2 * n, 2) for n in range(63)])
    assert [(b.address, b.words) for b in plan] == [(0, 124), (124, 2)]


def test_a_value_longer_than_a_request_is_refused_with_its_address():
    with pytest.raises(ValueError, match="holding 3014 is 4 words long"):
        plan_blocks([Span("holding", 3014, 4)], max_words=3)


def test_two_views_of_the_same_words_are_read_together():
    plan = plan_blocks([Span("holding", 10, 4), Span("holding", 12, 2), Span("holding", 10, 4)])
    assert plan == [Block("holding", 10, 4, (Span("holding", 10, 4), Span("holding", 12, 2)))]


def test_a_value_is_cut_from_its_place_in_the_answer():
    block = plan_blocks([Span("holding", 10, 1), Span("holding", 11, 2)])[0]
    assert block.cut(Span("holding", 11, 2), bytes.fromhex("0001 0002 0003")) == bytes.fromhex("0002 0003")


@given(SPANS, st.integers(4, 130))
def test_every_value_is_in_exactly_one_block_and_nothing_else_is_read(spans: list[Span], max_words: int):
    plan = plan_blocks(spans, max_words=max_words)
    planned = [span for block in plan for span in block.spans]
    assert sorted(planned) == sorted(set(spans))
    asked = set().union(*(addresses(*span) for span in spans))
    for block in plan:
        assert block.words <= max_words
        assert addresses(block.table, block.address, block.words) <= asked
        for span in block.spans:
            assert addresses(*span) <= addresses(block.table, block.address, block.words)


@given(SPANS, st.integers(4, 130), st.randoms())
def test_the_plan_does_not_depend_on_the_order_of_the_profile(spans: list[Span], max_words: int, random):
    shuffled = list(spans)
    random.shuffle(shuffled)
    assert plan_blocks(spans, max_words=max_words) == plan_blocks(shuffled, max_words=max_words)


@given(st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=12), st.integers(4, 9))
def test_a_contiguous_run_takes_the_fewest_requests(lengths: list[int], max_words: int):
    spans = []
    for words in lengths:
        spans.append(Span("input", spans[-1].end if spans else 7, words))

    @cache
    def fewest(n: int) -> int:  # for the first n values, over every place where the last request may begin
        if n == 0:
            return 0
        return 1 + min(fewest(k) for k in range(n) if sum(lengths[k:n]) <= max_words)

    assert len(plan_blocks(spans, max_words=max_words)) == fewest(len(lengths))
