"""What a backup holds and for whom, and manifests that were tampered with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.config import load_site
from gateway.errors import StoreError
from gateway.journal.entries import EntryKind
from gateway.journal.inbox import submit, take_in
from gateway.journal.reader import entries
from gateway.stores import backup
from gateway.stores.backup import back_up
from gateway.stores.restoring import check_backup, restore
from tests.collectors.test_mqtt_tls import Authority
from tests.stores.stored_site import START, state_of, stored_site, writer

SiteFile = Callable[..., Path]
MQTT = 'kind = "mqtt"\nhost = "192.0.2.2"'


def test_waiting_files_torn_ends_damaged_files_and_authorities_are_in_it(site_file: SiteFile, tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "broker.pem"
    folder = tmp_path / "plant"
    folder.mkdir()
    path = site_file(MQTT, f'{MQTT}\ntls_ca = "certificates/ca.pem"')
    text = (
        path.read_text("utf-8") + f'\n[[sink]]\nid = "out"\nkind = "mqtt"\nhost = "192.0.2.3"\ntls_ca = "{outside}"\n'
    )
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    for authority in (outside, folder / "certificates" / "ca.pem"):
        authority.parent.mkdir()
        Authority(authority.parent, authority.stem)
    known = (folder / "certificates" / "ca.pem").read_bytes()
    site = stored_site(path, count=5)
    waiting = submit(site.data_dir, [(EntryKind.AUDIT, {"did": "looked"})], origin="test", author="ann")
    (waiting.parent / "bad.jsonl").write_text("{", encoding="utf-8")
    (waiting.parent / "bad.verdict.json").write_text("{}", encoding="utf-8")
    journal = site.data_dir / "journal"
    (journal / "damaged").mkdir()
    for kept in ("00000000000000000004-0.torn", "damaged/00000000000000000001.journal"):
        (journal / kept).write_bytes(b"evidence")
    back_up(site, tmp_path / "backup", at=START)
    restore(tmp_path / "backup", tmp_path / "target")
    target = tmp_path / "target"
    assert (target / "certificates/ca.pem").read_bytes() == known
    assert (target / f"elsewhere{outside}").read_bytes() == outside.read_bytes()
    assert (target / "data/inbox" / waiting.name).read_bytes() == waiting.read_bytes()
    assert (target / "data/inbox/bad.verdict.json").is_file()
    assert (target / "data/journal/damaged/00000000000000000001.journal").read_bytes() == b"evidence"
    assert (target / "data/journal/00000000000000000004-0.torn").read_bytes() == b"evidence"


def test_a_file_taken_in_while_the_backup_is_made_is_not_taken_in_twice(
    site_file: SiteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = stored_site(site_file(), count=5)
    submit(site.data_dir, [(EntryKind.AUDIT, {"did": "looked"})], origin="test", author="ann")
    copy = backup.copy_segments

    def take_in_first(*args: Any) -> Any:
        with writer(site) as journal:
            assert [verdict.accepted for verdict in take_in(site.data_dir, journal)] == [True]
        return copy(*args)

    monkeypatch.setattr(backup, "copy_segments", take_in_first)
    back_up(site, tmp_path / "backup", at=START)
    restore(tmp_path / "backup", tmp_path / "target")
    again = load_site(tmp_path / "target" / "site.toml")
    for _ in range(2):
        with writer(again) as journal:
            take_in(again.data_dir, journal)
    found = [entry for entry in entries(again.data_dir / "journal") if entry.kind is EntryKind.AUDIT]
    assert len(found) == 1
    assert not list((again.data_dir / "inbox").glob("*.jsonl"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("data_dir", "../.."), ("data_dir", "/etc"), ("state", ".."), ("state", "state-1/../.."), ("site", 3)],
)
def test_a_manifest_that_names_other_places_is_refused(
    site_file: SiteFile, tmp_path: Path, key: str, value: object
) -> None:
    folder = tmp_path / "backup"
    back_up(stored_site(site_file(), count=3), folder, at=START)
    manifest = json.loads((folder / "MANIFEST.json").read_bytes())
    (folder / "MANIFEST.json").write_text(json.dumps({**manifest, key: value}), encoding="utf-8")
    with pytest.raises(StoreError, match="MANIFEST"):
        restore(folder, tmp_path / "a" / "target")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["../planted", "/tmp/planted", "data/../../planted", ""])
def test_a_file_name_that_leads_out_is_refused(site_file: SiteFile, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "backup"
    back_up(stored_site(site_file(), count=3), folder, at=START)
    manifest = json.loads((folder / "MANIFEST.json").read_bytes())
    manifest["files"][name] = manifest["files"]["site.toml"]
    (folder / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(StoreError, match="expected a path inside the backup"):
        restore(folder, tmp_path / "a" / "target")
    assert not (tmp_path / "a").exists()


def test_backup_and_what_is_restored_are_for_their_owner(site_file: SiteFile, tmp_path: Path) -> None:
    site = stored_site(site_file(), count=3)
    (site.data_dir / "keys").mkdir(exist_ok=True)
    (site.data_dir / "keys" / "journal.key").write_text("secret", encoding="utf-8")
    back_up(site, tmp_path / "backup", at=START, with_key=True)
    restore(tmp_path / "backup", tmp_path / "target")
    for root in (state_of(tmp_path / "backup"), tmp_path / "target"):
        for path in [root, *root.rglob("*")]:
            wanted = 0o700 if path.is_dir() else 0o600 if path.suffix == ".key" else 0o640
            assert path.stat().st_mode & 0o777 == wanted & ~(0o027 if path.is_dir() else 0), path


def test_a_backup_of_the_first_format_is_restored_and_renewed(site_file: SiteFile, tmp_path: Path) -> None:
    site, folder = stored_site(site_file()), tmp_path / "backup"
    back_up(site, folder, at=START)
    manifest = json.loads((folder / "MANIFEST.json").read_bytes())
    for path in list((state := folder / manifest.pop("state")).iterdir()):
        path.rename(folder / path.name)
    state.rmdir()
    (folder / "MANIFEST.json").write_text(json.dumps({**manifest, "format": 1}), encoding="utf-8")
    assert len(restore(folder, tmp_path / "target")) == len(manifest["files"])
    made = back_up(site, folder, at=START + 1)
    assert made.copied <= 2
    assert check_backup(folder) == []
    assert not (folder / "site.toml").exists()


def test_check_tells_an_authority_that_is_not_there(site_file: SiteFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = site_file(MQTT, f'{MQTT}\ntls_ca = "ca.pem"')
    assert main(["check", str(path)]) == 1
    assert "tls_ca: found" in capsys.readouterr().out
    Authority(path.parent, "ca")
    assert main(["check", str(path)]) == 0
