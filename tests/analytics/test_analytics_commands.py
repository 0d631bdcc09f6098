"""`emg settle`, `emg figures` and `emg pedigree` on a real site file, its stores and its ledger."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from analytics.commands import figures_main, pedigree_main, settle_main
from gateway.config import load_site
from gateway.contracts import Delivery
from gateway.domain.periods import to_instant
from gateway.domain.readings import Reading
from gateway.ledger.opening import open_ledger
from gateway.ledger.topology import record_topology
from gateway.stores.opening import open_reading_store

SITE = """
[site]
name = "gas works"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "gw-1"
[[enterprise]]
id = "works"
name_zh = "工厂"
name_en = "works"
[[line]]
id = "broker"
kind = "mqtt"
host = "127.0.0.1"
[[meter]]
id = "G-001"
line = "broker"
profile = "gas/emg_message_gas"
[[point]]
id = "gas-in"
enterprise = "works"
name_zh = "天然气进口"
name_en = "gas intake"
carrier = "gas"
level = "enterprise"
role = "input"
counts = "volume"
meter = "G-001"
[[account]]
enterprise = "works"
carrier = "gas"
conversion = "natural_gas"
method = "metered"
plus = ["gas-in"]
ncv = 35544
ncv_source = "supplier's analysis [kJ/m3]"
"""
DAY = "2026-10-15"


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE, encoding="utf-8")
    site = load_site(path)
    start = to_instant(datetime.fromisoformat(f"{DAY}T00:00+08:00"))
    with open_reading_store(site, read_only=False) as store:
        store.deliver(
            [
                Delivery(n, [Reading("works/gas-in/volume", start + (n - 1) * 900_000_000, n * 1000)])
                for n in range(1, 98)
            ]
        )
    ledger = open_ledger(site, read_only=False)
    record_topology(site, ledger, recorded_at=start, recorded_by="tester")
    ledger.close()
    return path


def figures(site_file, capsys):
    assert figures_main(["--site", str(site_file), "--enterprise", "works", "--period", DAY, "--json"]) == 0
    return {(one["kind"], one["key"]): one for one in json.loads(capsys.readouterr().out)}


def test_the_way_from_readings_to_a_pedigree(site_file, capsys):
    assert settle_main([str(site_file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["series"], report["changed"], report["watermark"]) == (1, 96, 97)
    found = figures(site_file, capsys)
    gas = found["energy_consumption", "natural_gas"]
    # 96 quarter-hours x 1000 counts x 0.01 m3
    assert (gas["value"], gas["unit"], gas["coverage"]) == ("960", "m3", "1")
    assert "U unknown: class of G-001 not declared" in gas["uncertainty_note"]
    total = found["comprehensive_energy", "total"]
    assert pedigree_main([total["id"], "--site", str(site_file), "--json"]) == 0
    node = json.loads(capsys.readouterr().out)
    assert node["parts"][0]["parts"][0]["readings"][0]["count"] == 97


def test_settling_again_says_that_nothing_changed(site_file, capsys):
    assert settle_main([str(site_file), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert settle_main([str(site_file), "--again"]) == 0
    assert capsys.readouterr().out == "1 series settled up to journal entry 97; 0 changes.\n"


def test_tables_and_trees_are_for_people(site_file, capsys):
    settle_main([str(site_file), "--quiet"])
    assert figures_main(["--site", str(site_file), "--enterprise", "works", "--period", DAY]) == 0
    out = capsys.readouterr().out
    assert "gas consumption" in out
    assert "960" in out
    assert "unfolds one." in out
    assert pedigree_main([f"standard_coal/works/{DAY}/natural_gas", "--site", str(site_file)]) == 0
    tree = capsys.readouterr().out
    for words in (
        "measured ncv 35544 kJ/m3 / 29307.6 kgce/m3",
        "supplier's analysis [kJ/m3]",
        "sha256: ",
        "class not declared",
    ):
        assert words in " ".join(tree.replace("│", " ").split()), words


def test_what_cannot_be_done_is_a_sentence_and_exit_2(site_file, tmp_path, capsys):
    assert figures_main(["--site", str(site_file), "--enterprise", "works", "--period", DAY]) == 2
    assert "`emg settle SITE` makes it" in capsys.readouterr().err
    settle_main([str(site_file), "--quiet"])
    assert figures_main(["--site", str(site_file), "--enterprise", "mill", "--period", DAY]) == 2
    assert "no enterprise 'mill' is known here; known: works" in capsys.readouterr().err
    assert pedigree_main(["nonsense", "--site", str(site_file)]) == 2
    assert "a figure id is kind/enterprise/period/key" in capsys.readouterr().err
    assert settle_main([str(tmp_path / "none.toml")]) == 2


def test_a_series_that_cannot_be_settled_is_a_finding(site_file, capsys):
    settle_main([str(site_file), "--quiet"])
    site = load_site(site_file)
    with open_reading_store(site, read_only=False) as store:
        store.deliver(
            [Delivery(98, [Reading("works/gone/volume", 0, 5), Reading("works/gas-in/volume", 2**50, 10**6)])]
        )
    assert settle_main([str(site_file)]) == 0
    assert "works/gone/volume: the site file names no such series" in capsys.readouterr().err
