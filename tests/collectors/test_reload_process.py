"""`emg acquire` as a program of its own whose site file is edited: replaced, written three times, refused, mended."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collectors.checking_plans import check_main
from gateway.alarm import CONFIG, alarm_of
from gateway.clocks import SystemClock
from gateway.domain.periods import iso
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.slots import account_slots
from gateway.status import status_main
from tests.collectors.conftest import SITE, Mosquitto
from tests.collectors.reload_lab import (
    Bus,
    Looks,
    acquiring,
    events,
    law_of_slots,
    serving,
    sha256,
    site_text,
    write_site,
)
from tests.test_killed_acquire import until_true


@asynccontextmanager
async def program(file: Path, *, command: str = "acquire") -> AsyncIterator[asyncio.subprocess.Process]:
    words = (sys.executable, "-m", "gateway", command, str(file))
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() == 0


def read(folder: Path, series: str) -> bool:
    journal = folder / "data" / "journal"
    return journal.is_dir() and any(r.series == series for e in entries(journal) for r in readings_of(e))


def applied(folder: Path, file: Path) -> Callable[[], bool]:
    digest = sha256(file)
    return lambda: digest in [event["new"]["site_sha256"] for event in events(folder, "config_applied")]


async def test_a_program_takes_up_edits_by_itself_and_the_line_beside_them_keeps_every_slot(tmp_path: Path):
    async with serving() as server, serving() as neighbour:
        keep, first = Bus(neighbour.port, {1: 1}, "1"), Bus(server.port, {1: 2}, "0.5")
        file = write_site(tmp_path, site_text({"keep": keep, "a": first}))
        async with program(file) as process:
            assert await until_true(lambda: read(tmp_path, "works/keep-1/frequency"), 30)
            beside = tmp_path / "site.toml.new"  # as editors do that write beside and rename
            beside.write_text(site_text({"keep": keep, "a": first._replace(meters={1: 2, 2: 3})}))
            beside.replace(file)
            assert await until_true(applied(tmp_path, file), 30)
            assert await until_true(lambda: read(tmp_path, "works/a-2/frequency"), 30)
            for number in (4, 5, 6):  # quickly, one after the other: the last is what counts
                file.write_text(site_text({"keep": keep, "b": Bus(server.port, {number: number}, "0.5")}))
            process.send_signal(signal.SIGHUP)
            assert await until_true(applied(tmp_path, file), 30)
            assert await until_true(lambda: read(tmp_path, "works/b-6/frequency"), 30)
            file.write_text(file.read_text().replace('line = "b"', 'line = "bb"'))
            process.send_signal(signal.SIGHUP)
            assert await until_true(lambda: alarm_of(tmp_path / "data", CONFIG) is not None, 30)
            newest = events(tmp_path, "config_applied")[-1]
            assert set(newest["schedule"]) == {"keep", "b"}
        assert neighbour.connections == 1
    law_of_slots(tmp_path)
    counts = account_slots(entries(tmp_path / "data" / "journal"))
    assert all(count.exact for count in counts.values())
    assert {series.split("/")[1] for series in counts} >= {"keep-1", "a-1", "a-2", "b-6"}
    for series, count in counts.items():
        if "keep" in series:
            assert count.good == count.scheduled > 0, f"{series}: {count}"
    gaps = [entry.body for entry in entries(tmp_path / "data" / "journal") if entry.kind is EntryKind.GAP]
    assert {gap["line"] for gap in gaps if gap["reason"] == "line.changed"} <= {"a", "b"}


async def test_emg_run_hands_the_signal_on_and_lives(tmp_path: Path):
    async with serving() as server:
        text = site_text({"a": Bus(server.port, {1: 2}, "0.5")}, "[api]\nport = 0\n")
        file = write_site(tmp_path, text)
        async with program(file, command="run") as process:
            assert await until_true(lambda: read(tmp_path, "works/a-1/frequency"), 30)
            file.write_text(text + "# a remark\n")
            process.send_signal(signal.SIGHUP)
            assert await until_true(applied(tmp_path, file), 30)
            assert process.returncode is None
        assert len(events(tmp_path, "acquire_started")) == 1


async def test_status_shows_why_an_edit_is_not_applied_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    looks = Looks(monkeypatch)
    async with serving() as server:
        text = site_text({"a": Bus(server.port, {1: 1})})
        file = write_site(tmp_path, text)
        async with acquiring(file, looks):
            assert await until_true(lambda: read(tmp_path, "works/a-1/frequency"), 10)
            await looks.look()
            file.write_text(text.replace('gateway_id = "gw"', 'gateway_id = "gw-2"'))
            await looks.look(at_once=True)
            assert await asyncio.to_thread(status_main, [str(file)]) == 1
            said = capsys.readouterr().out
            assert "NOT APPLIED since" in said
            assert f"{file}:6: site.gateway_id: found gw -> gw-2" in said.replace("\n", "")
            assert await asyncio.to_thread(status_main, [str(file), "--json"]) == 1
            assert "site.gateway_id" in json.loads(capsys.readouterr().out)["site_refused"]
            file.write_text(text.replace("period_s", "perod_s"))
            await looks.look(at_once=True)
            assert await asyncio.to_thread(status_main, [str(file)]) == 2
            said = capsys.readouterr().err
            assert f"{file}:18: line[1].perod_s: found the unknown key" in said
            assert "a running `emg acquire` goes on by the site as it was before" in said
            file.write_text(text + "# mended\n")
            await looks.look(at_once=True)
            await asyncio.to_thread(status_main, [str(file), "--json"])
            assert json.loads(capsys.readouterr().out)["site_refused"] is None


def test_check_tells_what_an_edit_would_touch(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    old = write_site(tmp_path, site_text({"a": Bus(502, {1: 1}, "10"), "b": Bus(503, {1: 1})}))
    new = tmp_path / "new.toml"
    lines = {"a": Bus(502, {1: 1, 2: 2}, "5"), "c": Bus(504, {1: 1})}
    new.write_text(site_text(lines, "[journal]\ncheckpoint_every_s = 30\n").replace('"gw"', '"other"'))
    assert check_main([str(new), "--diff", str(old), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["diff"]
    assert told["lines"]["a"][:3] == ["period_s 10 -> 5", "timeout_s 10 -> 5", "meter M-a-2: added"]
    assert told["lines"]["b"] == ["removed"]
    assert told["lines"]["c"] == ["added, modbus-tcp with 1 meters"]
    assert "journal: checkpoint_every_s 60 -> 30" in told["others"]
    (kept,) = told["needs_restart"]
    assert kept.startswith(f"{new}:6: site.gateway_id: found gw -> other; expected no change of it")
    assert check_main([str(new), "--diff", str(old)]) == 0
    said = capsys.readouterr().out
    assert "line a: period_s 10 -> 5" in said
    assert "3 lines would be touched" in said
    assert check_main([str(old), "--diff", str(old)]) == 0
    assert "0 lines would be touched; 0 changes." in capsys.readouterr().out


def test_check_judges_mappings_and_blocks_as_a_change_would_be(
    tmp_path: Path, files_site: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    file = files_site()
    assert check_main([str(file)]) == 0
    (file.parent / "history.toml").write_text("[format]\n")
    assert check_main([str(file)]) == 1
    assert "history.toml" in capsys.readouterr().out
    site = write_site(
        tmp_path, site_text({"a": Bus(502, {1: 1}, "10")}).replace("timeout_s", "max_words = 1\ntimeout_s")
    )
    assert check_main([str(site)]) == 1
    assert "line a: max_words: found 1" in capsys.readouterr().out


MQTT = """
[[line]]
id = "broker"
kind = "mqtt"
host = "127.0.0.1"
port = {port}
"""
GAS = """
[[meter]]
id = "G-{n}"
line = "broker"
profile = "gas/emg_message_gas"

[[point]]
id = "g{n}"
enterprise = "works"
name_zh = "点"
name_en = "point"
carrier = "gas"
level = "enterprise"
role = "input"
counts = "volume"
meter = "G-{n}"
"""


@pytest.mark.servers
async def test_no_message_is_lost_while_the_line_that_takes_it_is_changed(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
):
    looks, begun = Looks(monkeypatch), SystemClock().now() // 1_000_000 - 1000
    text = SITE.format(zone="Asia/Shanghai") + MQTT.format(port=mosquitto.port) + GAS.format(n=0)
    file = write_site(tmp_path, text)

    def taken() -> set[int]:
        found = (r for e in entries(tmp_path / "data" / "journal") for r in readings_of(e))
        return {reading.instant // 1_000_000 for reading in found if reading.series == "works/g0/volume"}

    def message(n: int) -> str:
        return json.dumps({"ts": iso((begun + n) * 1_000_000), "seq": n, "values": {"volume": n}})

    async with acquiring(file, looks):
        topic, messages = "emg/v1/works/x/g0/reading", [message(n) for n in range(1, 1000)]
        for _ in range(40):  # until there is a session, nobody keeps a message for it
            await asyncio.to_thread(mosquitto.publish, topic, message(0))
            if await until_true(lambda: taken() == {begun}, 0.5):
                break
        publishing = asyncio.create_task(asyncio.to_thread(mosquitto.publish_lines, topic, messages))
        for n in range(1, 6):
            text += GAS.format(n=n)
            file.write_text(text)
            await looks.look(at_once=True)
        await publishing
        assert await until_true(lambda: taken() == set(range(begun, begun + 1000)), 20)
    assert len(events(tmp_path, "config_applied")) == 5
