"""Line protocol as others write it: the reference's own examples, a foreign writer, and what must be refused."""

import random
from decimal import Decimal

import pytest
from influxdb_client import Point as ForeignPoint
from influxdb_client.domain.write_precision import WritePrecision

from collectors.line_parsing import BadLine, Point, microseconds, parse_line

# InfluxDB - Line protocol reference: syntax, data types and escapes, each as printed there.
PRINTED = {
    'myMeasurement,tag1=value1,tag2=value2 fieldKey="fieldValue" 1556813561098000000': Point(
        "myMeasurement", {"tag1": "value1", "tag2": "value2"}, {"fieldKey": "fieldValue"}, 1556813561098000000
    ),
    "myMeasurement fieldKey=1.0": Point("myMeasurement", {}, {"fieldKey": Decimal("1.0")}, None),
    "myMeasurement fieldKey=-1.234456e+78": Point("myMeasurement", {}, {"fieldKey": Decimal("-1.234456e+78")}, None),
    "myMeasurement fieldKey=12485903i": Point("myMeasurement", {}, {"fieldKey": Decimal(12485903)}, None),
    "myMeasurement fieldKey=12485903u": Point("myMeasurement", {}, {"fieldKey": Decimal(12485903)}, None),
    "myMeasurement fieldKey=true": Point("myMeasurement", {}, {"fieldKey": True}, None),
    "myMeasurement fieldKey=F": Point("myMeasurement", {}, {"fieldKey": False}, None),
    r'my\ Measurement fieldKey="string value"': Point("my Measurement", {}, {"fieldKey": "string value"}, None),
    r'myMeasurement fieldKey="\"string\" within a string"': Point(
        "myMeasurement", {}, {"fieldKey": '"string" within a string'}, None
    ),
    r"myMeasurement,tag\ Key1=tag\ Value1,tag\ Key2=tag\ Value2 fieldKey=100": Point(
        "myMeasurement", {"tag Key1": "tag Value1", "tag Key2": "tag Value2"}, {"fieldKey": Decimal(100)}, None
    ),
    'myMeasurement,tagKey=🍭 fieldKey="Launch 🚀" 1556813561098000000': Point(
        "myMeasurement", {"tagKey": "🍭"}, {"fieldKey": "Launch 🚀"}, 1556813561098000000
    ),
}


@pytest.mark.parametrize("line", PRINTED)
def test_a_line_of_the_reference_means_what_it_says(line: str) -> None:
    assert parse_line(line) == PRINTED[line]


def test_integers_are_exact_to_the_last_digit() -> None:
    fields = parse_line("m a=9223372036854775807i,b=18446744073709551615u,c=9007199254740993i,d=0.1 -1").fields
    assert [fields[name] for name in "abcd"] == [Decimal(2**63 - 1), Decimal(2**64 - 1), 2**53 + 1, Decimal("0.1")]


def test_what_a_foreign_writer_escapes_comes_back() -> None:
    dice = random.Random(7)
    # What that writer takes in names; backslashes before a sign with a meaning have no agreed meaning.
    signs = "ab,= 表é\"'#.-"
    for _ in range(2000):

        def word() -> str:
            return "x" + "".join(dice.choice(signs) for _ in range(dice.randrange(8))) + "y"

        tags = {word(): word() for _ in range(dice.randrange(4))}
        fields = {word(): dice.choice([dice.uniform(-1e9, 1e9), dice.randrange(-(2**63), 2**63), True, word() + "\\"])
                  for _ in range(dice.randrange(1, 4))}  # fmt: skip
        point = ForeignPoint(word())
        for name, text in tags.items():
            point.tag(name, text)
        for name, value in fields.items():
            point.field(name, value)
        instant = dice.randrange(2**62)
        found = parse_line(point.time(instant, WritePrecision.NS).to_line_protocol())
        assert (found.measurement, found.tags, found.time) == (point._name, tags, instant)
        read = {
            name: float(value) if isinstance(fields[name], float) else value for name, value in found.fields.items()
        }  # type: ignore[arg-type]
        assert read == fields


REFUSED = {
    "": "measurement: found ''; expected a name",
    ",a=b c=1": "measurement",
    "m": "fields: found ''; expected a space and the fields",
    "m ": "fields: found ''; expected field=value",
    "m,a c=1": "tags: found ',a c=1'; expected tag=value, both with something in them",
    "m,a= c=1": "tags",
    "m,a=1,a=2 c=1": "tags: found 'a'; expected each tag once",
    "m c=1,c=2": "fields: found 'c'; expected each field once",
    "m c=": "fields: found ''; expected a number, 1i, 1u, true, false",
    "m c=1x": "fields: found '1x'",
    "m c=1.5i": "fields: found '1.5i'",
    "m c=9223372036854775808i": "fields",
    "m c=-1u": "fields",
    "m c=NaN": "fields: found 'NaN'",
    "m c=0x10": "fields",
    "m c=١": "fields",
    "m c=1_0": "fields",
    'm c="open': "a text that ends with a quote on the same line",
    "m c=1 soon": "time: found 'soon'; expected a whole number, and nothing behind it",
    "m c=1 1 2": "time",
    "m c=1 9223372036854775808": "time",
    "m c=1 1.5": "time",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_that_is_not_right_is_told_and_not_guessed(line: str) -> None:
    with pytest.raises(BadLine) as bad:
        parse_line(line)
    assert REFUSED[line] in str(bad.value)


def test_a_million_signs_of_anything_are_refused_and_nothing_hangs() -> None:
    for sign in ("\\", ",", "=", " ", '"', "\\,", "a=", "m,a=b", "\x00"):
        with pytest.raises(BadLine):
            parse_line(sign * (1_000_000 // len(sign)))


def test_times_become_microseconds_and_what_is_below_is_told() -> None:
    assert microseconds(1_772_380_800_000_000_000, "ns") == (1_772_380_800_000_000, False)
    assert microseconds(1_999, "ns") == (1, True)
    assert microseconds(-1, "ns") == (-1, True)
    assert [microseconds(5, name)[0] for name in ("us", "ms", "s")] == [5, 5_000, 5_000_000]
