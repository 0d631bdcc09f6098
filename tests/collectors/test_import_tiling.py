"""Small files by hand: each way in which a mapping and a file can contradict each other, and each broken row."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from collectors.file_readings import FileReadings, read_file
from collectors.labels import ticket_microseconds
from collectors.mapping import load_mapping
from gateway.config import load_site
from gateway.domain.periods import to_instant
from gateway.errors import ImportRefused

NOW = 1_800_000_000_000_000
QUARTER = timedelta(minutes=15)
Row = tuple[str, str]


def day(*, first: int = 0, rows: int = 96, label: int = 0) -> list[Row]:
    """Quarter-hours of 2026-03-02, numbered in their values; `label` = 1 labels their ends."""
    midnight = datetime(2026, 3, 2, tzinfo=UTC)  # only its wall time is written
    return [(f"{midnight + (n + label) * QUARTER:%Y-%m-%d %H:%M}", f"{n}.25") for n in range(first, first + rows)]


class Bench:
    """A site, its mapping of quarter-hours, and files written by hand."""

    def __init__(self, site_file: Path) -> None:
        self.folder = site_file.parent
        self.site_file = site_file

    def read(
        self, rows: Iterable[Row], *, point: str = "history", header: str = "time,kWh", **keys: str
    ) -> FileReadings:
        """Read rows with keys of [time] (or `value_...` of [value]) written otherwise."""
        mapping = self.folder / f"{point}.toml"
        text = mapping.read_text("utf-8")
        for key, value in keys.items():
            table, name = ("value", key.removeprefix("value_")) if key.startswith("value_") else ("time", key)
            lines = [line for line in text.splitlines() if not line.startswith(f"{name} =")]
            place = lines.index(f"[{table}]") + 1
            text = "\n".join([*lines[:place], f"{name} = {value}", *lines[place:]])
        mapping.write_text(text, "utf-8")
        file = self.folder / "file.csv"
        file.write_text("\n".join([header, *(",".join(row) for row in rows), ""]), "utf-8")
        return read_file(file, load_mapping(mapping), load_site(self.site_file), now=NOW)

    def refusal(self, rows: Iterable[Row], **keys: str) -> str:
        with pytest.raises(ImportRefused) as refused:
            self.read(rows, **keys)
        return str(refused.value)


@pytest.fixture
def bench(files_site: Callable[..., Path]) -> Bench:
    return Bench(files_site())


def shanghai(text: str) -> int:
    return to_instant(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")))


def test_a_whole_day_is_taken_as_it_is(bench: Bench) -> None:
    found = bench.read(day())
    assert (found.bad, found.findings) == ([], [])
    # n.25 kWh in steps of 0.01 kWh
    assert [reading.value for reading in found.readings] == [100 * n + 25 for n in range(96)]
    assert found.readings[0].instant == shanghai("2026-03-02 00:00")
    assert (found.first, found.last_end) == (shanghai("2026-03-02 00:00"), shanghai("2026-03-03 00:00"))


@pytest.mark.parametrize("day_end", ["00:00-of-next-day", "00:00-of-same-day", "24:00"])
def test_each_way_to_label_the_end_of_a_day_gives_the_same_readings(bench: Bench, day_end: str) -> None:
    rows = day(label=1)
    last = {
        "00:00-of-next-day": "2026-03-03 00:00",
        "00:00-of-same-day": "2026-03-02 00:00",
        "24:00": "2026-03-02 24:00",
    }
    rows[-1] = (last[day_end], rows[-1][1])
    found = bench.read(rows, label='"end"', day_end=f'"{day_end}"')
    assert [reading.instant for reading in found.readings] == [
        shanghai("2026-03-02 00:00") + n * 900_000_000 for n in range(96)
    ]


def test_ends_taken_for_starts_are_refused_at_both_edges_of_the_day(bench: Bench) -> None:
    said = bench.refusal(day(label=1))
    assert "the first interval (line 2, '2026-03-02 00:15') begins at 2026-03-02T00:15:00+08:00" in said
    assert "the last interval (line 97, '2026-03-03 00:00') ends at 2026-03-03T00:15:00+08:00" in said
    assert 'declare time.first = "2026-03-02T00:15"' in said


def test_starts_taken_for_ends_are_refused_at_both_edges_of_the_day(bench: Bench) -> None:
    said = bench.refusal(day(), label='"end"', day_end='"00:00-of-next-day"')
    assert "begins at 2026-03-01T23:45:00+08:00, not with a plant day" in said
    assert "ends at 2026-03-02T23:45:00+08:00, not with the end of a plant day" in said


def test_a_file_that_truly_begins_within_a_day_is_taken_once_that_is_said(bench: Bench) -> None:
    rows = day(first=1, rows=95)
    assert "declare time.first" in bench.refusal(rows)
    assert len(bench.read(rows, first='"2026-03-02T00:15"').readings) == 95
    assert "the mapping says time.first = 2026-03-02T00:30:00+08:00" in bench.refusal(rows, first='"2026-03-02T00:30"')


def test_a_file_that_ends_within_a_day_is_told_and_within_one_interval_of_midnight_refused(bench: Bench) -> None:
    found = bench.read(day(rows=40))
    assert found.findings == [
        "the last interval ends at 2026-03-02T10:00:00+08:00, inside a plant day: that day is not complete."
    ]
    assert "ends at 2026-03-02T23:45:00+08:00" in bench.refusal(day(rows=95))
    assert len(bench.read(day(rows=95), last='"2026-03-02T23:45"').readings) == 95


def test_pieces_of_days_are_taken_where_it_is_said_how_the_label_is_known(bench: Bench) -> None:
    found = bench.read(day(first=7, rows=3), first='"anywhere"', last='"anywhere"', label_known_from='"manual, p. 12"')
    assert (len(found.readings), found.findings) == (3, [])


def test_a_gap_is_refused_until_it_is_explained_and_then_told(bench: Bench) -> None:
    rows = [row for n, row in enumerate(day()) if n not in {10, 11, 50}]
    assert "3 intervals are missing in 2 gaps, first between line 11 ('2026-03-02 02:15')" in bench.refusal(rows)
    found = bench.read(rows, gaps_known='"the logger was off"')
    assert len(found.readings) == 93
    assert "declared: the logger was off" in found.findings[0]


def test_rows_that_repeat_are_left_out_and_rows_that_contradict_each_other_refused(bench: Bench) -> None:
    rows = day()
    found = bench.read([*rows[:5], rows[4], *rows[5:]])
    assert len(found.readings) == 96
    assert found.findings == ["1 rows repeat an earlier one and were left out, first line 7."]
    said = bench.refusal([*rows[:5], (rows[4][0], "9.99"), *rows[5:]])
    assert "1 rows claim an instant that an earlier row has with another value, first line 7" in said


def test_rows_backwards_are_refused_and_newest_first_is_read_once_it_is_said(bench: Bench) -> None:
    rows = day()
    assert 'All do: declare time.order = "newest-first"' in bench.refusal(rows[::-1])
    found = bench.read(rows[::-1], order='"newest-first"')
    assert [reading.value for reading in found.readings] == [100 * n + 25 for n in range(96)]
    assert "1 rows run backwards in time, first line 12" in bench.refusal(
        [*rows[:9], rows[10], rows[9], *rows[11:]], order='"oldest-first"'
    )


def test_rows_farther_apart_than_declared_are_refused(bench: Bench) -> None:
    said = bench.refusal(day()[::2], last='"2026-03-02T23:45"')
    assert "rows are mostly 1800 s apart, the mapping says time.interval_s = 900" in said


def test_a_broken_row_is_told_by_line_and_column_and_takes_no_other_with_it(bench: Bench) -> None:
    rows = day()
    broken = {
        3: ("2026-03-02 00:45", "", "column kWh: found nothing; expected a number in kWh with the decimal mark '.'"),
        20: (rows[20][0], '1,5",', "column (row): found"),
        40: (
            "2026-03-02 10:00:00",
            "1",
            "column time: found '2026-03-02 10:00:00'; expected a time written as '%Y-%m-%d %H:%M'",
        ),
        60: (rows[60][0], "-1", "column kWh: found '-1'; expected no negative amount"),
    }
    for n, (label, value, _) in broken.items():
        rows[n] = (label, value)
    found = bench.read(rows)
    assert len(found.readings) == 92
    assert [bad.line for bad in found.bad] == [5, 22, 42, 62]
    for bad, (_, _, why) in zip(found.bad, broken.values(), strict=True):
        assert why in bad.sentence("file.csv")
    assert found.findings == [], "the four holes are explained by their rows"


def test_nothing_is_rounded_away_and_no_row_beside_the_grid_is_taken(bench: Bench) -> None:
    rows = day()
    rows[5] = (rows[5][0], "3.175")
    rows[6] = ("2026-03-02 01:31", "1")
    bad = bench.read(rows).bad
    assert (
        bad[0].sentence("f")
        == "f:7: column kWh: found '3.175'; expected a multiple of the register's resolution, 0.01 kWh: nothing is rounded away unasked (key round). Mend the number, or the unit in the mapping."
    )
    assert (
        bad[1].sentence("f")
        == "f:8: column time: found '2026-03-02 01:31'; expected a time on the grid of 900 s, 0 s after midnight. Mend the time, or time.formats in the mapping."
    )


def test_a_file_most_of_which_cannot_be_read_is_refused_and_a_file_with_empty_values_is_not(bench: Bench) -> None:
    comma = [
        (label, value.replace(".25", "") if n % 3 == 0 else f'"{value.replace(".", ",")}"')
        for n, (label, value) in enumerate(day())
    ]
    said = bench.refusal(comma)
    assert "64 of 96 rows cannot be read, so the mapping does not fit the file" in said
    assert "line 3: column kWh: found '1,25'; expected a number in kWh with the decimal mark '.'" in said
    assert bench.read(comma, value_decimal_mark='","').bad == []
    empty = [(label, value if n < 48 else "") for n, (label, value) in enumerate(day())]
    assert len(bench.read(empty, value_decimal_mark='"."').readings) == 48
    assert "there are no rows" in bench.refusal([])


def test_bytes_of_another_encoding_cost_their_own_row_only(bench: Bench) -> None:
    file = bench.folder / "file.csv"
    lines = ["time,kWh,note", *(f"{label},{value},fine" for label, value in day())]
    data = (
        "\n".join(lines)
        .encode()
        .replace(b"2026-03-02 01:00,", b"2026-03-02 \xa3\xb1,")
        .replace(b"fine", b"\xc0\xad", 1)
    )
    file.write_bytes(b"\xef\xbb\xbf" + data)
    found = read_file(file, load_mapping(bench.folder / "history.toml"), load_site(bench.site_file), now=NOW)
    assert len(found.readings) == 95
    assert found.bad[0].sentence("f").startswith("f:6: column time: found '2026-03-02 \\udca3\\udcb1'")


def test_a_header_without_the_column_is_refused_with_what_it_has(bench: Bench) -> None:
    said = bench.refusal(day(), header="Zeit,kWh")
    assert "the header names the column 'time' 0 times; expected once. It names 'Zeit', 'kWh'." in said


def test_readings_of_the_future_are_told(bench: Bench) -> None:
    rows = [(label.replace("2026", "2096"), value) for label, value in day()]
    assert "in the future" in bench.read(rows).findings[0]


def test_a_day_of_25_hours_has_100_quarter_hours_and_one_of_23_has_92(files_site: Callable[..., Path]) -> None:
    bench = Bench(files_site(zone="Europe/Berlin"))
    berlin = ZoneInfo("Europe/Berlin")
    for month, date, count in ((10, 25, 100), (3, 29, 92)):
        start = datetime(2026, month, date, tzinfo=berlin).astimezone(UTC)
        rows = [(f"{(start + n * QUARTER).astimezone(berlin):%Y-%m-%d %H:%M}", "1") for n in range(count)]
        found = bench.read(rows, zone='"Europe/Berlin"')
        assert [reading.instant for reading in found.readings] == [
            to_instant(start) + n * 900_000_000 for n in range(count)
        ]
        assert (found.bad, found.findings) == ([], [])
        ends = [(f"{(start + (n + 1) * QUARTER).astimezone(berlin):%Y-%m-%d %H:%M}", "1") for n in range(count)]
        again = Bench(files_site(zone="Europe/Berlin")).read(
            ends, zone='"Europe/Berlin"', label='"end"', day_end='"00:00-of-next-day"'
        )
        assert again.readings == found.readings
        bench = Bench(files_site(zone="Europe/Berlin"))


def test_a_unit_is_converted_exactly_and_an_offset_in_the_text_needs_no_zone(bench: Bench) -> None:
    rows = [(f"{label}+0800", f"{n * 10}") for n, (label, _) in enumerate(day())]
    found = bench.read(rows, formats='["%Y-%m-%d %H:%M%z"]', zone='"in-text"', value_unit='"Wh"')
    # 10 Wh = 0.01 kWh = one step
    assert [reading.value for reading in found.readings] == list(range(96))
    assert found.first == shanghai("2026-03-02 00:00")


def test_two_tickets_of_one_second_stay_two_and_the_number_shows_in_the_microseconds(bench: Bench) -> None:
    rows = [
        ("2026-03-02 08:15", "T-1001,38460"),
        ("2026-03-02 08:15", "T-1002,20000"),
        ("2026-03-02 08:15", "T-1002,20000"),
    ]
    found = bench.read(rows, point="tickets", header="time,ticket,net_kg")
    second = shanghai("2026-03-02 08:15")
    # 38 460 kg and 20 000 kg in steps of 20 kg
    assert [(reading.instant, reading.value) for reading in found.readings] == [
        (second + 1001, 1923),
        (second + 1002, 1000),
    ]
    assert found.findings == ["1 rows repeat an earlier one and were left out, first line 4."]
    assert ticket_microseconds("A17-2026-000042") == 42
    assert ticket_microseconds("甲") == ticket_microseconds("甲") != ticket_microseconds("乙")


def test_a_stock_survey_is_a_momentary_value(bench: Bench) -> None:
    found = bench.read([("2026-03-01 00:00", "5230.5")], point="survey", header="time,stock_t")
    assert found.readings[0][:3] == ("works/coal-stock/stock", shanghai("2026-03-01 00:00"), 5230.5)
