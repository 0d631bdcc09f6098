"""Lines of line protocol: what stands in them, what never does, and that two servers read them back as meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client import Point, WritePrecision

from gateway.contracts import Delivery
from gateway.domain.readings import Quality, Reading
from gateway.errors import StoreError
from gateway.stores.influx_writing import LineWriter
from gateway.stores.line_protocol import SeriesLines, point_prefix, quoted

NOON = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z [us]
ENERGY = "steel/kiln-1/active_energy_import"


def one(reading: Reading, sequence: int = 7) -> str:
    (line,) = SeriesLines().lines(sequence, [reading])
    return line


def test_a_count_is_a_whole_number_and_a_value_a_float_in_fields_of_their_own():
    tags = "readings,enterprise=steel,point=kiln-1,quantity=active_energy_import"
    assert one(Reading(ENERGY, NOON, 5)) == f"{tags} count=5i,quality=1i,sequence=7i {NOON}"
    assert one(Reading(ENERGY, NOON, 5.0)) == f"{tags} value=5.0,quality=1i,sequence=7i {NOON}"
    silent = Reading(ENERGY, NOON, None, Quality.MISSING, "line.silent")
    assert one(silent) == f'{tags} quality=16i,sequence=7i,reason="line.silent" {NOON}'


def test_lines_follow_the_journal():
    readings = [Reading(ENERGY, NOON + 1, 1), Reading(ENERGY, NOON, 2)]
    lines = SeriesLines().lines_of([Delivery(3, readings), Delivery(4, []), Delivery(9, readings[:1])])
    assert [(line.split("sequence=")[1]) for line in lines] == [f"3i {NOON + 1}", f"3i {NOON}", f"9i {NOON + 1}"]


@given(value=st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_are_those_that_the_client_library_would_write(value):
    point = Point("readings").tag("enterprise", "steel").tag("point", "kiln-1").tag("quantity", "active_energy_import")
    point.field("count" if isinstance(value, int) else "value", value).time(NOON, WritePrecision.US)
    theirs = point.to_line_protocol().split(" ")[1]
    ours = one(Reading(ENERGY, NOON, value)).split(" ")[1].split(",")[0]
    name, number = ours.split("=")
    assert theirs.split("=")[0] == name
    assert float(theirs.split("=")[1].rstrip("i")) == float(number.rstrip("i"))
    assert number.endswith("i") == isinstance(value, int)


hostile = st.text(st.sampled_from('a,= "\\\n\r\x00\t\x85\u2028{}é'), max_size=12)


@given(reason=hostile)
def test_a_reason_never_ends_a_line_or_its_own_quotes(reason):
    line = one(Reading(ENERGY, NOON, 5, Quality.SUSPECT, reason))
    assert len(line.splitlines()) == 1
    if reason:
        inside = line.split('reason="', 1)[1].rsplit(f'" {NOON}', 1)[0]
        assert '"' not in inside.replace("\\\\", "").replace('\\"', "")
        assert not inside.replace("\\\\", "").endswith("\\")


@pytest.mark.parametrize("name", ["steel/a b/volume", "steel/a,b=c/volume", "steel/a\nx y=1/volume", "steel//volume",
                                  "steel/volume", "a/b/c/d", "", "steel/\u00e9/volume", 'steel/"/volume'])  # fmt: skip
def test_a_name_that_is_no_identifier_never_becomes_a_tag(name):
    with pytest.raises(StoreError, match=r"expected enterprise/point/quantity"):
        one(Reading(name, NOON, 5))


def test_measurements_and_tags_of_other_points_are_identifiers_too():
    assert point_prefix("electricity_15m", {"enterprise": "steel", "point": "a.b"}) == (
        "electricity_15m,enterprise=steel,point=a.b"
    )
    for measurement, tags in (("a b", {}), ("a", {"t": "x y"}), ("a", {"t=": "x"}), ("a", {"t": ""})):
        with pytest.raises(StoreError, match="expected an identifier"):
            point_prefix(measurement, tags)


@pytest.mark.servers
def test_influxdb_reads_back_what_a_line_says(influxd):
    with LineWriter(influxd.database("lines"), "") as writer:
        reasons = ["", "limit", 'quote " and \\', "back\\", "a=b, c", "电表 \n\t"]
        readings = [Reading(ENERGY, NOON + n, 2**53 + n, Quality(2), reason) for n, reason in enumerate(reasons)]
        assert writer.write(SeriesLines().lines(2**40, readings)) == []
    (found,) = influxd.query("SELECT * FROM readings", "lines")
    assert found["columns"] == ["time", "count", "enterprise", "point", "quality", "quantity", "reason", "sequence"]
    assert [(row[0], row[1], row[6] or "") for row in found["values"]] == [
        (NOON + n, 2**53 + n, reason.replace("\n", "\ufffd").replace("\t", "\ufffd"))
        for n, reason in enumerate(reasons)
    ]
    assert {(row[2], row[3], row[4], row[5], row[7]) for row in found["values"]} == {
        ("steel", "kiln-1", 2, "active_energy_import", 2**40)
    }


def test_quotes_and_backslashes_of_a_string_are_escaped():
    assert quoted('a"b\\c') == 'a\\"b\\\\c'
