"""What a profile must not leave open, contradict or contain: each refusal says where and how to mend it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ProfileError
from gateway.profile import load_profile

TOTAL = 'kind = "cumulative", resolution = 0.01, modulus = 100000000 }'
POWER = 'active_power = { at = 0x000C, as = "float32", unit = "W", kind = "instantaneous", absent = 0x7FC00000 }'
EXAMPLE_START = "[[example]]"


# What is changed, the line that is named, and what the sentence says.
REFUSED = {
    "no kind": ('kind = "instantaneous", ', "", 11, "registers.active_power.kind: found nothing; expected cumulative"),
    "no resolution": ("resolution = 0.01, ", "", 10, "resolution: found nothing"),
    "no modulus": (", modulus = 100000000", "", 10, "a total whose modulus is unknown is not read"),
    "modulus beyond the register": (
        'as = "float32", unit = "kWh", ' + TOTAL,
        'as = "u16", unit = "kWh", ' + TOTAL,
        10,
        "at most 6553600 counts, which is all that u16 can show",
    ),
    "unknown quantity": ("active_power =", "activ_power =", 11, "Did you mean 'active_power'?"),
    "unknown unit": ('"W"', '"Watt"', 11, "expected a known unit"),
    "unit of another dimension": ('"W"', '"kWh"', 11, "a unit of energy; expected one of power: W, kW, MW"),
    "unknown type": ('at = 0x000C, as = "float32"', 'at = 0x000C, as = "float23"', 11, "Did you mean 'float32'?"),
    "no type": ('at = 0x000C, as = "float32"', "at = 0x000C", 11, "Add the key 'as'"),
    "no address": ("at = 0x000C, ", "", 11, "the address of the first word"),
    "address past the end": ("at = 0x000C", "at = 0xFFFF", 11, "room for 2 words below 65536"),
    "overlap": ("at = 0x000C", "at = 0x0049", 11, "word 73, which belongs to 'active_energy_import'"),
    "absent pattern too wide": ("0x7FC00000", "0x7FC0000000", 11, "does not fit into 2 words"),
    "unknown key": ("absent =", "abscent =", 11, "Did you mean 'absent'?"),
    "an if": ("absent =", "if = 1, absent =", 11, "the unknown key 'if'"),
    "message key on a Modbus register": ("absent = 0x7FC00000", 'field = "p"', 11, "no such key for a register"),
    "modulus on a momentary value": ("absent = 0x7FC00000", "modulus = 10", 11, "no such key for a register of kind"),
    "no origin": ('origin = "captured"\n', "", 13, "example[1].origin: found nothing"),
    "invented origin": ('origin = "captured"', 'origin = "seen"', 14, 'found "seen"; expected'),
    "no from": ('from = "serial 23-0117, meter display 123.50 kWh"\n', "", 13, "example[1].from: found nothing"),
    "example that does not decode": ("= 123.5,", "= 123.51,", 17, "123.50 kWh, which is what the example decodes to"),
    "float beyond one unit in the last place": ("= 1500 }", "= 1500.001 }", 17, "1500.0 W, which is what"),
    "example without the words": ('0x000C = "44BB 8000"', '0x000D = "44BB 8000"', 17, "no words 12 to 13"),
    "example of half a word": ("44BB 8000", "44BB 80", 16, "an address and whole words"),
    "example at no address": ('0x000C = "44BB', 'power = "44BB', 16, "an address and whole words"),
    "example of a quantity it has not": ("active_power = 1500", "power_factor = 1", 17, "a quantity of this profile's"),
    "absent shown as a value": ("44BB 8000", "7FC0 0000", 17, "found 1500 W; expected absent W"),
    "side not told": ('side = "secondary"\n', "", None, "Say which side of the CT and PT the meter shows"),
    "another carrier than the folder": ('"electricity"', '"gas"', 3, "expected 'electricity', as the folder"),
    "class of a quantity it has not": ('{ active_energy_import = "1" }', '{ mass = "1" }', 6, "class of 'mass'"),
    "neither Modbus nor message": (
        'modbus = { table = "input", word_order = "big" }\n',
        "",
        None,
        "neither 'modbus' nor 'wire'",
    ),
    "no source": ('source = "LM-3 Modbus manual v1.4, table 5"\n', "", None, "source: found nothing"),
    "word order of other words": (
        'at = 0x000C, as = "float32"',
        'word_order = "2143", at = 0x000C, as = "float32"',
        11,
        "registers.active_power.word_order: found '2143' is neither big nor little nor an order of 2 words",
    ),
    "no word order": ('word_order = "big" }', 'word_order = "ABCD" }', 7, "big, little, or the rank of each word"),
    "bit without its number": ('at = 0x000C, as = "float32"', 'at = 0x000C, as = "bit"', 11, "which bit, 0 to 15"),
    "bit of a number": ("absent = 0x7FC00000", "bit = 3", 11, 'expected only with as = "bit"'),
    "bit 16": ('as = "float32", unit = "W"', 'as = "bit", bit = 16, unit = "W"', 11, "bit: found 16"),
    "total of a bit": ('at = 0x0048, as = "float32"', 'at = 0x0048, bit = 1, as = "bit"', 10, "a type that can count"),
    "parts beside an address": (
        "absent = 0x7FC00000",
        'parts = [{ at = 1, as = "u16" }]',
        11,
        "no such key beside 'parts'",
    ),
    "part of an unknown type": (
        'at = 0x000C, as = "float32", unit = "W", kind = "instantaneous", absent = 0x7FC00000',
        'parts = [{ at = 1, as = "u17" }], unit = "W", kind = "instantaneous"',
        11,
        'parts[1].as: found "u17"; expected one of u16',
    ),
    "pattern of a part too wide": (
        'at = 0x000C, as = "float32", unit = "W", kind = "instantaneous", absent = 0x7FC00000',
        'parts = [{ at = 1, as = "u16", absent = 0x10000 }], unit = "W", kind = "instantaneous"',
        11,
        "pattern 0x10000 does not fit into 1 words",
    ),
    "parts out of one request's reach": (
        'at = 0x000C, as = "float32", unit = "W", kind = "instantaneous", absent = 0x7FC00000',
        'parts = [{ at = 100, as = "u16" }, { at = 225, as = "u16" }], unit = "W", kind = "instantaneous"',
        11,
        "words 100 to 225, which is 126 words; expected at most 125",
    ),
    "parts share their words": (
        'at = 0x000C, as = "float32", unit = "W", kind = "instantaneous", absent = 0x7FC00000',
        'parts = [{ at = 72, as = "u16" }, { at = 100, as = "u16" }], unit = "W", kind = "instantaneous"',
        11,
        "word 72, which belongs to 'active_energy_import'",
    ),
    "more than the parts can show": (
        'at = 0x0048, as = "float32", unit = "kWh", ' + TOTAL,
        'parts = [{ at = 1, as = "u16", weight = 10 }, { at = 2, as = "u16" }], unit = "kWh", ' + TOTAL,
        10,
        "at most 72088600 counts, which is all that its parts can show",
    ),
    "scale factor out of reach": ("absent = 0x7FC00000", "scale_factor = 200", 11, "words 12 to 200, which is 189"),
    "a value on forbidden words": (
        'word_order = "big" }',
        "forbidden = [[10, 12]] }",
        11,
        "words outside of 10 to 12, which are forbidden",
    ),
    "a range that ends before it begins": (
        'word_order = "big" }',
        "forbidden = [[30, 20]] }",
        7,
        "the first address before the last",
    ),
    "a range of three": ('word_order = "big" }', "forbidden = [[30, 40, 50]] }", 7, "modbus.forbidden"),
    "a block longer than the standard's": ('word_order = "big" }', "max_words = 126 }", 7, "modbus.max_words"),
    "value longer than a block": (
        'word_order = "big" }',
        "max_words = 1 }",
        10,
        "which is 2 words; expected at most 1",
    ),
    "not TOML": ('"LM-3"', "LM-3", 2, "well-formed TOML"),
}


@pytest.mark.parametrize(("old", "new", "line", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_profile_is_refused_with_a_sentence(
    profile_file: Callable[..., Path], tmp_path: Path, old: str, new: str, line: int | None, says: str
) -> None:
    path = profile_file(old, new)
    with pytest.raises(ProfileError) as refused:
        load_profile("electricity/lab_lm3", extra_dir=tmp_path)
    matching = [problem for problem in refused.value.problems if says in problem.sentence()]
    assert matching, str(refused.value)
    assert matching[0].line == line
    assert matching[0].file == str(path)


def test_a_profile_without_an_example_is_refused(profile_file: Callable[..., Path], tmp_path: Path) -> None:
    path = profile_file("")
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index(EXAMPLE_START)], encoding="utf-8")
    with pytest.raises(ProfileError, match="example: found no example; expected at least one"):
        load_profile("electricity/lab_lm3", extra_dir=tmp_path)


def test_a_register_that_no_example_shows_is_named(profile_file: Callable[..., Path], tmp_path: Path) -> None:
    profile_file(", active_power = 1500", "")
    assert load_profile("electricity/lab_lm3", extra_dir=tmp_path).not_exemplified == ("active_power",)


def test_absent_words_can_be_an_example(profile_file: Callable[..., Path], tmp_path: Path) -> None:
    profile_file("44BB 8000", "7FC0 0000", "active_power = 1500", 'active_power = "absent"')
    profile = load_profile("electricity/lab_lm3", extra_dir=tmp_path)
    assert profile.examples[0].shows["active_power"] is None


def test_mistakes_of_form_are_told_together(profile_file: Callable[..., Path], tmp_path: Path) -> None:
    profile_file("resolution = 0.01", "resolution = 0", "captured", "seen", 'maker = "Lab Instruments"', "maker = 7")
    with pytest.raises(ProfileError) as refused:
        load_profile("electricity/lab_lm3", extra_dir=tmp_path)
    assert [(problem.line, problem.key) for problem in refused.value.problems] == [
        (1, "maker"),
        (10, "registers.active_energy_import.resolution"),
        (14, "example[1].origin"),
    ]
