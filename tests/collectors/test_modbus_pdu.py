"""Questions and answers of Modbus without a wire: the specification's own examples, and everything that is not one."""

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import collectors.modbus_pdu
from collectors.modbus_frames import mbap_frame, rtu_frame
from collectors.modbus_pdu import (
    EXCEPTIONS,
    READING,
    data_of,
    identification_of,
    identifying,
    reading,
    trouble_of,
)
from gateway.errors import LineGarbled, LineRefused
from tests.collectors.modbus_examples import EXAMPLES, IDENTIFIED, IDENTIFIED_IN_PARTS

COLLECTORS = Path(collectors.modbus_pdu.__file__).parent


@pytest.mark.parametrize(("asked", "request_pdu", "answer", "data"), EXAMPLES)
def test_the_examples_of_the_specification(asked, request_pdu: bytes, answer: bytes, data: bytes):
    question = reading(*asked)
    assert question.pdu == request_pdu
    assert trouble_of(answer, question) is None
    assert data_of(answer) == data


@pytest.mark.parametrize(("asked", "request_pdu", "answer", "data"), EXAMPLES)
def test_an_example_cut_or_lengthened_at_any_byte_is_no_answer(asked, request_pdu: bytes, answer: bytes, data: bytes):
    question = reading(*asked)
    for length in range(1, len(answer)):
        assert isinstance(trouble_of(answer[:length], question), LineGarbled)
    for more in (b"\0", b"\0\0", answer):
        assert isinstance(trouble_of(answer + more, question), LineGarbled)


@pytest.mark.parametrize(("asked", "request_pdu", "answer", "data"), EXAMPLES)
def test_an_example_is_no_answer_to_any_other_example(asked, request_pdu: bytes, answer: bytes, data: bytes):
    for other, *_ in EXAMPLES:
        if other != asked:
            assert isinstance(trouble_of(answer, reading(*other)), LineGarbled)


@pytest.mark.parametrize("code", range(256))
def test_every_exception_is_a_refusal_with_its_code_and_its_meaning(code: int):
    trouble = trouble_of(bytes((0x83, code)), reading("holding", 0, 1))
    assert isinstance(trouble, LineRefused)
    assert (trouble.code, trouble.reason) == (code, f"line.refused.{code}")
    assert str(trouble).endswith(f"({EXCEPTIONS.get(code, 'a code that is not assigned')})")


def test_the_exception_of_the_specification_and_what_only_looks_like_one():
    question = reading("coil", 1185, 1)  # §7: an output that is not there, 81 02
    assert question.pdu == bytes.fromhex("01 04A1 0001")
    assert trouble_of(bytes.fromhex("81 02"), question).code == 2
    assert isinstance(trouble_of(bytes.fromhex("82 02"), question), LineGarbled)
    assert isinstance(trouble_of(bytes.fromhex("81"), question), LineGarbled)
    assert isinstance(trouble_of(bytes.fromhex("81 02 00"), question), LineGarbled)
    assert trouble_of(bytes.fromhex("AB 01"), identifying()).code == 1


def test_the_identification_of_the_specification_in_one_part_and_in_two():
    pdu, objects = IDENTIFIED
    assert identifying().pdu == bytes.fromhex("2B 0E 01 00")
    assert trouble_of(pdu, identifying()) is None
    assert identification_of(pdu) == (objects, None)
    (first, second), objects = IDENTIFIED_IN_PARTS
    assert identification_of(first).next_object == 2
    assert identifying(2).pdu == bytes.fromhex("2B 0E 01 02")
    assert identification_of(first).objects | identification_of(second).objects == objects
    assert identification_of(second).next_object is None


def test_an_identification_cut_or_lengthened_at_any_byte_does_not_add_up():
    pdu, _ = IDENTIFIED
    ends = {7, 31, 48}  # behind an object the rest may be missing only if it was announced: three are announced here
    for length in range(1, len(pdu)):
        trouble = trouble_of(pdu[:length], identifying())
        assert isinstance(trouble, LineGarbled) or length in ends
    for more in (b"\x03", b"\x03\x05ab", b"\x03\x00", b"\x02\x00"):
        assert isinstance(trouble_of(pdu + more, identifying()), LineGarbled)


@pytest.mark.parametrize(
    "asked",
    [
        ("holding", 0, 0),
        ("holding", 0, 126),
        ("input", 0, -1),
        ("coil", 0, 2001),
        ("discrete", 0, 0),
        ("holding", 65536, 1),
        ("holding", -1, 1),
        ("holding", 65535, 2),
        ("registers", 0, 1),
    ],
)
def test_what_modbus_does_not_have_cannot_be_asked(asked):
    with pytest.raises(ValueError, match=r"Modbus|addresses"):
        reading(*asked)


def test_the_limits_can_be_asked():
    assert reading("holding", 65535, 1).pdu == bytes.fromhex("03 FFFF 0001")
    assert reading("input", 65411, 125).data_bytes == 250
    assert reading("coil", 63536, 2000).data_bytes == 250
    assert reading("discrete", 0, 1).data_bytes == 1


@given(
    st.sampled_from(["coil", "discrete", "holding", "input", "file", ""]), st.integers(-9, 65600), st.integers(-9, 2100)
)
def test_nothing_but_a_question_can_be_made(table: str, address: int, count: int):
    try:
        pdu = reading(table, address, count).pdu
    except ValueError:
        return
    function, first, many = struct.unpack(">BHH", pdu)
    assert function in {1, 2, 3, 4}
    assert (first, many) == (address, count)


@pytest.mark.parametrize("function", sorted(set(range(256)) - {1, 2, 3, 4, 43}))
def test_no_frame_can_be_made_of_anything_that_does_more_than_read(function: int):
    for frame in (lambda pdu: mbap_frame(1, 1, pdu), lambda pdu: rtu_frame(1, pdu)):
        with pytest.raises(ValueError, match="reads and does nothing else"):
            frame(bytes((function, 0, 0, 0, 1)))


def test_no_code_that_writes_exists_in_the_collectors():
    assert frozenset({1, 2, 3, 4, 43}) == READING
    words = re.compile(
        r"write_(coil|register|single|multiple|file_record)|mask_write|readwrite|WriteSingle|WriteMultiple"
    )
    for path in COLLECTORS.rglob("*.py"):
        assert not words.search(path.read_text("utf-8")), path
