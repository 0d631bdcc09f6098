"""What the embedded store promises beyond the contract: kills, several processes, conflicts, old and foreign files."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.contracts import Delivery
from gateway.domain.readings import Quality, Reading
from gateway.domain.scopes import EVERYTHING, scope_of
from gateway.errors import StoreError
from gateway.stores import store_file, stored_days
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.hot_rows import Conflict
from gateway.stores.intervals import IntervalStore

ROOT = Path(__file__).resolve().parents[2]
SERIES = [f"cement/p{number}/volume" for number in range(10)]

DELIVERING = """
import sys
from pathlib import Path
from gateway.contracts import Delivery
from gateway.domain.readings import Reading
from gateway.stores.embedded import EmbeddedStore

path, last = Path(sys.argv[1]), int(sys.argv[2])
with EmbeddedStore.open(path) as store:
    for sequence in range(store.cursor() + 1, last + 1):
        store.deliver([Delivery(sequence, [Reading(f"cement/p{n}/volume", sequence, sequence * 100 + n) for n in range(10)])])
        print(sequence, flush=True)
"""

READING = """
import sys
from pathlib import Path
from gateway.domain.scopes import EVERYTHING
from gateway.stores.embedded import EmbeddedStore

path, last = Path(sys.argv[1]), int(sys.argv[2])
looks = 0
with EmbeddedStore.open(path, read_only=True) as store:
    before = store.cursor()
    print("reading", flush=True)
    while before < last:
        rows = store.readings(EVERYTHING, "cement/p3/volume", 0, last + 1)
        newest, touched = store.touched(EVERYTHING, before)
        latest = {reading.value // 100 for reading in store.latest(EVERYTHING)}
        after = store.cursor()
        assert [row.value for row in rows] == [row.instant * 100 + 3 for row in rows]
        assert before <= len(rows) <= newest <= after and len(latest) <= 1 and all(before <= n <= after for n in latest)
        assert all((span.first, span.last) == (before + 1, newest) for span in touched)
        before, looks = after, looks + 1
print("looks", looks)
"""


def child(program: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."})


def test_after_every_kill_the_cursor_and_the_rows_agree(tmp_path):
    path = tmp_path / "readings.db"
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(5):
        with child(DELIVERING, path, 100_000) as writing:
            for _ in range(chance.randrange(1, 60)):
                acknowledged = int(writing.stdout.readline())
            writing.send_signal(signal.SIGKILL)
            rest = writing.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else acknowledged
        with EmbeddedStore.open(path, read_only=True) as store:
            cursor = store.cursor()
            assert cursor >= acknowledged
            assert store.count(EVERYTHING) == 10 * cursor
            for number, name in enumerate(SERIES):
                found = [reading.value for reading in store.readings(EVERYTHING, name, 0, 10**9)]
                assert found == [sequence * 100 + number for sequence in range(1, cursor + 1)]
            assert {reading.sequence for reading in store.latest(EVERYTHING)} == {cursor}


def test_a_reading_process_sees_whole_deliveries_while_the_writer_writes(tmp_path):
    path = tmp_path / "readings.db"
    last = 400
    with EmbeddedStore.open(path) as store:
        store.deliver([Delivery(1, [Reading(name, 1, 100 + n) for n, name in enumerate(SERIES)])])
        with child(READING, path, last) as reading:
            assert reading.stdout.readline() == "reading\n"
            for sequence in range(2, last + 1):
                readings = [Reading(name, sequence, sequence * 100 + n) for n, name in enumerate(SERIES)]
                store.deliver([Delivery(sequence, readings)])
            told = reading.stdout.read().split()
        assert reading.returncode == 0
        assert told[0] == "looks"
        assert int(told[1]) > 1


def test_a_different_reading_of_the_same_instant_is_a_conflict_and_an_equal_one_a_counted_duplicate(tmp_path):
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        store.deliver([Delivery(1, [Reading("a/p/volume", 5, 70), Reading("b/p/volume", 5, 1)])])
        store.deliver([Delivery(2, [Reading("a/p/volume", 5, 70), Reading("a/p/volume", 5, 71)])])
        store.deliver([Delivery(3, [Reading("a/p/volume", 5, 70.0), Reading("b/p/volume", 6, 1)])])
        store.deliver([Delivery(4, [Reading("a/p/volume", 5, None, Quality.MISSING, "line.silent")])])
        conflicts = store.conflicts(EVERYTHING)
        # 71 differs from 70; 70.0 is no count; the gap told late contradicts nothing.
        assert [(c.standing.value, c.other.value, c.other.sequence) for c in conflicts] == [(70, 71, 2), (70, 70.0, 3)]
        assert all(isinstance(conflict, Conflict) for conflict in conflicts)
        assert store.duplicates(EVERYTHING) == 1
        assert store.count(EVERYTHING) == 7
        assert store.conflicts(scope_of("b")) == []
        assert store.duplicates(scope_of("b")) == 0


def test_reading_a_span_of_one_series_never_looks_through_other_rows(tmp_path):
    with EmbeddedStore.open(tmp_path / "readings.db"):
        pass
    connection = sqlite3.connect(tmp_path / "readings.db")
    bounds = {"series": 1, "start": 0, "end": 9, "from": 0, "to": 0, "limit": 5, "day": 0}
    for statement in (stored_days._SPAN, stored_days._BEFORE, stored_days._FROM, stored_days._MEETING):
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", bounds))
        assert "SEARCH days USING INTEGER PRIMARY KEY" in plan
        assert "SEARCH chunks USING PRIMARY KEY (day=? AND series=?" in plan
        assert "SEARCH bodies USING INTEGER PRIMARY KEY" in plan
        assert "SCAN" not in plan
        assert "TEMP B-TREE" not in plan
    connection.close()


def test_a_commit_is_synced_and_only_the_writer_checkpoints(tmp_path):
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        with store._file.write() as connection:
            # 2 = FULL; the mapping of 0 bytes keeps an old SQLite away from its mapped-file faults.
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute("PRAGMA mmap_size").fetchall() in ([(0,)], [])
        with (
            EmbeddedStore.open(tmp_path / "readings.db", read_only=True) as reader,
            pytest.raises(StoreError, match="readonly"),
            reader._file.read() as connection,
        ):
            connection.execute("DELETE FROM hot")


@pytest.mark.parametrize("odd", [{"instant": 2**63}, {"instant": -(2**63) - 1}, {"quality": Quality(1 << 10)}])
def test_an_instant_or_flags_that_do_not_fit_are_refused_with_the_entry_named(tmp_path, odd):
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        readings = [Reading("a/p/volume", 1, 1), Reading("a/p/volume", 2, 2)._replace(**odd)]
        with pytest.raises(
            StoreError, match=r"entry 7: a/p/volume at .*expected an instant of 64 bits and flags from 0"
        ):
            store.deliver([Delivery(7, readings)])
        assert store.cursor() == 0


def test_opening_what_was_never_written_says_which_command_makes_it(tmp_path):
    with pytest.raises(StoreError, match=r"readings\.db does not exist.*`emg run SITE` makes it"):
        EmbeddedStore.open(tmp_path / "readings.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_a_writer_has_only_begun_reads_like_an_absent_one(tmp_path):
    sqlite3.connect(tmp_path / "readings.db").close()
    (tmp_path / "readings.db").touch()
    with pytest.raises(StoreError, match="does not exist"):
        EmbeddedStore.open(tmp_path / "readings.db", read_only=True)


def test_a_store_open_for_reading_refuses_to_write(tmp_path):
    path = tmp_path / "readings.db"
    EmbeddedStore.open(path).close()
    with EmbeddedStore.open(path, read_only=True) as store, pytest.raises(StoreError, match="reading only"):
        store.deliver([Delivery(1, [])])


def test_a_second_writer_is_refused_until_the_first_has_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(store_file, "WRITER_WAIT_S", 0.05)
    path = tmp_path / "readings.db"
    with EmbeddedStore.open(path) as first:
        with pytest.raises(StoreError, match="being written by another process"):
            EmbeddedStore.open(path)
        first.deliver([Delivery(1, [])])
    with EmbeddedStore.open(path) as second:
        assert second.cursor() == 1


def test_a_file_of_a_newer_release_is_left_alone(tmp_path):
    path = tmp_path / "readings.db"
    EmbeddedStore.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"layout 3, written by a newer release; this one knows up to 2"):
            EmbeddedStore.open(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_foreign_file_is_refused_and_left_as_it_was(tmp_path, read_only):
    other_kind, no_database, foreign = tmp_path / "intervals.db", tmp_path / "notes.txt", tmp_path / "other.db"
    IntervalStore.open(other_kind).close()
    no_database.write_text("these are not the readings you are looking for\n" * 50)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE hot (theirs)")
    connection.close()
    for path in (other_kind, no_database, foreign):
        before = path.read_bytes()
        with pytest.raises(StoreError, match=path.name):
            EmbeddedStore.open(path, read_only=read_only)
        assert path.read_bytes() == before


def test_a_disk_that_refuses_a_delivery_leaves_the_store_as_it_was_and_usable(tmp_path):
    with EmbeddedStore.open(tmp_path / "readings.db") as store:
        store.deliver([Delivery(1, [Reading("a/p/volume", 1, 1)])])
        with store._file.write() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
        store._file._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own full disk
        many = [Reading(f"a/p{n}/volume", n, n) for n in range(20_000)]
        with pytest.raises(StoreError, match="full"):
            store.deliver([Delivery(2, many)])
        assert (store.cursor(), store.series(EVERYTHING), store.count(EVERYTHING)) == (1, ["a/p/volume"], 1)
        store._file._connection.execute("PRAGMA max_page_count = 1000000")
        store.deliver([Delivery(2, many)])
        assert (store.cursor(), store.count(EVERYTHING)) == (2, 20_001)
