"""`emg check` and `emg init` as they are called: exit codes, tables, JSON, and nothing overwritten."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from collectors.amounts import targets
from collectors.mapping import load_mapping
from gateway.check import SAMPLES, check_main, init_main
from gateway.config import load_site
from tests.profiles.conftest import SOUND as LAB_PROFILE


def test_the_sample_site_passes_and_tells_its_basis(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_main([str(SAMPLES / "site.toml")]) == 0
    out = capsys.readouterr().out
    assert "electricity/eastron_sdm630" in out
    assert "manual, worked" in out
    assert "36 series" in out


def test_the_sample_mappings_fit_the_sample_site() -> None:
    site = load_site(SAMPLES / "site.toml")
    for line in (site.lines["weighbridge"], site.lines["yard"], site.lines["laboratory"], site.lines["round"]):
        mapping = load_mapping(line.mapping)
        for series, wanted in zip(targets(mapping, site), mapping.wanted, strict=True):
            assert series.register.unit == wanted.says.unit
            assert site.meters[series.meter].line == line.id


def test_init_writes_a_site_that_passes_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "site"
    assert init_main([str(folder), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert str(folder / "site.toml") in written
    assert check_main([str(folder / "site.toml")]) == 0
    (folder / "site.toml").write_text("mine", encoding="utf-8")
    (folder / "coal_stock.toml").unlink()
    capsys.readouterr()
    assert init_main([str(folder)]) == 2
    assert "found a file of this name" in capsys.readouterr().err
    assert (folder / "site.toml").read_text(encoding="utf-8") == "mine"
    assert not (folder / "coal_stock.toml").exists()


def test_the_answer_as_json_names_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_main([str(SAMPLES / "site.toml"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["series"] == 36
    assert {profile["name"]: profile["basis"] for profile in answer["profiles"]}["electricity/acrel_adw300"] == [
        "worked"
    ]
    assert answer["points"][0]["resolution"] == "0.01"


def test_mistakes_are_findings_and_a_missing_file_is_not(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = site_file('timezone = "Asia/Shanghai"', 'timezone = "Mars"')
    assert check_main([str(path)]) == 1
    assert f'{path}:3: site.timezone: found "Mars"' in capsys.readouterr().out
    assert check_main([str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["line"] == 3
    assert check_main([str(tmp_path / "no.toml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_broken_profile_that_no_meter_uses_yet_is_told(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = site_file()
    profile = path.parent / "profiles" / "electricity" / "lab_lm3.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(LAB_PROFILE, encoding="utf-8")
    assert check_main([str(path)]) == 0
    profile.write_text(LAB_PROFILE.replace("123.5", "124.5"), encoding="utf-8")
    assert check_main([str(path)]) == 1
    assert "which is what the example decodes to" in capsys.readouterr().out
