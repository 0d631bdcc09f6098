"""Sealing: at any step of it, after a kill, with late and corrected readings, every answer is what it was before."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contracts import Delivery
from gateway.domain.readings import Quality, Reading
from gateway.domain.scopes import EVERYTHING, scope_of
from gateway.errors import StoreError
from gateway.stores import embedded, sealing
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.embedded_layout import LAYOUT
from gateway.stores.hot_blocks import columns_from
from gateway.stores.hot_table import append
from gateway.stores.store_file import StoreFile

ROOT = Path(__file__).resolve().parents[2]
OLD = ROOT / "tests" / "old_stores"
DAY = 86_400_000_000  # [us]
ENERGY, POWER, WATER = "cement/kiln/active_energy_import", "cement/kiln/active_power", "glass/main/volume"
FOREVER = 2**62

values = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(-1e6, 1e6), st.integers(0, 3))
# Few instants on few days, so that they meet; before 1970 too, where a day is easily got wrong.
instants = st.builds(
    lambda day, at: day * DAY + at, st.sampled_from([-1, 0, 1, 2, 9]), st.sampled_from([0, 1, DAY - 1])
)
qualities = st.sampled_from(
    [Quality.GOOD, Quality.GOOD, Quality.SUSPECT, Quality.MISSING, Quality.CORRECTED | Quality.SUBSTITUTED]
)


@st.composite
def a_reading(draw) -> Reading:
    quality = draw(qualities)
    without = quality is Quality.MISSING or (quality & Quality.CORRECTED and draw(st.booleans()))
    reason = "" if quality is Quality.GOOD else draw(st.sampled_from(["limit", "line.silent"]))
    series = draw(st.sampled_from([ENERGY, POWER, WATER]))
    return Reading(series, draw(instants), None if without else draw(values), quality, reason)


entries = st.lists(st.lists(a_reading(), max_size=7), min_size=1, max_size=9)


def few(examples: int):
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks)


def deliveries_of(batches: list[list[Reading]]) -> list[Delivery]:
    return [Delivery(number, readings, b"h%d" % number) for number, readings in enumerate(batches, 1)]


def typed(rows) -> list:
    return [[(type(field), field) for field in row] for row in rows]


def answers(store: EmbeddedStore) -> dict[str, object]:
    """Everything a caller can ask."""
    names = (ENERGY, POWER, WATER)
    cursor = store.cursor()
    found: dict[str, object] = {
        "latest": typed(store.latest(EVERYTHING)),
        "count": [store.count(EVERYTHING), store.count(scope_of("glass"))],
        "duplicates": store.duplicates(EVERYTHING),
        "conflicts": store.conflicts(EVERYTHING),
        "conflicts of one": store.conflicts(scope_of("glass")),
        "overview": [store.overview(EVERYTHING), store.overview(scope_of("glass"))],
        "daily": sorted(map(str, store.daily(EVERYTHING, -10, 10))),
        "daily of one": sorted(map(str, store.daily(scope_of("glass"), 0, 1))),
    }
    for after in range(-1, cursor + 1):
        found[f"touched {after}"] = store.touched(EVERYTHING, after)
    for name in names:
        found[f"all {name}"] = typed(store.readings(EVERYTHING, name, -FOREVER, FOREVER))
        found[f"columns {name}"] = [
            (str(column.dtype), column.tobytes()) for column in store.columns(EVERYTHING, name, -FOREVER, FOREVER)
        ]
        for day in (-1, 0, 1, 2, 3, 9):
            found[f"day {day} {name}"] = store.readings(EVERYTHING, name, day * DAY, (day + 1) * DAY)
            found[f"around {day} {name}"] = store.around(EVERYTHING, name, day * DAY, day * DAY + 2)
            for at in (0, 1, DAY - 1):
                found[f"versions {day} {at} {name}"] = typed(store.versions(EVERYTHING, name, day * DAY + at))
    return found


@few(30)
@given(batches=entries, chance=st.randoms(use_true_random=False))
def test_at_every_step_of_sealing_each_answer_is_what_it_was_before(batches, chance):
    with tempfile.TemporaryDirectory() as folder:
        never, often = (EmbeddedStore.open(Path(folder) / f"{name}.db") for name in ("never", "often"))
        with closing(never), closing(often):
            for delivery in deliveries_of(batches):
                never.deliver([delivery])
                often.deliver([delivery])
                for _ in range(chance.randrange(4)):
                    often.seal(now=chance.choice([None, FOREVER, 2 * DAY]), most=1)
                    assert answers(often) == answers(never)
            while often.seal(now=FOREVER, most=2):
                assert answers(often) == answers(never)
            with often._file.read() as connection:
                assert connection.execute("SELECT count(*) FROM hot").fetchone() == (0,)
            assert answers(often) == answers(never)


def standing(batches: list[list[Reading]]) -> dict[tuple[str, int], Reading]:
    """The rule said once more: the newest correction, else the first usable one, else the first."""
    found: dict[tuple[str, int], Reading] = {}
    for reading in (reading for batch in batches for reading in batch):
        key = reading.series, reading.instant
        known = found.get(key)
        fills = known and not known.quality & Quality.CORRECTED and known.value is None and reading.value is not None
        if known is None or fills or reading.quality & Quality.CORRECTED:
            found[key] = reading
    return dict(sorted(found.items()))


@few(60)
@given(batches=entries, sealed=st.booleans())
def test_a_correction_stands_above_all_and_a_struck_out_instant_has_no_value(batches, sealed):
    expected = standing(batches)
    with tempfile.TemporaryDirectory() as folder, EmbeddedStore.open(Path(folder) / "readings.db") as store:
        for delivery in deliveries_of(batches):
            store.deliver([delivery])
            while sealed and store.seal(now=FOREVER):
                pass
        newest = {}
        for (name, instant), reading in expected.items():
            found = store.readings(EVERYTHING, name, instant, instant + 1)
            assert [(one.value, type(one.value), one.reason) for one in found] == [
                (reading.value, type(reading.value), reading.reason)
            ]
            if reading.value is not None:
                newest[name] = (name, instant, reading.value)
        assert [(one.series, one.instant, one.value) for one in store.latest(EVERYTHING)] == list(newest.values())
        days: dict[tuple[str, int], list[Reading]] = {}
        for (name, instant), reading in expected.items():
            if reading.value is not None:
                days.setdefault((name, instant // DAY), []).append(reading)
        told = {(day.series, day.day): day[2:] for day in store.daily(EVERYTHING, -10, 10)}
        assert told == {
            key: (
                len(found),
                *(found[0].instant, found[0].value, found[-1].instant, found[-1].value),
                *(min(one.value for one in found), max(one.value for one in found)),
            )
            for key, found in days.items()
        }


def test_a_correction_keeps_what_was_read_beside_it_and_settles_a_conflict(tmp_path):
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        store.deliver([Delivery(1, [Reading(ENERGY, 5, 70), Reading(ENERGY, 4, 69)])])
        store.deliver([Delivery(2, [Reading(ENERGY, 5, 71)])])
        assert len(store.conflicts(EVERYTHING)) == 1
        store.deliver([Delivery(3, [Reading(ENERGY, 5, 72, Quality.CORRECTED, "dial.read")])])
        assert [one.value for one in store.latest(EVERYTHING)] == [72]
        store.deliver([Delivery(4, [Reading(ENERGY, 5, None, Quality.CORRECTED, "meter.swapped")])])
        assert [one.value for one in store.latest(EVERYTHING)] == [69]
        store.deliver([Delivery(5, [Reading(ENERGY, 5, 70)])])  # a retry must not bring it back
        for _ in range(2):
            assert [one.value for one in store.latest(EVERYTHING)] == [69]
            assert store.conflicts(EVERYTHING) == []
            assert store.duplicates(EVERYTHING) == 1
            versions = store.versions(EVERYTHING, ENERGY, 5)
            assert [(one.value, one.sequence) for one in versions] == [(70, 1), (71, 2), (72, 3), (None, 4), (70, 5)]
            assert [one.reason for one in store.readings(EVERYTHING, ENERGY, 5, 6)] == ["meter.swapped"]
            assert store.versions(scope_of("glass"), ENERGY, 5) == []
            while store.seal(now=FOREVER):
                pass
        store.deliver([Delivery(6, [Reading(ENERGY, 5, 75, Quality.CORRECTED, "dial.read.again")])])
        assert [one.value for one in store.latest(EVERYTHING)] == [75]


def test_only_days_that_are_over_are_sealed_and_a_late_reading_joins_its_day(tmp_path):
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        for day in range(4):
            readings = [Reading(ENERGY, day * DAY + hour * 3_600_000_000, 10 * day + hour) for hour in range(6)]
            store.deliver([Delivery(day + 1, readings)])
        while store.rest():
            pass
        assert sealed_days(store) == [(0, 6), (1, 6)]  # the newest day and the one before stay open
        late = [Reading(ENERGY, 1, 777), Reading(ENERGY, DAY, 10)]
        store.deliver([Delivery(5, late)])
        assert [one.value for one in store.readings(EVERYTHING, ENERGY, 0, 3)] == [0, 777]
        assert store.duplicates(EVERYTHING) == 1
        assert not store.rest()  # once for each day is often enough
        store.deliver([Delivery(6, [Reading(ENERGY, 4 * DAY, 40)])])
        while store.rest():
            pass
        assert sealed_days(store) == [(0, 7), (1, 7), (2, 6)]
        assert [one.value for one in store.readings(EVERYTHING, ENERGY, 0, 3)] == [0, 777]
        assert store.duplicates(EVERYTHING) == 1


def sealed_days(store: EmbeddedStore) -> list[tuple[int, int]]:
    with store._file.read() as connection:
        return connection.execute("SELECT day, readings FROM chunks ORDER BY day, first").fetchall()


def test_a_hot_table_that_grows_is_sealed_before_the_day_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "FULL_AT_REST", (50, 10))
    monkeypatch.setattr(embedded, "FULL", (90, 20))
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        for sequence in range(1, 100):
            store.deliver([Delivery(sequence, [Reading(ENERGY, sequence, sequence), Reading(WATER, sequence, 1)])])
            with store._file.read() as connection:
                assert connection.execute("SELECT total(readings) FROM hot").fetchone()[0] <= 100
        assert sealed_days(store) != []
        while store.rest():
            pass
        assert [one.value for one in store.readings(EVERYTHING, ENERGY, 0, 200)] == list(range(1, 100))


def test_a_day_of_many_readings_is_cut_and_still_told_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "LONGEST", 10)
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        order = list(range(100))
        random.Random(2).shuffle(order)
        for sequence, some in enumerate((order[:50], order[50:70], order[70:]), 1):
            store.deliver([Delivery(sequence, [Reading(ENERGY, at, at) for at in some] + [Reading(ENERGY, 7, 7)] * 12)])
            while store.seal(now=FOREVER):
                pass
        assert max(readings for _, readings in sealed_days(store)) <= 10 + 36
        assert [one.instant for one in store.readings(EVERYTHING, ENERGY, 0, 200)] == list(range(100))
        assert store.duplicates(EVERYTHING) == 36
        [day] = store.daily(EVERYTHING, 0, 0)
        assert day[2:] == (100, 0, 0, 99, 99, 0, 99)


def test_whole_old_days_leave_and_the_latest_value_stays(tmp_path):
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        store.deliver([Delivery(1, [Reading(WATER, DAY + 5, 3)])])
        for day in range(5):
            store.deliver([Delivery(day + 2, [Reading(ENERGY, day * DAY + at, at) for at in (0, 9)])])
        assert store.retain(2 * DAY + 5) == 5
        assert [one.instant // DAY for one in store.readings(EVERYTHING, ENERGY, 0, FOREVER)] == [2, 2, 3, 3, 4, 4]
        assert store.count(EVERYTHING) == 6
        assert [(one.series, one.value) for one in store.latest(EVERYTHING)] == [(ENERGY, 9), (WATER, 3)]
        assert store.cursor() == 6
        assert store.retain(2 * DAY + 5) == 0


SEALING = """
import sys
from pathlib import Path
from gateway.stores.embedded import EmbeddedStore

with EmbeddedStore.open(Path(sys.argv[1])) as store:
    print("sealing", flush=True)
    while store.seal(now=2**62, most=40):
        print("step", flush=True)
"""


def test_a_kill_at_any_moment_of_sealing_loses_and_doubles_nothing(tmp_path):
    path = tmp_path / "readings.db"
    chance = random.Random(11)
    with EmbeddedStore.open(path) as store:
        for sequence in range(1, 40):
            readings = [Reading(f"cement/p{n}/volume", sequence * 7_200_000_000, sequence * 100 + n) for n in range(40)]
            store.deliver([Delivery(sequence, readings)])
    environment = {**os.environ, "PYTHONPATH": "."}
    for _ in range(6):
        command = [sys.executable, "-c", SEALING, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as child:
            for _ in range(chance.randrange(1, 9)):
                child.stdout.readline()
            child.send_signal(signal.SIGKILL)
        with EmbeddedStore.open(path, read_only=True) as store:
            assert store.count(EVERYTHING) == 39 * 40
            assert store.duplicates(EVERYTHING) == 0
            for number in range(40):
                found = [one.value for one in store.readings(EVERYTHING, f"cement/p{number}/volume", 0, FOREVER)]
                assert found == [sequence * 100 + number for sequence in range(1, 40)]


READING = """
import sys
from pathlib import Path
from gateway.domain.scopes import EVERYTHING
from gateway.stores.embedded import EmbeddedStore

looks = 0
with EmbeddedStore.open(Path(sys.argv[1]), read_only=True) as store:
    print("reading", flush=True)
    while store.cursor() < int(sys.argv[2]):
        before = store.cursor()
        rows = store.readings(EVERYTHING, "cement/p3/volume", 0, 2**62)
        [day for day in store.daily(EVERYTHING, 0, 99)]
        assert [row.value for row in rows] == list(range(1, len(rows) + 1)), rows
        assert before <= len(rows) <= store.cursor()
        assert store.overview(EVERYTHING).readings >= 10 * before
        looks += 1
print("looks", looks)
"""


def test_another_process_reads_the_same_while_sealing_goes_on(tmp_path):
    path, last = tmp_path / "readings.db", 150
    environment = {**os.environ, "PYTHONPATH": "."}
    with EmbeddedStore.open(path) as store:
        command = [sys.executable, "-c", READING, str(path), str(last)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as child:
            assert child.stdout.readline() == "reading\n"
            for sequence in range(1, last + 1):
                instant = sequence * 3_600_000_000
                store.deliver(
                    [Delivery(sequence, [Reading(f"cement/p{n}/volume", instant, sequence) for n in range(10)])]
                )
                store.seal(now=FOREVER, most=30)
            told = child.stdout.read().split()
        assert child.returncode == 0
        assert told[0] == "looks"
        assert int(told[1]) > 1


def test_a_failed_transaction_leaves_no_block_behind_in_memory(tmp_path):
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        correction = Reading(ENERGY, 1, 5, Quality.CORRECTED)
        store.deliver([Delivery(1, [Reading(ENERGY, 1, 1)])])
        with pytest.raises(StoreError, match="nonsense"), store._write() as connection:
            append(connection, columns_from([(2 << 24, 1, 1, 999, 33, "")]))
            assert store._hot.rows(connection, 1, 0, 9)[-1][3] == 999
            connection.execute("SELECT nonsense")
        store.deliver([Delivery(2, [correction])])
        assert [one.value for one in store.latest(EVERYTHING)] == [5]


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_every_earlier_layout_opens_and_answers_as_it_did(tmp_path, version):
    path = tmp_path / "readings.db"
    shutil.copy(OLD / f"readings-layout-{version}.db", path)
    told = json.loads((OLD / f"readings-layout-{version}.json").read_text())

    def plain(readings) -> list:
        return [[one.series, one.instant, one.value, int(one.quality), one.reason, one.sequence] for one in readings]

    with EmbeddedStore.open(path) as store:
        for _ in range(2):
            assert (store.cursor(), store.witness().decode()) == (told["cursor"], told["witness"])
            assert (store.count(EVERYTHING), store.duplicates(EVERYTHING)) == (told["count"], told["duplicates"])
            assert plain(store.latest(EVERYTHING)) == told["latest"]
            assert plain(store.latest(scope_of("glass"))) == told["latest_of_glass"]
            assert store.series(EVERYTHING) == told["series"]
            conflicts = store.conflicts(EVERYTHING)
            assert [plain([one.standing])[0] + plain([one.other])[0] for one in conflicts] == told["conflicts"]
            for name, readings in told["readings"].items():
                assert plain(store.readings(EVERYTHING, name, -(2**60), 2**60)) == readings
            for after, (newest, spans) in told["touched"].items():
                assert store.touched(EVERYTHING, int(after)) == (newest, [tuple(span) for span in spans])
            while store.seal(now=FOREVER):
                pass
    with closing(StoreFile(path, LAYOUT, read_only=True)) as file, file.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA user_version").fetchone() == (LAYOUT.version,)


def test_a_file_of_an_earlier_layout_that_may_only_be_read_says_who_brings_it_up(tmp_path):
    shutil.copy(OLD / "readings-layout-1.db", tmp_path / "readings.db")
    before = (tmp_path / "readings.db").read_bytes()
    with pytest.raises(StoreError, match=r"layout 1, written by an earlier release.*`emg run SITE` brings it up"):
        EmbeddedStore.open(tmp_path / "readings.db", read_only=True)
    assert (tmp_path / "readings.db").read_bytes() == before


def test_bringing_an_old_file_up_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "readings.db"
    shutil.copy(OLD / "readings-layout-1.db", path)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.stores.embedded_layout.step", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            EmbeddedStore.open(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
    with EmbeddedStore.open(path) as store:
        assert store.count(EVERYTHING) == json.loads((OLD / "readings-layout-1.json").read_text())["count"]
