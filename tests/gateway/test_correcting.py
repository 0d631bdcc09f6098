"""`emg correct` from the command line: two people, both values, and the reading that stands afterwards."""

import hashlib
import json
import os
import pwd
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.clocks import ReplayClock, SystemClock
from gateway.config import load_site
from gateway.domain.readings import Quality, Reading
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import ImportRefused, JournalError
from gateway.handing_in import hand_in
from gateway.journal.correction_bodies import Correction, Evidence, proposal_body
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.inbox import take_in, waiting_files
from gateway.journal.reader import entries_between
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store

# 2026-03-10T16:00:00+08:00: date -u -d 2026-03-10T08:00:00Z +%s
AT, TEXT = 1_773_129_600_000_000, "2026-03-10T16:00:00"
ENERGY, POWER = "works/main/active_energy_import", "works/main/active_power"


def plant(path: Path) -> Site:
    site = load_site(path)
    with Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=ReplayClock(AT)) as journal:
        readings = [Reading(ENERGY, AT, 1020), Reading(ENERGY, AT + 1, 1210), Reading(POWER, AT, 5000.0)]
        journal.append_now(EntryKind.READINGS, readings_body("hall", readings))
    with open_reading_store(site, read_only=False) as store:
        drain_once(site.data_dir / "journal", store)
    return site


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    [row] = json.loads(capsys.readouterr().out)["corrections"]
    found: dict[str, Any] = row
    return found


def propose(site: Site, value: str, *more: str, series: str = ENERGY, at: str = TEXT) -> int:
    words = ("--reason", "display misread", "--author", "Wang Li", *more)
    return main(["correct", "propose", str(site.file), series, at, value, *words])


def standing(site: Site, series: str = ENERGY) -> list[tuple[int | float | None, Quality]]:
    with open_reading_store(site, read_only=True) as store:
        return [(one.value, one.quality) for one in store.readings(EVERYTHING, series, AT, AT + 1)]


def test_what_another_person_approved_stands_and_what_was_read_is_kept(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = plant(site_file())
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a picture of a dial")
    step = site.series[ENERGY].resolution
    assert step is not None
    assert propose(site, str(1200 * step), "--evidence", str(photo), "--json") == 0
    row = told(capsys)
    assert (row["was"], row["values"]) == ([str(1020 * step)], [str(1200 * step)])
    assert (row["author"], row["decision"], row["instants"]) == ("Wang Li", None, ["2026-03-10T16:00:00+08:00"])
    digest = hashlib.sha256(b"a picture of a dial").hexdigest()
    assert row["evidence"] == {"file": "photo.jpg", "sha256": digest, "bytes": 19}
    assert (site.data_dir / "evidence" / digest).read_bytes() == b"a picture of a dial"
    assert standing(site) == [(1020, Quality.GOOD)]  # nothing changes before it is approved

    assert main(["correct", "approve", str(site.file), str(row["proposal"]), "--approver", "Zhao Min", "--json"]) == 0
    decided = told(capsys)["decision"]
    assert (decided["state"], decided["by"]) == ("approved", "Zhao Min")
    assert standing(site) == [(1200, Quality.SUBSTITUTED | Quality.CORRECTED)]
    with open_reading_store(site, read_only=True) as store:
        both = store.versions(EVERYTHING, ENERGY, AT)
        assert [(one.value, one.reason) for one in both] == [(1020, ""), (1200, f"correction.{row['proposal']}")]
        assert store.conflicts(EVERYTHING) == []
    assert main(["correct", "list", str(site.file), "--open", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"corrections": []}


def test_a_reading_can_be_struck_out_and_corrected_again(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = plant(site_file())
    for value, expected in (("none", None), ("4999.5", 4999.5)):
        assert propose(site, value, "--json", series=POWER, at=f"{TEXT}+08:00") == 0
        number = told(capsys)["proposal"]
        assert main(["correct", "approve", str(site.file), str(number), "--approver", "Zhao Min"]) == 0
        capsys.readouterr()
        [(found, quality)] = standing(site, POWER)
        assert (found, bool(quality & Quality.CORRECTED)) == (expected, True)


def test_beside_an_acquiring_process_it_goes_through_the_inbox(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = plant(site_file())
    journal = Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=SystemClock())
    done = threading.Event()

    def acquire() -> None:
        while not done.wait(0.02):
            if waiting_files(site.data_dir):
                take_in(site.data_dir, journal)

    acquiring = threading.Thread(target=acquire)
    acquiring.start()
    try:
        assert propose(site, "none") == 0
    finally:
        done.set()
        acquiring.join()
        journal.close_now()
    assert "open" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "options", "says"),
    [
        ("12,5", (), "expected a number [kWh]"),
        ("12.3456789", (), "a multiple of the register's resolution"),
        ("1e40", (), "at most 64 bits of counts"),
        ("1", ("--evidence", "absent.pdf"), "absent.pdf: cannot be kept as evidence"),
    ],
)
def test_a_proposal_that_cannot_be_made_is_told(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], value: str, options: tuple[str, ...], says: str
) -> None:
    site = plant(site_file())
    assert propose(site, value, *options) == 2
    assert says in capsys.readouterr().err


def test_nobody_approves_alone_and_nothing_unknown_is_decided(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = plant(site_file())
    assert propose(site, "none", "--json") == 0
    number = told(capsys)["proposal"]
    assert main(["correct", "approve", str(site.file), str(number), "--approver", "wang li"]) == 2
    assert "expected another person" in capsys.readouterr().err
    assert main(["correct", "approve", str(site.file), "1", "--approver", "Zhao Min"]) == 2
    assert "entry 1 of the journal is no proposal" in capsys.readouterr().err
    assert propose(site, "1", series="works/main/volume") == 2
    assert "no such series" in capsys.readouterr().err
    assert propose(site, "1", at="yesterday") == 2
    assert "expected e.g." in capsys.readouterr().err
    assert propose(site, "1", at="0001-01-01T00:00:00+08:00") == 2
    assert "expected an instant from 1970-01-01 to the year 6536" in capsys.readouterr().err
    assert main(["correct", "reject", str(site.file), str(number), "--approver", "Zhao\u200b", "--remark", "no"]) == 2
    assert "invisible character U+200B" in capsys.readouterr().err


def test_a_command_that_waits_takes_the_inbox_in_itself_once_the_journal_is_free(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = plant(site_file())
    journal = Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=SystemClock())

    def let_go() -> None:  # another command, which had looked into the inbox before anything was there
        while not waiting_files(site.data_dir):
            time.sleep(0.01)
        journal.close_now()

    other = threading.Thread(target=let_go)
    other.start()
    assert propose(site, "none", "--json") == 0
    other.join()
    entry = next(entries_between(site.data_dir / "journal", told(capsys)["proposal"], 1 << 40))
    assert entry.body["inbox"]["user"] == pwd.getpwuid(os.getuid()).pw_name


def test_what_nobody_takes_in_waits_and_that_is_told(site_file: Callable[..., Path]) -> None:
    site = plant(site_file())
    item = (EntryKind.AUDIT, {"n": 1})
    with (
        Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=SystemClock()),
        pytest.raises(JournalError, match=r"no verdict within 0.1 s\. Nothing is lost"),
    ):
        hand_in(site, [item], origin="o", author="a", clock=SystemClock(), wait_s=0.1)
    assert len(waiting_files(site.data_dir)) == 1


def test_a_proposal_claims_only_what_the_journal_holds_whoever_wrote_it(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = plant(site_file())
    wrong = Correction(ENERGY, (AT,), (1200,), "misread")

    def refused(was: int | None, evidence: Evidence | None = None) -> str:
        body = proposal_body(wrong, was=[was], evidence=evidence)
        with pytest.raises(ImportRefused) as told:
            hand_in(site, [(EntryKind.CORRECTION, body)], origin="o", author="Wang Li", clock=SystemClock())
        return str(told.value)

    assert f"was: found 6 for {ENERGY} at {AT} us; the journal holds 1020" in refused(6)
    digest = hashlib.sha256(b"a dial").hexdigest()
    path = site.data_dir / "evidence" / digest
    assert f"{path}: No such file" in refused(1020, Evidence("photo.jpg", digest, 6))
    path.parent.mkdir()
    path.write_bytes(b"another")
    assert "found 7 bytes with SHA-256" in refused(1020, Evidence("photo.jpg", digest, 6))
    assert main(["correct", "list", str(site.file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"corrections": []}


def test_what_changed_since_it_was_proposed_is_not_approved(
    site_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = plant(site_file())
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a dial")
    numbers = []
    for value in ("none", "none"):
        assert propose(site, value, "--evidence", str(photo), "--json") == 0
        numbers.append(str(told(capsys)["proposal"]))
    kept = site.data_dir / "evidence" / hashlib.sha256(b"a dial").hexdigest()
    kept.unlink()
    assert main(["correct", "approve", str(site.file), numbers[0], "--approver", "Zhao Min"]) == 2
    assert "put the document there" in " ".join(capsys.readouterr().err.split())
    kept.write_bytes(b"a dial")
    assert main(["correct", "approve", str(site.file), numbers[0], "--approver", "Zhao Min"]) == 0
    assert main(["correct", "approve", str(site.file), numbers[1], "--approver", "Zhao Min"]) == 2
    assert "the journal holds None" in capsys.readouterr().err


def test_what_an_older_journal_was_told_is_shown_as_recorded(
    site_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = plant(site_file())
    body = proposal_body(Correction(POWER, (AT,), (1.0,), "why"), was=[6.0])
    with Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=SystemClock()) as journal:
        journal.append_now(EntryKind.CORRECTION, body)  # as it was taken in before claims were checked
    assert main(["correct", "list", str(site.file), "--json"]) == 0
    assert told(capsys)["was"] == ["5000.0"]
