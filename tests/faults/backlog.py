"""A journal with a long backlog, made by writing frames directly, and a start on it in a process of little memory.

    python -m tests.faults.backlog [--readings 10000000] [--compressed] [--folder DIR]

prints one JSON line: how long `Journal.open` took, from when the reader gave its first entry behind a cursor in the
middle, and the largest memory of the process. In DIR the journal is left for another look.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.domain.instruments import RecordClass
from gateway.domain.readings import Reading
from gateway.journal.compressing import compress_closed
from gateway.journal.entries import EntryKind, encode_payload, encode_readings, readings_of
from gateway.journal.reader import entries, newest_sequence
from gateway.journal.segments import MAGIC, SEGMENT_BYTES, encode_frame, entry_hash, segment_name
from gateway.journal.writer import Journal

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = "gw-backlog"
START = 1_773_129_600_000_000  # 2026-03-10T08:00:00Z
READINGS_AN_ENTRY = 1000
SERIES = 200
MEMORY = 256 * 1024 * 1024


def make_backlog(directory: Path, readings: int) -> int:
    """Write a journal of `readings` readings in entries of 1,000 as the writer would; its last sequence number."""
    directory.mkdir(parents=True, exist_ok=True)
    created = {"event": "journal_created", "format": 1, "gateway": GATEWAY}
    payloads = [encode_payload(EntryKind.EVENT, at=START, monotonic_ns=1, boot="b", body=created)]
    payloads += [_payload(number) for number in range(min(50, readings // READINGS_AN_ENTRY))]
    sequence, digest, size, pieces = 0, bytes(32), SEGMENT_BYTES, list[bytes]()
    path = directory
    for number in range(readings // READINGS_AN_ENTRY + 1):
        frame = encode_frame(sequence + 1, digest, payload := payloads[number and 1 + number % (len(payloads) - 1)])
        if size + len(frame) > SEGMENT_BYTES:
            if pieces:
                path.write_bytes(b"".join(pieces))
            path, pieces, size = directory / segment_name(sequence + 1), [MAGIC], len(MAGIC)
        pieces.append(frame)
        size += len(frame)
        digest, sequence = entry_hash(sequence + 1, digest, payload), sequence + 1
    path.write_bytes(b"".join(pieces))
    return sequence


def _payload(number: int) -> bytes:
    at = START + number * 5_000_000
    batch = [
        Reading(
            f"steelworks/meter{n % SERIES:03d}/active_energy_import",
            at + n * 1003,
            10**6 + 37 * n,
            words=b"\0\x0f%2d" % (n % 100),
        )
        for n in range(READINGS_AN_ENTRY)
    ]
    return encode_readings("bus-1", batch, RecordClass.EVIDENCE, at=at, monotonic_ns=number, boot="b")


def start(directory: Path, after: int) -> dict[str, float]:
    """Open the journal, append one event, read 200 entries behind `after`; seconds and memory [bytes]."""
    began = time.monotonic()
    with Journal.open(directory, gateway_id=GATEWAY, clock=SystemClock()) as journal:
        last = journal.append_now(EntryKind.EVENT, {"event": "acquire_started"})
    opened = time.monotonic()
    reading = entries(directory, after=after)
    held = len(readings_of(next(reading)))
    first = time.monotonic()
    for _, entry in zip(range(199), reading, strict=False):
        held += len(readings_of(entry))
    assert newest_sequence(directory) == last
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"open_s": opened - began, "first_entry_s": first - opened, "readings": held, "memory": memory, "last": last}


def start_apart(directory: Path, after: int) -> dict[str, float]:
    """As `start`, in a process that may not have more than 256 MiB of memory, all that it maps included."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.backlog", "--start", str(after), "--folder", str(directory)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        preexec_fn=_limit_memory,
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    parser = argparse.ArgumentParser(description="Start on a long backlog.")
    parser.add_argument("--readings", type=int, default=10_000_000)
    parser.add_argument("--compressed", action="store_true", help="closed segments are compressed")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--start", type=int, help="only start on the backlog in the folder, behind this entry")
    chosen = parser.parse_args()
    if chosen.start is not None:
        print(json.dumps(start(chosen.folder, chosen.start)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        directory = (chosen.folder or Path(temporary)) / "journal"
        last = make_backlog(directory, chosen.readings)
        began = time.monotonic()
        packed = compress_closed(directory) if chosen.compressed else []
        seconds = time.monotonic() - began
        size = sum(path.stat().st_size for path in directory.iterdir())
        told = {"entries": last, "bytes": size, "compressed": len(packed), "compress_s": round(seconds, 2)}
        print(json.dumps({**told, **start_apart(directory, last // 2)}))


if __name__ == "__main__":
    main()
