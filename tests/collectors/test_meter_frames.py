"""DL/T 645 and CJ/T 188 without a wire: published frames, every damage of one byte, every cut, every other question."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import cjt188, dlt645
from collectors.cjt188 import Cjt188Question
from collectors.dlt645 import Dlt645Question
from collectors.meter_frames import Frame, FrameFinder, Part, Question, build
from gateway.errors import LineGarbled, LineRefused
from gateway.meter_data import DataManner

WATER = DataManner(meter_type=0x10)
HEAT = DataManner(meter_type=0x25)
BIG_HEAT = DataManner(meter_type=0x20, identifier_order="big")


def found(question: Question, data: bytes) -> list[Part]:
    """What the bytes bring to who asked this question; refusals raise."""
    frames = FrameFinder(question.layout).feed(data)
    return [part for frame in frames if (part := question.answer(frame)) is not None]


# Question, its bytes and its answer as published, the data in it. The sources print the frames with the values beside them:
# L = "DLT645-2007 规约 常见报文解析" V1.1, 2012-09-29; E = 亿佰特 (Ebyte) 物联网实验室, note on DL/T 645;
# K = a reader's log of meter 558890213594 (EXEC_CHRONICLE_KEY, 2021-07-08); J = "CJ/T-188 冷热量表协议解析2", heat meter of JY;
# B = application example of the EdgeBus gateway, heat meter with T = 25H
PUBLISHED = {
    "L: forward active energy 0.26 kWh": (
        Dlt645Question(0x161, 0x00010000),
        "68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16",
        "68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16",
        "26 00 00 00",
    ),
    "L: reverse active energy 1.26 kWh": (
        Dlt645Question(0x161, 0x00020000),
        "68 61 01 00 00 00 00 68 11 04 33 33 35 33 15 16",
        "68 61 01 00 00 00 00 68 91 08 33 33 35 33 59 34 33 33 8C 16",
        "26 01 00 00",
    ),
    "L: forward reactive energy 100.26 kvarh": (
        Dlt645Question(0x161, 0x00030000),
        "68 61 01 00 00 00 00 68 11 04 33 33 36 33 16 16",
        "68 61 01 00 00 00 00 68 91 08 33 33 36 33 59 33 34 33 8D 16",
        "26 00 01 00",
    ),
    "L: voltage of phase A 100.1 V": (
        Dlt645Question(0x161, 0x02010100),
        "68 61 01 00 00 00 00 68 11 04 33 34 34 35 17 16",
        "68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16",
        "01 10",
    ),
    "E: combined active energy 0 kWh": (
        Dlt645Question(0x652022122003, 0x00000000),
        "68 03 20 12 22 20 65 68 11 04 33 33 33 33 8D 16",
        "68 03 20 12 22 20 65 68 91 08 33 33 33 33 33 33 33 33 DD 16",
        "00 00 00 00",
    ),
    "E: block of voltages, only phase C": (
        Dlt645Question(0x652022122018, 0x0201FF00),
        "FE FE FE FE 68 18 20 12 22 20 65 68 11 04 33 32 34 35 A4 16",
        "FE FE FE FE 68 18 20 12 22 20 65 68 91 0A 33 32 34 35 33 33 33 33 C7 56 13 16",
        "00 00 00 00 94 23",
    ),
    "K: forward active energy 2.26 kWh": (
        Dlt645Question(0x558890213594, 0x00010000),
        "FE FE FE FE 68 94 35 21 90 88 55 68 11 04 33 33 34 33 09 16",
        "FE FE FE FE 68 94 35 21 90 88 55 68 91 08 33 33 34 33 59 35 33 33 81 16",
        "26 02 00 00",
    ),
    "K: current of phase A 0.238 A": (
        Dlt645Question(0x558890213594, 0x02020100),
        "FE FE FE FE 68 94 35 21 90 88 55 68 11 04 33 34 35 35 0D 16",
        "FE FE FE FE 68 94 35 21 90 88 55 68 91 07 33 34 35 35 6B 35 33 63 16",
        "38 02 00",
    ),
    "J: heat meter, identifier with its first digits first": (
        Cjt188Question(0x00000040314132, 0x901F, 0x01, BIG_HEAT),
        "FE FE FE FE 68 20 32 41 31 40 00 00 00 01 03 90 1F 01 20 16",
        (
            "FE FE FE FE 68 20 32 41 31 40 00 00 00 81 2E 90 1F 01 08 02 00 00 00 08 02 00 00 00 17 00 00 00 00 35 00 00 00 00"
            " 2C 34 10 00 00 35 25 00 66 25 00 00 00 00 53 00 12 10 07 15 20 00 00 31 16"
        ),
        (
            "08 02 00 00 00 08 02 00 00 00 17 00 00 00 00 35 00 00 00 00 2C 34 10 00 00 35 25 00 66 25 00 00 00 00"
            " 53 00 12 10 07 15 20 00 00"
        ),
    ),
    "B: heat meter": (
        Cjt188Question(0x00312718241912, 0x901F, 0x03, HEAT),
        None,  # its question is printed with another type, number and sum than its answer has
        (
            "68 25 12 19 24 18 27 31 00 81 2E 1F 90 03 11 74 02 00 05 88 27 44 05 05 00 00 00 00 17 00 00 00 00 35"
            " 08 56 71 00 2C 79 26 00 64 26 00 66 47 07 11 52 17 03 09 25 20 00 05 2A 16"
        ),
        (
            "11 74 02 00 05 88 27 44 05 05 00 00 00 00 17 00 00 00 00 35 08 56 71 00 2C 79 26 00 64 26 00 66 47 07"
            " 11 52 17 03 09 25 20 00 05"
        ),
    ),
}
ALL = pytest.mark.parametrize("name", PUBLISHED)


@ALL
def test_a_published_question_is_asked_to_the_byte_and_its_answer_read(name: str) -> None:
    question, asks, answers, data = PUBLISHED[name]
    if asks is not None:
        assert question.frame() == b"\xfe\xfe\xfe\xfe" + bytes.fromhex(asks).lstrip(b"\xfe")
    assert found(question, bytes.fromhex(answers)) == [Part(bytes.fromhex(data), more=False)]


def test_a_published_answer_whose_sum_is_misprinted_is_refused_and_read_with_the_right_one() -> None:
    # "CJ/T-188 水表协议解析" prints question and answer of the SC water meter; the sum of the answer's bytes is 13, not 08.
    question = Cjt188Question(0x78330011223344, 0x901F, 0x00, WATER)
    assert question.frame() == bytes.fromhex("FE FE FE FE 68 10 44 33 22 11 00 33 78 01 03 1F 90 00 80 16")
    data = "00 77 66 55 2C 00 77 66 55 2C 31 01 22 11 05 15 20 21 84"
    body = bytes.fromhex("68 10 44 33 22 11 00 33 78 81 16 1F 90 00 " + data)
    assert found(question, body + bytes.fromhex("08 16")) == []
    assert found(question, body + bytes([sum(body) % 256, 0x16])) == [Part(bytes.fromhex(data), more=False)]


@ALL
def test_one_wrong_byte_anywhere_brings_nothing_or_what_was_sent(name: str) -> None:
    """Every byte of every published answer takes each of its 255 other values."""
    question, _, answers, data = PUBLISHED[name]
    sent = bytes.fromhex(answers)
    start = sent.index(b"\x68")  # what comes before wakes the receiver and may be anything
    for place in range(len(sent)):
        for value in range(256):
            if value != sent[place]:
                got = found(question, sent[:place] + bytes([value]) + sent[place + 1 :])
                assert got == ([] if place >= start else [Part(bytes.fromhex(data), more=False)]), (place, value)


@ALL
def test_an_answer_cut_anywhere_brings_nothing_and_its_pieces_all_of_it(name: str) -> None:
    question, _, answers, data = PUBLISHED[name]
    sent = bytes.fromhex(answers)
    for place in range(len(sent)):
        finder = FrameFinder(question.layout)
        assert finder.feed(sent[:place]) == []
        (frame,) = finder.feed(sent[place:])
        assert question.answer(frame) == Part(bytes.fromhex(data), more=False)


@ALL
def test_a_published_answer_answers_no_other_published_question(name: str) -> None:
    sent = bytes.fromhex(PUBLISHED[name][2])
    for other, (question, *_) in PUBLISHED.items():
        assert (found(question, sent) != []) == (other == name)


def test_the_question_itself_heard_as_an_echo_is_no_answer() -> None:
    for question, *_ in PUBLISHED.values():
        assert found(question, question.frame()) == []


def damaged_twice(question: Question, frame: bytes) -> list[Part]:
    """Two bytes changed so that the sum still holds: what the sum alone lets through."""
    parts = []
    for place in range(1, len(frame) - 3):
        spoilt = bytearray(frame)
        spoilt[place] = (spoilt[place] + 1) % 256
        spoilt[place + 1] = (spoilt[place + 1] - 1) % 256
        parts += found(question, bytes(spoilt))
    return parts


def test_two_wrong_bytes_that_cancel_out_in_the_sum_pass_in_the_data_only() -> None:
    """Why the digits are looked at as well: the sum of these protocols is weak. Address, control and identifier hold."""
    question, _, answers, _ = PUBLISHED["L: voltage of phase A 100.1 V"]
    parts = damaged_twice(question, bytes.fromhex(answers))
    assert parts == [Part(bytes.fromhex("02 0F"), more=False)]  # F is no digit


@given(
    st.integers(0, 10**12 - 1),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 255),
    st.binary(max_size=200),
    st.booleans(),
    st.binary(max_size=20).map(lambda noise: noise.replace(b"\x68", b"\x00")),
)
def test_whatever_a_dlt645_meter_says_arrives_as_it_was_said(address, identifier, part, data, more, noise) -> None:
    question = Dlt645Question(int(str(address), 16), identifier, part)
    control = (0x92 if part else 0x91) | (0x20 if more else 0)
    body = identifier.to_bytes(4, "little") + data + (bytes([part]) if part else b"")
    head = bytes.fromhex(f"{address:012d}")[::-1] + b"\x68"
    sent = build(head, control, bytes((byte + 0x33) % 256 for byte in body))
    assert found(question, noise + sent + noise) == [Part(data, more)]


@given(st.integers(0, 0xFFFFFFFFFFFFFF), st.integers(0, 255), st.booleans(), st.binary(max_size=200))
def test_whatever_a_cjt188_meter_says_arrives_as_it_was_said(address, number, big, data) -> None:
    question = Cjt188Question(
        address, 0x901F, number, DataManner(meter_type=0x30, identifier_order="big" if big else "little")
    )
    head = b"\x30" + address.to_bytes(7, "little")
    sent = build(head, 0x81, (b"\x90\x1f" if big else b"\x1f\x90") + bytes([number]) + data)
    assert found(question, sent) == [Part(data, more=False)]


@given(st.binary(max_size=300))
def test_no_bytes_from_a_hostile_line_break_the_finder(noise: bytes) -> None:
    for layout in (Dlt645Question.layout, Cjt188Question.layout):
        finder = FrameFinder(layout)
        frames = [frame for byte in noise for frame in finder.feed(bytes([byte]))]
        assert all(isinstance(frame, Frame) for frame in frames)
        assert len(finder._bytes) <= 512


def test_a_false_start_in_the_noise_does_not_swallow_the_answer_behind_it() -> None:
    question, _, answers, data = PUBLISHED["B: heat meter"]
    noise = bytes.fromhex("68 00 00 00 00 00 00 00 00 00 FF")  # begins a frame of 255 bytes of data
    assert found(question, noise + bytes.fromhex(answers)) == [Part(bytes.fromhex(data), more=False)]


# By hand from the error word of DL/T 645: bit 1 = no such data, bit 2 = no permission; 02 + 33 = 35, 06 + 33 = 39
@pytest.mark.parametrize(("word", "says"), [(2, "no such data"), (6, "no such data, wrong password"), (0, "no reason")])
def test_a_refusal_tells_its_error_word(word: int, says: str) -> None:
    question = Dlt645Question(0x161, 0x00010000)
    sent = build(bytes.fromhex("61 01 00 00 00 00 68"), 0xD1, bytes([word + 0x33]))
    with pytest.raises(LineRefused, match=says) as error:
        found(question, sent)
    assert (error.value.code, error.value.reason) == (word, f"line.refused.{word}")
    assert found(Dlt645Question(0x162, 0x00010000), sent) == []  # another meter's refusal is not ours


def test_a_refusal_of_cjt188_repeats_the_number_and_tells_the_state() -> None:
    head = bytes([0x10]) + bytes.fromhex("44 33 22 11 00 33 78")
    sent = build(head, 0xC1, bytes.fromhex("07 04 00"))
    with pytest.raises(LineRefused, match="state 04 00"):
        found(Cjt188Question(0x78330011223344, 0x901F, 7, WATER), sent)
    assert found(Cjt188Question(0x78330011223344, 0x901F, 8, WATER), sent) == []


def test_the_frames_that_follow_are_asked_by_number_and_there_are_255() -> None:
    question = Dlt645Question(0x161, 0x0001FF00)
    second = question.following()
    # by hand: 12H, five bytes of data: identifier and 01, each + 33H
    assert second.frame()[4:-2] == bytes.fromhex("68 61 01 00 00 00 00 68 12 05 33 32 34 33 34")
    with pytest.raises(LineGarbled, match="255"):
        Dlt645Question(0x161, 0x0001FF00, 255).following()
    with pytest.raises(LineGarbled):
        Cjt188Question(1, 0x901F, 0, WATER).following()


@pytest.mark.parametrize("module", [dlt645, cjt188])
def test_no_control_code_but_those_that_read_can_be_framed(module) -> None:
    """Read-only by construction: `build` is called in one place, with the codes that read."""
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "build"]
    assert len(calls) == 1
    controls = {Dlt645Question(1, 2, part).frame()[12] for part in range(256)}
    assert controls == {0x11, 0x12}
    assert {Cjt188Question(1, 2, number, WATER).frame()[13] for number in range(256)} == {0x01}
