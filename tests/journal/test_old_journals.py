"""Journals of every format that was ever written still open, read the same, verify, and go on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.clocks import SystemClock
from gateway.journal.entries import Entry, EntryKind, readings_of
from gateway.journal.reader import entries
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal

OLD = Path(__file__).resolve().parents[1] / "old_stores"


def told(entry: Entry) -> dict[str, Any]:
    readings = [[*one[:3], int(one.quality), one.reason, one.words.hex()] for one in readings_of(entry)]
    known = {"sequence": entry.sequence, "kind": entry.kind.value, "at": entry.at, "body": entry.body}
    return {**known, "hash": entry.hash.hex(), "readings": readings}


@pytest.mark.parametrize("number", [1])
def test_a_journal_of_this_format_reads_verifies_and_goes_on(tmp_path: Path, number: int) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(OLD / f"journal-format-{number}", directory)
    known = json.loads((OLD / f"journal-format-{number}.json").read_text("utf-8"))
    assert [told(entry) for entry in entries(directory)] == known["entries"]
    report = verify_journal(directory, keys=[bytes.fromhex(known["public"])], every=True)
    assert (report.ok, report.findings, report.readings, report.gap_slots) == (True, [], 4, 2)
    assert report.head_hash == known["entries"][-1]["hash"]
    with Journal.open(directory, gateway_id="gw-old", clock=SystemClock()) as journal:
        assert journal.append_now(EntryKind.AUDIT, {"n": 2}) == known["entries"][-1]["sequence"] + 1
    assert verify_journal(directory).ok
