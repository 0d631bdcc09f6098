"""What the interval store promises: every version kept, nothing written twice, nothing shown out of scope."""

import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.domain.instruments import Carriage, Register, RegisterKind
from gateway.domain.intervals import Interval, Unallocated
from gateway.domain.readings import Quality
from gateway.domain.scopes import EVERYTHING, Scope, scope_of
from gateway.domain.sites import Series
from gateway.errors import StoreError
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.intervals import IntervalStore, SeriesFacts

QUARTER = 900_000_000  # [us]
KEY = "cement/kiln/active_energy_import"
OTHER = "glass/main/active_energy_import"


def series(key: str = KEY, resolution: str | None = "0.40", **changes) -> Series:
    enterprise, point, quantity = key.split("/")
    register = Register(quantity=quantity, unit="kWh", kind=RegisterKind.CUMULATIVE, resolution=Decimal("0.01"))
    return Series(
        key=key,
        enterprise=enterprise,
        point=point,
        meter="M1",
        profile="electricity/lab_lm-3",
        register=replace(register, **changes),
        resolution=None if resolution is None else Decimal(resolution),
        ratio=Decimal(40),
    )


def quarter(number: int, counts: int | None, *, key: str = KEY, **facts) -> Interval:
    quality = facts.pop("quality", Quality.GOOD if counts is not None else Quality.MISSING)
    start = number * QUARTER
    return Interval(series=key, start=start, end=start + QUARTER, counts=counts, quality=quality, **facts)


def lump(first: int, last: int, counts: int | None, *, key: str = KEY) -> Unallocated:
    return Unallocated(series=key, start=first * QUARTER, end=last * QUARTER, counts=counts, reason="gap")


@pytest.fixture
def store(tmp_path) -> Iterator[IntervalStore]:
    with IntervalStore.open(tmp_path / "intervals.db") as opened:
        opened.describe(series())
        opened.describe(series(OTHER))
        yield opened


def write(store, intervals, unallocated=(), *, span, at=100, key=KEY) -> int:
    edges = (span[0] * QUARTER, span[1] * QUARTER)
    return store.write(key, intervals, unallocated, span=edges, settled_at=at, watermark=at * 10)


def counts(store, first=0, last=100, **as_of) -> dict[int, int | None]:
    found = store.intervals(EVERYTHING, KEY, first * QUARTER, last * QUARTER, **as_of)
    return {interval.start // QUARTER: interval.counts for interval in found}


def lumps(store, first=0, last=100, **as_of) -> list[tuple[int, int, int | None]]:
    found = store.unallocated(EVERYTHING, KEY, first * QUARTER, last * QUARTER, **as_of)
    return [(lump.start // QUARTER, lump.end // QUARTER, lump.counts) for lump in found]


def test_an_interval_comes_back_with_every_fact(store):
    full = quarter(
        3,
        2**63 - 1,
        quality=Quality.SUSPECT | Quality.ESTIMATED,
        reason="partial",
        covered_us=899_999_999,
        edge_us=7,
        edge_counts=2**40,
        step=4,
        first_sequence=11,
        last_sequence=12,
    )
    gap = quarter(4, None, reason="line.silent")
    held = Unallocated(
        series=KEY, start=5, end=9, counts=None, reason="register_fell", first_sequence=13, last_sequence=14
    )
    assert write(store, [gap, full], [held], span=(0, 6)) == 3
    assert store.intervals(EVERYTHING, KEY, 0, 9 * QUARTER) == [full, gap]
    assert store.unallocated(EVERYTHING, KEY, 0, 9 * QUARTER) == [held]
    columns = store.columns(EVERYTHING, KEY, 0, 9 * QUARTER)
    assert columns._asdict() == {
        "start": [full.start, gap.start],
        "end": [full.end, gap.end],
        "counts": [2**63 - 1, None],
        "quality": [6, 16],
        "reason": ["partial", "line.silent"],
        "covered_us": [899_999_999, 0],
        "edge_us": [7, 0],
        "edge_counts": [2**40, 0],
        "step": [4, 1],
        "first_sequence": [11, 0],
        "last_sequence": [12, 0],
    }
    assert all(column == [] for column in store.columns(EVERYTHING, KEY, 50 * QUARTER, 60 * QUARTER))


def test_settling_the_same_again_writes_nothing(store):
    intervals, amounts = [quarter(0, 5), quarter(1, None)], [lump(1, 3, 8)]
    assert write(store, intervals, amounts, span=(0, 2)) == 3
    assert write(store, intervals, amounts, span=(0, 2), at=200) == 0
    assert [version.settled_at for version in store.versions(EVERYTHING, KEY, 0)] == [100]


def test_a_changed_interval_is_a_new_version_and_the_old_one_stays_readable(store):
    write(store, [quarter(0, 5), quarter(1, 6)], span=(0, 2), at=100)
    assert write(store, [quarter(0, 5), quarter(1, 7)], span=(0, 2), at=200) == 1
    assert counts(store) == {0: 5, 1: 7}
    assert counts(store, as_of=199) == {0: 5, 1: 6}
    assert counts(store, as_of=99) == {}
    told = [(v.version, v.settled_at, v.watermark, v.interval.counts) for v in store.versions(EVERYTHING, KEY, QUARTER)]
    assert told == [(1, 100, 1000, 6), (2, 200, 2000, 7)]


def test_a_quality_that_changes_is_a_new_version_even_with_the_same_counts(store):
    write(store, [quarter(0, 5)], span=(0, 1))
    assert write(store, [quarter(0, 5, quality=Quality.SUSPECT)], span=(0, 1), at=200) == 1


def test_settling_a_span_leaves_everything_outside_it_alone(store):
    write(store, [quarter(n, n) for n in range(10)], [lump(10, 12, 3), lump(20, 22, 4)], span=(0, 30))
    assert write(store, [quarter(4, 40)], span=(4, 6), at=200) == 2  # 4 changed, 5 withdrawn
    found = counts(store)
    assert found == {0: 0, 1: 1, 2: 2, 3: 3, 4: 40, 6: 6, 7: 7, 8: 8, 9: 9}
    assert lumps(store) == [(10, 12, 3), (20, 22, 4)]
    withdrawn = store.versions(EVERYTHING, KEY, 5 * QUARTER)[-1]
    assert (withdrawn.version, withdrawn.interval) == (2, None)
    assert write(store, [quarter(5, 5)], span=(5, 6), at=300) == 1  # what was withdrawn can come back
    assert counts(store)[5] == 5
    assert counts(store, as_of=250) == found


def test_a_late_reading_splits_an_unallocated_amount_and_loses_none_of_it(store):
    # 90 counts between 10 and 40 could not be placed; then a reading of quarter 20 is found: 30 before it, 60 after.
    write(store, [], [lump(10, 40, 90)], span=(39, 40), at=100)
    assert write(store, [], [lump(10, 20, 30), lump(20, 40, 60)], span=(19, 21), at=200) == 2
    assert lumps(store) == [(10, 20, 30), (20, 40, 60)]
    assert lumps(store, as_of=150) == [(10, 40, 90)]
    assert lumps(store, 25, 26) == [(20, 40, 60)]
    assert lumps(store, 40, 50) == []
    # Then all is found, and placed: both vanish, and both stay readable as of before.
    assert write(store, [quarter(n, 3) for n in range(10, 40)], [], span=(10, 40), at=300) == 32
    assert lumps(store) == []
    assert lumps(store, as_of=299) == [(10, 20, 30), (20, 40, 60)]
    assert sum(counts(store).values()) == 90


settled = st.dictionaries(st.integers(0, 11), st.one_of(st.none(), st.integers(0, 3)), max_size=12)
history = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12), settled), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=history)
def test_as_of_any_time_the_file_shows_what_stood_then(history):
    stood: list[dict[int, int | None]] = [{}]
    with tempfile.TemporaryDirectory() as folder, IntervalStore.open(Path(folder) / "intervals.db") as store:
        store.describe(series())
        for at, (first, length, contents) in enumerate(history, 1):
            inside = {number: value for number, value in contents.items() if first <= number < first + length}
            outside = {number: value for number, value in stood[-1].items() if not first <= number < first + length}
            changed = write(store, [quarter(*one) for one in inside.items()], span=(first, first + length), at=at)
            stood.append(dict(sorted((outside | inside).items())))
            before, after = stood[-2].items(), stood[-1].items()
            assert changed == len({number for number, _ in before ^ after})
            assert write(store, [quarter(*one) for one in inside.items()], span=(first, first + length), at=at) == 0
        for at, expected in enumerate(stood):
            assert counts(store, as_of=at) == expected
        assert counts(store) == stood[-1]


ids = st.sampled_from(["a", "A", "ab", "a.b", "b", "%", ""])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(present=st.sets(ids, min_size=1), scope=st.builds(lambda some: Scope(frozenset(some)), st.sets(ids)))
def test_no_scope_ever_yields_an_interval_of_another_enterprise(present, scope):
    with tempfile.TemporaryDirectory() as folder, IntervalStore.open(Path(folder) / "intervals.db") as store:
        for enterprise in present:
            key = f"{enterprise}/main/active_energy_import"
            store.describe(series(key))
            write(store, [quarter(0, 1, key=key)], [lump(1, 2, 3, key=key)], span=(0, 2), key=key)
        for enterprise in present:
            key = f"{enterprise}/main/active_energy_import"
            allowed = enterprise in scope.enterprises
            assert (key in store.series(scope)) == allowed
            assert len(store.intervals(scope, key, 0, QUARTER)) == allowed
            assert len(store.columns(scope, key, 0, QUARTER).start) == allowed
            assert len(store.unallocated(scope, key, 0, 9 * QUARTER)) == allowed
            assert len(store.versions(scope, key, 0)) == allowed
            if not allowed:
                with pytest.raises(StoreError, match="no intervals here"):
                    store.facts(scope, key)


def test_an_invisible_series_and_an_unknown_one_look_the_same(store):
    told = []
    for key in (OTHER, OTHER.replace("main", "gone")):
        with pytest.raises(StoreError) as refused:
            store.facts(scope_of("cement"), key)
        told.append(str(refused.value).replace(key, "KEY"))
    assert told[0] == told[1]


def test_the_facts_of_a_series_come_back_exactly(store):
    assert store.facts(EVERYTHING, KEY) == SeriesFacts("kWh", Decimal("0.40"), Carriage.EXACT, None)
    store.describe(series("cement/gate/mass", "0.1", quantity="mass", unit="kg", interval_s=0))
    assert store.facts(EVERYTHING, "cement/gate/mass").interval_s == 0
    assert store.series(EVERYTHING) == ["cement/gate/mass", KEY, OTHER]


def test_a_changed_ratio_or_unit_is_refused_and_says_what_it_needs(store):
    store.describe(series(resolution="0.4"))  # the same number written shorter is no change
    store.describe(series(carriage=Carriage.FLOAT32))  # a corrected carriage is none either
    assert store.facts(EVERYTHING, KEY).carriage is Carriage.FLOAT32
    with pytest.raises(StoreError, match=r"a count was 0\.4.* kWh and would now be 0\.80 kWh.*needs an event"):
        store.describe(series(resolution="0.80"))
    with pytest.raises(StoreError, match="MWh"):
        store.describe(series(unit="MWh"))
    assert store.facts(EVERYTHING, KEY).resolution == Decimal("0.40")


def test_a_register_without_counts_is_refused(store):
    with pytest.raises(StoreError, match="without a resolution"):
        store.describe(series("cement/kiln/active_power", None, kind=RegisterKind.INSTANTANEOUS))


@pytest.mark.parametrize(
    ("intervals", "unallocated", "told"),
    [
        ([quarter(2, 1)], [], "not within the span"),
        ([quarter(-1, 1)], [], "not within the span"),
        ([replace(quarter(0, 1), end=0)], [], "not within the span"),
        ([quarter(0, 1), replace(quarter(0, 1), start=5)], [], "overlap"),
        ([quarter(0, 1, key=OTHER)], [], "each series is written by itself"),
        ([], [lump(0, 1, 1), lump(0, 2, 1)], "two unallocated amounts"),
        ([quarter(0, True)], [], "expected counts as an integer"),
        ([quarter(0, 2**63)], [], "expected counts as an integer"),
        ([quarter(0, 1.0)], [], "expected counts as an integer"),
        ([quarter(0, 1)], [lump(0, 1, 2**64)], "expected counts as an integer"),
    ],
)
def test_what_cannot_be_kept_exactly_is_refused_as_a_whole(store, intervals, unallocated, told):
    write(store, [quarter(0, 7)], span=(0, 2))
    with pytest.raises(StoreError, match=told):
        write(store, intervals, unallocated, span=(0, 2), at=200)
    assert counts(store) == {0: 7}


def test_an_interval_across_the_edge_of_the_span_is_never_counted_beside_its_parts(store):
    hour = replace(quarter(4, 12), end=8 * QUARTER)
    write(store, [hour], span=(4, 8))
    for span in ((5, 8), (4, 7), (0, 6), (6, 10)):
        with pytest.raises(StoreError, match="lies across an edge"):
            write(store, [], span=span, at=200)
    assert write(store, [quarter(n, 3) for n in range(4, 8)], span=(4, 8), at=300) == 4
    assert write(store, [quarter(5, 2)], span=(5, 6), at=400) == 1
    assert counts(store) == {4: 3, 5: 2, 6: 3, 7: 3}


def test_a_withdrawn_interval_stands_in_no_ones_way(store):
    write(store, [replace(quarter(4, 12), end=8 * QUARTER)], span=(4, 8))
    assert write(store, [], span=(4, 8), at=200) == 1
    assert write(store, [quarter(6, 3)], span=(6, 7), at=300) == 1
    assert counts(store) == {6: 3}


def test_an_amount_that_only_touches_the_span_is_left_alone(store):
    write(store, [], [lump(1, 4, 8), lump(6, 9, 5)], span=(1, 9))
    assert write(store, [quarter(4, 2), quarter(5, 2)], span=(4, 6), at=200) == 2
    assert lumps(store) == [(1, 4, 8), (6, 9, 5)]
    assert lumps(store, 4, 6) == []


def test_a_series_that_was_never_described_is_refused(store):
    with pytest.raises(StoreError, match="never described"):
        write(store, [quarter(0, 1, key="cement/new/volume")], span=(0, 1), key="cement/new/volume")


def test_the_watermark_moves_only_when_told_and_is_kept(store, tmp_path):
    assert store.watermark() == 0
    write(store, [quarter(0, 1)], span=(0, 1))
    assert store.watermark() == 0
    store.set_watermark(42)
    with IntervalStore.open(tmp_path / "intervals.db", read_only=True) as reader:
        assert reader.watermark() == 42
        assert reader.intervals(EVERYTHING, KEY, 0, QUARTER) == [quarter(0, 1)]
        with pytest.raises(StoreError, match="reading only"):
            reader.set_watermark(43)


def test_absent_newer_and_foreign_interval_files_are_refused_with_what_to_do(tmp_path):
    path = tmp_path / "intervals.db"
    with pytest.raises(StoreError, match=r"`emg settle SITE` makes it"):
        IntervalStore.open(path, read_only=True)
    IntervalStore.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="layout 99, written by a newer release"):
        IntervalStore.open(path)
    EmbeddedStore.open(tmp_path / "readings.db").close()
    with pytest.raises(StoreError, match="not a file of intervals"):
        IntervalStore.open(tmp_path / "readings.db")
