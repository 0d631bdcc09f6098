"""Backups that are renewed, cut short at any point, on a full disk, or made of a damaged site."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.domain.instruments import RecordClass
from gateway.domain.readings import Reading
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.compressing import compress_closed
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.pruning import prune
from gateway.journal.segments import segments
from gateway.journal.verify import verify_journal
from gateway.stores.backup import back_up
from gateway.stores.backup_folder import begin, read_manifest
from gateway.stores.restoring import check_backup
from gateway.stores.segment_copies import copy_segments
from tests.killing import kill_repeatedly
from tests.stores.stored_site import START, fill, state_of, stored_site, writer

SiteFile = Callable[..., Path]


class PowerCutError(BaseException):
    """Nothing is done any more from here on."""


@contextmanager
def cut_at(step: int, patch: pytest.MonkeyPatch, how: BaseException) -> Iterator[None]:
    """Everything that changes a disk fails from its `step`-th call on: the program is gone, or the disk is full."""
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count >= step:
                raise how
            return call(*args, **named)

        return act

    with patch.context() as patched:
        for name in ("fsync", "replace", "unlink", "link", "mkdir", "rmdir", "truncate", "write"):
            patched.setattr(os, name, counted(getattr(os, name)))
        yield


def more(site: Site, entries: range) -> None:
    with writer(site) as journal:
        fill(site, entries, journal)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def contents(backup: Path) -> dict[str, bytes]:
    state = state_of(backup)
    return {name: (state / name).read_bytes() for name in read_manifest(backup).files}


def journal_in(backup: Path) -> Path:
    return state_of(backup) / "data" / "journal"


@pytest.mark.parametrize("how", [PowerCutError(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_renewal_cut_at_any_step_leaves_the_old_or_the_new_backup(
    site_file: SiteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: BaseException
) -> None:
    site, folder = stored_site(site_file(), count=20), tmp_path / "backup"
    more(site, range(20, 22))
    old = back_up(site, folder, at=START)
    more(site, range(22, 45))
    seen, step = set(), 1
    while True:
        try:
            with cut_at(step, monkeypatch, how):
                back_up(site, folder, at=START + 1)
        except (PowerCutError, StoreError):
            step += 1
        else:
            break
        assert check_backup(folder) == []
        report = verify_journal(journal_in(folder))
        assert report.ok
        seen.add(report.last_sequence)
    assert step > 15
    assert seen == {old.sequence, old.sequence + 23}
    made = back_up(site, folder, at=START + 2)
    assert made.sequence == old.sequence + 23
    assert {path.name for path in folder.iterdir()} == {"MANIFEST.json", "backup.lock", state_of(folder).name}
    files = {str(path.relative_to(state_of(folder))) for path in state_of(folder).rglob("*") if path.is_file()}
    assert files == set(read_manifest(folder).files)


def test_a_first_backup_that_was_cut_short_is_gone_on_with(
    site_file: SiteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = stored_site(site_file(), count=40)
    for step in range(1, 40, 4):
        folder = tmp_path / f"backup-{step}"
        with pytest.raises(PowerCutError), cut_at(step, monkeypatch, PowerCutError()):
            back_up(site, folder, at=START)
        with pytest.raises(StoreError, match="holds no backup"):
            read_manifest(folder)
        held = len([path for path in folder.rglob("*.journal") if not path.name.startswith(".")])
        made = back_up(site, folder, at=START)
        assert check_backup(folder) == []
        assert made.copied <= made.files - max(held - 1, 0)  # the newest is looked at again
    assert held > 1


def test_a_program_that_is_killed_while_it_renews_leaves_a_good_backup(site_file: SiteFile, tmp_path: Path) -> None:
    site, folder = stored_site(site_file(), count=20), tmp_path / "backup"
    back_up(site, folder, at=START)
    program = (
        "import sys; from pathlib import Path; from gateway.config import load_site\n"
        "from gateway.stores.backup import back_up\n"
        "from tests.stores.stored_site import fill, writer\n"
        "site, n = load_site(Path(sys.argv[1])), int(sys.argv[3])\n"
        "print('begun', flush=True)\n"
        "while True:\n"
        "    with writer(site) as journal:\n"
        "        fill(site, range(n, n + 5), journal)\n"
        "    n += 5\n"
        "    print(back_up(site, Path(sys.argv[2]), at=n).sequence, flush=True)\n"
    )
    runs = kill_repeatedly(
        lambda number: [sys.executable, "-c", program, site.file, folder, str(1000 * (number + 1))],
        seed=8,
        rounds=5,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for _, killed in runs:
        assert killed.by_signal, killed.errors
        assert check_backup(folder) == []
        report = verify_journal(journal_in(folder))
        assert report.ok
        promised = [int(line) for line in killed.lines if line.isdigit()]
        assert report.last_sequence >= max(promised, default=0)
    assert back_up(site, folder, at=START).sequence >= report.last_sequence


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_segment_of_the_site_never_takes_the_place_of_its_good_copy(
    site_file: SiteFile, tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    site, folder = stored_site(site_file()), tmp_path / "backup"
    journal = site.data_dir / "journal"
    if packed:
        compress_closed(journal)
    back_up(site, folder, at=START)
    hurt = segments(journal)[1].path
    good = hurt.read_bytes()
    flip(hurt, len(good) // 2)
    more(site, range(60, 90))
    assert main(["db", "backup", str(site.file), "--to", str(folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"]
    assert len(told["changed"]) == 1
    assert str(hurt) in told["changed"][0]
    assert (journal_in(folder) / hurt.name).read_bytes() == good
    assert check_backup(folder) == []
    report = verify_journal(journal_in(folder))
    assert (report.ok, report.last_sequence) == (True, 91)
    hurt.write_bytes(good)  # put back from the backup
    assert main(["db", "backup", str(site.file), "--to", str(folder)]) == 0


def test_a_segment_that_was_compressed_since_is_no_change(site_file: SiteFile, tmp_path: Path) -> None:
    site, folder = stored_site(site_file()), tmp_path / "backup"
    back_up(site, folder, at=START)
    compress_closed(site.data_dir / "journal")
    made = back_up(site, folder, at=START + 1)
    assert made.changed == ()
    assert sorted(path.name for path in journal_in(folder).iterdir()) == sorted(
        segment.path.name for segment in segments(site.data_dir / "journal")
    )


def test_a_segment_whose_telemetry_left_by_age_takes_the_place_of_the_whole_one(
    site_file: SiteFile, tmp_path: Path
) -> None:
    site, folder = stored_site(site_file()), tmp_path / "backup"
    journal = site.data_dir / "journal"
    with writer(site) as writing:
        for n in range(100):
            readings = [Reading("works/main/power", START + n * 1_000_000 + k, 0.1 * k) for k in range(40)]
            writing.append_now(EntryKind.READINGS, readings_body("hall", readings, record_class=RecordClass.TELEMETRY))
    back_up(site, folder, at=START)
    compress_closed(journal)
    pruned = segments(journal)[-3]
    whole = pruned.path.stat().st_size
    prune(pruned)
    assert pruned.path.stat().st_size < whole
    changed: list[str] = []
    names = {kept.name for kept in copy_segments(begin(folder, site.gateway_id), journal, changed)}
    assert changed == []
    assert f"data/journal/{pruned.path.name}" in names


@pytest.mark.parametrize("fate", ["older copy", "another journal", "segment lost", "newest damaged"])
def test_a_journal_that_does_not_go_on_from_the_backup_leaves_it_as_it_was(
    site_file: SiteFile, tmp_path: Path, fate: str
) -> None:
    site, folder = stored_site(site_file(), count=30), tmp_path / "backup"
    journal = site.data_dir / "journal"
    shutil.copytree(journal, tmp_path / "older")
    more(site, range(30, 60))
    back_up(site, folder, at=START)
    before = contents(folder)
    if fate == "older copy":
        shutil.rmtree(journal)
        (tmp_path / "older").rename(journal)
    elif fate == "another journal":
        shutil.rmtree(journal)
        more(site, range(100, 300))
    elif fate == "segment lost":
        segments(journal)[1].path.unlink()
    else:
        flip(segments(journal)[-1].path, 200)
    with pytest.raises(StoreError):
        back_up(site, folder, at=START + 1)
    assert check_backup(folder) == []
    assert contents(folder) == before


def test_a_copy_that_rotted_in_the_backup_is_made_again(site_file: SiteFile, tmp_path: Path) -> None:
    site, folder = stored_site(site_file()), tmp_path / "backup"
    back_up(site, folder, at=START)
    flip(segments(journal_in(folder))[0].path, 900)
    assert len(check_backup(folder)) == 1
    assert back_up(site, folder, at=START + 1).changed == ()
    assert check_backup(folder) == []


def test_a_disk_without_links_gets_copies(site_file: SiteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, folder = stored_site(site_file()), tmp_path / "backup"
    back_up(site, folder, at=START)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    back_up(site, folder, at=START + 1)
    assert check_backup(folder) == []
