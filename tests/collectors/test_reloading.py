"""A site that is edited while it is read: what is sound is applied line by line, what is not changes nothing."""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from collectors import acquire_line
from collectors.modbus_tcp import ModbusTcpLine
from gateway.alarm import CONFIG, alarm_of
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries, newest_sequence
from gateway.journal.slots import account_slots
from gateway.journal.verify import verify_journal
from tests.collectors.modbus_lab import PROFILE
from tests.collectors.modbus_peer import Server
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


@pytest.fixture
async def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def refusal(folder: Path) -> str:
    alarm = alarm_of(folder / "data", CONFIG)
    return "" if alarm is None else alarm.why


def frequencies(folder: Path, series: str) -> list[tuple[int, object]]:
    """(entry, value) of every reading of a series, in the order of the journal."""
    found = (
        (entry.sequence, reading) for entry in entries(folder / "data" / "journal") for reading in readings_of(entry)
    )
    return [(sequence, reading.value) for sequence, reading in found if reading.series == series]


async def read_of(folder: Path, series: str, value: float) -> None:
    """Waits until a series was read with this value."""
    assert await until_true(lambda: value in [found for _, found in frequencies(folder, series)], 10), series


INVALID: list[tuple[str, Callable[[str], str], str]] = [
    ("cut", lambda text: text[: text.rindex("[[point]]") - 20], "site.toml:"),
    (
        "key",
        lambda text: text.replace("period_s", "perod_s", 1),
        "site.toml:18: line[1].perod_s: found the unknown key",
    ),
    ("word", lambda text: text + "\nrubbish", "(TOML): found"),
    ("profile", lambda text: text.replace("electricity/lab_lm3", "electricity/lab_lm4", 1), "a known profile"),
    ("gateway", lambda text: text.replace('gateway_id = "gw"', 'gateway_id = "other"'), "restart `emg acquire`"),
    ("data", lambda text: text.replace('data_dir = "data"', 'data_dir = "date"'), "site.toml:5: site.data_dir: found"),
    (
        "store",
        lambda text: text + '\n[store]\nkind = "embedded"\nkeep_months = 24\n',
        ": store: found keep_months 0 -> 24",
    ),
    ("empty", lambda _: "", "site.toml"),
]


class Editor:
    """Edits at random, by the seed: lines, meters, periods, ratios and device addresses of all lines but "keep"."""

    def __init__(self, folder: Path, port: int, kept: Bus, seed: int) -> None:
        self.file, self.port, self.kept, self.chance = folder / "site.toml", port, kept, random.Random(seed)
        self.lines = {"a": Bus(port, {1: 1}), "b": Bus(port, {1: 2, 2: 3})}

    def text(self) -> str:
        return site_text({"keep": self.kept, **self.lines})

    def edit(self) -> set[str]:
        """One sound edit; the lines that it touches."""
        line = self.chance.choice("abc")
        bus = self.lines.get(line)
        what = self.chance.choice(["end", "meter", "period", "ratio", "address", "comment"])
        if bus is None:
            self.lines[line] = Bus(self.port, {n: n for n in range(1, self.chance.randint(2, 4))})
        elif what == "end":
            del self.lines[line]
        elif what == "comment":
            self.write(self.text() + f"# {self.chance.random()}\n")
            return set()
        else:
            meters = dict(bus.meters)
            free = next(address for address in range(1, 90) if address not in meters.values())
            if what == "meter":
                meters[max(meters) + 1] = free
            if what == "address":
                meters[min(meters)] = free
            period = {"0.05": "0.1", "0.1": "0.25", "0.25": "0.05"}[bus.period_s] if what == "period" else bus.period_s
            ratio = str(self.chance.randint(2, 90)) if what == "ratio" else bus.ct_ratio
            self.lines[line] = Bus(self.port, meters, period, ratio)
        self.write(self.text())
        return {line}

    def write(self, text: str) -> None:
        if self.chance.random() < 0.5:
            self.file.write_text(text, "utf-8")
            return
        beside = self.file.with_name(".site.toml.new")
        beside.write_text(text, "utf-8")
        beside.replace(self.file)


async def test_fifty_edits_leave_no_slot_open_and_the_line_beside_them_alone(tmp_path: Path, looks: Looks):
    async with serving() as server, serving() as neighbour:
        editor = Editor(tmp_path, server.port, Bus(neighbour.port, {1: 1}), seed=4)
        file = write_site(tmp_path, editor.text())
        applied, refused, journal = [sha256(file)], [], tmp_path / "data" / "journal"
        async with acquiring(file, looks):
            for number in range(50):
                if number % 3 == 2:
                    name, spoil, why = INVALID[number // 3 % len(INVALID)]
                    editor.write(spoil(editor.text() + f"# {number}\n"))
                    await looks.look(at_once=True)
                    assert why in refusal(tmp_path), name
                    refused.append(sha256(file))
                else:
                    touched = editor.edit()
                    await looks.look(at_once=True)
                    assert refusal(tmp_path) == ""
                    told = events(tmp_path, "config_applied")[-1]
                    assert set(told["lines"]) == touched, told
                    assert told["old"]["site_sha256"] == applied[-1]
                    assert told["new"]["site_sha256"] == sha256(file)
                    assert set(told["schedule"]) == {"keep", *editor.lines}
                    applied.append(sha256(file))
                if number % 5 < 2:  # now and then the lines get somewhere between two edits
                    reached = newest_sequence(journal) + 8
                    assert await until_true(lambda reached=reached: newest_sequence(journal) >= reached, 20)
            await read_of(tmp_path, "works/keep-1/frequency", 10.4)
        assert neighbour.connections == 1
    assert [event["new"]["site_sha256"] for event in events(tmp_path, "config_applied")] == applied[1:]
    told = [event["files"][str(file)] for event in events(tmp_path, "config_refused")]
    assert told == refused
    assert verify_journal(journal).ok
    slots = law_of_slots(tmp_path)
    counts = account_slots(entries(journal))
    assert counts.keys() == {series for series, count in slots.items() if count}
    for series, count in counts.items():
        assert count.exact, f"{series}: {count}"
        assert count.scheduled == count.good + count.flagged + count.gap == slots[series]
    gaps = [entry.body for entry in entries(journal) if entry.kind is EntryKind.GAP]
    assert not [gap for gap in gaps if gap["line"] == "keep" and gap["reason"] == "line.changed"]


async def test_what_a_meter_shows_changes_with_the_event_and_not_before_or_after(tmp_path: Path, looks: Looks):
    async with serving() as server:
        file = write_site(tmp_path, site_text({"a": Bus(server.port, {1: 1})}))
        async with acquiring(file, looks):
            await read_of(tmp_path, "works/a-1/frequency", 10.4)
            file.write_text(site_text({"a": Bus(server.port, {1: 5})}))
            await looks.look(at_once=True)
            await read_of(tmp_path, "works/a-1/frequency", 50.4)
    found = [entry for entry in entries(tmp_path / "data" / "journal") if entry.body.get("event") == "config_applied"]
    (event,) = found
    assert event.body["lines"] == {"a": ["meter M-a-1: device_address 1 -> 5"]}
    read = frequencies(tmp_path, "works/a-1/frequency")
    assert {value for at, value in read if at < event.sequence} == {10.4}
    assert {value for at, value in read if at > event.sequence} == {50.4}


async def test_an_edited_profile_is_judged_with_the_site_and_reads_anew_what_uses_it(tmp_path: Path, looks: Looks):
    async with serving() as server:
        file = write_site(tmp_path, site_text({"a": Bus(server.port, {1: 1})}))
        profile = tmp_path / "profiles" / "electricity" / "lab_lm3.toml"
        async with acquiring(file, looks):
            await read_of(tmp_path, "works/a-1/frequency", 10.4)
            profile.write_text(PROFILE.replace('scale = 0.01, unit = "Hz"', 'scale = 0.02, unit = "Hz"'))
            await looks.look(at_once=True)  # the example of the profile contradicts it
            assert "lab_lm3.toml:" in refusal(tmp_path)
            assert "frequency" in refusal(tmp_path)
            sound = PROFILE.replace('scale = 0.01, unit = "Hz"', 'scale = 0.02, unit = "Hz"')
            profile.write_text(sound.replace("frequency = 50", "frequency = 100"))
            await looks.look(at_once=True)
            assert refusal(tmp_path) == ""
            await read_of(tmp_path, "works/a-1/frequency", 20.8)
            profile.write_text(profile.read_text() + "# a remark\n")
            await looks.look(at_once=True)
        assert server.connections == 2  # a remark ends no connection
    first, second = events(tmp_path, "config_applied")
    assert first["lines"] == {"a": ["profile electricity/lab_lm3: changed"]}
    assert second["lines"] == {}
    assert second["new"]["profiles"]["electricity/lab_lm3"]["sha256"] == sha256(profile)
    law_of_slots(tmp_path)


async def test_a_file_that_is_half_written_is_not_applied(tmp_path: Path, looks: Looks):
    async with serving() as server:
        whole = site_text({"a": Bus(server.port, {1: 1, 2: 2}), "b": Bus(server.port, {1: 3})})
        half = whole[: whole.index('[[line]]\nid = "b"')]  # sound by itself
        file = write_site(tmp_path, site_text({"a": Bus(server.port, {1: 1})}))
        async with acquiring(file, looks):
            for text in ("", half, whole):
                file.write_text(text)
                await looks.look()
                assert events(tmp_path, "config_applied") == events(tmp_path, "config_refused") == []
            await looks.look()
            assert [event["new"]["site_sha256"] for event in events(tmp_path, "config_applied")] == [sha256(file)]
            await looks.look()
    assert len(events(tmp_path, "config_applied")) == 1
    assert events(tmp_path, "config_refused") == []


async def test_a_file_refused_once_is_told_once_and_taken_back_without_a_change(tmp_path: Path, looks: Looks):
    async with serving() as server:
        sound = site_text({"a": Bus(server.port, {1: 1})})
        file = write_site(tmp_path, sound)
        async with acquiring(file, looks):
            file.write_text(sound.replace("period_s = 0.05", "period_s = -1"))
            for at_once in (False, False, False, True, False):
                await looks.look(at_once=at_once)
            (event,) = events(tmp_path, "config_refused")
            assert event["files"] == {str(file): sha256(file)}
            (reason,) = [reason for reason in event["reasons"] if "period_s" in reason]
            assert reason.startswith(f"{file}:18: line[1].period_s: found -1; expected")
            assert reason in refusal(tmp_path)
            file.write_text(sound)
            await looks.look(at_once=True)
            assert refusal(tmp_path) == ""
            await read_of(tmp_path, "works/a-1/frequency", 10.4)
        assert server.connections == 1
    assert events(tmp_path, "config_applied") == []


async def test_a_mapping_that_is_mended_clears_the_refusal_though_the_site_file_stays(
    tmp_path: Path, looks: Looks, files_site: Callable[..., Path]
):
    file = files_site()
    mapping = file.parent / "history.toml"
    text, folder = mapping.read_text(), file.parent
    async with acquiring(file, looks):
        mapping.write_text(text.replace('kind = "interval"', 'kind = "intervall"'))
        await looks.look(at_once=True)
        assert "history.toml:" in refusal(folder)
        mapping.unlink()
        await looks.look(at_once=True)
        assert "a file that exists beside this one" in refusal(folder)
        mapping.write_text(text + "# mended\n")
        await looks.look(at_once=True)
        assert refusal(folder) == ""
    (event,) = events(folder, "config_applied")
    assert event["new"]["mappings"][str(mapping.resolve())] == sha256(mapping)
    assert event["lines"] == {}


async def test_a_sink_that_is_added_gets_what_the_journal_holds_and_points_that_come_later(
    tmp_path: Path, looks: Looks
):
    sink = '[[sink]]\nid = "copy"\nkind = "files"\nfolder = "copy"\n'

    def copied(point: str) -> bool:
        return any(f"works,{point},frequency" in path.read_text("utf-8-sig") for path in tmp_path.glob("copy/works/*"))

    async with serving() as server:
        file = write_site(tmp_path, site_text({"a": Bus(server.port, {1: 1}, "0.5")}))
        async with acquiring(file, looks):
            await read_of(tmp_path, "works/a-1/frequency", 10.4)
            file.write_text(site_text({"a": Bus(server.port, {1: 1}, "0.5")}, sink))
            await looks.look(at_once=True)
            assert await until_true(lambda: copied("a-1"), 20)
            file.write_text(site_text({"a": Bus(server.port, {1: 1, 2: 2}, "0.5")}, sink))
            await looks.look(at_once=True)
            assert await until_true(lambda: copied("a-2"), 20)
    first, second = events(tmp_path, "config_applied")
    assert (first["lines"], first["others"]) == ({}, ["sink copy: added"])
    assert second["others"] == ["point a-2: added"]
    assert second["lines"]["a"][0] == "meter M-a-2: added"


async def test_a_disk_that_fails_in_the_middle_of_a_change_delays_it_only(
    tmp_path: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
):
    failures, sync = [], os.fdatasync

    def failing_sync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", failing_sync)
    async with serving() as server:
        file = write_site(tmp_path, site_text({"a": Bus(server.port, {1: 1}), "b": Bus(server.port, {1: 2})}))
        async with acquiring(file, looks):
            await read_of(tmp_path, "works/b-1/frequency", 20.4)
            file.write_text(site_text({"a": Bus(server.port, {1: 5})}))
            failures.append(OSError(errno.EIO, "Input/output error"))
            await looks.look(at_once=True)
            assert await until_true(lambda: not failures, 20)
            await looks.look(at_once=True)
            await read_of(tmp_path, "works/a-1/frequency", 50.4)
            failures.append(OSError(errno.EIO, "Input/output error"))
            assert await until_true(lambda: len(events(tmp_path, "acquire_started")) == 3, 20)
    assert events(tmp_path, "config_applied")[-1]["new"]["site_sha256"] == sha256(file)
    _, between, last = events(tmp_path, "acquire_started")
    assert (between["lines"], last["lines"]) == (["a", "b"], ["a"])
    assert (list(last["schedule"]), last["site_sha256"]) == (["a"], sha256(file))
    journal = tmp_path / "data" / "journal"
    assert verify_journal(journal).ok
    assert all(count.exact for count in account_slots(entries(journal)).values())
    assert not [value for _, value in frequencies(tmp_path, "works/a-1/frequency") if value not in {10.4, 50.4}]


async def test_a_refused_profile_does_not_reach_a_line_that_starts_again(
    tmp_path: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(acquire_line, "LINE_RESTART_S", 0)
    failures, connect = [], ModbusTcpLine.connect

    async def failing_connect(line: ModbusTcpLine, timeout_s: float) -> None:
        if failures:
            raise failures.pop()
        await connect(line, timeout_s)

    monkeypatch.setattr(ModbusTcpLine, "connect", failing_connect)
    async with serving() as server:
        file = write_site(tmp_path, site_text({"a": Bus(server.port, {1: 1})}))
        async with acquiring(file, looks):
            await read_of(tmp_path, "works/a-1/frequency", 10.4)
            profile = tmp_path / "profiles" / "electricity" / "lab_lm3.toml"
            profile.write_text(PROFILE.replace("frequency = { at = 40", "frequency = { at = 41"))
            await looks.look(at_once=True)
            assert "lab_lm3.toml" in refusal(tmp_path)
            failures.append(RuntimeError("a fault of this line"))
            assert await until_true(lambda: events(tmp_path, "line_failed") != [], 20)
            before = len(frequencies(tmp_path, "works/a-1/frequency"))
            assert await until_true(lambda: len(frequencies(tmp_path, "works/a-1/frequency")) > before + 3, 20)
    assert {value for _, value in frequencies(tmp_path, "works/a-1/frequency")} == {10.4}
    law_of_slots(tmp_path)


def test_the_peer_shows_what_these_tests_expect():
    question = bytes.fromhex("0001 0000 0006 05 04 0028 0001")
    assert Server.right(question)[-2:] == (5040).to_bytes(2, "big")
