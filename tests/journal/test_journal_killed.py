"""SIGKILL at random moments: what was acknowledged is there, once, and the chain holds."""

import os
import sys
from pathlib import Path

from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries
from gateway.journal.verify import verify_journal
from tests.journal.journals import open_journal
from tests.killing import kill_repeatedly

ROOT = Path(__file__).resolve().parents[2]
APPENDING = ROOT / "tests" / "journal" / "appending.py"
SEED = int(os.environ.get("EMG_SEED", "2026"))
KILLS = int(os.environ.get("EMG_KILLS", "15"))


def test_no_acknowledged_entry_is_lost_or_doubled_by_kills(tmp_path: Path) -> None:
    journal_dir = tmp_path / "journal"
    acked: dict[int, str] = {}
    cuts = 0
    rounds = kill_repeatedly(
        lambda number: [sys.executable, APPENDING, journal_dir, f"r{number}"],
        seed=SEED,
        rounds=KILLS,
        between=(0.05, 0.35),
        env={"PYTHONPATH": str(ROOT)},
    )
    for number, killed in rounds:
        told = f"seed {SEED}, kill {number}: {killed.errors}"
        assert killed.by_signal, told
        assert killed.lines[0].startswith("opened "), told
        for line in killed.lines[1:]:
            word, sequence, token = line.split()
            assert word == "acked", told
            assert int(sequence) not in acked, told
            acked[int(sequence)] = token
        report = verify_journal(journal_dir)
        assert report.ok, f"{told}: {report.problem}"
        found = {entry.sequence: entry.body.get("token") for entry in entries(journal_dir)}
        assert list(found) == list(range(1, len(found) + 1)), told
        assert {sequence: found.get(sequence) for sequence in acked} == acked, told
        tokens = [token for token in found.values() if token is not None]
        assert len(tokens) == len(set(tokens)), told
        cuts += report.torn_bytes > 0
    with open_journal(journal_dir) as journal:
        last = journal.append_now(EntryKind.EVENT, {"event": "after"})
    report = verify_journal(journal_dir)
    assert (report.ok, report.last_sequence, report.torn_bytes) == (True, last, 0)
    assert report.segments > 1
    assert len(acked) > 10 * KILLS
    print(
        f"{KILLS} kills, {len(acked)} acknowledged, {report.entries} entries, {report.segments} segments, {cuts} torn"
    )
