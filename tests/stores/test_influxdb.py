"""The InfluxDB store beyond the contract: late, repeated and corrected readings, broken deliveries, poison, old databases.

Its twin on one SQLite file gets the same deliveries and must give the same answers.
"""

import random
import tempfile
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contracts import Delivery, StoredReading, Touched
from gateway.domain.destinations import InfluxServer
from gateway.domain.readings import Quality, Reading
from gateway.domain.scopes import EVERYTHING, scope_of
from gateway.errors import SinkBusy, SinkDenied, StoreError
from gateway.stores import influx_side
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.hot_rows import Refused
from gateway.stores.influx_query import CHUNK
from gateway.stores.influxdb import InfluxStore
from tests.stores.influx_answers import ContractServer, Told, failed
from tests.stores.influx_server import Influxd, InfluxStores, free_port, running

DAY = 86_400_000_000  # [us]
NOON = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z [us]
ENERGY = "cement/kiln/active_energy_import"
POWER = "cement/kiln/active_power"
WATER = "glass/main/volume"
NAMES = (ENERGY, POWER, WATER)


@pytest.fixture
def stores(influxd) -> InfluxStores:
    return InfluxStores(influxd)


@pytest.fixture
def contract():
    with ContractServer(lambda asked: Told(204)).serving() as server:
        yield server


class Sent:
    """Counts the lines that reach a store's server, and breaks off as it is told to."""

    def __init__(self, store: InfluxStore) -> None:
        self._writer = store._writer
        self.lines: list[str] = []
        self.breaks: list[float] = []  # of each coming write, the share that is stored before it breaks off
        store._writer = self

    def write(self, lines):
        if not self.breaks:
            self.lines += lines
            return self._writer.write(lines)
        stored = lines[: round(self.breaks.pop() * len(lines))]
        self._writer.write(stored)
        raise SinkBusy("the answer was lost")

    def close(self):
        self._writer.close()


corrected = Quality.SUBSTITUTED | Quality.CORRECTED


@st.composite
def a_reading(draw) -> Reading:
    series = draw(st.sampled_from(NAMES))
    instant = draw(st.one_of(st.integers(0, 4), st.integers(DAY - 1, DAY + 1)))
    value = draw(st.one_of(st.integers(0, 3), st.sampled_from([0.5, 1.0, -0.0])))
    kind = draw(st.sampled_from(["good", "good", "suspect", "missing", "corrected", "struck out"]))
    match kind:
        case "missing":
            return Reading(
                series, instant, None, Quality.MISSING, draw(st.sampled_from(["line.silent", "line.garbled"]))
            )
        case "suspect":
            return Reading(series, instant, value, Quality.SUSPECT, "limit")
        case "corrected":
            return Reading(series, instant, value, corrected, "correction.3")
        case "struck out":
            return Reading(series, instant, None, corrected | Quality.MISSING, "correction.4")
    return Reading(series, instant, value)


entries = st.lists(st.lists(a_reading(), max_size=5), min_size=1, max_size=8)


def deliveries_of(batches: list[list[Reading]]) -> list[Delivery]:
    return [Delivery(number, readings, b"h%d" % number) for number, readings in enumerate(batches, 1)]


def answers(store) -> list:
    """Everything a store tells, with the types of its values."""
    found = [
        *store.latest(EVERYTHING),
        *(reading for name in NAMES for reading in store.readings(EVERYTHING, name, -DAY, 3 * DAY)),
        *(reading for name in NAMES for reading in store.around(EVERYTHING, name, 2, DAY)),
        *(reading for name in NAMES for at in (0, 3, DAY) for reading in store.versions(EVERYTHING, name, at)),
    ]
    return [
        store.cursor(),
        store.witness(),
        store.count(EVERYTHING),
        store.duplicates(EVERYTHING),
        store.series(EVERYTHING),
        [store.touched(EVERYTHING, after) for after in range(store.cursor() + 1)],
        sorted(map(repr, store.conflicts(EVERYTHING))),
        [(repr(reading.value), *reading) for reading in found],
    ]


@pytest.mark.servers
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=entries, cuts=st.lists(st.integers(1, 8), max_size=4), breaks=st.lists(st.floats(0, 1), max_size=4))
def test_whatever_comes_however_often_it_breaks_off_it_answers_as_the_embedded_store(stores, batches, cuts, breaks):
    deliveries = deliveries_of(batches)
    with tempfile.TemporaryDirectory() as name, closing(EmbeddedStore.open(Path(name) / "readings.db")) as twin:
        twin.deliver(deliveries)
        store = stores(Path(name))
        # Growing prefixes, as a drain gives them; each may break off, and half of the time the process ends then.
        for cut in [*sorted(cuts), len(deliveries)]:
            sent = Sent(store)
            sent.breaks = breaks[:1]
            with suppress(SinkBusy):
                store.deliver(deliveries[:cut])
            if len(breaks) % 2:
                store.close()
                store = stores(Path(name))
            breaks = breaks[1:]
        Sent(store)
        store.deliver(deliveries)
        assert answers(store) == answers(twin)
        store.close()
        with closing(stores(Path(name), read_only=True)) as reader:
            assert answers(reader) == answers(twin)


@pytest.mark.servers
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=entries, cuts=st.lists(st.integers(1, 8), max_size=3))
def test_a_new_file_beside_an_old_database_comes_to_the_same_answers(stores, batches, cuts):
    deliveries = deliveries_of(batches)
    with tempfile.TemporaryDirectory() as name, closing(EmbeddedStore.open(Path(name) / "readings.db")) as twin:
        with closing(stores(Path(name))) as store:
            store.deliver(deliveries)
        for path in Path(name).glob("influx-store.db*"):
            path.unlink()
        with closing(stores(Path(name))) as store:
            for cut in [*sorted(cuts), len(deliveries)]:
                store.deliver(deliveries[:cut])
            twin.deliver(deliveries)
            assert answers(store) == answers(twin)


@pytest.mark.servers
def test_only_what_changes_is_written(stores, tmp_path):
    with closing(stores(tmp_path)) as store:
        store.deliver([Delivery(1, [Reading(ENERGY, NOON + n, n) for n in range(100)])])
        sent = Sent(store)
        store.deliver([Delivery(2, [Reading(ENERGY, NOON + n, n) for n in range(100)])])  # word for word
        store.deliver([Delivery(3, [Reading(ENERGY, NOON + 50, 51)])])  # contradicts
        assert sent.lines == []
        assert (store.duplicates(EVERYTHING), len(store.conflicts(EVERYTHING))) == (100, 1)
        store.deliver([Delivery(4, [Reading(ENERGY, NOON + 50, 49, corrected, "correction.7")])])
        assert len(sent.lines) == 1
        assert store.versions(EVERYTHING, ENERGY, NOON + 50) == [
            StoredReading(ENERGY, NOON + 50, 50, Quality.GOOD, "", 1),
            StoredReading(ENERGY, NOON + 50, 50, Quality.GOOD, "", 2),
            StoredReading(ENERGY, NOON + 50, 51, Quality.GOOD, "", 3),
            StoredReading(ENERGY, NOON + 50, 49, corrected, "correction.7", 4),
        ]
        (stands,) = store.readings(EVERYTHING, ENERGY, NOON + 50, NOON + 51)
        assert (stands.value, stands.sequence) == (49, 4)


@pytest.mark.servers
def test_what_a_dashboard_sees_is_what_stands(influxd, stores, tmp_path):
    """A gap that was filled leaves no reason behind, a correction stands in the database itself."""
    with closing(stores(tmp_path)) as store:
        store.deliver([Delivery(1, [Reading(ENERGY, NOON, None, Quality.MISSING, "line.silent")])])
        store.deliver([Delivery(2, [Reading(ENERGY, NOON, 40)])])
        database = stores._databases[tmp_path].database
        row = influxd.query('SELECT "count", "quality", "reason", "sequence" FROM readings', database)[0]["values"][0]
        assert row == [NOON, 40, 1, "", 2]
        store.deliver([Delivery(3, [Reading(ENERGY, NOON, 41, corrected, "correction.2")])])
        row = influxd.query('SELECT "count", "quality", "reason", "sequence" FROM readings', database)[0]["values"][0]
        assert row == [NOON, 41, int(corrected), "correction.2", 3]


@pytest.mark.servers
def test_striking_out_the_newest_reading_brings_back_the_one_before(stores, tmp_path):
    with closing(stores(tmp_path)) as store:
        store.deliver([Delivery(1, [Reading(ENERGY, NOON, 40), Reading(ENERGY, NOON + DAY, 4000)])])
        struck = Reading(ENERGY, NOON + DAY, None, corrected | Quality.MISSING, "correction.2")
        store.deliver([Delivery(2, [struck])])
        assert [reading.value for reading in store.latest(EVERYTHING)] == [40]
        store.deliver([Delivery(3, [Reading(ENERGY, NOON, None, corrected | Quality.MISSING, "correction.3")])])
        assert store.latest(EVERYTHING) == []
        assert [reading.value for reading in store.readings(EVERYTHING, ENERGY, NOON, NOON + 2 * DAY)] == [None, None]


@pytest.mark.servers
def test_a_poison_reading_is_held_back_and_shown_and_all_others_are_stored(influxd, stores, tmp_path):
    with closing(stores(tmp_path)) as store:
        # Somebody else has fixed the type of `count` for this week's files of the database.
        database = stores._databases[tmp_path].database
        influxd.ask("POST", f"/write?db={database}&precision=u", f"readings,point=x count=1.5 {NOON}".encode())
        store.deliver([Delivery(1, [Reading(POWER, NOON + n, float(n)) for n in range(500)])])
        store.deliver([Delivery(2, [Reading(POWER, NOON + 500, 500.0), Reading(ENERGY, NOON, 7)])])
        store.deliver([Delivery(3, [Reading(POWER, NOON + 501 + n, 1.0) for n in range(499)])])
        assert len(store.readings(EVERYTHING, POWER, NOON, NOON + DAY)) == 1000
        assert store.readings(EVERYTHING, ENERGY, NOON, NOON + DAY) == []
        count, (refusal,) = store.refused(EVERYTHING)
        assert count == 1
        assert (refusal.series, refusal.instant, refusal.sequence) == (ENERGY, NOON, 2)
        assert "field type conflict" in refusal.said
        assert "count=7i" in refusal.line
        assert store.refused(scope_of("glass")) == Refused(0, [])
        assert store.cursor() == 3


@pytest.mark.servers
def test_a_server_that_is_killed_again_and_again_has_everything_in_the_end(influxd, tmp_path):
    del influxd  # skips where it is not installed
    deliveries = [
        Delivery(number, [Reading(name, NOON + number, number) for name in NAMES], b"h%d" % number)
        for number in range(1, 301)
    ]
    with running(Influxd(tmp_path)) as own:
        server = own.database("killed")
        with closing(InfluxStore.open(tmp_path / "influx-store.db", server, "")) as store:
            for first in range(0, 300, 30):
                own.kill()
                with pytest.raises(SinkBusy):
                    store.deliver(deliveries[first : first + 30])
                assert store.cursor() == first
                own.start()
                store.deliver(deliveries[first : first + 30])
            for name in NAMES:
                found = store.readings(EVERYTHING, name, NOON, NOON + DAY)
                assert [(reading.value, reading.sequence) for reading in found] == [(n, n) for n in range(1, 301)]
            assert store.duplicates(EVERYTHING) == 0


@pytest.mark.servers
def test_a_long_span_comes_in_pieces_and_whole(stores, tmp_path):
    chosen = random.Random(2)
    values = [
        chosen.choice([chosen.randint(-(2**63), 2**63 - 1), chosen.uniform(-1e9, 1e9)]) for _ in range(2 * CHUNK + 7)
    ]
    with closing(stores(tmp_path)) as store:
        store.deliver([Delivery(1, [Reading(ENERGY, NOON + n, value) for n, value in enumerate(values)])])
        found = store.readings(EVERYTHING, ENERGY, NOON, NOON + DAY)
        assert [reading.value for reading in found] == values
        assert all(earlier.instant < later.instant for earlier, later in pairwise(found))


@pytest.mark.servers
def test_names_that_are_no_identifiers_are_refused_before_anything_is_written(stores, tmp_path):
    with closing(stores(tmp_path)) as store:
        for name in ("a'--/p/volume", "%/p/volume", "/p/volume", "a/b", "a b/p/volume", "a\n/p/volume"):
            with pytest.raises(StoreError, match="expected enterprise/point/quantity"):
                store.deliver([Delivery(1, [Reading(ENERGY, 1, 1), Reading(name, 1, 1)])])
            assert store.readings(EVERYTHING, name, 0, 9) == []
        assert (store.cursor(), store.latest(EVERYTHING)) == (0, [])
        store.deliver([Delivery(1, [Reading(ENERGY, 1, 1)])])
        assert store.readings(EVERYTHING, ENERGY, 0, 9)[0].sequence == 1


@pytest.mark.servers
def test_a_quote_in_a_name_that_is_asked_for_is_a_value_not_a_statement(stores, tmp_path):
    with closing(stores(tmp_path)) as store:
        store.deliver([Delivery(1, [Reading(ENERGY, 1, 1)])])
        assert store.readings(EVERYTHING, "cement/kiln' OR 1=1 --/active_energy_import", 0, 9) == []


@pytest.mark.servers
def test_the_latest_values_and_what_was_touched_need_no_server(stores, influxd, tmp_path):
    with closing(stores(tmp_path)) as store:
        store.deliver([Delivery(1, [Reading(ENERGY, NOON, 40)])])
    absent = InfluxServer(url=f"http://127.0.0.1:{free_port()}", database="emg", version="1")
    with closing(InfluxStore.open(tmp_path / "influx-store.db", absent, "", read_only=True)) as reader:
        assert [reading.value for reading in reader.latest(EVERYTHING)] == [40]
        assert reader.touched(EVERYTHING, 0) == (1, [Touched(ENERGY, NOON, NOON)])
        with pytest.raises(SinkBusy, match="did not answer"):
            reader.readings(EVERYTHING, ENERGY, NOON, NOON + 1)


def test_without_the_file_there_is_nothing_to_read(tmp_path):
    server = InfluxServer(url="http://127.0.0.1:9", database="emg", version="1")
    with pytest.raises(StoreError, match=r"does not exist.*emg run SITE"):
        InfluxStore.open(tmp_path / "influx-store.db", server, "", read_only=True)


@pytest.mark.servers
def test_spans_of_entries_far_back_are_joined_and_never_narrower(stores, tmp_path, monkeypatch):
    monkeypatch.setattr(influx_side, "_WIDTHS", ((20, 8), (60, 32)))
    chosen = random.Random(9)
    wanted: dict[int, dict[str, list[int]]] = {}
    with closing(stores(tmp_path)) as store:
        for first in range(1, 200, 9):
            batch = []
            for sequence in range(first, first + 9):
                readings = [Reading(chosen.choice(NAMES), chosen.randrange(1000), 1) for _ in range(2)]
                wanted[sequence] = {}
                for reading in readings:
                    wanted[sequence].setdefault(reading.series, []).append(reading.instant)
                batch.append(Delivery(sequence, readings))
            store.deliver(batch)
        newest = store.cursor()
        with store._file.read() as connection:
            assert connection.execute("SELECT count(*) FROM span").fetchone()[0] < 120
        for after in range(newest + 1):
            spans: dict[str, list[int]] = {}
            for sequence in range(after + 1, newest + 1):
                for series, instants in wanted[sequence].items():
                    spans.setdefault(series, []).extend(instants)
            found = {touched.series: touched for touched in store.touched(EVERYTHING, after)[1]}
            for series, instants in spans.items():
                assert found[series].first <= min(instants)
                assert found[series].last >= max(instants)
            if after > newest - 20:
                assert found == {name: Touched(name, min(all_), max(all_)) for name, all_ in spans.items()}


# What a server of another version answers


def reading_from(contract: ContractServer, told: Told, folder: Path) -> list[StoredReading]:
    """Readings of a store whose server takes a point and then answers a query with `told`."""
    contract.answer = lambda asked: (
        Told(204) if asked.path == "/api/v2/write" else Told(200, b'{"results":[{"statement_id":0}]}\n')
    )
    with closing(InfluxStore.open(folder / "influx-store.db", contract.declared(), "s3cret")) as store:
        store.deliver([Delivery(1, [Reading(ENERGY, NOON, 1)])])
        contract.asked.clear()
        contract.answer = lambda asked: told
        return store.readings(EVERYTHING, ENERGY, NOON, NOON + 10)


COLUMNS = b'"columns":["time","count","value","quality","sequence","reason"]'


def test_version_2_is_asked_by_influxql_with_bound_values(contract, tmp_path):
    pieces = [
        b'{"results":[{"statement_id":0,"series":[{"name":"readings",%s,"values":[[%d,%d,null,1,%d,null]],"partial":true}]'
        b',"partial":true}]}' % (COLUMNS, NOON, 2**63 - 1, 2**62),
        b'{"results":[{"statement_id":0,"series":[{"name":"readings",%s,"values":[[%d,null,-0,2,6,"limit"]]}]}]}'
        % (COLUMNS, NOON + 1),
    ]
    found = reading_from(contract, Told(200, b"\n".join(pieces) + b"\n"), tmp_path)
    assert [(repr(reading.value), *reading[1:]) for reading in found] == [
        (repr(2**63 - 1), NOON, 2**63 - 1, Quality.GOOD, "", 2**62),
        ("-0.0", NOON + 1, -0.0, Quality.SUSPECT, "limit", 6),
    ]
    (asked,) = contract.asked
    assert (asked.method, asked.path) == ("POST", "/query")
    assert asked.headers["Authorization"] == "Token s3cret"
    form = asked.form
    assert (form["db"], form["epoch"], form["chunked"]) == ("emg", "u", "true")
    assert "kiln" not in form["q"]
    assert asked.parameters == {
        "enterprise": "cement",
        "point": "kiln",
        "quantity": "active_energy_import",
        "first": NOON * 1000,
        "last": (NOON + 9) * 1000,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"<html>a proxy</html>",
        b'{"results":[]}',
        b'{"results":[{"series":[{"columns":["time","kwh"],"values":[[1,2]]}]}]}',
        b'{"results":[{"series":[{%s,"values":[[1,2,3]]}]}]}' % COLUMNS,
        b'{"results":[{"series":[{%s,"values":[["x",null,"y",1,1,null]]}]}]}' % COLUMNS,
        b"[" * 5000,
        b'{"results":7}',
    ],
)
def test_an_answer_that_is_none_of_influxdb_is_told_and_never_read_as_a_value(contract, tmp_path, body):
    with pytest.raises(StoreError, match=r"expected the columns|expected"):
        reading_from(contract, Told(200, body), tmp_path)


@pytest.mark.parametrize(
    ("told", "error", "said"),
    [
        (failed(401, "unauthorized access"), SinkDenied, "unauthorized access"),
        (failed(404, "dbrp mapping not found"), StoreError, "emg db init SITE"),
        (failed(503, "later"), SinkBusy, "later"),
        (Told(200, b'{"results":[{"error":"database not found: emg"}]}'), StoreError, "emg db init SITE"),
        (Told(200, b'{"results":[{"stat', trouble="reset"), SinkBusy, "did not answer"),
    ],
)
def test_trouble_with_a_query_is_told_as_what_it_is(contract, tmp_path, told, error, said):
    with pytest.raises(error, match=said):
        reading_from(contract, told, tmp_path)
