"""A journal with readings of three days, and what must hold of it after its upkeep went wrong at some call."""

from collections import Counter
from pathlib import Path

from gateway.clocks import ReplayClock, SystemClock
from gateway.domain.readings import Reading
from gateway.domain.scopes import EVERYTHING
from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.journal.signing import site_key
from gateway.journal.verify import verify_journal
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.embedded import EmbeddedStore
from tests.faults.kth_call import ROOT, Run
from tests.faults.upkeep import GATEWAY
from tests.journal.journals import START

UPKEEP = ROOT / "tests" / "faults" / "upkeep.py"
HOUR_US = 3600 * 1_000_000
HOURS = 72
SERIES = [f"works/p{n}/active_energy_import" for n in range(3)]


def journal_of_three_days(data_dir: Path) -> None:
    """Signed, in four segments or so, nothing of it compressed."""
    key = site_key(data_dir)
    clock = ReplayClock(START)
    journal_dir = data_dir / "journal"
    with Journal.open(journal_dir, gateway_id=GATEWAY, clock=clock, segment_bytes=3000, key=key) as journal:
        for first in range(0, HOURS, 8):
            hours = range(first, first + 8)
            batch = [Reading(name, START + n * HOUR_US, 100 + 7 * n) for n in hours for name in SERIES]
            journal.append_readings_now("m1", batch)
        journal.append_checkpoint_now()


def wrong_after_upkeep(run: Run, data_dir: Path) -> list[str]:
    """What is not as it must be, once the disk is mended; empty when all is well."""
    wrong = ["the program ended in disorder"] if run.returncode not in {0, -9} or run.errors else []
    journal_dir = data_dir / "journal"
    key = site_key(data_dir)
    with Journal.open(journal_dir, gateway_id=GATEWAY, clock=SystemClock(), key=key) as journal:
        journal.append_checkpoint_now()
    report = verify_journal(journal_dir, keys=[key.public])
    if report.problem is not None or report.findings:
        wrong.append(f"does not verify: {report.problem} {report.findings}")
    journaled = Counter(reading for entry in entries(journal_dir) for reading in readings_of(entry))
    if set(journaled.values()) != {1} or len(journaled) != HOURS * len(SERIES):
        wrong.append(f"{HOURS * len(SERIES)} readings were journaled; found {sum(journaled.values())}")
    with EmbeddedStore.open(data_dir / "readings.db") as store:
        drain_once(journal_dir, store)
        stored = [row for name in SERIES for row in store.readings(EVERYTHING, name, 0, 2**62)]
    if sorted((row.series, row.instant, row.value) for row in stored) != sorted(reading[:3] for reading in journaled):
        wrong.append(f"the store holds {len(stored)} readings, and not those of the journal")
    return wrong
