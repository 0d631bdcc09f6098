"""Tables that people import: good rows are booked, bad rows are told, and nothing of a bad row is left."""

import csv
import hashlib
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.domain.certificates import CertificateKind
from gateway.domain.instruments import AccuracyClass, InstrumentState
from gateway.domain.scopes import EVERYTHING, scope_of
from gateway.domain.sites import Site
from gateway.errors import ImportRefused
from gateway.ledger.booking import BEGINNING, Entry
from gateway.ledger.importing import import_file
from gateway.ledger.ledger import Ledger
from gateway.ledger.opening import open_ledger
from gateway.ledger.topology import record_topology
from gateway.ledger.verdicts import Outcome, Verdicts, import_table

NOON = 1_793_246_400_000_000  # 2026-10-29, noon in Shanghai
ENTRY = Entry(recorded_at=NOON, recorded_by="Li Wei", reason="yearly list")
YEAR = {"first_day": date(2026, 1, 1), "day_after": date(2027, 1, 1)}


@pytest.fixture
def plant(site: Site, ledger: Ledger) -> Ledger:
    record_topology(site, ledger, recorded_at=NOON, recorded_by="site file")
    return ledger


def table(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding, newline="")
    return path


def outcomes(verdicts: Verdicts) -> dict[int, str]:
    return {row.line: row.outcome.value for row in verdicts.rows}


def wrong(verdicts: Verdicts) -> dict[int, list[str]]:
    return {row.line: [problem.key for problem in row.problems] for row in verdicts.rows if row.problems}


def test_good_rows_of_certificates_are_booked_and_bad_ones_told_by_column(
    site: Site, plant: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"%PDF certificate")
    file = table(
        tmp_path,
        "instrument,number,kind,laboratory,performed_on,valid_until,conforms,expanded_uncertainty_pct,k,file",
        "M-1,DN-1,verification,省计量院,2025-03-01,2031-02-28,yes,,,scan.pdf",
        "M-9,DN-2,verification,institute,2025-03-01,,yes,,,",
        "M-1,DN-3,inspection,institute,1.3.2025,2031-02-30,maybe,,,no.pdf",
        "M-2,C-4,校准,institute,2025/3/1,,,0.06,2,",
        "M-1,DN-5,verification,institute,2062-03-01,,yes,,,",
        "M-1,,verification,institute,2025-03-01,,yes,,,",
        "M-1,DN-7,calibration,institute,2025-03-01,,,0.06,,",
        "M-1,DN-8,verification,institute",
        '"M-1",DN-9,verification,"institute, Jinan",2025-03-01,,no,,,',
    )
    verdicts = import_table(plant, EVERYTHING, site, "certificates", file, **ENTRY)
    assert outcomes(verdicts) == {
        2: "accepted",
        3: "refused",
        4: "refused",
        5: "accepted",
        6: "refused",
        7: "refused",
        8: "refused",
        9: "refused",
        10: "accepted",
    }
    assert wrong(verdicts) == {
        3: ["instrument"],
        4: ["performed_on", "kind", "valid_until", "conforms", "file"],
        6: ["performed_on"],
        7: ["number"],
        8: ["k"],
        9: ["(row)"],
    }
    (other, *own) = [row.fact for row in plant.certificates(EVERYTHING, as_of=None)]
    assert [(one.instrument, one.number, one.conforms) for one in own] == [
        ("M-1", "DN-1", True),
        ("M-1", "DN-9", False),
    ]
    assert own[0].file_sha256 == hashlib.sha256(b"%PDF certificate").hexdigest()
    assert own[0].valid_until == date(2031, 2, 28)
    assert (other.enterprise, other.instrument, other.number) == ("brick", "M-2", "C-4")  # by its instrument
    assert (other.kind, other.conforms) == (CertificateKind.CALIBRATION, None)
    assert (other.expanded_uncertainty_pct, other.k) == (Decimal("0.06"), Decimal(2))
    sentence = verdicts.rows[2].problems[0].sentence()
    assert sentence == f"{file}:4: performed_on: found '1.3.2025'; expected a date as 2026-10-31 or 2026/10/31."


def test_chinese_headings_and_words_with_a_byte_order_mark(site: Site, plant: Ledger, tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "管理编号,证书编号,检定/校准,检定机构,检定日期,有效期至,结论,备注",
        "M-1,DN-1,检定,省计量院,2025年3月1日,2031/02/28,合格,=HYPERLINK(1)",
        "M-2,DN-2,检定,省计量院,2025.3.1,,不合格,",
        encoding="utf-8-sig",
    )
    verdicts = import_table(plant, EVERYTHING, site, "certificates", file, **ENTRY)
    assert outcomes(verdicts) == {2: "accepted", 3: "accepted"}
    assert verdicts.not_read == ("备注",)
    second, first = [row.fact for row in plant.certificates(EVERYTHING, as_of=None)]  # brick before works
    assert (first.number, first.performed_on, first.valid_until, first.conforms) == (
        "DN-1",
        date(2025, 3, 1),
        date(2031, 2, 28),
        True,
    )
    assert second.conforms is False


def test_importing_the_same_file_again_changes_nothing(site: Site, plant: Ledger, tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "enterprise,product,name_zh,unit,period,quantity",
        "works,clinker,熟料,吨,2026-09,81234.5",
        "works,clinker,熟料,t,2026/10,80000.00",
        "brick,brick,砖,pc,2026,1e6",
    )
    first = import_table(plant, EVERYTHING, site, "production", file, **ENTRY)
    again = import_table(plant, EVERYTHING, site, "production", file, **{**ENTRY, "recorded_at": NOON + 1})
    assert (first.count(Outcome.ACCEPTED), again.count(Outcome.UNCHANGED)) == (3, 3)
    rows = plant.production(EVERYTHING, as_of=None, enterprise="works", **YEAR)
    assert [(row.fact.first_day, row.fact.day_after, row.fact.quantity, row.fact.unit) for row in rows] == [
        (date(2026, 9, 1), date(2026, 10, 1), Decimal("81234.5"), "t"),
        (date(2026, 10, 1), date(2026, 11, 1), Decimal(80000), "t"),
    ]
    assert {row.recorded_at for row in rows} == {NOON}
    table(tmp_path, "enterprise,product,name_zh,unit,period,quantity", "works,clinker,熟料,t,2026-10,80001")
    corrected = import_table(plant, EVERYTHING, site, "production", file, **{**ENTRY, "recorded_at": NOON + 2})
    assert corrected.count(Outcome.ACCEPTED) == 1
    assert [row.fact.quantity for row in plant.production(EVERYTHING, as_of=NOON + 1, enterprise="works", **YEAR)] == [
        Decimal("81234.5"),
        Decimal(80000),
    ]


def test_production_that_would_be_counted_twice_or_means_nothing_is_refused(
    site: Site, plant: Ledger, tmp_path: Path
) -> None:
    file = table(
        tmp_path,
        "企业,产品代码,产品名称,单位,月份,产量",
        "works,clinker,熟料,t,2026-10,100",
        "works,clinker,熟料,t,2026-10-05,3",  # a day of a month that is booked
        "works,clinker,熟料,kg,2026-11,100",  # another unit
        'works,cement,水泥,t,2026-10,"1,234.5"',
        "works,cement,水泥,t,202610,1",
        "works,cement,水泥,t,2026-13,1",
        "works,cement,水泥,t,2026-10,NaN",
        "works,cement,水泥,t,2026-10,-1",
        "nobody,cement,水泥,t,2026-10,1",
        ",cement,水泥,t,2026-10,1",
        "works,,水泥,t,2026-10,1",
    )
    verdicts = import_table(plant, EVERYTHING, site, "production", file, **ENTRY)
    assert wrong(verdicts) == {
        3: ["period"],
        4: ["unit"],
        5: ["quantity"],
        6: ["period"],
        7: ["period"],
        8: ["quantity"],
        9: ["quantity"],
        10: ["enterprise"],
        11: ["enterprise"],
        12: ["product"],
    }
    assert len(plant.production(EVERYTHING, as_of=None, enterprise="works", **YEAR)) == 1


def test_output_value_on_both_price_bases(site: Site, plant: Ledger, tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "企业,期间,产值(万元),价格口径",
        "works,2026-10,1234.50,现价",
        "works,2026-10,1100,2020年不变价",
        "works,2026-10,1100,2020",
        "brick,2026年10月,3,constant-2020",
        "works,2026-11,-3,current",
    )
    verdicts = import_table(plant, EVERYTHING, site, "output-value", file, **ENTRY)
    assert wrong(verdicts) == {4: ["price_basis"], 6: ["amount_10k_cny"]}
    rows = plant.output_value(EVERYTHING, as_of=None, enterprise="works", **YEAR)
    assert {row.fact.price_basis: row.fact.amount for row in rows} == {
        "current": Decimal("1234.50"),
        "constant-2020": Decimal(1100),
    }


def test_an_instrument_list_completes_what_the_site_file_declared(site: Site, plant: Ledger, tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "管理编号,计量点,名称,器具类别,型号规格,准确度等级,测量范围,安装地点,状态,生效日期",
        "M-1,,电能表,static AC energy meter,DTSD341,0.5S级,3×1.5(6) A,1号配电室,,0001-01-01",
        "M-1,,,,,,,,停用,2026-09-01",
        "S-7,kiln,地磅,weighbridge,SCS-100,Ⅲ,0-100 t,西门,合格,",
        "S-8,nowhere,地磅,weighbridge,,,,,合格,",
        "S 9,kiln,地磅,weighbridge,,,,,好,",
    )
    verdicts = import_table(plant, EVERYTHING, site, "instruments", file, **ENTRY)
    # the enterprise of an instrument that nobody knows cannot be told among two
    assert wrong(verdicts) == {4: ["enterprise"], 5: ["enterprise"], 6: ["enterprise", "state"]}
    rows = plant.instruments(EVERYTHING, as_of=None, on=None, enterprise="works")
    assert [(row.valid_from, row.fact.state, row.fact.place) for row in rows] == [
        (BEGINNING, InstrumentState.QUALIFIED, "1号配电室"),
        (date(2026, 9, 1), InstrumentState.STOPPED, "1号配电室"),
    ]
    assert rows[0].fact.accuracy_class == AccuracyClass("0.5S")
    assert (rows[0].fact.point, rows[0].fact.serial) == ("main", "0117")  # blank cells left what was known
    assert not record_topology(site, plant, recorded_at=NOON + 1, recorded_by="site file")

    named = table(
        tmp_path,
        "id,enterprise,point,name,accuracy_class,state",
        "S-7,brick,kiln,地磅,Ⅲ,合格",
        "S-8,brick,nowhere,地磅,,合格",
        "S 9,brick,kiln,地磅,,合格",
    )
    second = import_table(plant, EVERYTHING, site, "instruments", named, **ENTRY)
    assert wrong(second) == {3: ["point"], 4: ["id"]}
    assert [row.fact.id for row in plant.instruments(EVERYTHING, as_of=None, on=BEGINNING)] == ["M-2", "S-7", "M-1"]


def test_lines_that_contradict_one_another_are_all_refused_and_repetitions_told(
    site: Site, plant: Ledger, tmp_path: Path
) -> None:
    file = table(
        tmp_path,
        "enterprise,product,unit,period,quantity",
        "works,clinker,t,2026-09,1",
        "works,clinker,t,2026-10,100",
        "works,clinker,t,2026-10,101",
        "works,clinker,t,2026-09,1.0",
        "",
        "works,clinker,t,2026-11,2",
    )
    verdicts = import_table(plant, EVERYTHING, site, "production", file, **ENTRY)
    assert outcomes(verdicts) == {2: "accepted", 3: "refused", 4: "refused", 5: "unchanged", 7: "accepted"}
    assert "line 4" in verdicts.rows[1].problems[0].found
    assert verdicts.rows[3].note == "the same as line 2"


def test_a_row_outside_the_scope_is_refused_alone(site: Site, plant: Ledger, tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "enterprise,product,unit,period,quantity",
        "works,clinker,t,2026-09,1",
        "brick,brick,t,2026-09,1",
    )
    verdicts = import_table(plant, scope_of("brick"), site, "production", file, **ENTRY)
    assert wrong(verdicts) == {2: ["enterprise"]}
    assert plant.production(EVERYTHING, as_of=None, enterprise="works", **YEAR) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty file"),
        (b"product,unit,period\n", r"quantity: found no such column; expected quantity \| production \| 产量"),
        ("产品代码,单位,月份,产值,产量,数量\n".encode(), "数量: found a second heading of the same column"),
        ("产品代码,单位\n".encode("gbk"), "not UTF-8.*CSV UTF-8"),
        (b'product,unit,period,quantity\nclinker,"t,2026-10,1\n', r":2: found .*Close every double quote"),
        (b'product,unit,period,quantity\nclinker,"t"x,2026-10,1\n', r":2: found "),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_whole(
    site: Site, plant: Ledger, tmp_path: Path, content: bytes, complaint: str
) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    with pytest.raises(ImportRefused, match=complaint):
        import_table(plant, EVERYTHING, site, "production", file, **ENTRY)
    with pytest.raises(ImportRefused, match="cannot be read"):
        import_table(plant, EVERYTHING, site, "production", tmp_path, **ENTRY)


def test_a_line_break_inside_a_cell_moves_no_line_number(site: Site, plant: Ledger, tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "enterprise,product,name_zh,unit,period,quantity",
        'works,clinker,"熟\n料",t,2026-10,1',
        "works,clinker,熟料,t,2026-11,x",
    )
    verdicts = import_table(plant, EVERYTHING, site, "production", file, **ENTRY)
    assert wrong(verdicts) == {2: ["name_zh"], 4: ["quantity"]}


def test_a_dry_run_gives_the_same_verdicts_and_books_nothing(site: Site, tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "enterprise,product,unit,period,quantity",
        "works,clinker,t,2026-09,1",
        "works,clinker,t,2026-10,x",
    )
    tried = import_file(site, "production", file, ENTRY, check=True)
    assert not site.data_dir.exists()
    assert import_file(site, "production", file, ENTRY) == tried
    with closing(open_ledger(site, read_only=True)) as ledger:
        assert len(ledger.production(EVERYTHING, as_of=None, enterprise="works", **YEAR)) == 1
        assert len(ledger.points(EVERYTHING, as_of=None, on=BEGINNING)) == 2  # the site file came along


def test_a_table_written_by_another_program_is_read_as_meant(site: Site, plant: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    laboratory = '=1+1, "quoted", @SUM(A1)'
    with file.open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.writer(handle)  # quotes and ends lines as spreadsheets do: CRLF
        writer.writerow(["管理编号", "证书编号", "证书类型", "检定机构", "检定日期"])
        writer.writerow(["M-1", "DN-1", "检定", laboratory, "2025-03-01"])
    import_table(plant, EVERYTHING, site, "certificates", file, **ENTRY)
    (row,) = plant.certificates(EVERYTHING, as_of=None)
    assert row.fact.laboratory == laboratory
