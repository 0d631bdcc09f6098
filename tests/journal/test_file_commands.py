"""`emg journal salvage` and `emg journal retain` as a person or a script calls them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.domain.readings import Reading
from gateway.journal.compressing import compress_closed
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store
from tests.journal.journals import make_journal

OLD = "\n[journal]\nkeep_evidence_months = 24\nkeep_telemetry_months = 12\n"


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_salvage_tells_what_is_lost_and_makes_the_folder_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = make_journal(tmp_path / "journal", 40, segment_bytes=1500)
    assert main(["journal", "salvage", str(tmp_path)]) == 0
    assert "There is nothing to salvage." in capsys.readouterr().out
    data = bytearray(paths[1].read_bytes())
    data[14 + 60] ^= 1
    paths[1].write_bytes(data)
    first = int(paths[1].stem)
    assert main(["journal", "salvage", str(tmp_path / "journal")]) == 1
    assert f"lost      entries {first}\n" in capsys.readouterr().out
    assert main(["journal", "salvage", str(tmp_path), "--to", str(tmp_path / "new"), "--json"]) == 1
    found = told(capsys)
    assert (found["lost"], found["entries"], found["made"]) == ([[first, first]], 39, str(tmp_path / "new"))
    assert len(list(entries(tmp_path / "new"))) == 40
    assert main(["journal", "salvage", str(tmp_path), "--to", str(tmp_path / "new")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["journal", "salvage", str(tmp_path / "nowhere")]) == 2


def test_salvage_of_a_site_signs_what_it_lost_and_of_a_bare_folder_says_that_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site_file = old_site(tmp_path / "site")
    site = load_site(site_file)
    journal_dir = site.data_dir / "journal"
    path = sorted(journal_dir.glob("*.gz"))[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    public = ["--key", str(site.data_dir / "keys" / "journal.pub")]
    assert main(["journal", "salvage", str(journal_dir), "--to", str(tmp_path / "bare")]) == 1
    assert "will not verify" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "bare"), *public]) == 1
    assert "salvaged is not signed by key" in capsys.readouterr().out
    assert main(["journal", "salvage", str(site_file), "--to", str(tmp_path / "new")]) == 1
    assert "will not verify" not in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "new"), *public]) == 1
    assert "VERIFIED, " in capsys.readouterr().out.splitlines()[-1]


def test_verify_takes_the_site_file_for_the_journal_of_the_site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site_file = old_site(tmp_path / "site")
    capsys.readouterr()
    assert main(["verify", str(site_file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["directory"]) == (True, str(load_site(site_file).data_dir / "journal"))
    site_file.write_text("")
    assert main(["verify", str(site_file)]) == 2
    assert str(site_file) in capsys.readouterr().err


def old_site(folder: Path) -> Path:
    """A site whose journal has a segment for each of five months, and one before the clock was set."""
    assert main(["init", str(folder)]) == 0
    site_file = folder / "site.toml"
    site_file.write_text(site_file.read_text("utf-8") + OLD, "utf-8")
    site = load_site(site_file)
    series = next(iter(site.series))
    clock = ReplayClock(0)
    with Journal.open(
        site.data_dir / "journal", gateway_id=site.gateway_id, clock=clock, key=site_key(site.data_dir)
    ) as journal:
        for year, month in ((2023, 1), (2023, 2), (2025, 3), (2026, 4), (2026, 5)):
            clock._now = int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000
            journal.append_readings_now("bus-1", [Reading(series, clock.now() + n, 1.5) for n in range(30)])
            journal.append_readings_now("bus-1", [Reading(series, 40 + n, 1.5) for n in range(30)], telemetry={series})
            journal.append_checkpoint_now()
    compress_closed(site.data_dir / "journal")
    return site_file


def test_retain_waits_for_the_store_then_lets_leave_what_is_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site_file = old_site(tmp_path / "site")
    site = load_site(site_file)
    journal_dir = site.data_dir / "journal"
    capsys.readouterr()
    with open_reading_store(site, read_only=False):
        pass
    assert main(["journal", "retain", str(site_file), "--dry-run", "--json"]) == 0
    assert told(capsys) == {"dry_run": True, "keep_from": 0, "pruned": [], "retired": []}
    with open_reading_store(site, read_only=False) as store:
        drain_once(journal_dir, store)
    assert main(["journal", "retain", str(site_file), "--dry-run"]) == 0
    assert "would leave" in capsys.readouterr().out
    first = next(entries(journal_dir))
    assert first.sequence == 1
    assert main(["journal", "retain", str(site_file), "--json"]) == 0
    done = told(capsys)
    # The newest closed segment is of April 2026. What ended before April 2024 leaves: that of 1970, for the clock
    # stood there, and that of January 2023; February's may have gone on until March 2025, and loses its telemetry.
    assert [len(done[what]) for what in ("retired", "pruned")] == [2, 1]  # type: ignore[arg-type]
    assert main(["journal", "retain", str(site_file)]) == 0
    assert "nothing is old enough" in capsys.readouterr().out
    assert next(entries(journal_dir)).sequence > 1
    assert sum(entry.kind is EntryKind.PRUNED for entry in entries(journal_dir)) == 1
    with Journal.open(journal_dir, gateway_id=site.gateway_id, clock=ReplayClock(0)):
        assert main(["journal", "retain", str(site_file)]) == 2
    assert "another writer" in capsys.readouterr().err
