"""Retention: what leaves the journal by age, told in it before it goes, and never what is still needed."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from gateway.domain.destinations import JournalSettings
from gateway.domain.periods import to_datetime, to_instant
from gateway.errors import JournalError
from gateway.journal.absences import PRUNED, RETIRED, entries_backwards, events_backwards
from gateway.journal.compressing import LOCK_NAME
from gateway.journal.disk import hold_lock, remove_file, write_file
from gateway.journal.entries import EntryKind, decode_entry
from gateway.journal.pruning import Pruned, look, prune
from gateway.journal.segment_files import frames, last_frame, open_segment
from gateway.journal.segments import COMPRESSED, Frame, Segment, segments
from gateway.journal.writer import Journal

STATE_NAME = "retention.json"  # how far payloads were pruned: saves looking again, and may be lost
LEAST_EVIDENCE_MONTHS = 24
_KEYS = (b'"event":"key_created"', b'"event":"key_rotated"')


class Leaving(NamedTuple):
    """What leaves with a segment: (first, last) sequence numbers, and how much of the file [bytes]."""

    file: str
    first: int
    last: int
    bytes: int


class Retention(NamedTuple):
    """What leaves, or has left: whole segments, and payloads of telemetry in others."""

    retired: list[Leaving]
    pruned: list[Pruned]


def plan_retention(directory: Path, settings: JournalSettings, *, keep_from: int, now: int) -> Retention:
    """What would leave at `now` [us, UTC]. Arguments and errors as for `apply_retention`."""
    retired, pruned = _candidates(directory, settings, keep_from=keep_from, now=now)
    looked = [look(segment) for segment, _ in pruned]
    return Retention([_whole(one, last) for one, last in retired], [found for found in looked if found.entries])


def apply_retention(journal: Journal, settings: JournalSettings, *, keep_from: int, now: int) -> Retention:
    """Let leave what is older than the settings keep; what has left. Blocks: call it in a thread, once a day.

    `keep_from` is the smallest sequence number on which a sink's cursor stands: that entry and all behind it stay,
    and so does what no checkpoint covers, what is not compressed yet, and what came by import. `now` [us, UTC]: call
    it only while the clock is trusted; as a second look, time goes no further than the newest closed segment. The
    event that names what leaves is durable first, and a kill at any point is made good by the next call. Raises
    JournalError, and OSError when the disk fails.
    """
    directory = journal.directory
    with hold_lock(directory / LOCK_NAME, wait=True):
        retired, pruned = _candidates(directory, settings, keep_from=keep_from, now=now)
        gone = [_whole(one, last) for one, last in retired]
        if retired:
            journal.append_permits_now(_farewells(directory, retired))
        for one, _ in retired:
            remove_file(one.path)
        done = [_prune(journal, one, last.sequence) for one, last in pruned]
    return Retention(gone, [found for found in done if found.entries])


def _candidates(
    directory: Path, settings: JournalSettings, *, keep_from: int, now: int
) -> tuple[list[tuple[Segment, Frame]], list[tuple[Segment, Frame]]]:
    """The segments (with their last frame) that may go as a whole, and those whose telemetry may be pruned."""
    if 0 < settings.keep_evidence_months < LEAST_EVIDENCE_MONTHS:
        raise JournalError(f"keep_evidence_months: found {settings.keep_evidence_months}; expected 0 or at least 24")
    found = segments(directory)
    retired: list[tuple[Segment, Frame]] = []
    pruned: list[tuple[Segment, Frame]] = []
    if len(found) < 2 or not (settings.keep_evidence_months or settings.keep_telemetry_months):
        return retired, pruned
    now = min(now, _at(_last(found[-2])))  # a clock that jumped ahead makes nothing old before a segment was closed
    evidence_ends = months_before(now, settings.keep_evidence_months) if settings.keep_evidence_months else None
    telemetry_ends = months_before(now, settings.keep_telemetry_months) if settings.keep_telemetry_months else None
    limit, pruned_through = _limit(directory, keep_from), _pruned_through(directory)
    newest = 0  # of all instants so far: entries of a clock that stood in the past are as old as those around them
    for one, following in pairwise(found):
        last = _last(one)
        newest = max(newest, _at(last), _begin(following))
        if one.path.suffix != COMPRESSED or last.sequence > limit:
            break
        if evidence_ends is not None and newest < evidence_ends:
            retired.append((one, last))
        elif telemetry_ends is None or newest >= telemetry_ends:
            break
        elif last.sequence > pruned_through:
            pruned.append((one, last))
    return retired, pruned


def months_before(instant: int, months: int) -> int:
    """The instant [us, UTC] so many calendar months before; on the 28th at the latest."""
    moment = to_datetime(instant).astimezone(UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    return to_instant(moment.replace(year=year, month=month + 1, day=min(moment.day, 28)))


def _limit(directory: Path, keep_from: int) -> int:
    """The largest sequence number that every sink has passed and a checkpoint covers."""
    checkpoints = entries_backwards(directory, b'"kind":"checkpoint"')
    newest = next((entry for entry in checkpoints if entry.kind is EntryKind.CHECKPOINT), None)
    return min(keep_from - 1, int(newest.body["sequence"])) if newest is not None else 0


def _at(frame: Frame) -> int:
    return decode_entry(frame).at


def _begin(segment: Segment) -> int:
    with open_segment(segment.path) as file:
        frame = next(frames(file), None)
    return _at(frame) if frame is not None else 0  # begun, and no entry is in it yet


def _last(segment: Segment) -> Frame:
    with open_segment(segment.path) as file:
        frame = last_frame(file)
    if frame is None:
        raise JournalError(f"{segment.path}: holds no whole entry; `emg verify` names what is known")
    return frame


def _whole(segment: Segment, last: Frame) -> Leaving:
    return Leaving(segment.path.name, segment.first, last.sequence, segment.path.stat().st_size)


def _prune(journal: Journal, segment: Segment, last: int) -> Pruned:
    found = look(segment)
    if found.entries:
        told = {"entries": found.entries, "ranges": found.ranges, "readings": found.readings, "digest": found.digest}
        journal.append_permits_now([{"event": PRUNED, **told}])
        prune(segment)
    write_file(journal.directory / STATE_NAME, json.dumps({"pruned_through": last}).encode())
    return found


def _pruned_through(directory: Path) -> int:
    try:
        return int(json.loads((directory / STATE_NAME).read_bytes())["pruned_through"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _farewells(directory: Path, retired: list[tuple[Segment, Frame]]) -> Iterator[Mapping[str, Any]]:
    """The event for each segment that leaves, with the key that is in force at its end, as far as one was named."""
    before = (entry.body for entry in events_backwards(directory, RETIRED))
    start = next((body for body in before if body["last"] == retired[0][0].first - 1), {})
    key = {str(name): str(start[name]) for name in ("key", "public") if name in start}
    for segment, last in retired:
        key = _key_in(segment) or key
        told = {"event": RETIRED, "segment": segment.path.name, "last": last.sequence, "hash": last.hash.hex()}
        yield {**told, **key}


def _key_in(segment: Segment) -> dict[str, str]:
    key: dict[str, str] = {}
    with open_segment(segment.path) as file:
        for frame in frames(file):
            if any(mark in frame.payload for mark in _KEYS):
                entry = decode_entry(frame)
                if entry.kind is EntryKind.EVENT and "inbox" not in entry.body:
                    key = {name: str(entry.body[name]) for name in ("key", "public")}
    return key
