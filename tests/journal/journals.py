"""What the journal's tests share: small journals, and a second hand that takes their files apart and rebuilds them.

Frames are split and built here with struct, zlib and hashlib alone, after README.md, so that a mistake in
the product's own reading cannot hide itself.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from gateway.clocks import ReplayClock
from gateway.journal.entries import EntryKind
from gateway.journal.signing import SigningKey
from gateway.journal.writer import Journal

GATEWAY = "gw-test"
# 2026-03-10T08:00:00Z: date -u -d 2026-03-10T08:00:00Z +%s
START = 1_773_129_600_000_000
MAGIC = b"emg-journal 1\n"


def open_journal(
    directory: Path, *, segment_bytes: int = 1 << 24, at: int = START, key: SigningKey | None = None
) -> Journal:
    clock = ReplayClock(at)
    return Journal.open(directory, gateway_id=GATEWAY, clock=clock, segment_bytes=segment_bytes, key=key)


def make_journal(directory: Path, count: int, *, segment_bytes: int = 1 << 24) -> list[Path]:
    """A closed journal of `count` entries, `journal_created` among them; its segments."""
    with open_journal(directory, segment_bytes=segment_bytes) as journal:
        journal.append_all_now((EntryKind.EVENT, {"event": "tick", "number": n}) for n in range(2, count + 1))
    return sorted(directory.glob("*.journal"))


def split_frames(data: bytes) -> list[bytes]:
    """The frames of a whole segment, as bytes."""
    at, found = len(MAGIC), []
    assert data[:at] == MAGIC
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append(data[at : at + 48 + length])
        at += 48 + length
    assert at == len(data)
    return found


def join_frames(frames: Sequence[bytes]) -> bytes:
    return MAGIC + b"".join(frames)


def build_frame(sequence: int, previous: bytes, payload: bytes) -> bytes:
    rest = struct.pack(">Q", sequence) + previous + payload
    return struct.pack(">II", len(payload), zlib.crc32(rest)) + rest


def hash_of(frame: bytes) -> bytes:
    """The entry's hash; the stand-in of a pruned one states the digest of the payload that was there."""
    digest = hashlib.sha256(frame[48:]).digest()
    if frame.find(b'"kind":"pruned"', 48) > 0 and (value := json.loads(frame[48:]))["kind"] == "pruned":
        digest = bytes.fromhex(value["body"]["payload"])
    return hashlib.sha256(frame[8:48] + digest).digest()
