"""Entries that are not there, and the events that say why: lost by damage and salvaged around, or retired by age."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.errors import JournalError
from gateway.journal.entries import Entry, EntryKind, decode_entry
from gateway.journal.segment_files import frames, open_segment
from gateway.journal.segments import segments

SALVAGED = "salvaged"
RETIRED = "segments_retired"
PRUNED = "payloads_pruned"


def entries_backwards(directory: Path, *marks: bytes) -> Iterator[Entry]:
    """The entries whose payload contains one of `marks`, from the newest to the oldest.

    Only these are decoded, and nothing older than what is asked for is read; the chain is not looked at. Raises
    JournalError where a segment is damaged.
    """
    for segment in reversed(segments(directory)):
        with open_segment(segment.path) as file:
            told = [frame for frame in frames(file) if any(mark in frame.payload for mark in marks)]
        yield from map(decode_entry, reversed(told))


def events_backwards(directory: Path, name: str) -> Iterator[Entry]:
    """The events of this name, as `entries_backwards`."""
    for entry in entries_backwards(directory, f'"event":"{name}"'.encode()):
        if entry.kind is EntryKind.EVENT and entry.body.get("event") == name:
            yield entry


def are_lost(directory: Path, first: int, last: int) -> bool:
    """True if events `salvaged` name every entry from `first` to `last` as lost."""
    ranges: list[tuple[int, int]] = []
    for entry in events_backwards(directory, SALVAGED):
        if entry.sequence <= last:
            return False
        ranges += lost_in(entry)
        if covers(ranges, first, last):
            return True
    return False


def lost_in(entry: Entry) -> list[tuple[int, int]]:
    """What an event `salvaged` names as lost: (first, last) of each range. Raises JournalError on another form."""
    told = entry.body.get("lost")
    if not isinstance(told, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in told):
        raise JournalError(f"entry {entry.sequence}: an event {SALVAGED!r} has a list `lost` of [first, last]")
    return [(first, last) for first, last in told]


def covers(ranges: Iterable[tuple[int, int]], first: int, last: int) -> bool:
    """True if every number from `first` to `last` lies in one of `ranges`."""
    for begin, end in sorted(ranges):
        if begin <= first <= end:
            first = end + 1
    return first > last


def hash_before(directory: Path, first: int) -> bytes | None:
    """The hash that entry `first`, the oldest that is kept, must carry; None where it was lost and nobody knows it.

    Raises JournalError when no event says why the entries before it are not there.
    """
    for entry in events_backwards(directory, RETIRED):
        last = int(entry.body["last"])
        if last == first - 1:
            return bytes.fromhex(entry.body["hash"])
        if last < first - 1:
            if are_lost(directory, last + 1, first - 1):
                return None
            break
    if are_lost(directory, 1, first - 1):
        return None
    raise JournalError(
        f"{directory}: the first segment begins with entry {first}; the one that holds entry 1 is missing, and "
        f"no event {RETIRED!r} says that it left. Put it back from a copy, or let `emg journal salvage` name the loss"
    )
