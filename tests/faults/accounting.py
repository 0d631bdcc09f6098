"""The account after a push run: what the disk holds against what was promised."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.domain.scopes import EVERYTHING
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.journal.verify import verify_journal
from gateway.sinks.drain import drain_once
from gateway.stores.embedded import EmbeddedStore
from tests.faults.pushing import ROOT, Key, Meters, value_at

VERIFIER = ROOT / "gateway" / "journal" / "verify.py"


@dataclass
class Account:
    """What the disk says against what was promised; empty lists when every promise was kept."""

    data_dir: Path
    meters: Meters
    journaled: Counter[Key] = field(default_factory=Counter)
    newest: int = 0  # sequence number up to which entries were looked at
    altered: list[str] = field(default_factory=list)

    @property
    def journal_dir(self) -> Path:
        return self.data_dir / "journal"

    def look(self, *, bare: bool) -> list[Key]:
        """Verify the chain, read what is new, and name the acknowledged readings that are not there."""
        if (self.journal_dir / "writer.lock").exists() and list(self.journal_dir.glob("*.journal*")):
            wrong = verify_bare(self.journal_dir) if bare else _wrong_in(vars(verify_journal(self.journal_dir)))
            assert wrong is None, wrong
            for entry in entries(self.journal_dir, after=self.newest):
                for reading in readings_of(entry):
                    self.journaled[reading.series, reading.instant] += 1
                    self._compare(reading.series, reading.instant, reading.value)
                self.newest = entry.sequence
        return sorted(self.meters.acked - self.journaled.keys())

    def look_at_store(self) -> list[str]:
        """Drain the rest and compare the store with the journal: each reading once, and as it was sent."""
        wrong = []
        with EmbeddedStore.open(self.data_dir / "readings.db") as store:
            drain_once(self.journal_dir, store)
            rows = Counter[Key]()
            for series in store.series(EVERYTHING):
                for row in store.readings(EVERYTHING, series, 0, 2**62):
                    rows[row.series, row.instant] += 1
                    self._compare(row.series, row.instant, row.value)
        wrong += [f"doubled in the store: {key}" for key, times in rows.items() if times > 1]
        wrong += [f"missing in the store: {key}" for key in self.journaled.keys() - rows.keys()]
        wrong += [f"in the store alone: {key}" for key in rows.keys() - self.journaled.keys()]
        return sorted(wrong)

    def _compare(self, series: str, instant: int, value: object) -> None:
        n, number = self.meters.place(series, instant)
        if value != value_at(n, number) or number > self.meters.sent[n]:
            self.altered.append(f"{series} {instant}: {value}; sent {value_at(n, number)}")


def verify_bare(journal_dir: Path) -> object:
    """What `verify.py` finds wrong when it runs alone, without the product in reach; None when nothing is."""
    command = [sys.executable, "-I", "-S", str(VERIFIER), str(journal_dir), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in {0, 1}, done.stderr
    return _wrong_in(json.loads(done.stdout))


def _wrong_in(report: Mapping[str, Any]) -> object:
    return report["problem"] or report["findings"] or None
