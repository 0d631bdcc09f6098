"""The tables of the standards load whole or say which cell is wrong, and an edition is chosen by period."""

import re
import shutil

import pytest

from analytics.standards.layouts import LAYOUTS
from analytics.standards.tables import FOLDER, cite, load_tables
from gateway.domain.periods import period
from gateway.errors import StandardTableError

ZONE = "Asia/Shanghai"


@pytest.fixture(scope="module")
def tables():
    return load_tables()


@pytest.fixture
def copy(tmp_path):
    for file in FOLDER.glob("*.csv"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_every_table_is_loaded_and_named_in_the_sources():
    files = {path.name for path in FOLDER.glob("*.csv")}
    assert files == set(LAYOUTS)
    sources = (FOLDER / "SOURCES.md").read_text(encoding="utf-8")
    assert [name for name in sorted(files) if f"| `{name}` |" not in sources] == []


def test_row_counts_are_those_of_the_library(tables):
    # Counted with a spreadsheet when the tables were handed over.
    counts = {"carriers.csv": 83, "working_media.csv": 21, "verification_periods.csv": 45, "editions.csv": 18}
    assert {file: len(tables.rows(file)) for file in counts} == counts


@pytest.mark.parametrize(
    ("name", "edition"),
    [("2021-03", "2008"), ("2021-03-31", "2008"), ("2021-04-01", "2020"), ("2021-04", "2020"), ("2026-10", "2020")],
)
def test_the_edition_is_the_one_in_force_over_the_period(tables, name, edition):
    assert tables.edition_for("GB/T 2589", period(name, ZONE)) == edition


def test_a_period_that_crosses_the_change_of_edition_is_refused(tables):
    with pytest.raises(StandardTableError, match="2021 crosses the change from edition 2008 to 2020"):
        tables.edition_for("GB/T 2589", period("2021", ZONE))


def test_a_standard_without_known_edition_is_refused(tables):
    with pytest.raises(StandardTableError, match="no edition of GB/T 1 is known"):
        tables.edition_for("GB/T 1", period("2026", ZONE))


def test_a_citation_says_what_is_not_confirmed(tables):
    coal = tables.find("carriers.csv", code="raw_coal", edition="2020")
    row = cite(coal, key="raw_coal", value="0.7143", unit="kgce/kg")
    assert (row.confirmed, row.confidence, coal.doubtful) == (False, "high", False)
    assert tables.find("working_media.csv", code="new_water", edition="2020").doubtful  # confidence medium
    assert tables.find("carriers.csv", code="raw_coal", edition="2008").confirmed


def test_the_data_version_changes_with_any_byte(tables, copy):
    assert load_tables(copy).version == tables.version
    path = copy / "quotas.csv"
    path.write_bytes(path.read_bytes().replace(b"GB 16780", b"GB 16781", 1))
    assert load_tables(copy).version != tables.version


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("carriers.csv", "20934,kJ/kg,0.7143", "20934,kJ/kg,O.7143", r"carriers\.csv:2: kgce_per_unit: found 'O\.7143'; expected a number"),
        ("carriers.csv", "20934,kJ/kg,0.7143", "20934,kJ/kg,7143", r"carriers\.csv:2: kgce_per_unit: found '7143'"),
        ("carriers.csv", "washed_coal", "raw_coal", r"carriers\.csv:3: code, edition: found \('raw_coal', '2020'\); expected a key not on line 2"),
        ("editions.csv", "2021-03-31", "2021-31-03", r"editions\.csv:2: valid_to: found '2021-31-03'; expected a date"),
        ("carriers.csv", ",high,use measured", ",certain,use measured", r"carriers\.csv:2: confidence: found 'certain'"),
        ("working_media.csv", "kgce_per_unit", "kgce", r"working_media\.csv:1: columns: found none named kgce_per_unit"),
    ],
)  # fmt: skip
def test_a_damaged_cell_is_named_with_file_and_line(copy, file, old, new, sentence):
    path = copy / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(StandardTableError, match=sentence):
        load_tables(copy)


def test_several_damages_are_told_together(copy):
    (copy / "quotas.csv").unlink()
    (copy / "mpe_gas.csv").write_text("standard,class\n", encoding="utf-8")
    with pytest.raises(StandardTableError) as caught:
        load_tables(copy)
    assert len(re.findall(r"quotas\.csv|mpe_gas\.csv", str(caught.value))) >= 2
