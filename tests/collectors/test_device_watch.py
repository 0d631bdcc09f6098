"""What the device itself says is believed before its values are: who it is, its serial number, its ratios, whole totals."""

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from collectors.acquire import acquire
from collectors.blocks import Block
from collectors.checking_plans import check_main
from collectors.device_watch import LOOK_EVERY_US, DeviceWatch
from collectors.modbus_tcp import ModbusTcpLine
from collectors.polling import ask, missing, polled_devices, readings_of
from collectors.reading_once import read_main
from collectors.torn_totals import whole_totals
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Quality, Reading
from gateway.errors import ConfigError
from gateway.journal.entries import EntryKind
from gateway.journal.entries import readings_of as journaled
from gateway.journal.reader import entries
from tests.collectors.memory_server import MemoryServer, running, words_at
from tests.test_killed_acquire import until_true

PROFILE = """
maker = "Lab Instruments"
model = "LM-5"
carrier = "electricity"
source = "a meter that exists in these tests only"
side = "secondary"
modbus = { table = "holding" }
ratio = { ct = { at = 6, as = "u16" }, pt = { at = 7, as = "u16", scale = 0.1 } }

[identity]
objects = { product = "LM-5*" }
serial = { at = 20, as = "u32" }
marks = [
  { what = "meter code", at = 30, as = "u16", equals = [112, 113] },
  { what = "type", at = 31, as = "text", words = 3, equals = "LM5*" },
  { what = "firmware", at = 34, as = "u16", between = [200, 299] },
]

[registers]
active_energy_import = { at = 10, as = "u32", scale = 0.01, unit = "kWh", kind = "cumulative", resolution = 0.01, modulus = 100000000, reread = true }
active_power = { at = 14, as = "i32", scale = 0.001, unit = "kW", kind = "instantaneous", limit = 4 }
frequency = { at = 40, as = "u16", scale = 0.01, unit = "Hz", kind = "instantaneous" }

[[example]]
origin = "worked"
from = "123456 x 0.01 kWh; 2500 x 0.001 kW; 5000 x 0.01 Hz"
words = { 10 = "0001 E240", 14 = "0000 09C4", 40 = "1388" }
shows = { active_energy_import = 1234.56, active_power = 2.5, frequency = 50 }
"""
SITE = """
[site]
name = "laboratory"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "lab"

[[enterprise]]
id = "e"
name_zh = "企业"
name_en = "enterprise"

[[line]]
id = "bus"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
period_s = 0.25
timeout_s = 0.25

[[meter]]
id = "m1"
line = "bus"
profile = "electricity/lab_lm5"
serial = "0004711"
ct_ratio = 40
pt_ratio = 1

[[point]]
id = "p1"
enterprise = "e"
name_zh = "点"
name_en = "point"
carrier = "electricity"
level = "enterprise"
role = "input"
counts = "active_energy_import"
meter = "m1"
"""
SERIAL = 20
OBJECTS = {0: b"Lab Instruments", 1: b"LM-5/400", 2: b"2.1"}


def memory() -> dict[tuple[str, int], int]:
    """A device that is the one that the profile and the site mean: serial 4711 = 0x1267, "LM5-A" and a NUL."""
    return {
        **words_at("0028 000A", 6),  # 40, and 10 x 0.1
        **words_at("0001 E240", 10),
        **words_at("0000 09C4", 14),
        **words_at("0000 1267", SERIAL),
        **words_at("0070 4C4D 352D 4100 00D2", 30),
        **words_at("1388", 40),
    }


def site_file(folder: Path, port: int) -> Path:
    profile = folder / "profiles" / "electricity" / "lab_lm5.toml"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text(PROFILE, "utf-8")
    (folder / "site.toml").write_text(SITE.format(port=port), "utf-8")
    return folder / "site.toml"


class Watched:
    """One device of a real server with the watch that looks at it, slot after slot."""

    def __init__(self, folder: Path, port: int) -> None:
        site = load_site(site_file(folder, port))
        self.line = site.lines["bus"]
        (self.device,) = polled_devices(site, self.line)
        self.wire = ModbusTcpLine.to(self.line)
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.watch = DeviceWatch(self.line, SystemClock(), lambda name, told: self.told.append((name, told)))
        self.slot = 0

    async def read(self, *, later_us: int = 250_000) -> dict[str, Reading]:
        self.slot += later_us
        readings: list[Reading] = []
        for polled in self.device.blocks:
            answer = await ask(self.wire, self.device, polled, SystemClock(), 0.25)
            readings += readings_of(answer) or missing([polled], self.slot, answer.reason)
        seen = await self.watch.after(self.device, readings, self.wire, self.slot)
        return {reading.series.split("/")[2]: reading for reading in seen}

    def names(self) -> list[str]:
        return [name for name, _ in self.told]


async def test_a_device_that_is_the_one_meant_is_seen_once_and_doubted_never(tmp_path: Path):
    async with running(MemoryServer({1: memory()}, objects=OBJECTS)) as server:
        watched = Watched(tmp_path, server.port)
        first, second = await watched.read(), await watched.read()
        watched.wire.close()
    assert all(reading.quality is Quality.GOOD for reading in [*first.values(), *second.values()])
    ((name, told),) = watched.told
    assert (name, told["meter"], told["serial"]) == ("device.seen", "m1", "4711")
    assert told["found"] == {
        "meter code": "112",
        "type": "LM5-A",
        "firmware": "210",
        "vendor": "Lab Instruments",
        "product": "LM-5/400",
        "revision": "2.1",
    }
    assert [asked[1] for asked in server.asked].count(43) == 1  # asked again only after a quarter of an hour


@pytest.mark.parametrize(
    ("words", "what", "expected", "found"),
    [
        (words_at("0071", 30), None, None, None),  # the other code of the list
        (words_at("0072", 30), "meter code", "112 or 113", "114"),
        (words_at("4D4C", 31), "type", "LM5*", "ML5-A"),
        (words_at("00C7", 34), "firmware", "200 to 299", "199"),
        (words_at("00C8", 34), None, None, None),
        (words_at("012B", 34), None, None, None),
        (words_at("012C", 34), "firmware", "200 to 299", "300"),
        (words_at("0A1B", 31), "type", "LM5*", "??5-A"),  # what cannot be printed is not handed on
    ],
)
async def test_every_mark_tells_the_device_from_another(tmp_path: Path, words, what, expected, found):
    async with running(MemoryServer({1: memory() | words}, objects=OBJECTS)) as server:
        watched = Watched(tmp_path, server.port)
        readings = await watched.read()
        watched.wire.close()
    if what is None:
        assert watched.names() == ["device.seen"]
        assert {reading.quality for reading in readings.values()} == {Quality.GOOD}
        return
    ((name, told),) = watched.told
    assert (name, told["agrees"], told["expected"]) == ("device.identity", False, {what: expected})
    assert told["found"][what] == found
    assert {(r.quality, r.reason) for r in readings.values()} == {(Quality.SUSPECT, "device.identity")}
    assert readings["active_energy_import"].value == 123456  # kept as it was read


async def test_a_device_that_refuses_what_its_model_has_is_another_one(tmp_path: Path):
    words = {place: word for place, word in memory().items() if place[1] != 30}
    async with running(MemoryServer({1: words})) as server:  # it does not know function 43 either
        watched = Watched(tmp_path, server.port)
        readings = await watched.read()
        watched.wire.close()
    told = watched.told[0][1]
    assert told["expected"] == {"meter code": "112 or 113", "product": "LM-5*"}
    assert (told["found"]["meter code"], told["found"]["product"]) == ("line.refused.2", "line.refused.1")
    assert {r.reason for r in readings.values()} == {"device.identity"}


async def test_an_exchange_is_noticed_behind_a_silence_and_after_a_quarter_of_an_hour(tmp_path: Path):
    async with running(MemoryServer({1: memory()}, objects=OBJECTS)) as server:
        watched = Watched(tmp_path, server.port)
        await watched.read()
        server.devices = {}  # unplugged
        silent = await watched.read()
        assert {reading.value for reading in silent.values()} == {None}
        server.devices = {1: memory() | words_at("0000 1268", SERIAL)}  # 4712 now
        back = await watched.read()
        assert watched.told[-1][0] == "device.serial"
        assert (watched.told[-1][1]["expected"], watched.told[-1][1]["found"]) == ("4711", "4712")
        assert {r.reason for r in back.values()} == {"device.serial"}  # the site file names 4711
        server.devices = {1: memory() | words_at("0099", 30)}
        assert {r.reason for r in (await watched.read()).values()} == {"device.serial"}  # not looked at again yet
        assert {r.reason for r in (await watched.read(later_us=LOOK_EVERY_US)).values()} == {"device.identity"}
        server.devices = {1: memory()}
        assert {r.reason for r in (await watched.read(later_us=LOOK_EVERY_US)).values()} == {""}
        watched.wire.close()
    assert watched.names() == ["device.seen", "device.serial", "device.identity", "device.serial", "device.identity"]
    assert (watched.told[-1][1]["agrees"], watched.told[-1][1]["expected"]) == (True, {})


async def test_a_device_that_does_not_say_who_it_is_is_doubted_until_it_does(tmp_path: Path):
    async with running(MemoryServer({1: memory()}, objects=OBJECTS)) as server:
        answer = server._identification
        server._identification = lambda: None  # many devices never answer function 43
        watched = Watched(tmp_path, server.port)
        readings = await watched.read()
        assert {(r.quality, r.reason) for r in readings.values()} == {(Quality.SUSPECT, "device.unidentified")}
        asked = len(server.asked)
        await watched.read()  # 2 s of patience: nothing but its values and ratios is asked
        assert not [one for one in server.asked[asked:] if one[1] == 43]
        server._identification = answer
        assert {r.reason for r in (await watched.read(later_us=2_000_000)).values()} == {""}
        watched.wire.close()


async def test_momentary_values_follow_the_ratio_of_the_device_and_totals_are_doubted(tmp_path: Path):
    async with running(MemoryServer({1: memory()}, objects=OBJECTS)) as server:
        watched = Watched(tmp_path, server.port)
        assert (await watched.read())["active_power"].value == 100.0  # 2.5 kW x 40
        server.devices[1] |= words_at("003C", 6)  # somebody sets 60
        change, after = await watched.read(), await watched.read()
        server.devices[1] |= words_at("0000 0FA1", 14)  # 4001 W: above what the meter can show
        over = await watched.read()
        server.devices[1] |= words_at("0028", 6)
        await watched.read()
        again = await watched.read()
        watched.wire.close()
    assert change["active_power"][2:5] == (
        150.0,
        Quality.SUSPECT,
        "device.ratio_changed",
    )  # which one held is not known
    assert after["active_power"][2:5] == (150.0, Quality.GOOD, "")
    assert after["active_energy_import"][2:5] == (123456, Quality.SUSPECT, "device.ratio")
    assert after["frequency"][2:5] == (50.0, Quality.GOOD, "")
    assert over["active_power"][3:5] == (Quality.SUSPECT, "over_limit")
    assert again["active_energy_import"][2:5] == (123456, Quality.GOOD, "")
    ratios = [told for name, told in watched.told if name == "device.ratio"]
    assert [(told["ratio"], told["before"], told["found"], told["site"]) for told in ratios] == [
        ("ct_ratio", "40", "60", "40"),
        ("ct_ratio", "60", "40", "40"),
    ]


async def test_a_ratio_that_never_was_read_leaves_what_depends_on_it_in_doubt(tmp_path: Path):
    words = {place: word for place, word in memory().items() if place[1] != 7}
    async with running(MemoryServer({1: words}, objects=OBJECTS)) as server:
        watched = Watched(tmp_path, server.port)
        readings = await watched.read()
        watched.wire.close()
    assert {name: r.reason for name, r in readings.items()} == {
        "active_energy_import": "device.ratio_unread",
        "active_power": "device.ratio_unread",
        "frequency": "",
    }


def test_a_ratio_that_is_read_must_be_stated_too(tmp_path: Path):
    path = site_file(tmp_path, 502)
    path.write_text(path.read_text("utf-8").replace("pt_ratio = 1\n", ""), "utf-8")
    with pytest.raises(
        ConfigError, match=r"meter\[1\]\.pt_ratio: found nothing; expected the ratio by which the totals"
    ):
        load_site(path)


# A total of two words at its carry: 0x0001FFFF, then 0x00020000. Torn, it shows 0x0002FFFF or 0x00010000.
TRUE_BEFORE, TRUE_AFTER = 0x0001FFFF, 0x00020000


@pytest.mark.parametrize(
    ("shown", "value", "quality", "reason"),
    [
        ([0x0001FFF0, 0x0001FFF1], 0x0001FFF0, Quality.GOOD, ""),  # two looks agree
        ([TRUE_BEFORE, TRUE_AFTER], TRUE_BEFORE, Quality.GOOD, ""),  # an honest carry in between
        ([0x0002FFFF, TRUE_AFTER, TRUE_AFTER], TRUE_AFTER, Quality.GOOD, ""),  # high word first, then the carry
        ([0x00010000, TRUE_AFTER, TRUE_AFTER + 1], TRUE_AFTER, Quality.GOOD, ""),  # low word first
        ([TRUE_BEFORE, 0x0002FFFF, TRUE_AFTER], TRUE_BEFORE, Quality.SUSPECT, "torn"),  # nothing agrees with anything
        ([99_999_999, 0, 1], 0, Quality.GOOD, ""),  # a rollover is no growth either: the third look decides
    ],
)
async def test_old_and_new_words_never_make_one_value(tmp_path: Path, shown, value, quality, reason):
    async with running(MemoryServer({1: memory()}, objects=OBJECTS)) as server:
        watched, waiting = Watched(tmp_path, server.port), list(shown)

        def next_total(_device: int, address: int) -> None:
            if address == 10 and waiting:
                server.devices[1] |= words_at(waiting.pop(0).to_bytes(4, "big").hex(), 10)

        server.before = next_total
        reading = (await watched.read())["active_energy_import"]
        watched.wire.close()
    assert reading[2:5] == (value, quality, reason)
    assert int.from_bytes(reading.words[:4], "big") == value  # the words are those of the value
    assert not waiting


async def test_a_total_whose_second_look_brings_nothing_is_doubted(tmp_path: Path):
    async with running(MemoryServer({1: memory()}, objects=OBJECTS)) as server:
        watched, looks = Watched(tmp_path, server.port), []

        def refuse_later(_device: int, address: int) -> None:
            looks.append(address)
            if looks.count(10) == 2:
                del server.devices[1][("holding", 10)]

        server.before = refuse_later
        reading = (await watched.read())["active_energy_import"]
        watched.wire.close()
    assert reading[2:5] == (123456, Quality.SUSPECT, "torn")


async def test_what_is_seen_is_journaled_before_the_readings_that_it_doubts(tmp_path: Path):
    async with running(MemoryServer({1: memory() | words_at("0099", 30)}, objects=OBJECTS)) as server:
        site = load_site(site_file(tmp_path, server.port))
        stop = asyncio.Event()
        running_on = asyncio.create_task(acquire(site, SystemClock(), stop))
        journal = site.data_dir / "journal"

        def doubted() -> bool:
            return any(journaled(entry) for entry in entries(journal) if entry.kind is EntryKind.READINGS)

        assert await until_true(lambda: journal.is_dir() and doubted(), 10)
        stop.set()
        await running_on
    told = [
        entry.body["event"] if entry.kind is EntryKind.EVENT else {r.reason for r in journaled(entry)}
        for entry in entries(journal)
        if entry.kind in {EntryKind.READINGS, EntryKind.EVENT}
    ]
    assert told.index("device.identity") < told.index({"device.identity"})
    (event,) = [e.body for e in entries(journal) if e.body.get("event") == "device.identity"]
    assert (event["expected"], event["found"]["meter code"]) == ({"meter code": "112 or 113"}, "153")


async def test_emg_read_tells_who_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with running(MemoryServer({1: memory() | words_at("0099", 30)}, objects=OBJECTS)) as server:
        path = site_file(tmp_path, server.port)
        assert await asyncio.to_thread(read_main, [str(path)]) == 1
        text = capsys.readouterr().out
        assert "m1 @ 1: device.identity: found meter code 153, type LM5-A" in text
        assert "expected meter code 112 or 113." in text
        server.devices = {1: memory() | words_at("003C", 6)}
        assert await asyncio.to_thread(read_main, [str(path), "--json"]) == 1
        told = json.loads(capsys.readouterr().out)
    assert [device["event"] for device in told["devices"]] == ["device.seen", "device.ratio"]
    power = next(value for value in told["values"] if value["quantity"] == "active_power")
    assert Decimal(str(power["value"])) == 150


def test_the_plan_tells_what_is_asked_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert check_main([str(site_file(tmp_path, 502)), "--plan"]) == 0
    beside = (
        "m1: beside these, ct_ratio and pt_ratio in each round, one request each; 1 of them again in each round, for"
    )
    assert f"{beside} totals that are read twice; who it is, every 15 minutes." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (", equals = [112, 113]", "", "neither of 'equals' and 'between'; expected one of them"),
        ("equals = [112, 113]", 'equals = "112"', 'found "112"; expected a whole number'),
        ('equals = "LM5*"', "between = [1, 2]", "expected a text has no range"),
        ("words = 3,", "", "words: found nothing; expected how many words it has"),
        ("between = [200, 299]", "between = [299, 200]", "expected the lesser before the greater"),
        ("product =", "prodct =", "Did you mean 'product'?"),
        ('as = "u32" }\nmarks', 'as = "u33" }\nmarks', 'found "u33"; expected one of u16'),
        ("at = 20,", "at = 65535,", "identity.serial.at: found 65535; expected room for 2 words below 65536"),
        ('pt = { at = 7, as = "u16", scale = 0.1 }', 'pt = { at = 7, as = "text", words = 2 }', "a type of number"),
        ("limit = 4 }", "limit = 4, reread = true }", "reread: found true; expected only a total of several words"),
    ],
)
def test_a_mistake_in_identity_or_ratio_is_told(tmp_path: Path, old: str, new: str, said: str):
    path = site_file(tmp_path, 502)
    profile = tmp_path / "profiles" / "electricity" / "lab_lm5.toml"
    assert old in PROFILE
    profile.write_text(PROFILE.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as told:
        load_site(path)
    assert said in str(told.value)


class Carrying:
    """A meter whose total moves on between any two accesses to it, and which renews one word before the other."""

    def __init__(self, chance: Random, *, high_first: bool) -> None:
        self.chance = chance
        self.high_first = high_first
        self.total = 0

    def words(self) -> bytes:
        """The two words as a reader finds them who comes between the renewal of the one and of the other."""
        before = self.total
        self.total += self.chance.choice((0, 1, 1, 2, 5))
        if self.chance.random() < 0.5:
            return self.total.to_bytes(4, "big")
        old, new = before.to_bytes(4, "big"), self.total.to_bytes(4, "big")
        return new[:2] + old[2:] if self.high_first else old[:2] + new[2:]

    async def connect(self, timeout_s: float) -> None:
        pass

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        words = self.words() + bytes(4)
        return words[: 2 * block.words]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("high_first", [True, False])
async def test_of_thousands_of_reads_at_a_carry_none_is_booked_torn(tmp_path: Path, high_first: bool):
    site = load_site(site_file(tmp_path, 502))
    (device,) = polled_devices(site, site.lines["bus"])
    (polled,) = [block for block in device.blocks if block.block.address == 10]
    device = device._replace(blocks=(polled,))
    meter = Carrying(Random(2026), high_first=high_first)
    torn = doubted = 0
    for _ in range(4000):
        meter.total = 0x0001FFFF - meter.chance.randrange(6)  # about to carry
        least = meter.total
        first = readings_of(await ask(meter, device, polled, SystemClock(), 1))
        torn += not least <= first[0].value <= meter.total
        (reading, *_) = await whole_totals(device, first, meter, SystemClock(), 1)
        if reading.quality is Quality.GOOD:
            assert least <= reading.value <= meter.total
        doubted += reading.quality is Quality.SUSPECT
    assert torn > 100  # the meter does what the second look is for
    assert doubted < torn  # mostly the third look decides
