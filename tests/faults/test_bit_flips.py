"""A thousand flipped bits in small journals: every one is found, nothing altered comes out, all else is salvaged."""

import os
import random
from pathlib import Path

import pytest

from gateway.clocks import ReplayClock
from gateway.journal.compressing import compress_closed
from gateway.journal.reader import entries
from gateway.journal.salvage import examine, salvage
from gateway.journal.verify import verify_journal
from tests.faults.flipping import (
    draw_flip,
    draw_flip_in_compressed,
    flipped,
    not_salvaged,
    readings_journal,
    salvage_and_go_on,
    undetected,
)
from tests.journal.journals import START

SEED = int(os.environ.get("EMG_SEED", "2026"))
FLIPS = int(os.environ.get("EMG_FLIPS", "1000"))


# readings, readings per entry, largest segment [bytes]
SHAPES = [(2000, 50, 1 << 24), (150, 1, 8192), (600, 20, 4096), (1000, 1000, 1 << 24), (300, 7, 2048)]


@pytest.mark.parametrize(("readings", "per_entry", "segment_bytes"), SHAPES)
def test_every_flipped_bit_is_found_and_the_rest_is_salvaged(
    tmp_path: Path, readings: int, per_entry: int, segment_bytes: int
) -> None:
    chance = random.Random(f"{SEED} {readings}")
    directory = tmp_path / "journal"
    good = readings_journal(directory, readings=readings, per_entry=per_entry, segment_bytes=segment_bytes)
    for number in range(FLIPS // len(SHAPES)):
        flip = draw_flip(chance, directory)
        with flipped(flip):
            wrong = undetected(directory, good) + not_salvaged(directory, good, flip)
            if number % 20 == 0:
                wrong += salvage_and_go_on(directory, tmp_path / f"salvaged-{number}", good, flip)
        assert wrong == [], f"seed {SEED}: {flip}"
    assert list(entries(directory)) == good


def test_damage_in_a_compressed_segment_is_found_and_costs_no_other_segment(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    directory = tmp_path / "journal"
    good = readings_journal(directory, readings=600, per_entry=20, segment_bytes=4096)
    packed = compress_closed(directory)
    assert len(packed) > 3
    assert list(entries(directory)) == good
    firsts = [int(path.name[:20]) for path in sorted(directory.glob("*.journal*"))]
    for number in range(FLIPS // 10):
        flip = draw_flip_in_compressed(chance, directory)
        first = int(flip.path.name[:20])
        held = range(first, min(each for each in firsts if each > first))
        with flipped(flip):
            assert undetected(directory, good) == [], f"seed {SEED}: {flip}"
            found = examine(directory)
            lost = {n for begin, end in found.lost for n in range(begin, end + 1)}
            assert lost <= set(held), f"seed {SEED}: {flip}: lost {found.lost}"
            assert found.entries >= len(good) - len(held)
            if number % 20 == 0:
                target = tmp_path / f"salvaged-{number}"
                salvage(directory, target, clock=ReplayClock(START))
                kept = {entry.sequence: entry for entry in entries(target)}
                assert all(kept[entry.sequence] == entry for entry in good if entry.sequence not in lost)
                assert verify_journal(target).problem is None
