"""A drop folder: a file is moved away when its readings are durable, never before, and never for nothing."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import collectors.files
from collectors.files import DropFolderCollector
from gateway.clocks import ReplayClock, SystemClock
from gateway.config import load_site
from gateway.contracts import Delivery
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.stores.opening import open_reading_store

HEADER = "time,ticket,net_kg\n"
GOOD = HEADER + "2026-03-02 08:15,T-1001,38460\n2026-03-02 09:30,T-1002,40020\n"
SECOND = 1_772_410_500_000_000  # 2026-03-02T00:15:00Z, 08:15 in Shanghai
# 38 460 kg and 40 020 kg in steps of 20 kg; the microseconds are the ticket's number.
READINGS = [
    Reading("works/coal-in/mass", SECOND + 1001, 1923),
    Reading("works/coal-in/mass", SECOND + 75 * 60 * 1_000_000 + 1002, 2001),
]


class Yard:
    """The line "tickets" of a site, and its folder."""

    def __init__(self, site_file: Path) -> None:
        self.site = load_site(site_file)
        self.line = self.site.lines["tickets"]
        self.folder, self.done = self.line.folder, self.line.folder / "done"
        self.folder.mkdir(parents=True)

    def drop(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path

    def readings(self) -> AsyncGenerator[list[Reading], None]:
        return DropFolderCollector(self.line, self.site, ReplayClock(SECOND)).readings()

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def verdict(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text("utf-8"))


@pytest.fixture
def yard(files_site: Callable[..., Path]) -> Yard:
    return Yard(files_site())


@asynccontextmanager
async def following(readings: AsyncGenerator[list[Reading], None]) -> AsyncGenerator[list[list[Reading]], None]:
    """The lists of a collector as they come, asked for by one who makes each durable at once."""
    found: list[list[Reading]] = []

    async def follow() -> None:
        async with aclosing(readings):
            async for each in readings:
                found.append(each)  # noqa: PERF401 - each is looked at as it comes

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow())
        yield found
        task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_file_is_moved_only_when_the_next_list_is_asked_for(yard: Yard) -> None:
    yard.drop("a.csv", GOOD)
    async with aclosing(yard.readings()) as readings:
        assert await asyncio.wait_for(anext(readings), 20) == READINGS
        assert yard.names() == ["a.csv"], "not yet durable"
        async with following(readings):
            await until(lambda: yard.names() == ["done/a.csv"])


async def test_a_crash_before_the_move_gives_the_same_readings_again_and_the_store_keeps_one_of_each(
    yard: Yard,
) -> None:
    yard.drop("a.csv", GOOD)
    lists = []
    for _ in range(2):
        async with aclosing(yard.readings()) as readings:  # ended after the journal, before the move
            lists.append(await asyncio.wait_for(anext(readings), 20))
    assert lists == [READINGS, READINGS]
    with open_reading_store(yard.site, read_only=False) as store:
        store.deliver([Delivery(sequence, found, b"") for sequence, found in enumerate(lists, 1)])
        stored = store.readings(EVERYTHING, "works/coal-in/mass", 0, 2**62)
    assert [(reading.instant, reading.value, reading.sequence) for reading in stored] == [
        (r.instant, r.value, 1) for r in READINGS
    ]


async def test_a_file_that_is_still_being_written_is_waited_for(yard: Yard) -> None:
    path = yard.drop("a.csv", HEADER + "2026-03-02 08:15,T-1001,38")
    looks = 0

    def growing() -> bool:
        nonlocal looks
        looks += 1
        return looks > 50

    # Every look at the folder finds another time of modification, as while somebody writes.
    class Growing(ReplayClock):
        async def sleep_until(self, instant: int) -> None:
            os.utime(path, ns=(instant * 1000, instant * 1000))
            await super().sleep_until(instant)

    async with following(DropFolderCollector(yard.line, yard.site, Growing(SECOND)).readings()) as found:
        await until(growing)
    assert found == []
    path.write_text(GOOD, "utf-8")
    async with aclosing(yard.readings()) as readings:
        assert await asyncio.wait_for(anext(readings), 20) == READINGS


async def test_a_file_that_grew_after_it_was_read_is_read_again_and_nothing_of_it_is_lost(yard: Yard) -> None:
    path = yard.drop("a.csv", GOOD)
    async with aclosing(yard.readings()) as readings:
        assert await asyncio.wait_for(anext(readings), 20) == READINGS
        path.write_text(GOOD + "2026-03-02 10:00,T-1003,20\n", "utf-8")
        async with following(readings) as found:
            await until(lambda: "done/a.csv" in yard.names())
    assert yard.verdict("done/a.csv.verdict.json")["repeated"] == 2
    # The first two are durable, and their tickets known.
    assert [[(r.instant, r.value) for r in each] for each in found] == [[(SECOND + 105 * 60 * 1_000_000 + 1003, 1)]]
    assert (yard.done / "a.csv").read_text("utf-8").endswith("T-1003,20\n")


async def test_bad_rows_are_listed_beside_the_file_and_good_rows_taken(yard: Yard) -> None:
    yard.drop("a.csv", GOOD + "2026-03-02 10:00,T-1003,a lot\n2026-03-02 25:00,T-1004,20\n")
    async with following(yard.readings()) as found:
        await until(lambda: "done/a.csv" in yard.names())
        assert found == [READINGS]
    verdict = yard.verdict("done/a.csv.verdict.json")
    assert (verdict["accepted"], verdict["readings"], verdict["line"]) == (True, 2, "tickets")
    assert [(row["line"], row["column"], row["found"]) for row in verdict["refused_rows"]] == [
        (4, "net_kg", "'a lot'"),
        (5, "time", "'2026-03-02 25:00'"),
    ]


async def test_a_file_that_cannot_be_read_stays_with_its_verdict_and_is_taken_once_it_was_mended(yard: Yard) -> None:
    yard.drop("a.csv", GOOD.replace("net_kg", "netto"))
    yard.drop("b.csv", GOOD)
    async with following(yard.readings()) as found:
        await until(lambda: "done/b.csv" in yard.names())
        assert found == [READINGS]
        assert yard.names() == ["a.csv", "a.csv.verdict.csv", "a.csv.verdict.json", "done/b.csv"]
        verdict = yard.verdict("a.csv.verdict.json")
        assert not verdict["accepted"]
        assert "the header names the column 'net_kg' 0 times" in verdict["refused"][0]
        table = (yard.folder / "a.csv.verdict.csv").read_text("utf-8-sig")
        assert "(file)" in table
        assert "the header names the column 'net_kg' 0 times" in table
        judged = (yard.folder / "a.csv.verdict.json").stat().st_mtime_ns
        yard.drop("c.csv", GOOD)
        await until(lambda: "done/c.csv" in yard.names())
        assert (yard.folder / "a.csv.verdict.json").stat().st_mtime_ns == judged, "not judged again meanwhile"
    yard.drop("a.csv", GOOD)
    async with following(yard.readings()) as found:
        await until(lambda: {"done/a.csv", "done/b.csv", "done/c.csv"} <= set(yard.names()))
    assert "a.csv.verdict.json" not in yard.names()


async def test_a_mended_mapping_takes_the_file_that_it_refused(yard: Yard) -> None:
    good = yard.line.mapping.read_text("utf-8")
    yard.line.mapping.write_text(good.replace('"%Y-%m-%d %H:%M"', '"%d.%m.%Y %H:%M"'), "utf-8")
    yard.drop("a.csv", GOOD)
    async with following(yard.readings()) as found:
        await until(lambda: "a.csv.verdict.json" in yard.names())
        yard.line.mapping.write_text(good, "utf-8")
        await until(lambda: yard.names() == ["done/a.csv"])
    assert found == [READINGS]


async def test_a_mapping_into_a_point_of_another_line_is_refused(yard: Yard) -> None:
    shutil.copy(yard.line.mapping.with_name("survey.toml"), yard.line.mapping)
    yard.drop("a.csv", "time,stock_t\n2026-03-01 00:00,5230.5\n")
    async with following(yard.readings()) as found:
        await until(lambda: "a.csv.verdict.json" in yard.names())
        assert found == []
    assert (
        "whose meter M-coal-stock is read by line survey; expected a point of line tickets"
        in yard.verdict("a.csv.verdict.json")["refused"][0]
    )


async def test_a_name_that_comes_again_does_not_cost_the_earlier_file(yard: Yard) -> None:
    other = HEADER + "2026-03-03 08:15,T-2001,20\n"
    async with following(yard.readings()):
        yard.drop("a.csv", GOOD)
        await until(lambda: yard.names() == ["done/a.csv"])
        yard.drop("a.csv", other)
        await until(lambda: len(yard.names()) == 2 and "a.csv" not in yard.names())
    assert {path.read_text("utf-8") for path in yard.done.iterdir()} == {GOOD, other}


async def test_hidden_files_folders_links_and_other_names_are_left_alone(yard: Yard, tmp_path: Path) -> None:
    yard.drop(".a.csv", GOOD)
    yard.drop("a.csv.part", GOOD)
    (yard.folder / "b.csv").mkdir()
    (tmp_path / "secret.csv").write_text(GOOD, "utf-8")
    (yard.folder / "c.csv").symlink_to(tmp_path / "secret.csv")
    yard.drop("D.CSV", GOOD)
    async with following(yard.readings()) as found:
        await until(lambda: "done/D.CSV" in yard.names())
        assert found == [READINGS]
    assert yard.names() == [".a.csv", "a.csv.part", "c.csv", "done/D.CSV"]


async def test_on_the_machines_clock_a_file_is_taken_within_three_seconds(yard: Yard) -> None:
    yard.drop("a.csv", GOOD)
    async with aclosing(DropFolderCollector(yard.line, yard.site, SystemClock()).readings()) as readings:
        assert await asyncio.wait_for(anext(readings), 3) == READINGS


async def test_a_file_that_nobody_thought_of_and_one_with_a_name_of_no_text_stop_no_other(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = collectors.files.read_file

    def breaking(path: Path, *words: Any, **more: Any) -> Any:
        if path.name == "a.csv":
            raise RecursionError("too deep")
        return whole(path, *words, **more)

    monkeypatch.setattr(collectors.files, "read_file", breaking)
    yard.drop("a.csv", GOOD)
    Path(os.fsdecode(os.fsencode(yard.folder) + b"/b\xff.csv")).write_text(GOOD.replace("38460", "a lot"), "utf-8")
    Path(os.fsdecode(os.fsencode(yard.folder) + b"/c\xff.csv")).write_text("what\n", "utf-8")
    yard.drop("d.csv", HEADER + "2026-03-02 10:00,T-1003,20\n")
    async with following(yard.readings()) as found:
        await until(lambda: "done/d.csv" in yard.names())
    assert [reading.value for each in found for reading in each] == [2001, 1]
    assert yard.verdict("a.csv.verdict.json")["refused"] == ["a.csv: it cannot be read: RecursionError('too deep')."]
    told = json.loads((yard.done / os.fsdecode(b"b\xff.csv.verdict.json")).read_text("utf-8"))
    assert (told["file"], told["refused"]) == ("b\\udcff.csv", 1)
    assert (yard.folder / os.fsdecode(b"c\xff.csv.verdict.csv")).exists()
