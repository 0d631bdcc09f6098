"""The frames of Modbus on TCP and on a serial line, cut anywhere, and all that is no frame."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.modbus_frames import MbapReader, RtuReader, crc16, mbap_frame, rtu_frame
from gateway.errors import LineGarbled
from tests.collectors.modbus_examples import EXAMPLES, IDENTIFIED, IDENTIFIED_IN_PARTS

ANSWERS = [answer for _, _, answer, _ in EXAMPLES] + [IDENTIFIED[0], *IDENTIFIED_IN_PARTS[0], b"\x83\x02"]
# Without a length in its header an identification ends where the objects it announces end.
SERIAL_ANSWERS = [pdu for pdu in ANSWERS if pdu not in IDENTIFIED_IN_PARTS[0]]


def put(reader: MbapReader, data: bytes) -> list:
    """As a socket would: as much as there is space for at a time."""
    frames = []
    while data:
        space = reader.space()
        some, data = data[: len(space)], data[len(space) :]
        space[: len(some)] = some
        frames += reader.take(len(some))
    return frames


def mbap(transaction: int, address: int, pdu: bytes) -> bytes:
    return transaction.to_bytes(2, "big") + b"\0\0" + (1 + len(pdu)).to_bytes(2, "big") + bytes((address,)) + pdu


def rtu(address: int, pdu: bytes) -> bytes:
    """With a CRC bit by bit, as §6.2.2 of the serial specification describes it."""
    body, crc = bytes((address,)) + pdu, 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc, low = crc >> 1, crc & 1
            crc ^= 0xA001 * low
    return body + bytes((crc & 0xFF, crc >> 8))


def cuts(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


def test_a_question_on_tcp_is_the_one_of_the_implementation_guide():
    # Implementation Guide V1.0b, appendix A: read of 1 register at 4 of device 255, transaction 0x1501
    assert mbap_frame(0x1501, 0xFF, bytes.fromhex("03 0004 0001")) == bytes.fromhex("1501 0000 0006 FF 03 0004 0001")


@given(
    st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 255), st.sampled_from(ANSWERS)), max_size=12),
    st.lists(st.integers(0, 40), max_size=40),
)
def test_frames_on_tcp_come_out_as_they_were_sent_wherever_they_are_cut(frames, sizes):
    reader, out = MbapReader(), []
    for piece in cuts(b"".join(mbap(*frame) for frame in frames), sizes):
        out += put(reader, piece)
    assert out == frames
    assert reader.held == 0


def test_the_longest_frames_fill_the_small_buffer_again_and_again():
    frames = [(number, 1, bytes((3, 250)) + bytes(250) + b"\0") for number in range(200)]  # a PDU of 253 bytes
    reader = MbapReader()
    assert put(reader, b"".join(mbap(*frame) for frame in frames)) == frames


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("0001 0001 0003 01", "protocol id 1 instead of 0"),
        ("0001 FFFF 0003 01", "protocol id 65535 instead of 0"),
        ("0001 0000 0000 01", "a frame of 0 bytes where 2 to 254 are possible"),
        ("0001 0000 0001 01", "a frame of 1 bytes"),
        ("0001 0000 00FF 01", "a frame of 255 bytes"),
        ("0001 0000 FFFF 01", "a frame of 65535 bytes"),
    ],
)
def test_a_header_that_lies_is_found_out_before_anything_is_waited_for(head: str, said: str):
    with pytest.raises(LineGarbled, match=said):
        put(MbapReader(), bytes.fromhex(head))


@given(st.binary(max_size=600))
def test_rubbish_on_tcp_is_told_or_waited_for_and_never_breaks_the_reader(data: bytes):
    with suppress(LineGarbled):
        put(MbapReader(), data)


@pytest.mark.parametrize(
    ("data", "check"),
    [("02 07", 0x1241), ("01 04 02 FFFF", 0x80B8), ("11 03 006B 0003", 0x8776), ("", 0xFFFF)],
)
def test_the_check_of_published_frames(data: str, check: int):
    # 02 07: MODBUS over Serial Line V1.02, §6.2.2, where the frame ends in 41 12
    assert crc16(bytes.fromhex(data)) == check


@given(
    st.lists(st.tuples(st.integers(0, 247), st.sampled_from(SERIAL_ANSWERS)), max_size=8), st.lists(st.integers(0, 30))
)
def test_frames_on_a_serial_line_come_out_as_they_were_sent_wherever_they_are_cut(frames, sizes):
    reader, out = RtuReader(), []
    for piece in cuts(b"".join(rtu(*frame) for frame in frames), sizes):
        out += reader.take(piece)
    assert out == frames
    assert reader.rest() == b""


@pytest.mark.parametrize("pdu", SERIAL_ANSWERS)
def test_no_single_wrong_bit_passes_on_a_serial_line(pdu: bytes):
    frame = rtu(17, pdu)
    assert rtu_frame(17, bytes.fromhex("03 006B 0003")) == rtu(17, bytes.fromhex("03 006B 0003"))
    for bit in range(8 * len(frame)):
        wrong = bytearray(frame)
        wrong[bit // 8] ^= 1 << bit % 8
        try:
            assert RtuReader().take(bytes(wrong)) == []  # it may look like the beginning of a longer one
        except LineGarbled:
            continue


def test_an_answer_that_was_not_asked_is_told_on_a_serial_line():
    with pytest.raises(LineGarbled, match="function code 6, which was not asked"):
        RtuReader().take(rtu(1, bytes.fromhex("06 0001 0003")))
