"""Laboratory, dials and historian exports as people bring them: by workbook and by CSV, through folder and command."""

import csv
import io
import json
import random
import shutil
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

import collectors.file_readings
import collectors.mapping
from collectors.file_readings import FileReadings, read_file
from collectors.files import DropFolderCollector
from collectors.importing import import_readings_main
from collectors.known_rows import KnownRows
from collectors.mapping import load_mapping
from gateway.check import SAMPLES
from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.domain.periods import to_instant
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Site
from gateway.errors import ConfigError, ImportRefused
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.reader import entries
from tests.collectors.test_files_drop_folder import following, until

NOW = 1_800_000_000_000_000
MAPPINGS = Path(collectors.mapping.__file__).parent / "mappings"
TEN = to_instant(datetime(2026, 3, 2, 2, 0, tzinfo=UTC))  # 10:00 in Shanghai
LAB = ["sampled", "batch", "mass_t", "Qnet_kJ_kg", "Mt_pct", "analyst"]
DIAL = "read_at,meter,shown,reader\n"


@pytest.fixture
def works(tmp_path: Path) -> Site:
    """The sample site, in a folder of its own."""
    for sample in SAMPLES.glob("*.toml"):
        shutil.copy(sample, tmp_path)
    return load_site(tmp_path / "site.toml")


def workbook(path: Path, rows: list[list[Any]], sheet: str) -> Path:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.title = sheet
    for row in rows:
        page.append(row)
    book.save(path)
    return path


def lab_rows(*more: list[Any]) -> list[list[Any]]:
    noon = datetime(2026, 3, 2, 10, 0)  # noqa: DTZ001 - a cell holds wall time
    return [LAB, [noon, "2026-0302", 1250.5, 21340, 9.6, "Li Hua"], *more]


def read(site: Site, mapping: str, path: Path) -> FileReadings:
    return read_file(path, load_mapping(site.file.parent / mapping), site, now=NOW)


def test_a_laboratorys_workbook_gives_three_series_of_a_batch_and_who_determined_them(
    works: Site, tmp_path: Path
) -> None:
    rows = lab_rows(["2026-03-02 14:00", 20260303, 800, "未检", 120, "王芳"])
    found = read(works, "coal_laboratory.toml", workbook(tmp_path / "lab.xlsx", rows, "analyses"))
    # The microseconds are the last six digits of the batch's number.
    first, second = TEN + 260_302, TEN + 4 * 3600 * 1_000_000 + 260_303
    assert found.readings == [
        Reading("works/coal-quality/mass", first, 1_250_500),
        Reading("works/coal-quality/mass", second, 800_000),
        Reading("works/coal-quality/net_calorific_value", first, 21340.0),
        Reading("works/coal-quality/moisture", first, 9.6),
        Reading("works/coal-quality/moisture", second, 120.0, Quality.SUSPECT, "over_limit"),
    ]
    assert [(row.line, row.column, row.found) for row in found.bad] == [(3, "Qnet_kJ_kg", "nothing ('未检')")]
    assert {line: tuple(note) for line, note in found.notes.items()} == {
        2: ("2026-0302", "Li Hua"),
        3: ("20260303", "王芳"),
    }


def test_the_same_sheet_as_csv_in_the_encodings_of_this_world_gives_the_same(works: Site, tmp_path: Path) -> None:
    text = f"{','.join(LAB)}\n2026-03-02 10:00,2026-0302,1250.5,21340,9.6,王芳\n"
    expected = None
    for name, encoding in enumerate(["utf-8", "utf-8-sig", "utf-16"]):  # the last two by their marks
        path = tmp_path / f"{name}.csv"
        path.write_bytes(text.encode(encoding))
        found = read(works, "coal_laboratory.toml", path)
        expected = expected or found
        assert (found.readings, found.notes, found.bad) == (expected.readings, expected.notes, [])
    mapping = works.file.parent / "coal_laboratory.toml"
    mapping.write_text(mapping.read_text("utf-8").replace('encoding = "utf-8"', 'encoding = "gb18030"'), "utf-8")
    for name, encoding in enumerate(["gb18030", "gbk", "utf-8-sig"]):
        path = tmp_path / f"gb{name}.csv"
        path.write_bytes(text.encode(encoding))
        found = read(works, "coal_laboratory.toml", path)
        assert expected is not None
        assert (found.readings, found.notes) == (expected.readings, expected.notes)


def test_a_dial_read_by_nobody_or_by_an_invisible_name_is_no_evidence(works: Site, tmp_path: Path) -> None:
    path = tmp_path / "dials.csv"
    rows = ["2026-03-02 10:00,W-002,1234.5678,Wang Fang", "2026-03-03 10:00,W-002,1235,", "2026-03-04 10:00,W-009,1,X"]
    path.write_text(DIAL + "\n".join([*rows, "2026-03-05 10:00,W-002,1236,Li\u200bHua"]), "utf-8")
    found = read(works, "dials.toml", path)
    assert found.readings == [Reading("works/boiler-feed/volume", TEN, 12_345_678)]
    assert [(row.line, row.column, row.expected[:25]) for row in found.bad] == [
        (3, "reader", "the name of who read it"),
        (5, "reader", "a name (found person 'Li\\"),
    ]
    assert found.findings == ["1 rows are of no series of the mapping, first line 4."]
    mapping = works.file.parent / "dials.toml"
    mapping.write_text(mapping.read_text("utf-8").replace('[person]\ncolumn = "reader"', ""), "utf-8")
    with pytest.raises(ConfigError, match=r"person\.column: found nothing; expected the column with who read it"):
        read(works, "dials.toml", path)


def shipped(works: Site, name: str) -> str:
    """A shipped mapping, put beside the sample site."""
    shutil.copy(MAPPINGS / name, works.file.parent)
    return name


def test_a_historians_columns_and_rows_give_the_same_totals(works: Site, tmp_path: Path) -> None:
    wide, tall = tmp_path / "wide.csv", tmp_path / "tall.csv"
    # 18840211.2571 kWh at a resolution of 0.01 kWh is 1 884 021 126 steps: rounded, not cut.
    wide.write_text(
        "Time,MAIN.KWH,MILL.KWH\n2026-03-02 10:00:00,18840211.2571,No Data\n2026-03-02 10:01:00,18840212,7.5\n", "utf-8"
    )
    tall.write_text(
        "TagName,DateTime,Value\nMAIN.KWH,2026-03-02 10:00:00,18840211.2571\nMILL.KWH,2026-03-02 10:00:00,Bad\n"
        "MAIN.KWH,2026-03-02 10:01:00,18840212\n",
        "utf-8",
    )
    resolution = works.series["works/main/active_energy_import"].resolution
    assert resolution is not None
    steps = [round(Decimal(text) / resolution) for text in ("18840211.2571", "18840212")]
    main = [
        Reading("works/main/active_energy_import", TEN, steps[0]),
        Reading("works/main/active_energy_import", TEN + 60_000_000, steps[1]),
    ]
    found = read(works, shipped(works, "historian_columns.toml"), wide)
    assert [r for r in found.readings if "main" in r.series] == main
    assert [r.instant for r in found.readings if "mill" in r.series] == [TEN + 60_000_000]
    found = read(works, shipped(works, "historian_rows.toml"), tall)
    assert found.readings == main
    assert found.findings == ["1 rows are of no series of the mapping, first line 3."]


def test_title_lines_above_the_header_are_passed_over(works: Site, tmp_path: Path) -> None:
    mapping = works.file.parent / "coal_laboratory.toml"
    mapping.write_text(mapping.read_text("utf-8").replace("header_row = 1", "header_row = 4"), "utf-8")
    title = [["化验月报"], [], ["", "March"]]
    found = read(works, "coal_laboratory.toml", workbook(tmp_path / "lab.xlsx", [*title, *lab_rows()], "analyses"))
    assert [row.value for row in found.readings] == [1_250_500, 21340.0, 9.6]
    assert list(found.notes) == [5]
    path = tmp_path / "lab.csv"
    path.write_text(f"title\n\n,March\n{','.join(LAB)}\n2026-03-02 10:00,2026-0302,1250.5,21340,9.6,Li Hua\n", "utf-8")
    assert read(works, "coal_laboratory.toml", path).readings == found.readings
    path.write_text("title\n\n,March\n\n" + ",".join(LAB), "utf-8")
    with pytest.raises(ImportRefused, match=r"lab\.csv:4: the header: it is blank"):
        read(works, "coal_laboratory.toml", path)


WRONG = {
    "an old workbook": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512),
        "of the old form .xls, or one under a password",
    ),
    "a cut workbook": (b"PK\x03\x04" + bytes(64), "a workbook that cannot be unpacked"),
    "noise": (random.Random(1).randbytes(200_000), "the header names the column"),
    "nothing": (b"", "there are no rows"),
    "zeros": (bytes(1_000_000), "found a longer line; expected a line of at most 65536 characters"),
    "one endless line": (b"a," * 20_000_000, "found a longer line"),
    "ten thousand columns": (b",".join(b"c%d" % n for n in range(10_000)) + b"\n", "'c11' and 9988 more"),
    "half a UTF-16": (b"\xff\xfe" + "sampled,批".encode("utf-16-le")[:-1] + b"\x00\xd8", "the header"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_of_anything_at_all_is_refused_in_a_sentence(works: Site, tmp_path: Path, name: str) -> None:
    data, sentence = WRONG[name]
    path = tmp_path / "file.csv"
    path.write_bytes(data)
    with pytest.raises(ImportRefused) as refused:
        read(works, "coal_laboratory.toml", path)
    assert sentence in str(refused.value)
    assert len(str(refused.value)) < 2000


def test_rows_of_mixed_encodings_endless_cells_and_formulas_cost_themselves_only(works: Site, tmp_path: Path) -> None:
    good = b"2026-03-02 10:00,2026-0302,1250.5,21340,9.6,Li Hua\n"
    rows = [
        "2026-03-02 11:00,2026-0303,1,1,1,王芳\n".encode("gb18030"),  # within a file of UTF-8
        b"2026-03-02 11:00,2026-0304," + b"9" * 70_000 + b",1,1,Li Hua\n",
        b"=cmd|' /C calc'!A0,2026-0305,1,1,1,Li Hua\n",
        b'2026-03-02 12:00,"2026-0306,1,1,1,Li Hua\n',
        b"2026-03-02 13:00,\x00\x07,1,1,1,Li Hua\n",
    ]
    path = tmp_path / "lab.csv"
    path.write_bytes(
        ",".join(LAB).encode() + b"\n" + b"".join([*rows, *[good.replace(b"0302,", b"1%03d," % n) for n in range(150)]])
    )
    found = read(works, "coal_laboratory.toml", path)
    assert len(found.readings) == 3 * 150
    assert [(row.line, row.column) for row in found.bad] == [
        (2, "analyst"), (3, "(row)"), (4, "sampled"), (5, "(row)"), (6, "batch")
    ]  # fmt: skip
    assert all(row.mend or row.column == "batch" for row in found.bad)


async def test_a_dropped_batch_is_kept_with_its_number_and_its_analyst_and_a_second_content_of_it_is_told(
    works: Site, tmp_path: Path
) -> None:
    line = works.lines["laboratory"]
    line.folder.mkdir(parents=True)
    readings = DropFolderCollector(line, works, ReplayClock(TEN)).readings()
    async with following(readings) as found:
        workbook(line.folder / "a.xlsx", lab_rows(), "analyses")
        await until((line.folder / "done" / "a.xlsx").exists)
        other = lab_rows([datetime(2026, 3, 2, 12, 0), "2026-0302", 1250.5, 23000, 9.6, "Li Hua"])  # noqa: DTZ001
        workbook(line.folder / "b.xlsx", [LAB, *other[2:], lab_rows()[1]], "analyses")
        await until((line.folder / "done" / "b.xlsx").exists)
    assert [reading.value for each in found for reading in each] == [1_250_500, 21340.0, 9.6]
    [name] = [path for path in (works.data_dir / "inbox").iterdir() if '"file":"a.xlsx"' in path.read_text("utf-8")]
    kept = [json.loads(text) for text in name.read_text("utf-8").splitlines()]
    assert kept[0]["origin"] == "drop folder"
    rows = [item["body"]["import"]["rows"] for item in kept[1:] if item["body"]["event"] == "rows_imported"]
    assert [(row["series"], row["lines"], row["tickets"], row["persons"]) for row in rows] == [
        (f"works/coal-quality/{quantity}", [2], ["2026-0302"], ["Li Hua"])
        for quantity in ("mass", "net_calorific_value", "moisture")
    ]
    told = json.loads((line.folder / "done" / "b.xlsx.verdict.json").read_text("utf-8"))
    assert (told["accepted"], told["readings"], told["refused"]) == (True, 3, 6)
    table = (line.folder / "done" / "b.xlsx.verdict.csv").read_bytes().decode("utf-8-sig")
    head, *body = csv.reader(io.StringIO(table))
    assert head == ["row", "column", "found", "expected", "how to mend"]
    assert all(row[0] in {"2", "3"} for row in body)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in body for cell in row)


class Desk:
    """`emg import readings` of dials."""

    def __init__(self, works: Site, capsys: pytest.CaptureFixture[str]) -> None:
        self.site, self.folder, self.capsys = works, works.file.parent, capsys

    def run(self, name: str, rows: list[str], *options: str) -> tuple[int, Any]:
        path = self.folder / name
        path.write_text(DIAL + "\n".join(rows), "utf-8")
        where = ["--map", str(self.folder / "dials.toml"), "--site", str(self.site.file)]
        code = import_readings_main([str(path), *where, "--json", *options])
        return code, json.loads(self.capsys.readouterr()[0])["files"][0]

    def journaled(self) -> list[Reading]:
        found = entries(self.site.data_dir / "journal")
        return [r for entry in found if entry.kind is EntryKind.READINGS for r in readings_of(entry)]


@pytest.fixture
def desk(works: Site, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(works, capsys)


def test_exports_that_overlap_are_booked_once_and_what_contradicts_is_told(desk: Desk) -> None:
    day = [f"2026-03-{n:02d} 10:00,W-002,{1000 + n},Wang Fang" for n in range(1, 11)]
    assert desk.run("a.csv", day[:6])[0] == 0
    changed = day[5].replace("1006", "1006.5")
    code, told = desk.run("b.csv", [*day[3:5], changed, *day[6:]], "--verdicts")
    assert (code, told["readings"], told["repeated"], told["booked"]["parts"]) == (1, 7, 2, 1)
    [row] = told["refused_rows"]
    assert (row["line"], row["found"]) == (4, "1006.5000 m3 at 2026-03-06T10:00:00+08:00")
    assert row["expected"] == "1006.0000 m3 at 2026-03-06T10:00:00+08:00, as it was booked before"
    assert (desk.folder / "b.csv.verdict.csv").exists()
    assert [reading.value for reading in desk.journaled()] == [10_000 * (1000 + n) for n in range(1, 11)]
    assert desk.run("c.csv", day)[1]["booked"] == {
        "parts": 0, "first_sequence": 0, "last_sequence": 0, "stored": 0, "imported_before": True
    }  # fmt: skip
    assert len(desk.journaled()) == 10


def test_who_read_it_is_in_the_journal_beside_the_readings(desk: Desk) -> None:
    desk.run("a.csv", ["2026-03-02 10:00,W-002,1000,Wang Fang", "2026-03-03 10:00,W-002,1001,李华"])
    [entry] = [entry for entry in entries(desk.site.data_dir / "journal") if entry.kind is EntryKind.READINGS]
    rows = entry.body["import"]["rows"]
    assert (rows["lines"], rows["persons"]) == ([2, 3], ["Wang Fang", "李华"])


def test_tickets_are_remembered_by_the_journal(works: Site, tmp_path: Path, desk: Desk) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time,ticket,net_kg\n2026-03-02 10:00,T-1001,38460\n", "utf-8")
    where = ["--map", str(tmp_path / "coal_tickets.toml"), "--site", str(works.file)]
    assert import_readings_main([str(path), *where]) == 0
    path.write_text("time,ticket,net_kg\n2026-03-04 10:00,T-1001,38480\n2026-03-04 10:10,T-1002,20\n", "utf-8")
    found = KnownRows(works).sift(read(works, "coal_tickets.toml", path))
    assert [row.found for row in found.bad] == ["number 'T-1001' with 38480 kg at 2026-03-04T10:00:00.001001+08:00"]
    assert [reading.value for reading in found.fresh()] == [1]
    twice = "time,ticket,net_kg\n2026-03-04 10:00,T-7,20\n2026-03-04 11:00,T-7,40\n2026-03-04 11:00,T-8,40\n"
    path.write_text(twice, "utf-8")
    found = read(works, "coal_tickets.toml", path)
    assert ([r.value for r in found.readings], found.bad[0].line, found.bad[0].expected) == (
        [1, 2],
        3,
        "each number once",
    )


def test_more_rows_than_can_be_looked_at_together_are_refused(
    works: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collectors.file_readings, "MOST_VALUES", 30)
    path = tmp_path / "dials.csv"
    path.write_text(DIAL + "2026-03-02 10:00,W-002,1234.5678,Wang Fang\n" * 31, "utf-8")
    with pytest.raises(ImportRefused, match="found more than 30 rows; expected at most that many: split it by time"):
        read(works, "dials.toml", path)


def test_a_date_and_a_time_of_day_in_two_columns_are_one_instant(works: Site, tmp_path: Path) -> None:
    mapping = works.file.parent / "dials.toml"
    text = mapping.read_text("utf-8").replace('column = "read_at"', 'column = "day"\nclock = "at"')
    mapping.write_text(text, "utf-8")
    day, head = datetime(2026, 3, 2), ["day", "at", "meter", "shown", "reader"]  # noqa: DTZ001 - a cell holds wall time
    rest = ["W-002", 7, "Li Hua"]
    rows = [[day, time(10, 0), *rest], [day, "10:01", *rest], [day, "10:02:30", *rest], ["2026-03-02", "10:03", *rest]]
    rows += [[day, "noon", *rest], [day, None, *rest]]
    found = read(works, "dials.toml", workbook(tmp_path / "a.xlsx", [head, *rows], "readings"))
    assert [(r.instant - TEN) // 1_000_000 for r in found.readings] == [0, 60, 150, 180]
    assert [(row.line, row.column, row.found) for row in found.bad] == [(6, "at", "'noon'"), (7, "at", "''")]
    (tmp_path / "a.csv").write_text(",".join(head) + "\n2026-03-02,10:00,W-002,7,Li Hua\n", "utf-8")
    assert read(works, "dials.toml", tmp_path / "a.csv").readings == found.readings[:1]
