"""The sides of the store benchmark that run in this process: ours, a bare SQLite table, DuckDB."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np
import pyarrow as pa

from gateway.contracts import Delivery
from gateway.domain.scopes import EVERYTHING
from gateway.stores.embedded import EmbeddedStore

DAY = 86_400_000_000  # [us]
Answer = tuple[float, ...]


class Plant:
    """What is asked for: `series` by number, one of them, the last 30 days."""

    def __init__(self, series: Sequence[str], first_day: int, last_day: int) -> None:
        self.series = series
        self.one = series[len(series) // 3]
        self.first_day, self.last_day = first_day, last_day


class Side(Protocol):
    """One store. Each read gives figures by which its answers are compared with those of the others."""

    def write(self, deliveries: Sequence[Delivery]) -> None: ...
    def settle(self) -> None: ...
    def size(self) -> int: ...
    def reads(self) -> dict[str, Callable[[], Answer]]: ...
    def close(self) -> None: ...


class Ours:
    """The embedded store; `resting` = housekeeping after each delivery, as the drain does it."""

    def __init__(self, folder: Path, plant: Plant, *, resting: bool = True) -> None:
        self._path, self._plant, self._resting = folder / "readings.db", plant, resting
        self._store = EmbeddedStore.open(self._path)
        self.longest = 0.0  # [s] that a delivery or a step of housekeeping took

    def write(self, deliveries: Sequence[Delivery]) -> None:
        begin = time.perf_counter()
        self._store.deliver(deliveries)
        delivered = time.perf_counter()
        if self._resting:
            self._store.seal()
        self.longest = max(self.longest, delivered - begin, time.perf_counter() - delivered)

    def settle(self) -> None:
        while self._store.rest() or self._store.seal(now=2**62):
            pass

    def size(self) -> int:
        """Of the pages in use, after a checkpoint."""
        with sqlite3.connect(self._path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            pages, free, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        connection.close()
        return (pages - free) * size

    def reads(self) -> dict[str, Callable[[], Answer]]:
        store, plant = self._store, self._plant

        def series() -> Answer:
            found = store.columns(EVERYTHING, plant.one, 0, 2**62)
            return len(found.instants), float(found.values[-1])

        def daily() -> Answer:
            days = store.daily(EVERYTHING, plant.first_day, plant.last_day)
            return len(days), float(sum(day.last_value - day.first_value for day in days))

        def total() -> Answer:
            found = store.overview(EVERYTHING)
            return found.readings, float(found.lowest), float(found.highest)

        def latest() -> Answer:
            found = store.latest(EVERYTHING)
            return len(found), float(sum(reading.value for reading in found))

        return {"latest": latest, "series": series, "daily": daily, "total": total}

    def close(self) -> None:
        self._store.close()


class BareSqlite:
    """One table of rows in the order they come, no index; write-ahead log, a commit survives a power cut."""

    def __init__(self, folder: Path, plant: Plant) -> None:
        self._path, self._plant = folder / "bare.db", plant
        self._numbers = {name: number for number, name in enumerate(plant.series)}
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(
            "CREATE TABLE hot (place INTEGER PRIMARY KEY, series INT, instant INT, value INT, quality INT, reason TEXT)"
        )

    def write(self, deliveries: Sequence[Delivery]) -> None:
        numbers = self._numbers
        rows = (
            (
                (delivery.sequence << 24) + index,
                numbers[reading[0]],
                reading[1],
                reading[2],
                int(reading[3]),
                reading[4],
            )
            for delivery in deliveries
            for index, reading in enumerate(delivery.readings)
        )
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO hot VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._connection.execute("COMMIT")

    def settle(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def size(self) -> int:
        return self._path.stat().st_size

    def reads(self) -> dict[str, Callable[[], Answer]]:
        one, days = self._numbers[self._plant.one], (self._plant.first_day, self._plant.last_day)

        def ask(sql: str, *values: int) -> Answer:
            return tuple(float(number) for number in self._connection.execute(sql, values).fetchone())

        def series() -> Answer:
            rows = self._connection.execute("SELECT instant, value FROM hot WHERE series = ?", (one,)).fetchall()
            return len(rows), float(np.array(rows, np.int64)[-1, 1])

        daily = f"""SELECT count(*), sum(counted) FROM (SELECT max(value) - min(value) AS counted FROM hot
            WHERE instant / {DAY} BETWEEN ? AND ? GROUP BY series, instant / {DAY})"""
        latest = "SELECT count(*), sum(value) FROM (SELECT value, max(instant) FROM hot GROUP BY series)"
        return {
            "latest": lambda: ask(latest),
            "series": series,
            "daily": lambda: ask(daily, *days),
            "total": lambda: ask("SELECT count(*), min(value), max(value) FROM hot"),
        }

    def close(self) -> None:
        self._connection.close()


class DuckDb:
    """One table in the order of arrival, batches handed over as Arrow, a commit for each."""

    def __init__(self, folder: Path, plant: Plant) -> None:
        self._path, self._plant = folder / "duck.db", plant
        self._numbers = {name: number for number, name in enumerate(plant.series)}
        self._connection = duckdb.connect(str(self._path))
        self._connection.execute(
            "CREATE TABLE hot (place BIGINT, series INTEGER, instant BIGINT, value BIGINT, quality UTINYINT)"
        )

    def write(self, deliveries: Sequence[Delivery]) -> None:
        readings = [reading for delivery in deliveries for reading in delivery.readings]
        names, instants, values, qualities, _, _ = zip(*readings, strict=True)
        places = [(d.sequence << 24) + index for d in deliveries for index in range(len(d.readings))]
        columns = {
            "place": pa.array(places, pa.int64()),
            "series": pa.array(list(map(self._numbers.__getitem__, names)), pa.int32()),
            "instant": pa.array(instants, pa.int64()),
            "value": pa.array(values, pa.int64()),
            "quality": pa.array(bytes(qualities), pa.uint8()),
        }
        self._connection.register("batch", pa.table(columns))
        self._connection.execute("INSERT INTO hot SELECT * FROM batch")
        self._connection.unregister("batch")

    def settle(self) -> None:
        self._connection.execute("CHECKPOINT")

    def size(self) -> int:
        return self._path.stat().st_size

    def reads(self) -> dict[str, Callable[[], Answer]]:
        one, plant = self._numbers[self._plant.one], self._plant

        def ask(sql: str) -> Answer:
            return tuple(float(number) for number in self._connection.execute(sql).fetchone())

        def series() -> Answer:
            found = self._connection.execute(f"SELECT instant, value FROM hot WHERE series = {one}").fetchnumpy()
            return len(found["instant"]), float(found["value"][found["instant"].argmax()])

        daily = f"""SELECT count(*), sum(counted) FROM (SELECT max(value) - min(value) AS counted FROM hot
            WHERE instant // {DAY} BETWEEN {plant.first_day} AND {plant.last_day} GROUP BY series, instant // {DAY})"""
        latest = "SELECT count(*), sum(value) FROM (SELECT arg_max(value, instant) AS value FROM hot GROUP BY series)"
        return {
            "latest": lambda: ask(latest),
            "series": series,
            "daily": lambda: ask(daily),
            "total": lambda: ask("SELECT count(*), min(value), max(value) FROM hot"),
        }

    def close(self) -> None:
        self._connection.close()
