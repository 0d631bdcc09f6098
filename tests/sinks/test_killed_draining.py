"""SIGKILL while files are written: after the next start every acknowledged reading is there, once, in order."""

import csv
import random
import sys
from pathlib import Path

from gateway.journal.entries import readings_of
from gateway.journal.reader import entries
from gateway.sinks.drain import drain_once
from gateway.sinks.opening import open_sinks
from tests.killing import run_until_killed

WRITER = Path(__file__).resolve().parent.parent / "faults" / "draining_writer.py"
FILES = """
[[sink]]
id = "table"
kind = "files"
folder = "out"

[[sink]]
id = "lines"
kind = "files"
folder = "lines"
format = "line-protocol"
"""


def test_a_kill_loses_and_doubles_no_row_of_any_file(plant):
    chance = random.Random(7)
    site = plant.site(FILES)
    for _ in range(6):
        killed = run_until_killed([sys.executable, WRITER, site.file], seconds=chance.uniform(0.3, 0.9))
        assert killed.by_signal, killed.errors
    with open_sinks(site, plant.clock) as (_, sinks):
        for sink in sinks:
            drain_once(site.data_dir / "journal", sink)
    expected: dict[str, list[tuple[int, int]]] = {}
    for found in entries(site.data_dir / "journal"):
        for place, reading in enumerate(readings_of(found)):
            expected.setdefault(reading.series.split("/")[0], []).append((found.sequence, place))
    for enterprise, identities in expected.items():
        rows = []
        for path in sorted((plant.folder / "out" / enterprise).iterdir()):
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows += [(int(row["sequence"]), int(row["place"])) for row in csv.DictReader(file)]
        assert rows == identities
        lines = [
            path.read_text("utf-8").splitlines() for path in sorted((plant.folder / "lines" / enterprise).iterdir())
        ]
        assert sum(map(len, lines)) == len(identities)
        assert len({line for some in lines for line in some}) == len(identities)
    assert sum(map(len, expected.values())) > 1000
