"""What a scan promises: it reads only, keeps its pace and its range, names what it finds, and guesses nothing."""

import asyncio
import json
import socket
import tomllib
from pathlib import Path

import pytest

from collectors.blocks import Block
from collectors.recognising import Grade
from collectors.register_line import RegisterLine
from collectors.scan_command import scan_tcp_main
from collectors.scan_places import TcpPlace, device_addresses, tcp_places
from collectors.scanning import FoundDevice, Pace, longest_s, proposal, scan
from gateway.config import load_site
from gateway.errors import ConfigError, LineSilent
from gateway.profile import MODBUS, load_profile, profile_names
from tests.collectors.memory_server import MemoryServer, Words, running, words_at
from tests.collectors.test_device_watch import OBJECTS, memory, site_file

PROFILES = [profile for profile in map(load_profile, profile_names()) if profile.wire == MODBUS]


def example_of(name: str, *, base: int = 0) -> Words:
    """A device whose registers hold what the examples of its profile show, the first of them first."""
    profile = load_profile(name)
    memory: Words = {}
    for found in profile.registers.values():
        memory |= {(found.table, base + word): 0 for word in found.reach}
    for example in reversed(profile.examples):
        for first, raw in example.words.items():
            for table in {found.table for found in profile.registers.values()}:
                memory |= words_at(raw.hex(), base + first, table)
    return memory


def sunspec(model: int) -> Words:
    """SunS at 40000, the common model with serial "SN-0815", then the meter model, then the end."""
    memory = words_at(b"SunS".hex(), 40000) | words_at("0001 0042", 40002)
    memory |= {("holding", 40004 + n): 0 for n in range(66)}
    memory |= words_at(b"SN-0815\0".hex(), 40052)
    base = 40070  # 40002 + 2 + 66
    memory |= {("holding", base + n): 0 for n in range(107)}
    memory |= example_of(f"electricity/sunspec_{model}", base=base)
    memory |= words_at(f"{model:04X} 0069", base)  # the length is 105 words
    return memory | words_at("FFFF 0000", base + 107)


def abb() -> Words:
    memory = example_of("electricity/abb_ab_series")
    return memory | words_at(b"B23 ".hex(), 0x8960) | words_at("0001 E240", 0x8900)


async def scanned(server: MemoryServer, addresses: list[int], **how: object) -> dict[int, FoundDevice]:
    place = TcpPlace("127.0.0.1", server.port)
    found = scan([place], addresses, PROFILES, pace=Pace(10_000), timeout_s=0.1, **how)
    return {device.device_address: device async for device in found}


async def test_devices_are_known_by_what_they_say_of_themselves():
    async with running(MemoryServer({1: abb(), 2: sunspec(203), 3: sunspec(201)})) as server:
        found = await scanned(server, [1, 2, 3, 4])
    assert list(found) == [1, 2, 3]  # 4 is silent
    first = found[1].proposed
    assert (first.profile.name, first.grade, first.serial) == (
        "electricity/abb_ab_series",
        Grade.IDENTIFIED,
        "123456",  # 0x0001E240
    )
    second = found[2].proposed
    assert (second.profile.name, second.serial, second.base_address) == ("electricity/sunspec_203", "SN-0815", 40070)
    assert found[3].proposed.profile.name == "electricity/sunspec_201"
    assert [len(device.matches) for device in found.values()] == [1, 1, 1]


@pytest.mark.parametrize("name", ["eastron_sdm630", "acrel_adw300", "carlo_gavazzi_em24", "schneider_iem3000"])
async def test_a_meter_without_an_identity_is_known_by_its_values_alone(name: str):
    async with running(MemoryServer({1: example_of(f"electricity/{name}")})) as server:
        (device,) = (await scanned(server, [1])).values()
    assert (device.proposed.profile.name, device.proposed.grade) == (f"electricity/{name}", Grade.PLAUSIBLE)
    assert device.proposed.serial == ""


async def test_the_serial_number_of_a_plausible_meter_is_told_too():
    memory = example_of("electricity/schneider_iem3000") | words_at("0001 E240", 129)
    async with running(MemoryServer({1: memory})) as server:
        (device,) = (await scanned(server, [1])).values()
    assert device.proposed.serial == "123456"


@pytest.mark.parametrize("order", ["CDAB", "BADC", "DCBA"])
async def test_floats_in_another_order_are_no_match(order: str):
    memory = example_of("electricity/eastron_sdm630")
    for at in {at for table, at in memory if at % 2 == 0 and (table, at + 1) in memory}:
        raw = b"".join(memory[("input", at + n)].to_bytes(2, "big") for n in (0, 1))
        turned = bytes(raw["ABCD".index(letter)] for letter in order)
        memory |= words_at(turned.hex(), at, "input")
    async with running(MemoryServer({1: memory})) as server:
        (device,) = (await scanned(server, [1])).values()
    assert "electricity/eastron_sdm630" not in [match.profile.name for match in device.matches]
    assert device.proposed is None


@pytest.mark.parametrize(("hertz", "fits"), [("4248 0000", True), ("4188 0000", False), ("0000 0000", False)])
async def test_one_value_that_no_meter_shows_rules_a_profile_out(hertz: str, fits: bool):
    memory = example_of("electricity/eastron_sdm630") | words_at(hertz, 0x46, "input")  # 50 Hz, 17 Hz, 0 Hz
    async with running(MemoryServer({1: memory})) as server:
        (device,) = (await scanned(server, [1])).values()
    assert ("electricity/eastron_sdm630" in [match.profile.name for match in device.matches]) is fits


async def test_a_device_that_shows_zeros_everywhere_is_nothing():
    memory = {(table, at): 0 for table in ("holding", "input") for at in range(0x10000)}
    async with running(MemoryServer({1: memory})) as server:
        (device,) = (await scanned(server, [1])).values()
    assert device.matches == ()


async def test_it_reads_only_and_asks_nothing_twice():
    async with running(MemoryServer({1: example_of("electricity/acrel_adw300")})) as server:
        await scanned(server, [1, 2])
        asked = [one for one in server.asked if one[0] == 1]
        assert {function for _, function, _, _ in server.asked} <= {3, 4, 43}
        assert len(set(asked)) == len(asked)
        assert server.asked[-2:] == [(2, 3, 0, 1), (2, 4, 0, 1)]  # of a silent one two words


async def test_the_pace_is_kept_over_all_places():
    time, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        time[0] += seconds

    pace = Pace(10, sleep, lambda: time[0])
    async with running(MemoryServer({1: abb()})) as server:
        place = TcpPlace("127.0.0.1", server.port)
        async for _ in scan([place, place], [1], PROFILES, pace=pace, timeout_s=0.5):
            pass
        asked = len(server.asked) + server.connections  # each connection is a question too
    assert pace.asked == asked
    assert slept == pytest.approx([0.1] * (asked - 1))  # the first need not wait


class SerialPlace:
    """A serial port at one baud rate: what a place has to be, without TCP."""

    def __init__(self, port: str, baud: int, device: RegisterLine) -> None:
        self.label = f"{port} at {baud} baud"
        self.line = {"kind": "modbus-rtu", "device": port, "baud": baud}
        self._device = device

    def open(self) -> RegisterLine:
        return self._device


class Bus:
    """A bus on which one device answers at one address, and which knows no function 43."""

    def __init__(self, memory: Words, address: int) -> None:
        self.memory, self.address, self.closed = memory, address, 0

    async def connect(self, timeout_s: float) -> None:
        pass

    async def read(self, device_address: int, block: Block, timeout_s: float) -> bytes:
        if device_address != self.address:
            raise LineSilent("no answer")
        return b"".join(
            self.memory.get((block.table, block.address + n), 0).to_bytes(2, "big") for n in range(block.words)
        )

    def close(self) -> None:
        self.closed += 1


async def test_any_wire_can_be_scanned():
    wrong, right = Bus({}, 99), Bus(abb(), 7)
    places = [SerialPlace("/dev/ttyUSB0", 9600, wrong), SerialPlace("/dev/ttyUSB0", 19200, right)]
    steps: list[str] = []
    pace = Pace(10_000)
    found = [d async for d in scan(places, range(1, 11), PROFILES, pace=pace, timeout_s=0.1, step=steps.append)]
    assert [(device.place.label, device.device_address) for device in found] == [("/dev/ttyUSB0 at 19200 baud", 7)]
    assert len(steps) == 20
    assert (wrong.closed, right.closed) == (1, 1)
    tables = tomllib.loads(proposal(found))
    assert tables["line"] == [
        {"id": "line-dev-ttyUSB0-at-19200-baud", "kind": "modbus-rtu", "device": "/dev/ttyUSB0", "baud": 19200}
    ]
    assert tables["meter"][0]["device_address"] == 7


@pytest.mark.parametrize(
    ("targets", "hosts"),
    [
        (["10.0.0.5"], ["10.0.0.5"]),
        (["10.0.0.0/30"], ["10.0.0.1", "10.0.0.2"]),
        (["10.0.0.1/30", "10.0.0.2"], ["10.0.0.1", "10.0.0.2"]),  # each once
        (["10.0.0.254-10.0.1.1"], ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]),
        (["meter-7.plant"], ["meter-7.plant"]),
        (["fe80::1-fe80::2"], ["fe80::1", "fe80::2"]),
    ],
)
def test_a_target_is_a_host_a_network_or_a_range(targets: list[str], hosts: list[str]):
    assert [place.host for place in tcp_places(targets, [502], most=10)] == hosts


@pytest.mark.parametrize(
    ("target", "most", "said"),
    [
        ("10.0.0.0/8", 256, "more than 256; expected at most 256 places"),  # at once, not after 16 million
        ("::/0", 256, "more than 256"),
        ("10.0.0.1-10.255.0.0", 4, "more than 4"),
        ("10.0.0.0/33", 256, "expected a network such as 10.0.0.0/28"),
        ("10.0.0.9-10.0.0.1", 256, "expected a range whose last address does not lie before its first"),
        ("10.0.0.9-fe80::1", 256, "expected a range whose last"),
        ("10.0.0.9-20", 256, "expected a range such as 10.0.0.5-10.0.0.20"),
    ],
)
def test_a_range_that_is_none_or_too_large_is_refused(target: str, most: int, said: str):
    with pytest.raises(ConfigError, match="emg scan: TARGET") as told:
        tcp_places([target], [502], most=most)
    assert said in str(told.value)


def test_ports_count_as_places_too():
    assert len(tcp_places(["10.0.0.0/30"], [502, 503], most=4)) == 4
    with pytest.raises(ConfigError, match="at most 3 places"):
        tcp_places(["10.0.0.0/30"], [502, 503], most=3)


def test_device_addresses_are_numbers_and_ranges():
    assert device_addresses("1-3, 7,2") == [1, 2, 3, 7]
    for wrong in ("", "256", "5-1", "a", "1-", "-1", "0x10", "1" * 400):
        with pytest.raises(ConfigError, match="--device"):
            device_addresses(wrong)


def test_how_long_it_takes_is_told_before():
    # 10 places x (1 connection + 2 x 5 questions): 110 questions at 20 a second, and 100 silences of 0.5 s
    assert longest_s(10, 5, per_second=20, timeout_s=0.5) == pytest.approx(110 / 20 + 50)


async def run(*argv: str) -> int:
    return await asyncio.to_thread(scan_tcp_main, list(argv))


async def test_what_is_proposed_can_be_pasted_into_a_site_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    devices = {1: abb(), 2: sunspec(203), 5: {("holding", 0): 1}}
    async with running(MemoryServer(devices)) as server:
        options = ("--port", str(server.port), "--device", "1-5", "--timeout", "0.1", "--rate", "1000")
        assert await run("127.0.0.1", *options, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert await run("127.0.0.1", *options) == 0
        shown = capsys.readouterr().out
    assert [(one["device_address"], one["profile"]) for one in told["devices"]] == [
        (1, "electricity/abb_ab_series"),
        (2, "electricity/sunspec_203"),
        (5, None),
    ]
    assert f"# device 5 of line-127-0-0-1-{server.port} answers; no profile fits it" in told["toml"]
    assert told["toml"] in shown
    head = '[site]\nname = "s"\ntimezone = "UTC"\ndata_dir = "d"\ngateway_id = "g"\n'
    head += '[[enterprise]]\nid = "e"\nname_zh = "e"\nname_en = "e"\n'
    (tmp_path / "site.toml").write_text(head + told["toml"], "utf-8")
    site = load_site(tmp_path / "site.toml")
    (line,) = site.lines.values()
    assert (line.host, line.port) == ("127.0.0.1", server.port)
    assert [(m.device_address, m.serial, m.base_address) for m in site.meters.values()] == [
        (1, "123456", 0),
        (2, "SN-0815", 40070),
    ]


async def test_a_meter_that_answers_to_every_address_is_proposed_once():
    async with running(MemoryServer({1: abb(), 2: abb(), 3: abb() | words_at("0001 E241", 0x8900)})) as server:
        found = list((await scanned(server, [1, 2, 3])).values())
    text = proposal(found)
    assert [meter["device_address"] for meter in tomllib.loads(text)["meter"]] == [1, 3]
    assert f"# device 2 of line-127-0-0-1-{server.port} has the serial number of device 1" in text


async def test_hostile_text_of_a_device_stays_text(capsys: pytest.CaptureFixture[str]):
    memory = sunspec(203) | words_at(b'x"\n[[sink]]'.ljust(14, b"\\").hex(), 40052)
    async with running(MemoryServer({1: memory})) as server:
        await run("127.0.0.1", "--port", str(server.port), "--rate", "1000", "--json")
    tables = tomllib.loads(json.loads(capsys.readouterr().out)["toml"])
    assert set(tables) == {"line", "meter"}
    assert tables["meter"][0]["serial"].startswith('x"?[[sink]]')


async def test_profiles_of_ones_own_are_found_with_their_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    site_file(tmp_path, 502)
    async with running(MemoryServer({1: memory()}, objects=OBJECTS)) as server:
        options = ("--port", str(server.port), "--profiles", str(tmp_path / "profiles"), "--rate", "1000", "--json")
        assert await run("127.0.0.1", *options) == 0
    (meter,) = tomllib.loads(json.loads(capsys.readouterr().out)["toml"])["meter"]
    assert (meter["profile"], meter["serial"]) == ("electricity/lab_lm5", "4711")
    assert (meter["ct_ratio"], meter["pt_ratio"]) == (40, 1)


async def test_a_dry_run_asks_nothing(capsys: pytest.CaptureFixture[str]):
    async with running(MemoryServer({1: abb()})) as server:
        assert await run("127.0.0.1", "--port", str(server.port), "--dry-run", "--json", "--device", "1-4") == 0
        assert server.connections == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["places"], told["device_addresses"]) == ([f"127.0.0.1:{server.port}"], [1, 2, 3, 4])


async def test_where_nobody_listens_nothing_is_found(capsys: pytest.CaptureFixture[str]):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert await run("127.0.0.1", "--port", str(free.getsockname()[1])) == 1
    assert capsys.readouterr().out.strip() == "No device answers."
