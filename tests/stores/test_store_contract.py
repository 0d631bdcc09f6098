"""What every reading store promises; a further store is one more line in OPENERS."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contracts import Delivery, ReadingStore, Sink, StoredReading, Touched
from gateway.domain.readings import Quality, Reading, is_identifier
from gateway.domain.scopes import EVERYTHING, Scope, scope_of
from gateway.errors import StoreError
from gateway.stores.embedded import EmbeddedStore
from tests.stores.influx_server import InfluxStores

DAY = 86_400_000_000  # [us]
ENERGY = "cement/kiln/active_energy_import"
POWER = "cement/kiln/active_power"
WATER = "glass/main/volume"


class Store(Sink, ReadingStore, Protocol):
    def close(self) -> None: ...


Opener = Callable[[Path], Store]  # opens the store that belongs to a folder
# By the fixture of the server that it needs, if any; a server is started when the first test asks for it.
OPENERS: dict[str, Callable[[pytest.FixtureRequest], Opener]] = {
    "embedded": lambda _: lambda folder: EmbeddedStore.open(folder / "readings.db"),
    "influxdb": lambda request: InfluxStores(request.getfixturevalue("influxd")),
}


@pytest.fixture(scope="module", params=["embedded", pytest.param("influxdb", marks=pytest.mark.servers)])
def opener(request) -> Opener:
    return OPENERS[request.param](request)


@pytest.fixture
def store(opener, tmp_path) -> Iterator[Store]:
    with closing(opener(tmp_path)) as opened:
        yield opened


def few(**options):
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=25, deadline=None, suppress_health_check=checks, **options)


def is_missing(reading) -> bool:
    return bool(reading.quality & Quality.MISSING)


values = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3)
)
# Few instants, so that they meet; around midnight and before 1970, where a day is easily got wrong.
instants = st.one_of(st.integers(0, 5), st.integers(DAY - 3, DAY + 3), st.integers(-DAY - 2, -DAY + 2))
names = st.sampled_from([ENERGY, POWER, WATER])


@st.composite
def a_reading(draw) -> Reading:
    series, instant = draw(names), draw(instants)
    if draw(st.booleans()) and draw(st.booleans()):
        return Reading(series, instant, None, Quality.MISSING, draw(st.sampled_from(["line.silent", "line.garbled"])))
    quality = draw(st.sampled_from([Quality.GOOD, Quality.SUSPECT, Quality.GOOD | Quality.SUBSTITUTED]))
    return Reading(series, instant, draw(values), quality, "" if quality is Quality.GOOD else "limit")


entries = st.lists(st.lists(a_reading(), max_size=6), max_size=8)


def deliveries_of(batches: list[list[Reading]], *, first: int = 1) -> list[Delivery]:
    return [Delivery(number, readings, b"h%d" % number) for number, readings in enumerate(batches, first)]


def expected(batches: list[list[Reading]]) -> list[StoredReading]:
    """The rule said once more, without SQL: of each series and instant the first usable one, else the first."""
    found: dict[tuple[str, int], StoredReading] = {}
    for delivery in deliveries_of(batches):
        for reading in delivery.readings:
            key = reading.series, reading.instant
            if key not in found or (is_missing(found[key]) and not is_missing(reading)):
                found[key] = StoredReading(*reading[:5], delivery.sequence)
    return sorted(found.values(), key=lambda reading: (reading.series, reading.instant))


def everything_in(store: ReadingStore) -> list[StoredReading]:
    return [reading for name in (ENERGY, POWER, WATER) for reading in store.readings(EVERYTHING, name, -(2**60), 2**60)]


def typed(readings: list[StoredReading]) -> list[tuple]:
    return [(type(reading.value), *reading) for reading in readings]


@few()
@given(batches=entries, cuts=st.lists(st.integers(0, 8), max_size=4))
def test_whatever_was_delivered_however_often_reads_back_once_and_by_instant(opener, batches, cuts):
    deliveries = deliveries_of(batches)
    with tempfile.TemporaryDirectory() as folder, closing(opener(Path(folder))) as store:
        # Growing prefixes: each call repeats what the calls before delivered, as a drain does after a crash.
        for cut in [*sorted(cuts), len(deliveries)]:
            store.deliver(deliveries[:cut])
        assert typed(everything_in(store)) == typed(expected(batches))
        assert store.cursor() == len(batches)


@few()
@given(batches=entries)
def test_latest_is_the_newest_usable_reading_and_never_goes_back(opener, batches):
    with tempfile.TemporaryDirectory() as folder, closing(opener(Path(folder))) as store:
        seen: dict[str, int] = {}
        for number, delivery in enumerate(deliveries_of(batches), 1):
            store.deliver([delivery])
            newest: dict[str, StoredReading] = {}
            for reading in expected(batches[:number]):
                if not is_missing(reading):
                    newest[reading.series] = reading
            assert typed(store.latest(EVERYTHING)) == typed(list(newest.values()))
            for reading in store.latest(EVERYTHING):
                assert reading.instant >= seen.get(reading.series, reading.instant)
                seen[reading.series] = reading.instant


@few()
@given(batches=entries, start=instants, length=st.integers(0, DAY))
def test_around_adds_the_nearest_usable_readings_on_both_sides(opener, batches, start, length):
    end = start + length
    with tempfile.TemporaryDirectory() as folder, closing(opener(Path(folder))) as store:
        store.deliver(deliveries_of(batches))
        for name in (ENERGY, WATER):
            all_of_it = [reading for reading in expected(batches) if reading.series == name]
            usable = [reading.instant for reading in all_of_it if not is_missing(reading)]
            first = max((instant for instant in usable if instant < start), default=start)
            last = min((instant for instant in usable if instant >= end), default=end - 1)
            assert store.around(EVERYTHING, name, start, end) == [r for r in all_of_it if first <= r.instant <= last]
            assert store.readings(EVERYTHING, name, start, end) == [r for r in all_of_it if start <= r.instant < end]


@few()
@given(batches=entries, after=st.integers(0, 9))
def test_touched_spans_exactly_what_later_entries_changed(opener, batches, after):
    spans: dict[str, list[int]] = {}
    for delivery in deliveries_of(batches):
        for reading in delivery.readings if delivery.sequence > after else []:
            spans.setdefault(reading.series, []).append(reading.instant)
    with tempfile.TemporaryDirectory() as folder, closing(opener(Path(folder))) as store:
        store.deliver(deliveries_of(batches))
        wanted = sorted(Touched(name, min(found), max(found)) for name, found in spans.items())
        assert store.touched(EVERYTHING, after) == (len(batches), wanted)
        assert store.touched(EVERYTHING, 2**63 - 1) == (len(batches), [])


# Ids that look alike: one is the beginning of another, one is empty, one holds what SQL and globs take for more.
enterprises = st.sampled_from(["a", "A", "ab", "a.b", "b", "%", "*", "", "a\x00", "a'--"])
scopes = st.builds(lambda some: Scope(frozenset(some)), st.sets(enterprises, max_size=4))


@few()
@given(present=st.sets(enterprises, min_size=1), scope=scopes)
def test_no_scope_ever_yields_a_reading_of_another_enterprise(opener, present, scope):
    if isinstance(opener, InfluxStores):  # takes no other names, see test_influxdb.py
        present = set(filter(is_identifier, present)) | {"a"}
    series = {enterprise: f"{enterprise}/p/volume" for enterprise in present}
    allowed = {name for enterprise, name in series.items() if enterprise in scope.enterprises}
    with tempfile.TemporaryDirectory() as folder, closing(opener(Path(folder))) as store:
        store.deliver(deliveries_of([[Reading(name, 5, 7), Reading(name, 5, 8)] for name in series.values()]))
        assert {reading.series for reading in store.latest(scope)} == allowed
        assert {touched.series for touched in store.touched(scope, 0)[1]} == allowed
        for name in series.values():
            assert bool(store.readings(scope, name, 0, 10)) == (name in allowed)
            assert bool(store.around(scope, name, 20, 30)) == (name in allowed)
        assert set(store.series(scope)) == allowed
        assert store.count(scope) == 2 * len(allowed)
        assert {conflict.other.series for conflict in store.conflicts(scope)} == allowed


def test_an_empty_scope_sees_nothing(store):
    store.deliver([Delivery(1, [Reading(ENERGY, 1, 1)])])
    assert store.latest(scope_of()) == []
    assert store.touched(scope_of(), 0) == (1, [])
    assert store.readings(scope_of(), ENERGY, 0, 9) == []


def test_counts_of_64_bits_and_floats_come_back_exactly(store):
    exact = [2**63 - 1, -(2**63), 2**53 + 1, 0, 0.1, 5.0, -0.0, 5e-324, 1.7976931348623157e308]
    store.deliver([Delivery(1, [Reading(ENERGY, instant, value) for instant, value in enumerate(exact)])])
    found = [reading.value for reading in store.readings(EVERYTHING, ENERGY, 0, 99)]
    assert [repr(value) for value in found] == [repr(value) for value in exact]


@pytest.mark.parametrize("value", [True, 2**63, -(2**63) - 1, float("nan"), float("inf"), "7", b"7"])
def test_a_value_that_would_not_come_back_is_refused_and_nothing_of_its_delivery_stays(store, value):
    store.deliver([Delivery(1, [Reading(ENERGY, 1, 1)], b"one")])
    with pytest.raises(StoreError, match=r"entry 3: glass/main/volume at 2"):
        store.deliver([Delivery(2, [Reading(WATER, 1, 1)]), Delivery(3, [Reading(WATER, 2, value)])])
    assert (store.cursor(), store.witness()) == (1, b"one")
    assert [reading.series for reading in store.latest(EVERYTHING)] == [ENERGY]
    store.deliver([Delivery(2, [Reading(WATER, 1, 1)])])  # a series that a failed delivery met first is not lost
    assert [reading.value for reading in store.readings(EVERYTHING, WATER, 0, 9)] == [1]


def test_a_reading_without_a_value_is_missing_whatever_its_flags_say(store):
    store.deliver([Delivery(1, [Reading(ENERGY, 1, None, Quality.GOOD)])])
    assert is_missing(store.readings(EVERYTHING, ENERGY, 0, 9)[0])
    assert store.latest(EVERYTHING) == []


def test_a_gap_that_is_filled_later_shows_the_reading_with_the_entry_that_brought_it(store):
    store.deliver([Delivery(1, [Reading(ENERGY, 1, None, Quality.MISSING, "line.silent")])])
    store.deliver([Delivery(2, [Reading(ENERGY, 1, 40)])])
    assert store.readings(EVERYTHING, ENERGY, 0, 9) == [StoredReading(ENERGY, 1, 40, Quality.GOOD, "", 2)]


def test_entries_without_readings_move_the_cursor_and_its_witness(store):
    assert (store.cursor(), store.witness()) == (0, b"")
    store.deliver([Delivery(1, [], b"first"), Delivery(4, [], b"fourth")])
    assert (store.cursor(), store.witness()) == (4, b"fourth")
    store.deliver([Delivery(2, [Reading(ENERGY, 1, 1)], b"second")])  # behind the cursor: it is here already
    assert (store.cursor(), store.witness(), store.latest(EVERYTHING)) == (4, b"fourth", [])
    store.deliver([])
    assert store.cursor() == 4


def test_entries_out_of_order_are_refused(store):
    with pytest.raises(StoreError, match="order of the journal"):
        store.deliver([Delivery(2, []), Delivery(1, [])])
    assert store.cursor() == 0


def test_everything_is_still_there_after_closing_and_opening(opener, tmp_path):
    with closing(opener(tmp_path)) as store:
        store.deliver([Delivery(1, [Reading(ENERGY, 1, 10), Reading(POWER, 1, 2.5)])])
    with closing(opener(tmp_path)) as store:
        store.deliver([Delivery(2, [Reading(ENERGY, 2, 11)])])
        assert [(reading.series, reading.value) for reading in store.latest(EVERYTHING)] == [(ENERGY, 11), (POWER, 2.5)]
        assert [reading.value for reading in store.readings(EVERYTHING, ENERGY, 0, 9)] == [10, 11]
