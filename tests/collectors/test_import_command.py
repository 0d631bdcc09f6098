"""`emg import readings` from the command line into the journal and the store, alone and beside an acquiring process."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectors.booking import book
from collectors.file_readings import read_file
from collectors.importing import import_readings_main
from collectors.mapping import load_mapping
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.scopes import EVERYTHING
from gateway.errors import JournalError
from gateway.journal.entries import EntryKind, readings_of
from gateway.journal.inbox import take_in
from gateway.journal.reader import entries
from gateway.journal.writer import Journal
from gateway.stores.opening import open_reading_store

DAY = [f"2026-03-02 {n // 4:02d}:{n % 4 * 15:02d},{n}.25" for n in range(96)]
START = 1_772_380_800_000_000  # 2026-03-01T16:00:00Z, midnight in Shanghai
SERIES = "works/main/active_energy_import"


class Desk:
    """A site, a file, and the command."""

    def __init__(self, site_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.site_file, self.folder, self.capsys = site_file, site_file.parent, capsys
        self.site = load_site(site_file)
        self.journal_dir = self.site.data_dir / "journal"
        self.file = self.write("march.csv", DAY)

    def write(self, name: str, rows: list[str]) -> Path:
        path = self.folder / name
        path.write_text("\n".join(["time,kWh", *rows, ""]), "utf-8")
        return path

    def run(self, *options: str, files: list[Path] | None = None) -> tuple[int, Any, str]:
        """(exit code, the JSON printed, standard error)."""
        names = [str(path) for path in files or [self.file]]
        code = import_readings_main(
            [*names, "--map", str(self.folder / "history.toml"), "--site", str(self.site_file), "--json", *options]
        )
        out, err = self.capsys.readouterr()
        return code, json.loads(out) if out else None, err

    def stored(self) -> list[tuple[int, int | float | None]]:
        with open_reading_store(self.site, read_only=True) as store:
            return [(reading.instant, reading.value) for reading in store.readings(EVERYTHING, SERIES, 0, 2**62)]


@pytest.fixture
def desk(files_site: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(files_site(), capsys)


EXPECTED = [(START + n * 900_000_000, 100 * n + 25) for n in range(96)]


def test_a_check_books_nothing_and_tells_everything(desk: Desk) -> None:
    code, told, _ = desk.run("--check")
    [file] = told["files"]
    assert (code, told["checked_only"], file["booked"]) == (0, True, None)
    assert (file["readings"], file["first"], file["last_end"]) == (
        96,
        "2026-03-02T00:00:00+08:00",
        "2026-03-03T00:00:00+08:00",
    )
    # sum of n.25 for n = 0..95 = 95 x 96 / 2 + 96 x 0.25 = 4584
    assert file["series"][0]["months"] == {"2026-03": "4584.00"}
    assert not desk.site.data_dir.exists()


def test_the_readings_are_journaled_with_author_file_and_mapping_and_stored(desk: Desk) -> None:
    code, told, _ = desk.run("--by", "Li Hua")
    booked = told["files"][0]["booked"]
    assert (code, booked["stored"], booked["imported_before"]) == (0, 96, False)
    assert desk.stored() == EXPECTED
    found = list(entries(desk.journal_dir, after=booked["first_sequence"] - 1))
    assert [entry.kind for entry in found] == [EntryKind.EVENT, EntryKind.READINGS, EntryKind.CHECKPOINT]
    note, readings, _ = found
    assert (note.body["event"], note.body["readings"], note.body["refused_rows"]) == ("readings_imported", 96, 0)
    assert note.body["mapping"] == (desk.folder / "history.toml").read_text("utf-8")
    assert note.body["inbox"]["author"] == "Li Hua"
    assert readings.body["import"]["file_sha256"] == told["files"][0]["file_sha256"]
    assert len(readings_of(readings)) == 96


def test_the_same_file_is_recognised_and_booked_once(desk: Desk) -> None:
    desk.run()
    before = len(list(entries(desk.journal_dir)))
    code, told, _ = desk.run(files=[desk.file, desk.write("the same under another name.csv", DAY)])
    assert code == 0
    assert [file["booked"]["imported_before"] for file in told["files"]] == [True, True]
    assert len(list(entries(desk.journal_dir))) == before
    assert desk.stored() == EXPECTED


def test_bad_rows_are_told_and_the_good_ones_booked(desk: Desk) -> None:
    rows = [*DAY[:7], DAY[7].replace("7.25", "seven"), *DAY[8:]]
    code, told, _ = desk.run(files=[desk.write("march.csv", rows)])
    assert code == 1
    expected = "a number in kWh with the decimal mark '.'"
    mend = "Write the number alone; a text that says that nothing was read belongs into the mapping's key missing."
    row = {"line": 9, "column": "kWh", "found": "'seven'", "expected": expected, "mend": mend}
    assert told["files"][0]["refused_rows"] == [row]
    assert desk.stored() == [*EXPECTED[:7], *EXPECTED[8:]]
    note = next(entry for entry in entries(desk.journal_dir) if entry.body.get("event") == "readings_imported")
    assert note.body["refused"] == [f"march.csv:9: column kWh: found 'seven'; expected {expected}. {mend}"]


def test_a_refused_file_books_nothing_and_its_neighbour_is_booked(desk: Desk) -> None:
    wrong = desk.write("wrong.csv", DAY[1:])
    code, told, err = desk.run(files=[wrong, desk.file])
    assert code == 2
    assert "wrong.csv: refused, nothing of it was booked" in err
    assert "begins at 2026-03-02T00:15:00+08:00, not with a plant day" in err
    assert "refused" in told["files"][0]
    assert told["files"][1]["booked"]["stored"] == 96
    assert desk.stored() == EXPECTED


def test_what_cannot_run_says_so_with_exit_code_2(desk: Desk) -> None:
    code, told, err = desk.run(files=[desk.folder / "missing.csv"])
    assert code == 2
    assert "missing.csv: cannot be read: No such file or directory." in err
    assert told["files"][0]["refused"]
    (desk.folder / "history.toml").write_text("[format]\n", "utf-8")
    code, told, err = desk.run()
    assert (code, told) == (2, None)
    assert "format.header: found nothing; expected true if a row names the columns" in err


def test_the_table_for_people_names_unit_months_and_fate(desk: Desk) -> None:
    options = ["--map", str(desk.folder / "history.toml"), "--site", str(desk.site_file)]
    assert import_readings_main([str(desk.file), *options]) == 0
    out, _ = desk.capsys.readouterr()
    assert "96 readings for works/main/active_energy_import" in out
    assert "total, kWh" in out
    assert "4,584.00" in out
    assert "booked: journal entries 3 to 4; 96 readings stored" in out
    assert import_readings_main([str(desk.file), *options]) == 0
    assert "every row was booked before" in desk.capsys.readouterr()[0]


def test_beside_an_acquiring_process_the_import_goes_through_its_inbox(desk: Desk) -> None:
    stop = threading.Event()

    def acquiring(journal: Journal) -> None:
        while not stop.wait(0.05):
            take_in(desk.site.data_dir, journal)

    with Journal.open(desk.journal_dir, gateway_id="gw", clock=SystemClock()) as journal:
        thread = threading.Thread(target=acquiring, args=(journal,))
        thread.start()
        try:
            code, told, _ = desk.run()
            assert (code, told["files"][0]["booked"]["stored"]) == (0, None)
            again, told, _ = desk.run()
            assert (again, told["files"][0]["booked"]["imported_before"]) == (0, True)
        finally:
            stop.set()
            thread.join()
    assert sum(len(readings_of(entry)) for entry in entries(desk.journal_dir)) == 96


def test_without_a_verdict_the_file_waits_in_the_inbox_and_is_taken_in_later(desk: Desk) -> None:
    mapping = load_mapping(desk.folder / "history.toml")
    found = read_file(desk.file, mapping, desk.site, now=START)
    with Journal.open(desk.journal_dir, gateway_id="gw", clock=SystemClock()) as journal:
        with pytest.raises(JournalError, match=r"no verdict within 0.1 s. Nothing is lost"):
            book(desk.file, found, mapping, desk.site, author="Li Hua", clock=SystemClock(), wait_s=0.1)
        [verdict] = take_in(desk.site.data_dir, journal)
        assert verdict.accepted
    assert sum(len(readings_of(entry)) for entry in entries(desk.journal_dir)) == 96


def test_an_import_interrupted_between_its_parts_is_completed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.booking.READINGS_A_PART", 30)
    _, told, _ = desk.run()
    booked = told["files"][0]["booked"]
    assert (booked["parts"], booked["stored"]) == (4, 96)  # 30 + 30 + 30 + 6
    # A second data_dir whose journal holds the first two parts only, as after a crash between two submissions.
    kept = [entry for entry in entries(desk.journal_dir) if entry.kind is EntryKind.READINGS][:2]
    text = desk.site_file.read_text("utf-8").replace('data_dir = "data"', 'data_dir = "data-2"')
    desk.site_file.write_text(text, "utf-8")
    desk.site = load_site(desk.site_file)
    with Journal.open(desk.site.data_dir / "journal", gateway_id="gw", clock=SystemClock()) as journal:
        for entry in kept:
            journal.append_now(EntryKind.READINGS, entry.body)
    _, told, _ = desk.run()
    assert told["files"][0]["booked"]["parts"] == 2
    assert desk.stored() == EXPECTED
    assert sum(len(readings_of(entry)) for entry in entries(desk.site.data_dir / "journal")) == 96
