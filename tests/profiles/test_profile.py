"""The shipped profiles hold, and their examples are true when they are worked out without the product."""

import re
import struct
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.decoding import decode_number, decode_words
from gateway.domain.instruments import Carriage, RecordClass, RegisterKind
from gateway.domain.quantities import QUANTITIES
from gateway.domain.units import UNITS
from gateway.errors import ProfileError
from gateway.profile import SHIPPED, load_profile, profile_names

MODBUS_PROFILES = [
    "coal/cas_ci600d",
    "coal/siemens_bw500",
    "electricity/abb_ab_series",
    "electricity/acrel_adw300",
    "electricity/carlo_gavazzi_em24",
    "electricity/eastron_sdm630",
    "electricity/schneider_iem3000",
    "heat/tuf2000",
    "oil/tuf2000",
    "steam/spirax_tva",
    "water/siemens_mag6000",
    "water/xylem_magflux",
]


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


def big_float(value: float) -> bytes:
    return struct.pack(">f", value)


def low_word_first(data: bytes) -> bytes:
    return data[2:4] + data[0:2]


def ulp32(value: float) -> float:
    bits = struct.unpack(">I", struct.pack(">f", value))[0]
    return struct.unpack(">f", struct.pack(">I", bits + 1))[0] - value


# Profile, quantity, first word (0-based), words as the maker's document encodes the value, value shown.
WORKED = [
    # ADW300: 0.01 kWh and W as i32, 0.1 V and 0.01 A as u16, high word first.
    ("electricity/acrel_adw300", "active_energy_import", 62, struct.pack(">i", 98765432), "987654.32"),
    ("electricity/acrel_adw300", "active_energy_export", 64, struct.pack(">i", 1), "0.01"),
    ("electricity/acrel_adw300", "active_power", 36, struct.pack(">i", -75000), "-75000"),
    ("electricity/acrel_adw300", "active_power_l2", 32, struct.pack(">i", 25000), "25000"),
    ("electricity/acrel_adw300", "voltage_l3", 22, words(2199), "219.9"),
    ("electricity/acrel_adw300", "current_l2", 27, words(50), "0.5"),
    # SDM630: everything float32 in V, A, W, Hz, kWh.
    ("electricity/eastron_sdm630", "voltage_l2", 2, big_float(229.5), "229.5"),
    ("electricity/eastron_sdm630", "current_l3", 10, big_float(0.125), "0.125"),
    ("electricity/eastron_sdm630", "active_power_l1", 12, big_float(-1024.0), "-1024"),
    ("electricity/eastron_sdm630", "active_power", 52, big_float(69000.0), "69000"),
    ("electricity/eastron_sdm630", "frequency", 70, big_float(50.25), "50.25"),
    ("electricity/eastron_sdm630", "active_energy_import", 72, big_float(1000000.25), "1000000.25"),
    ("electricity/eastron_sdm630", "active_energy_export", 74, big_float(0.5), "0.5"),
    # MAG 6000: flow float32, totalizers float64.
    ("water/siemens_mag6000", "volume_flow", 3002, big_float(12.75), "12.75"),
    ("water/siemens_mag6000", "volume", 3014, struct.pack(">d", 99999999.999), "99999999.999"),
    ("water/siemens_mag6000", "volume_reverse", 3018, struct.pack(">d", 7.125), "7.125"),
    # TVA: (high x 65536) + low with the low word first; bar x 100; Cel x 10.
    ("steam/spirax_tva", "mass", 0, words(2, 3), str(3 * 65536 + 2)),
    ("steam/spirax_tva", "heat", 7, words(65535, 0), "65535"),
    ("steam/spirax_tva", "mass_flow", 2, words(2500), "2500"),
    ("steam/spirax_tva", "pressure", 3, words(815), "8.15"),
    ("steam/spirax_tva", "temperature", 4, words(1755), "175.5"),
    ("steam/spirax_tva", "heat_power", 6, words(1790), "1790"),
    # BW500: R41,016 is address 1015; three fixed decimals, high word first.
    ("coal/siemens_bw500", "mass", 41016 - 40001, struct.pack(">I", 4294967295), "4294967.295"),
    ("coal/siemens_bw500", "mass_flow", 41010 - 40001, struct.pack(">I", 250500), "250.5"),
    ("coal/siemens_bw500", "belt_load", 41012 - 40001, struct.pack(">I", 43210), "43.21"),
    ("coal/siemens_bw500", "belt_speed", 41014 - 40001, struct.pack(">I", 1600), "1.6"),
    # TUF-2000M: REG0009 is address 8; LONG then REAL4, each low word first.
    (
        "oil/tuf2000",
        "volume",
        9 - 1,
        low_word_first(struct.pack(">i", 70000)) + low_word_first(big_float(0.5)),
        "70000.5",
    ),
    # ABB A and B series: u64 x 0.01 kWh, i32 x 0.01 W, u32 x 0.1 V and x 0.01 A.
    ("electricity/abb_ab_series", "active_energy_import", 0x5000, struct.pack(">Q", 2**40), "10995116277.76"),
    ("electricity/abb_ab_series", "active_energy_export", 0x5004, struct.pack(">Q", 7), "0.07"),
    ("electricity/abb_ab_series", "active_power", 0x5B14, struct.pack(">i", -150), "-1.5"),
    ("electricity/abb_ab_series", "voltage_l2", 0x5B02, struct.pack(">I", 2295), "229.5"),
    ("electricity/abb_ab_series", "current_l3", 0x5B10, struct.pack(">I", 1234), "12.34"),
    ("electricity/abb_ab_series", "frequency", 0x5B2C, words(4998), "49.98"),
    ("electricity/abb_ab_series", "power_factor", 0x5B3A, struct.pack(">h", 950), "0.95"),
    # EM24: i32, low word first: x 0.1 kWh, W and V, x 0.001 A.
    ("electricity/carlo_gavazzi_em24", "active_energy_import", 0x42, low_word_first(struct.pack(">i", 987)), "98.7"),
    ("electricity/carlo_gavazzi_em24", "active_energy_export", 0x5C, low_word_first(struct.pack(">i", 1)), "0.1"),
    ("electricity/carlo_gavazzi_em24", "active_power", 0x28, low_word_first(struct.pack(">i", -70000)), "-7000"),
    ("electricity/carlo_gavazzi_em24", "active_power_l2", 0x14, low_word_first(struct.pack(">i", 12345)), "1234.5"),
    ("electricity/carlo_gavazzi_em24", "voltage_l3", 0x04, low_word_first(struct.pack(">i", 2299)), "229.9"),
    ("electricity/carlo_gavazzi_em24", "current_l1", 0x0C, low_word_first(struct.pack(">i", 5)), "0.005"),
    ("electricity/carlo_gavazzi_em24", "power_factor", 0x35, struct.pack(">h", -990), "-0.99"),
    ("electricity/carlo_gavazzi_em24", "frequency", 0x37, struct.pack(">h", 499), "49.9"),
    # MagFlux: registers 604 to 607 in mm3, the least significant word first.
    ("water/xylem_magflux", "volume", 604, words(0x1111, 0x2222, 0x3333, 0), str(0x0000333322221111)),
    ("water/xylem_magflux", "volume_flow", 600, low_word_first(big_float(-0.5)), "-0.5"),
    # CI-600D: 40010 and 40011, high half first.
    ("coal/cas_ci600d", "stock", 40010 - 40001, words(1, 0), "65536"),
    # TUF-2000M as a heat meter: REG0017 is address 16.
    (
        "heat/tuf2000",
        "heat",
        17 - 1,
        low_word_first(struct.pack(">i", 70000)) + low_word_first(big_float(0.25)),
        "70000.25",
    ),
    ("heat/tuf2000", "volume_flow", 1 - 1, low_word_first(big_float(7.75)), "7.75"),
    ("heat/tuf2000", "temperature_supply", 33 - 1, low_word_first(big_float(95.5)), "95.5"),
    ("heat/tuf2000", "temperature_return", 35 - 1, low_word_first(big_float(61.5)), "61.5"),
    # iEM3000: the manual's register numbers less one; 64-bit unsigned Wh, float32 kW, V, A, Hz.
    ("electricity/schneider_iem3000", "active_energy_import", 0x0C83, struct.pack(">Q", 2**40), str(2**40)),
    ("electricity/schneider_iem3000", "active_energy_export", 0x0C87, struct.pack(">Q", 7), "7"),
    ("electricity/schneider_iem3000", "active_power", 3060 - 1, big_float(-12.5), "-12.5"),
    ("electricity/schneider_iem3000", "active_power_l3", 3058 - 1, big_float(4.25), "4.25"),
    ("electricity/schneider_iem3000", "voltage_l2", 3030 - 1, big_float(229.5), "229.5"),
    ("electricity/schneider_iem3000", "current_l3", 3004 - 1, big_float(0.125), "0.125"),
    ("electricity/schneider_iem3000", "frequency", 3110 - 1, big_float(49.75), "49.75"),
    ("oil/tuf2000", "volume_flow", 1 - 1, low_word_first(big_float(4.25)), "4.25"),
    ("oil/tuf2000", "temperature_supply", 33 - 1, low_word_first(big_float(61.5)), "61.5"),
]


@pytest.mark.parametrize(("name", "quantity", "address", "data", "shown"), WORKED)
def test_a_shipped_profile_reads_what_its_document_says(
    name: str, quantity: str, address: int, data: bytes, shown: str
) -> None:
    found = load_profile(name).registers[quantity]
    assert found.address == address
    assert 2 * found.encoding.words == len(data)
    value = decode_words(found.encoding, found.register, data)
    if found.register.kind is RegisterKind.CUMULATIVE:
        assert value * found.register.resolution == Decimal(shown)
    else:
        assert value == float(shown)


def test_every_register_of_a_modbus_profile_is_worked_out_above_or_by_a_sibling_phase() -> None:
    done = {(name, quantity) for name, quantity, *_ in WORKED}
    for name in MODBUS_PROFILES:
        for quantity in load_profile(name).registers:
            siblings = {quantity, *(f"{quantity[:-1]}{phase}" for phase in "123" if quantity[-3:-1] == "_l")}
            assert any((name, sibling) in done for sibling in siblings), f"{name}: {quantity}"


def test_the_shipped_profiles_are_many_and_over_the_carriers() -> None:
    on_wires = [load_profile(name) for name in profile_names() if load_profile(name).wire == "modbus"]
    assert len(on_wires) >= 15
    carriers = {profile.carrier.value for profile in on_wires}
    assert carriers >= {"electricity", "water", "steam", "heat", "oil", "coal"}


def test_how_the_abb_and_sunspec_meters_are_known_is_as_published() -> None:
    (mark,) = load_profile("electricity/abb_ab_series").identity.marks
    assert mark.fact.at == 0x8960
    assert mark.agrees(mark.fact.said((0x42323320).to_bytes(4, "big")))  # "B23 " as a 32-bit number
    assert not mark.agrees(mark.fact.said((0x44323320).to_bytes(4, "big")))
    for model in (201, 202, 203, 204, 211, 212, 213, 214):
        (mark,) = load_profile(f"electricity/sunspec_{model}").identity.marks
        assert (mark.fact.at, mark.equals) == (0, (str(model),))
        assert mark.agrees(mark.fact.said(model.to_bytes(2, "big")))


def test_the_shipped_examples_are_true_without_the_product() -> None:
    """The words of the profiles' own examples, read by hand with struct."""
    assert struct.unpack(">i", bytes.fromhex("0012D687"))[0] == 1234567  # ADW300, 0.01 kWh
    assert struct.unpack(">i", bytes.fromhex("00010D88"))[0] == 69000
    assert struct.unpack(">i", bytes.fromhex("FFFFFA24"))[0] == -1500
    volts = struct.unpack(">f", bytes.fromhex("43663334"))[0]  # SDM630, as printed by the maker
    assert abs(volts - 230.2) <= ulp32(230.2)
    assert struct.unpack(">f", bytes.fromhex("47F12065"))[0] == 123456.7890625
    assert struct.unpack(">d", bytes.fromhex("40C81CD6C8B43958"))[0] == 12345.678  # MAG 6000
    assert 0x075B * 65536 + 0xCD15 == 123456789  # TVA
    assert 0x0001D4C0 == 120000 and 0x0633 == 1587 and 0x1CB1 == 7345  # BW500, three decimals
    # TUF-2000M, captured words: registers 33-34, 1-2 and 11-12 with the low word first.
    assert struct.unpack(">f", bytes.fromhex("40E33CD0"))[0] == 7.101173400878906
    assert struct.unpack(">f", bytes.fromhex("BF5C1D9B"))[0] == pytest.approx(-0.8598267436027527, abs=1e-9)
    assert round(struct.unpack(">f", bytes.fromhex("3E5D5EA0"))[0], 3) == 0.216
    assert 0x0001E240 == 123456


def test_all_shipped_profiles_hold_and_prove_every_register() -> None:
    names = profile_names()
    assert set(MODBUS_PROFILES) < set(names)
    for name in names:
        profile = load_profile(name)
        assert profile.not_exemplified == (), name
        assert profile.basis <= {"captured", "manual", "worked"}
        for quantity, found in profile.registers.items():
            register = found.register
            assert UNITS[register.unit].dimension == QUANTITIES[quantity].dimension
            if register.kind is RegisterKind.CUMULATIVE:
                assert register.resolution
                assert register.modulus
                assert register.record is RecordClass.EVIDENCE


def test_a_profile_stays_a_page() -> None:
    for path in SHIPPED.glob("*/*.toml"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 80, path


@pytest.mark.parametrize(
    ("name", "basis"),
    [
        ("oil/tuf2000", {"captured", "worked"}),
        ("electricity/eastron_sdm630", {"manual", "worked"}),
        ("electricity/acrel_adw300", {"worked"}),
    ],
)
def test_a_profile_tells_on_what_it_rests(name: str, basis: set[str]) -> None:
    assert load_profile(name).basis == basis


def test_how_a_total_is_carried_follows_from_its_type() -> None:
    def carriage(name: str, quantity: str) -> Carriage:
        return load_profile(name).registers[quantity].register.carriage

    assert carriage("electricity/acrel_adw300", "active_energy_import") is Carriage.EXACT
    assert carriage("electricity/eastron_sdm630", "active_energy_import") is Carriage.FLOAT32
    assert carriage("water/siemens_mag6000", "volume") is Carriage.FLOAT64
    assert carriage("oil/tuf2000", "volume") is Carriage.EXACT


def test_momentary_values_are_telemetry_but_a_stock_is_evidence() -> None:
    assert load_profile("gas/emg_message_gas").registers["volume_flow"].register.record is RecordClass.TELEMETRY
    assert load_profile("coal/stock_survey").registers["stock"].register.record is RecordClass.EVIDENCE


def test_a_message_profile_takes_numbers_by_name() -> None:
    profile = load_profile("coal/weighbridge_ticket")
    ticket = profile.registers["mass"]
    assert (profile.wire, ticket.field, ticket.register.interval_s) == ("message", "mass", 0)
    assert decode_number(ticket.register, Decimal(38460)) == 38460 // 20


def test_an_unknown_profile_is_told_with_the_nearest_name() -> None:
    with pytest.raises(ProfileError, match=r"Did you mean 'electricity/acrel_adw300'\?"):
        load_profile("electricity/acrel_adw30")


def test_a_name_cannot_leave_the_profile_folders(tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("x = 1", encoding="utf-8")
    with pytest.raises(ProfileError, match="found no such file"):
        load_profile("../secret", extra_dir=tmp_path / "profiles")


def test_an_own_profile_is_found_beside_the_shipped_ones(tmp_path: Path, profile_file: Callable[[str], Path]) -> None:
    profile_file("")
    assert load_profile("electricity/lab_lm3", extra_dir=tmp_path).model == "LM-3"
    assert "electricity/lab_lm3" in profile_names(extra_dir=tmp_path)


def test_an_own_profile_must_not_hide_a_shipped_one(tmp_path: Path, profile_file: Callable[[str], Path]) -> None:
    profile_file("").rename(tmp_path / "electricity" / "acrel_adw300.toml")
    with pytest.raises(ProfileError, match="the name of a shipped one"):
        load_profile("electricity/acrel_adw300", extra_dir=tmp_path)


def test_the_readme_lists_the_shipped_profiles_with_their_basis() -> None:
    rows = re.findall(
        r"^\| `(\w+/\w+)` \| .* \| ([\w, ]+) \|$", (SHIPPED / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert dict(rows) == {name: ", ".join(sorted(load_profile(name).basis)) for name in profile_names()}


def test_two_bits_of_one_word_are_two_registers(profile_file: Callable[..., Path], tmp_path: Path) -> None:
    power = 'active_power = { at = 0x000C, as = "float32", unit = "W", kind = "instantaneous", absent = 0x7FC00000 }'
    bits = [
        f'{name} = {{ at = 5, as = "bit", bit = {bit}, unit = "1", kind = "instantaneous" }}'
        for name, bit in (("power_factor", 0), ("frequency", 15))
    ]
    bits[1] = bits[1].replace('"1"', '"Hz"')
    shows = "{ active_energy_import = 123.5, power_factor = 1, frequency = 0 }"
    words = '5 = "7FFF"'
    changes = (
        power,
        "\n".join(bits),
        '0x000C = "44BB 8000"',
        words,
        "{ active_energy_import = 123.5, active_power = 1500 }",
    )
    profile_file(*changes, shows)
    profile = load_profile("electricity/lab_lm3", extra_dir=tmp_path)
    assert [profile.registers[name].encoding.bit for name in ("power_factor", "frequency")] == [0, 15]
    profile_file(*(change.replace("bit = 15", "bit = 0") for change in changes), shows)
    with pytest.raises(ProfileError, match="word 5, which belongs to 'power_factor'"):
        load_profile("electricity/lab_lm3", extra_dir=tmp_path)
