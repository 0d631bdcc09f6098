"""Small journals of readings whose bits are flipped, for the tests and for the long runs."""

import gzip
import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.clocks import ReplayClock
from gateway.domain.readings import Reading
from gateway.errors import JournalError
from gateway.journal.entries import Entry, EntryKind
from gateway.journal.members import MEMBER_HEADER_BYTES, MemberFile
from gateway.journal.reader import entries
from gateway.journal.salvage import examine, salvage
from gateway.journal.verify import verify_journal
from tests.journal.journals import MAGIC, START, open_journal, split_frames

SERIES = [f"works/meter-{n}/active_energy_import" for n in range(8)]


TRAILER_BYTES = 8  # of a gzip member: checksum and size


class Flip(NamedTuple):
    """One flipped bit: the file, the byte it lies in, and the entry that this byte belongs to; 0 where it belongs to many."""

    path: Path
    byte: int
    bit: int
    sequence: int


def readings_journal(directory: Path, *, readings: int, per_entry: int, segment_bytes: int) -> list[Entry]:
    """Make a journal of so many readings; its entries, as they are read back."""
    with open_journal(directory, segment_bytes=segment_bytes) as journal:
        for first in range(0, readings, per_entry):
            batch = [Reading(SERIES[n % 8], START + n * 1000, 7 * n) for n in range(first, first + per_entry)]
            journal.append_readings_now("m1", batch)
    return list(entries(directory))


def draw_flip_in_compressed(chance: random.Random, directory: Path) -> Flip:
    """A bit of a compressed segment that means something; many entries lie behind one byte there."""
    path = chance.choice(sorted(directory.glob("*.journal.gz")))
    data = path.read_bytes()
    while means_nothing(path, data, bit := chance.randrange(8 * len(data))):
        pass
    return Flip(path, bit // 8, bit % 8, 0)


def with_flipped(data: bytes, bit: int) -> bytes:
    """The bytes with one bit of them flipped."""
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def means_nothing(path: Path, data: bytes, bit: int) -> bool:
    """True if deflate says the same without this bit of its data: it fills up the last byte, or belongs to an unused code."""
    behind = MEMBER_HEADER_BYTES, TRAILER_BYTES
    members = MemberFile(path).members
    inside = any(m.start + behind[0] <= bit // 8 < m.start + m.size - behind[1] for m in members)
    try:
        return inside and gzip.decompress(with_flipped(data, bit)) == gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return False


def draw_flip(chance: random.Random, directory: Path) -> Flip:
    """A bit inside the records of a plain segment, any as likely as any other."""
    paths = sorted(directory.glob("*.journal"))
    sizes = [path.stat().st_size - len(MAGIC) for path in paths]
    (path,) = chance.choices(paths, weights=sizes)
    byte = chance.randrange(len(MAGIC), path.stat().st_size)
    sequence, end = int(path.stem) - 1, len(MAGIC)
    for frame in split_frames(path.read_bytes()):
        sequence, end = sequence + 1, end + len(frame)
        if byte < end:
            break
    return Flip(path, byte, chance.randrange(8), sequence)


@contextmanager
def flipped(flip: Flip) -> Iterator[None]:
    """The bit is flipped while the `with` lasts."""
    data = flip.path.read_bytes()
    damaged = bytearray(data)
    damaged[flip.byte] ^= 1 << flip.bit
    flip.path.write_bytes(damaged)
    try:
        yield
    finally:
        flip.path.write_bytes(data)


def undetected(directory: Path, good: list[Entry]) -> list[str]:
    """Who lets the damage pass: the verifier, the reader; empty when both name it and nothing altered comes out."""
    passed = []
    report = verify_journal(directory)
    if report.ok or report.problem is None:
        passed.append("the verifier")
    seen: list[Entry] = []
    try:
        seen.extend(entries(directory))
    except JournalError:
        pass
    else:
        passed.append("the reader")
    if seen != good[: len(seen)]:
        passed.append("an altered entry came out of the reader")
    return passed


def not_salvaged(directory: Path, good: list[Entry], flip: Flip) -> list[str]:
    """What a salvage would lose besides the damaged entry, which it must name; nothing is written."""
    found = examine(directory)
    wrong = []
    if found.entries < len(good) - 1:
        wrong.append(f"only {found.entries} of {len(good) - 1} whole entries are found")
    if not any(first <= flip.sequence <= last for first, last in found.lost):
        wrong.append(f"entry {flip.sequence} is damaged, and lost are {found.lost}")
    return wrong


def salvage_and_go_on(directory: Path, target: Path, good: list[Entry], flip: Flip) -> list[str]:
    """Salvage into `target` and write on there: what is wrong afterwards."""
    salvage(directory, target, clock=ReplayClock(START))
    kept = {entry.sequence: entry for entry in entries(target)}
    wrong = [f"entry {entry.sequence} is lost or altered" for entry in good if kept.get(entry.sequence) != entry]
    if wrong == [f"entry {flip.sequence} is lost or altered"]:
        wrong = []
    with open_journal(target) as journal:
        journal.append_now(EntryKind.EVENT, {"event": "after"})
    problem = verify_journal(target).problem
    return wrong if problem is None else [*wrong, f"does not verify: {problem}"]
