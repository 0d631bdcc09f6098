"""Pruning: telemetry entries of a closed segment give up their payload; place and hash in the chain stay."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.domain.instruments import RecordClass
from gateway.errors import JournalError
from gateway.journal.compressing import write_members
from gateway.journal.disk import replaced
from gateway.journal.entries import EntryKind, decode_entry, encode_payload
from gateway.journal.losses import runs
from gateway.journal.members import MemberFile
from gateway.journal.segment_files import SegmentFile, frames, open_segment
from gateway.journal.segments import Frame, Segment

_TELEMETRY = f'"class":"{RecordClass.TELEMETRY.value}"'.encode()
_IMPORTED = b'"import":{'  # from which file a reading was imported stays known, so that it is not imported twice


class Pruned(NamedTuple):
    """What of a segment may be pruned, or was: how much, where, and SHA-256 in hex over the frames as they then stand.

    Over all of each frame but length and checksum: the chain binds the payload that left, not the time and the number
    of readings that its stand-in tells.
    """

    file: str
    entries: int
    readings: int
    ranges: list[list[int]]  # [first, last] sequence numbers
    bytes: int  # of payloads, before compression
    digest: str


def look(segment: Segment) -> Pruned:
    """What may be pruned in a segment. Raises JournalError on damage."""
    numbers, readings, freed, digest = [], 0, 0, hashlib.sha256()
    for frame, stand_in in _with_stand_ins(segment.path):
        if stand_in is not frame:
            numbers.append(frame.sequence)
            readings += int(decode_entry(stand_in).body["readings"])
            freed += len(frame.payload) - len(stand_in.payload)
            digest.update(stand_in.sequence.to_bytes(8, "big") + stand_in.previous + stand_in.payload)
    return Pruned(segment.path.name, len(numbers), readings, runs(numbers), freed, digest.hexdigest())


def prune(segment: Segment) -> None:
    """Put the pruned segment in the place of the whole one, which is there until the new one is on the disk.

    Raises JournalError when it does not carry the same chain, OSError when the disk fails: then nothing has changed.
    """
    with replaced(segment.path) as file:
        write_members(file, (stand_in for _, stand_in in _with_stand_ins(segment.path)))
        with MemberFile(Path(file.name)) as new, open_segment(segment.path) as old:
            same = _chain(new) == _chain(old)
        if not same:
            raise JournalError(f"{file.name}: does not carry the chain of {segment.path.name}; is the disk in order?")


def _with_stand_ins(path: Path) -> Iterator[tuple[Frame, Frame]]:
    """Each frame of a segment and what is to stand in its place: itself, or a smaller one without its readings."""
    with open_segment(path) as file:
        for frame in frames(file):
            yield frame, _stand_in(frame)


def _stand_in(frame: Frame) -> Frame:
    if _TELEMETRY not in frame.payload or _IMPORTED in frame.payload:
        return frame
    entry = decode_entry(frame)
    if entry.kind is not EntryKind.READINGS or entry.body.get("class") != RecordClass.TELEMETRY.value:
        return frame
    payload = encode_payload(
        EntryKind.PRUNED,
        at=entry.at,
        monotonic_ns=entry.monotonic_ns,
        boot=entry.boot,
        body={"payload": hashlib.sha256(frame.payload).hexdigest(), "readings": len(entry.body["of"])},
    )
    return frame._replace(payload=payload) if len(payload) < len(frame.payload) else frame


def _chain(file: SegmentFile) -> str:
    """One digest over place and hash of every frame."""
    digest = hashlib.sha256()
    for frame in frames(file):
        digest.update(frame.sequence.to_bytes(8, "big") + frame.previous + frame.hash)
    return digest.hexdigest()
