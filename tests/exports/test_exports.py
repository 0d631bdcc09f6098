"""Exports, read back by programs that are not ours: DuckDB, pandas, the csv module."""

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from pyarrow import parquet

from gateway.__main__ import main
from gateway.config import load_site
from gateway.contracts import Delivery
from gateway.domain.intervals import Interval
from gateway.domain.periods import months_of, period
from gateway.domain.readings import Quality, Reading, quality_words
from gateway.exports.csv_text import as_text
from gateway.stores.opening import open_interval_store, open_reading_store

MAIN, POWER, GAS = "works/main/active_energy_import", "works/main/active_power", "works/gas/volume"
QUARTER = 900_000_000
# 2026-10-01 00:00 in Shanghai: date -u -d 2026-09-30T16:00:00Z +%s
OCTOBER = 1_790_784_000_000_000
BIG = 2**53 + 1  # a count that no float carries


def site_with_readings(site_file: Callable[..., Path]) -> Path:
    path = site_file()
    site = load_site(path)
    readings = [Reading(MAIN, OCTOBER + n * QUARTER, BIG + n) for n in range(2000)]
    readings += [Reading(MAIN, OCTOBER - QUARTER, BIG - 1)]  # September
    readings += [Reading(POWER, OCTOBER, 12.5), Reading(POWER, OCTOBER + 1, None, Quality.MISSING, "=cmd|'/C calc'!A0")]
    readings += [Reading(GAS, OCTOBER, -5, Quality.SUSPECT, "publisher.q.2")]
    with open_reading_store(site, read_only=False) as store:
        store.deliver([Delivery(7, readings, b"d")])
    return path


def export(*words: str) -> int:
    return main(["export", *words])


def test_a_month_in_parquet_is_exact_for_duckdb_and_pandas(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = site_with_readings(site_file)
    folder = tmp_path / "lake"
    words = ("--period", "2026-10", "--to", str(folder), "--format", "parquet", "--json")
    assert export("readings", str(site), *words) == 0
    told = json.loads(capsys.readouterr().out)
    [file] = [Path(one["file"]) for one in told["files"]]
    assert (file.name, told["rows"]) == ("works_readings_2026-10.parquet", 2003)
    found = duckdb.sql(
        f"SELECT point, quantity, count(*), min(count), max(count), sum(count), any_value(unit) FROM '{file}' "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert found == [
        ("gas", "volume", 1, -5, -5, -5, "m3"),
        ("main", "active_energy_import", 2000, BIG, BIG + 1999, 2000 * BIG + 1999 * 1000, "kWh"),
        ("main", "active_power", 2, None, None, None, "W"),
    ]
    frame = pd.read_parquet(file)
    main_rows = frame[frame["quantity"] == "active_energy_import"]
    assert main_rows["instant"].is_monotonic_increasing
    assert main_rows["instant"].iloc[0] == pd.Timestamp("2026-10-01", tz="Asia/Shanghai")
    assert list(frame["point"].unique()) == ["gas", "main"]
    assert set(frame["sequence"]) == {7}
    facts = json.loads(parquet.read_metadata(file).metadata[b"emg.series"])
    assert Decimal(facts[MAIN]["resolution"]) == load_site(site).series[MAIN].resolution
    assert told["bytes"] / 2000 < 8  # 2,000 regular readings with everything around them


def test_csv_carries_exact_decimals_local_times_and_no_formula(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = site_with_readings(site_file)
    assert export("readings", str(site), "--period", "2026-09-30..2026-10-01", "--to", str(tmp_path)) == 0
    assert "works_readings_2026-09-30..2026-09-30.csv" not in capsys.readouterr().err
    with (tmp_path / "works_readings_2026-10-01..2026-10-01.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    [gas] = [row for row in rows if row["point"] == "gas"]
    resolution = load_site(site).series[GAS].resolution
    assert resolution is not None
    assert (Decimal(gas["value"]), gas["quality"]) == (-5 * resolution, "SUSPECT")
    energy = [row for row in rows if row["quantity"] == "active_energy_import"]
    step = load_site(site).series[MAIN].resolution
    assert step is not None
    assert len(energy) == 96
    assert [Decimal(row["value"]) for row in energy] == [(BIG + n) * step for n in range(96)]
    assert energy[0]["instant"] == "2026-10-01T00:00:00+08:00"
    assert [row["reason"] for row in rows if row["quality"] == "MISSING"] == ["'=cmd|'/C calc'!A0"]


def test_intervals_keep_their_bounds_and_their_share_of_readings(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = site_file()
    site = load_site(path)
    known = [
        Interval(
            series=MAIN, start=OCTOBER, end=OCTOBER + QUARTER, counts=40, quality=Quality.GOOD, covered_us=QUARTER
        ),
        Interval(
            series=MAIN,
            start=OCTOBER + QUARTER,
            end=OCTOBER + 2 * QUARTER,
            counts=None,
            quality=Quality.MISSING,
            reason="line.silent",
        ),
    ]
    with open_interval_store(site, read_only=False) as store:
        store.describe(site.series[MAIN])
        store.write(MAIN, known, [], span=(OCTOBER, OCTOBER + 2 * QUARTER), settled_at=OCTOBER, watermark=9)
    words = ("--period", "2026-10", "--to", str(tmp_path), "--format", "parquet", "--enterprise", "works")
    assert export("intervals", str(path), *words) == 0
    file = tmp_path / "works_intervals_2026-10.parquet"
    asked = (
        f"SELECT epoch_us(start), epoch_us(\"end\"), count, quality, reason, covered_us FROM '{file}' ORDER BY start"
    )
    assert duckdb.sql(asked).fetchall() == [
        (OCTOBER, OCTOBER + QUARTER, 40, 1, "", QUARTER),
        (OCTOBER + QUARTER, OCTOBER + 2 * QUARTER, None, 16, "line.silent", 0),
    ]


def test_line_protocol_pins_whole_numbers_and_floats(site_file: Callable[..., Path], tmp_path: Path) -> None:
    site = site_with_readings(site_file)
    words = ("--period", "2026-10-01..2026-10-01", "--to", str(tmp_path), "--format", "line-protocol")
    assert export("readings", str(site), *words) == 0
    lines = (tmp_path / "works_readings_2026-10-01..2026-10-01.lp").read_text("utf-8").splitlines()
    head = "readings,enterprise=works,point="
    assert lines[0] == (f'{head}gas,quantity=volume count=-5i,quality=2i,sequence=7i,reason="publisher.q.2" {OCTOBER}')
    assert lines[1] == f"{head}main,quantity=active_energy_import count={BIG}i,quality=1i,sequence=7i {OCTOBER}"
    assert lines[97] == f"{head}main,quantity=active_power value=12.5,quality=1i,sequence=7i {OCTOBER}"
    assert len(lines) == 99
    assert export("intervals", str(site), *words) == 2


def test_a_dry_run_names_the_files_and_an_empty_month_makes_none(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = site_with_readings(site_file)
    folder = tmp_path / "out"
    assert export("readings", str(site), "--period", "2026", "--to", str(folder), "--dry-run", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 12
    assert not folder.exists()
    assert export("readings", str(site), "--period", "2026", "--to", str(folder), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(one["file"]).name for one in told["files"] if one["file"]] == [
        "works_readings_2026-09.csv",
        "works_readings_2026-10.csv",
    ]
    assert sorted(path.name for path in folder.iterdir()) == [
        "works_readings_2026-09.csv",
        "works_readings_2026-10.csv",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--period", "October"), "a period is YYYY"),
        (("--period", "2026-10", "--enterprise", "work"), "expected one of works"),
    ],
)
def test_what_cannot_be_exported_is_told(
    site_file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    says: str,
) -> None:
    site = site_with_readings(site_file)
    assert export("readings", str(site), "--to", str(tmp_path), *words) == 2
    assert says in capsys.readouterr().err


def test_months_of_a_span_of_days_are_cut_at_its_ends() -> None:
    months = months_of(period("2026-10-30..2026-12-31", "Asia/Shanghai"))
    assert [month.name for month in months] == ["2026-10-30..2026-10-31", "2026-11", "2026-12"]
    assert [earlier.end for earlier in months[:-1]] == [later.start for later in months[1:]]


def test_text_that_a_spreadsheet_would_compute_is_shown_as_text() -> None:
    assert [as_text(text) for text in ("=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "kWh", "")] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@A1",
        "'\t=1",
        "'\r=1",
        "kWh",
        "",
    ]
    assert quality_words(int(Quality.SUBSTITUTED | Quality.CORRECTED)) == ["SUBSTITUTED", "CORRECTED"]
