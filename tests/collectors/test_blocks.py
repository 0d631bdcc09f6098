"""What the block planner promises about the requests it makes of a meter's values."""

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.blocks import Block, Span, plan_blocks
from collectors.wire_time import WireTime, serial_wire

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
    assert bytes.fromhex("0001 0002 0003")[block.place_of(Span("holding", 11, 2))] == bytes.fromhex("0002 0003")


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


# --- holes ------------------------------------------------------------------------------------------------


def wire_ns(baud: int, words: int, turnaround_ns: int) -> float:
    """Time of one request by hand: (8 + 5 + 2 words) characters of 11 bits, two gaps, and the turn-around."""
    character = 11e9 / baud
    gap = 1.75e6 if baud > 19200 else 3.5 * character
    return (13 + 2 * words) * character + 2 * gap + turnaround_ns


@pytest.mark.parametrize(
    ("baud", "words", "ms"),
    [(9600, 1, 25.2), (9600, 125, 309.4), (19200, 10, 22.9), (19200, 60, 80.2), (115200, 1, 4.93), (115200, 125, 28.6)],
)
def test_the_wire_time_is_that_of_the_frames(baud: int, words: int, ms: float):
    found = serial_wire(baud, turnaround_s=0).of(words)
    assert found / 1e6 == pytest.approx(ms, rel=0.003)
    assert found == pytest.approx(wire_ns(baud, words, 0), rel=1e-5)


# The widest hole worth reading: 2 h characters < 13 characters + 2 gaps + turn-around.
@pytest.mark.parametrize(
    ("baud", "turnaround_s", "widest"),
    [(9600, 0.01, 14), (19200, 0.01, 18), (115200, 0.01, 77), (9600, 0, 9), (9600, 0.03, 23), (115200, 0, 24)],
)
def test_a_hole_is_bridged_where_that_is_shorter_than_a_request(baud: int, turnaround_s: float, widest: int):
    wire = serial_wire(baud, turnaround_s=turnaround_s)
    for hole, requests in ((widest, 1), (widest + 1, 2)):
        spans = [Span("holding", 100, 1), Span("holding", 101 + hole, 1)]
        assert len(plan_blocks(spans, wire=wire, forbidden=[])) == requests
    (block,) = plan_blocks([Span("holding", 100, 1), Span("holding", 101 + widest, 1)], wire=wire, forbidden=[])
    assert block.words == widest + 2


def test_over_tcp_every_hole_is_worth_it_up_to_the_longest_block():
    spans = [Span("input", 0, 2), Span("input", 123, 2), Span("input", 125, 2)]
    assert [(b.address, b.words) for b in plan_blocks(spans, forbidden=[])] == [(0, 2), (123, 4)]
    assert [(b.address, b.words) for b in plan_blocks(spans[:2], forbidden=[])] == [(0, 125)]


def test_without_a_word_on_what_is_forbidden_no_hole_is_touched():
    spans = [Span("input", 0, 1), Span("input", 2, 1)]
    assert [b.words for b in plan_blocks(spans)] == [1, 1]
    assert [b.words for b in plan_blocks(spans, forbidden=[])] == [3]
    assert [b.words for b in plan_blocks(spans, forbidden=[range(1, 2)])] == [1, 1]


def test_a_value_on_forbidden_words_is_refused():
    with pytest.raises(ValueError, match="holding 10 touches forbidden words"):
        plan_blocks([Span("holding", 8, 1), Span("holding", 10, 4)], forbidden=[range(12, 13)])


def test_forty_scattered_registers_within_three_hundred_words_take_four_requests():
    # 40 values of 2 words; every hole is at most 14 words: 39 holes over 300 - 80 words
    holes = [(220 - 14) // 38] * 38 + [14]
    spans, at = [], 1000
    for hole in [*holes, 0]:
        spans.append(Span("holding", at, 2))
        at += 2 + hole
    assert len(spans) == 40
    plan = plan_blocks(spans, wire=serial_wire(9600), forbidden=[])
    assert len(plan) <= 4


SMALL = st.lists(
    st.builds(Span, st.just("holding"), st.integers(0, 40), st.sampled_from([1, 2, 4])), min_size=1, max_size=6
)
FORBIDDEN = st.one_of(st.none(), st.lists(st.integers(0, 44).map(lambda at: range(at, at + 1)), max_size=4))


@given(SMALL, st.integers(4, 24), st.sampled_from([WireTime(1000, 100), WireTime(1000, 1), WireTime(0, 1)]), FORBIDDEN)
def test_no_plan_takes_less_time(spans: list[Span], max_words: int, wire: WireTime, forbidden: list[range] | None):
    """Beside every way to part the values into groups, each read from its first word to its last."""
    wanted = sorted(set(spans))
    asked = set().union(*(addresses(*span) for span in wanted))
    refused = {("holding", at) for words in forbidden or () for at in words}
    if asked & refused:
        with pytest.raises(ValueError, match="touches forbidden words"):
            plan_blocks(spans, max_words=max_words, wire=wire, forbidden=forbidden)
        return

    def cost(groups: list[list[Span]]) -> tuple[int, int] | None:
        time = words = 0
        for group in groups:
            start, end = min(s.address for s in group), max(s.end for s in group)
            read = addresses("holding", start, end - start)
            if end - start > max_words or read & refused or (forbidden is None and not read <= asked):
                return None
            time, words = time + wire.request_ns + (end - start) * wire.word_ns, words + end - start
        return time, words

    best = min(found for groups in partitions(wanted) if (found := cost(groups)) is not None)
    plan = plan_blocks(spans, max_words=max_words, wire=wire, forbidden=forbidden)
    assert cost([list(block.spans) for block in plan]) == best
    assert sorted(span for block in plan for span in block.spans) == wanted
    for block in plan:
        read = addresses(block.table, block.address, block.words)
        assert all(addresses(*span) <= read for span in block.spans)


def partitions(spans: list[Span]) -> Iterator[list[list[Span]]]:
    """Every way to part the values into groups."""
    if not spans:
        yield []
        return
    for groups in partitions(spans[1:]):
        for index in range(len(groups)):
            yield [*groups[:index], [spans[0], *groups[index]], *groups[index + 1 :]]
        yield [[spans[0]], *groups]
