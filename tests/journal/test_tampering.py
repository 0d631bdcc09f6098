"""Seeded tampering with copies of small signed journals: every one is found, and no good journal is accused.

    python -m tests.journal.test_tampering --rounds 10000 [--seed N]

prints the figures of a longer run as one JSON object.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gateway.journal.verify import Report, verify_journal
from tests.journal.file_forgers import FILE_FORGERS
from tests.journal.forgers import (
    FORGERS,
    LET_THE_GATEWAY_SIGN,
    NEEDS_THE_WITNESS,
    TOLD_BY_A_FORGED_EVENT,
    Forger,
    Good,
    good_journal,
)
from tests.journal.signed_journals import save

ROUNDS = 300


def is_accused(report: Report) -> bool:
    """What `emg verify` ends with exit code 1 for."""
    return not report.ok or bool(report.findings)


def where_it_shows(good: Good, frames: list[bytes], number: int, forger: Forger) -> tuple[int, int]:
    """The first and the last entry that may rightly be named when entry `number` is the first that was changed.

    At the latest the next checkpoint shows it, in the journal or in the witness's file. Of an entry that was pruned,
    or one before such an entry, only the event that tells of the pruning; of what a forged event tells, only that.
    """
    marks = [n for n, frame in enumerate(frames, 1) if b'"kind":"checkpoint"' in frame]
    if forger in NEEDS_THE_WITNESS:
        marks = [claim["sequence"] for claim in good.witness]
    latest = next((n for n in marks if n >= number), len(frames)) + 1
    if forger in TOLD_BY_A_FORGED_EVENT:
        latest = int.from_bytes(frames[-1][8:16], "big")
    elif pruned_in(good):
        latest = len(good.frames) + 1
    return min([number, *pruned_in(good)]), latest


def pruned_in(good: Good) -> list[int]:
    """Pruned entries: they can be named when the event that tells of them is what was taken away."""
    return [n for n, frame in enumerate(good.frames, 1) if b'"kind":"pruned"' in frame]


def one_round(folder: Path, seed: int) -> tuple[str, bool, bool, str]:
    """(who forged, whether it was found, whether the good journal was accused, what was wrong with the naming)."""
    chance = random.Random(seed)
    good = good_journal(chance)
    options: dict[str, Any] = {"per_segment": chance.randrange(10, 25), "compressed": chance.random() < 0.5}
    paths = save(good.frames, folder, **options)
    whole = verify_journal(folder, keys=[good.public], witness=good.witness, every=chance.random() < 0.2)
    accused = is_accused(whole) or whole.signed_through != whole.last_sequence - 1
    if chance.random() < 0.2 and len(paths) > 1:
        by_files = chance.choice(FILE_FORGERS)
        first, latest = min([by_files(paths, chance), *pruned_in(good)]), len(good.frames)
        report = verify_journal(folder, keys=[good.public])
        name = by_files.__name__
    else:
        forger = chance.choice(FORGERS)
        frames, number = forger(good, chance)
        for path in paths:
            path.unlink()
        save(frames, folder, **options)
        witness = good.witness if forger in NEEDS_THE_WITNESS else ()
        first, latest = where_it_shows(good, frames, number, forger)
        report = verify_journal(folder, keys=[good.public], witness=witness)
        name = forger.__name__
    named = report.problem["sequence"] if report.problem else first
    wrong = "" if first <= named <= latest else f"named {named}, expected {first} to {latest}"
    return name, is_accused(report), accused, wrong


def run(rounds: int, first_seed: int) -> dict[str, Any]:
    """So many tamperings; what was found by forger, and the seeds of those that were not, were accused or misnamed."""
    begun = time.monotonic()
    found: Counter[str] = Counter()
    missed, accused, misnamed = [], [], []
    for seed in range(first_seed, first_seed + rounds):
        folder = Path(tempfile.mkdtemp(prefix="emg-tampering-"))
        name, detected, alarm, wrong = one_round(folder, seed)
        shutil.rmtree(folder)
        found[name] += detected
        missed += [] if detected else [f"{seed} {name}"]
        accused += [seed] if alarm else []
        misnamed += [f"{seed} {name}: {wrong}"] if wrong else []
    figures = {"rounds": rounds, "first_seed": first_seed, "found": found.total(), "found_by_forger": dict(found)}
    told = {"missed": missed, "good_journals_accused": accused, "first_bad_entry_misnamed": misnamed}
    return {**figures, **told, "seconds": round(time.monotonic() - begun, 1)}


def test_what_the_gateway_signs_afterwards_is_found_too() -> None:
    for forger in sorted(LET_THE_GATEWAY_SIGN, key=lambda one: one.__name__):
        for seed in range(25):
            chance = random.Random(seed)
            good = good_journal(chance)
            frames, _ = forger(good, chance)
            with tempfile.TemporaryDirectory() as folder:
                save(frames, Path(folder))
                trusting = verify_journal(Path(folder))
                assert is_accused(trusting), (forger.__name__, seed)
                report = verify_journal(Path(folder), keys=[good.public], every=seed % 5 == 0)
            assert not report.ok, (forger.__name__, seed)


def test_every_tampering_is_found_and_named_and_no_good_journal_is_accused() -> None:
    figures = run(ROUNDS, 20260310)
    assert figures["found"] == ROUNDS
    assert figures["missed"] == figures["good_journals_accused"] == figures["first_bad_entry_misnamed"] == []
    assert len(figures["found_by_forger"]) == len(FORGERS) + len(FILE_FORGERS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    figures = run(chosen.rounds, chosen.seed)
    print(json.dumps(figures, indent=1))
    return 0 if figures["found"] == chosen.rounds and not figures["good_journals_accused"] else 1


if __name__ == "__main__":
    sys.exit(main())
