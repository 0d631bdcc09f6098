"""Sealed chunks: every reading comes back bit by bit, however odd, and regular ones cost a few bytes."""

import os
import random
import struct
import subprocess
import sys
import zlib
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.stores import array_planes
from gateway.stores.chunks import decode, decode_values, encode, head_of
from gateway.stores.hot_rows import DAY, Row, by_instant
from gateway.stores.integer_planes import (
    Cursor,
    Packed,
    put_integers,
    put_one_by_one,
    skip_integers,
    take_integers,
    take_one_by_one,
)

ROOT = Path(__file__).resolve().parents[2]

EXTREMES = [-(2**63), -(2**63) + 1, -1, 0, 1, 255, 256, 2**31, 2**53 + 1, 2**63 - 2, 2**63 - 1]
whole = st.one_of(st.sampled_from(EXTREMES), st.integers(-(2**63), 2**63 - 1), st.integers(-300, 300))
decimals = st.integers(-(10**7), 10**7).map(lambda number: number / 100)
floats = st.one_of(
    st.sampled_from([0.0, -0.0, 5e-324, 1.7e308]), decimals, st.floats(allow_nan=False, allow_infinity=False)
)
columns_of_values = st.one_of(
    *(st.lists(values, min_size=1, max_size=30) for values in (whole, floats, decimals, st.none())),
    st.lists(st.one_of(whole, floats, st.none()), min_size=1, max_size=30),
)


@st.composite
def some_rows(draw) -> list[Row]:
    """Rows of series 7 by instant and place, on a grid or off it, with repeats."""
    step = draw(st.sampled_from([0, 1, 900_000_000, 7_000_000]))
    place = draw(st.integers(0, 2**62))
    rows = []
    for index, value in enumerate(draw(columns_of_values)):
        instant = index * step + draw(st.sampled_from([0, 0, 0, 1, -1000]))
        place += draw(st.sampled_from([1 << 24, 1 << 24, 1, 5 << 24]))
        quality = 16 if value is None else draw(st.sampled_from([1, 1, 1, 2, 9, 33, 255]))
        rows.append((place, 7, instant, value, quality, draw(st.sampled_from(["", "", "limit", "原因\x00'"]))))
    return sorted(rows, key=by_instant)


def bits(values) -> list[bytes]:
    return [struct.pack("<d", value) if type(value) is float else repr(value).encode() for value in values]


@settings(max_examples=300, deadline=None)
@given(some_rows())
def test_every_reading_of_a_chunk_comes_back_with_its_place_its_type_and_its_bits(rows):
    body = encode(rows)
    found = decode(body).rows(7)
    assert found == rows
    assert bits(row[3] for row in found) == bits(row[3] for row in rows)
    fewer = decode_values(body)
    assert (list(fewer.instants), fewer.qualities) == ([row[2] for row in rows], bytes(row[4] for row in rows))
    assert bits(fewer.values) == bits(row[3] for row in rows)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(whole, min_size=1, max_size=40), min_size=1, max_size=3), st.sampled_from([1, 2]))
def test_whole_numbers_of_64_bits_survive_differences_that_overflow(columns, order):
    packed = Packed(bytearray(), bytearray())
    for numbers in columns:
        put_integers(packed, numbers, order=order)
    data = bytes(packed.heads + packed.planes)
    reading, skipping = (Cursor(data, len(packed.heads)) for _ in range(2))
    for numbers in columns[:-1]:
        assert list(take_integers(reading, len(numbers), order=order)) == numbers
        skip_integers(skipping, len(numbers), order=order)
    assert list(take_integers(skipping, len(columns[-1]), order=order)) == columns[-1]


@settings(max_examples=300, deadline=None)
@given(st.lists(whole, min_size=3, max_size=40), st.sampled_from([1, 2]), st.sampled_from([1, 10, 2**40]))
def test_with_numpy_and_without_the_same_bytes_are_written_and_the_same_numbers_read(numbers, order, scale):
    for column in (numbers, [number // scale * scale for number in numbers], list(accumulate(numbers[:1] * 9))):
        kept = [(number - EXTREMES[0]) % 2**64 + EXTREMES[0] for number in column]
        plain, fast = (Packed(bytearray(), bytearray()) for _ in range(2))
        put_one_by_one(plain, kept, order=order)
        array_planes.put_integers(fast, kept, order=order)
        assert fast == plain
        data = bytes(plain.heads + plain.planes)
        taken = [
            take(Cursor(data, len(plain.heads)), len(kept), order=order)
            for take in (take_one_by_one, array_planes.take_integers)
        ]
        assert list(taken[0]) == list(taken[1]) == kept


HIDING = """
import sys

class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "numpy":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hiding())
"""

STORING = """
import sys
from pathlib import Path
from gateway.contracts import Delivery
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.stores.embedded import EmbeddedStore

MINUTE = 60_000_000
with EmbeddedStore.open(Path(sys.argv[1])) as store:
    for n in range(700):
        at = n * MINUTE + n * n % 7 * 1000
        store.deliver([Delivery(n + 1, [Reading("a/p/volume", at, n * n), Reading("a/p/power", at, n % 13 / 7)])])
    while store.seal(now=2**62):
        pass
    print(type(store.columns(EVERYTHING, "a/p/volume", 0, 2**62).values))
    for name in ("a/p/volume", "a/p/power"):
        found = store.columns(EVERYTHING, name, 0, 2**62)
        print([column.tobytes().hex() for column in found], store.readings(EVERYTHING, name, 0, 2**62))
    with store._file.read() as connection:
        print(connection.execute("SELECT hex(data) FROM bodies ORDER BY body").fetchall())
"""


def test_without_numpy_a_store_writes_the_same_file_and_answers_the_same(tmp_path):
    told = []
    for name, before in (("plain.db", HIDING), ("fast.db", "import numpy")):
        command = [sys.executable, "-c", before + STORING, str(tmp_path / name)]
        environment = {**os.environ, "PYTHONPATH": "."}
        told.append(subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True))
    (first, *plain), (second, *fast) = (one.stdout.splitlines() for one in told)
    assert (first, second) == ("<class 'array.array'>", "<class 'numpy.ndarray'>")
    assert plain == fast


def a_day(*, value, jitter=lambda: 0) -> list[Row]:
    """96 quarter-hours of the 418th of 1,000 series that are polled together and journaled together."""
    return [(((5000 + n) << 24) + 417, 418, n * 900_000_000 + jitter(), value(n), 1, "") for n in range(96)]


def test_a_day_of_a_counter_costs_two_bytes_a_reading_and_one_that_stands_still_nearly_nothing():
    chance = random.Random(3)
    count = 10**8

    def rising(_):
        nonlocal count
        count += chance.randrange(20, 60)
        return count

    assert len(encode(a_day(value=rising))) <= 2 * 96
    assert len(encode(a_day(value=lambda _: 123_456_789))) <= 60
    # Off the grid by up to 100 ms, told in milliseconds: two bytes more.
    assert len(encode(a_day(value=rising, jitter=lambda: chance.randrange(100) * 1000))) <= 4 * 96


def test_decimals_are_kept_as_decimals_and_float32_values_by_their_changing_bits():
    chance = random.Random(4)
    voltages = [round(chance.uniform(228, 232), 1) for _ in range(96)]
    assert len(encode(a_day(value=voltages.__getitem__))) <= 2 * 96
    powers = [struct.unpack("<f", struct.pack("<f", chance.uniform(400, 500)))[0] for _ in range(96)]
    assert len(encode(a_day(value=powers.__getitem__))) <= 4.5 * 96  # of 8; 23 bits of each are chance


def test_the_head_tells_count_ends_and_range_of_the_readings_that_stand():
    rows = [
        (1 << 24, 7, 10, None, 16, "line.silent"),
        (2 << 24, 7, 20, 500, 1, ""),
        (3 << 24, 7, 20, 501, 1, ""),  # a conflict: the first stands
        (4 << 24, 7, 30, 90, 1, ""),
        (9 << 24, 7, 30, 600, 33, "approved"),  # corrected
        (5 << 24, 7, 40, 700, 1, ""),
        (8 << 24, 7, 40, None, 48, "approved"),  # struck out
    ]
    head = head_of(0, 7, rows)
    assert (head.first, head.last, head.readings, head.instants, head.usable) == (10, 40, 7, 4, 2)
    assert (head.first_usable, head.first_value, head.last_usable, head.last_value) == (20, 500, 30, 600)
    assert (head.lowest, head.highest, head.newest) == (500, 600, 9 << 24)
    silent = head_of(0, 7, rows[:1])
    assert (silent.readings, silent.usable, silent.first_usable, silent.lowest) == (1, 0, None, None)


@pytest.mark.parametrize("at", [3, 20, -2])
def test_a_damaged_body_is_told_and_never_read_as_something_else(at):
    body = bytearray(encode(a_day(value=lambda n: n * n)))
    body[at] ^= 0x10
    with pytest.raises(zlib.error):
        decode(bytes(body))


def test_a_body_of_a_later_form_is_refused():
    plain = bytearray(zlib.decompress(encode([(1 << 24, 7, DAY, 1, 1, "")])))
    plain[4] = 2
    with pytest.raises(ValueError, match="form 2; this release knows form 1"):
        decode(zlib.compress(bytes(plain)))
