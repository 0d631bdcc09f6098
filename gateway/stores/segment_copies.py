"""The journal's part of a backup: every segment, and never a damaged one in the place of a good copy."""

import os
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import JournalError, StoreError
from gateway.journal.reader import newest_sequence
from gateway.journal.segment_files import find_frame, frames, last_frame, open_segment, rest_of
from gateway.journal.segments import MAGIC, Frame, Segment, segments
from gateway.stores.backup_folder import Kept, Manifest, Renewal, digest_of

FOLDER = "data/journal/"
_TELEMETRY = b'"class":"telemetry"'  # payloads of such entries may leave a segment


def copy_segments(renewal: Renewal, directory: Path, changed: list[str]) -> Iterator[Kept]:
    """All segments of the journal in `directory`, the newest up to its last whole entry.

    What does not hold what the last backup has of it is told in `changed`, and the good copy is kept. A segment
    that was compressed meanwhile is looked for again. Raises StoreError, JournalError, OSError.
    """
    known = _known(renewal.last)
    tail = max(known.values(), default=None)  # may have grown since; the others were closed
    done, newest = 0, False
    while not newest:
        waiting = [segment for segment in segments(directory) if segment.first > done]
        if not waiting:
            return
        segment, newest = waiting[0], len(waiting) == 1
        held = known.get(segment.first)
        try:
            kept = _copy(renewal, segment, held, newest=newest, grown=held == tail)
        except FileNotFoundError:
            newest = False
            continue
        if kept is None and held is not None:
            if held == tail:
                raise StoreError(
                    f"{segment.path}: does not go on from the journal in {renewal.folder}, which stays as it was. Was "
                    f"the journal restored from an older copy, or damaged? Back up into another folder"
                )
            changed.append(
                f"{segment.path}: the source segment changed: it does not hold what the last backup has of it; "
                f"the good copy was kept, {renewal.state / held}"
            )
            kept = renewal.keep(held)
        if kept is not None:
            yield kept
        done = segment.first


def goes_on_from(directory: Path, last: Manifest) -> bool:
    """True if the journal holds the head of the last backup's, or has let go of all up to there."""
    held = [segment for segment in segments(directory) if segment.first <= last.sequence]
    if not held:
        return newest_sequence(directory) > last.sequence
    with open_segment(held[-1].path) as file:
        frame = find_frame(file, last.sequence)
    return frame is not None and frame.hash.hex() == last.hash


def _known(last: Manifest | None) -> dict[int, str]:
    """The names of the segments in a backup by their first entries."""
    names = [name for name in last.files if name.startswith(FOLDER)] if last else []
    found = [name for name in names if name.removesuffix(".gz").endswith(".journal") and name.count("/") == 2]
    return {int(name.removeprefix(FOLDER)[:20]): name for name in found}


def _copy(renewal: Renewal, segment: Segment, held: str | None, *, newest: bool, grown: bool) -> Kept | None:
    """The segment in the new state; None when it does not hold what the good copy `held` has."""
    path, name = segment.path, f"{FOLDER}{segment.path.name}"
    good = renewal.good_copy(held) if held else None
    try:
        digest = digest_of(path)
    except FileNotFoundError:
        raise
    except OSError:
        if good is None:
            raise
        return None  # it cannot be read, which is a change too
    kept = renewal.take(path, name, digest)
    copy = renewal.state / name
    if newest and kept.copied and path.suffix == ".journal":
        _cut(copy)
        kept = renewal.settled(name)
    if good is None or not kept.copied or _holds(copy, good, grown=grown):
        return kept
    copy.unlink()
    return None


def _cut(path: Path) -> None:
    """Remove what is behind the last whole entry: one that was just being written."""
    with open_segment(path) as file:
        frame = last_frame(file)
    if frame is not None:
        os.truncate(path, frame.end)
        with path.open("rb+") as copy:
            os.fsync(copy.fileno())


def _holds(path: Path, good: Path, *, grown: bool) -> bool:
    """True if a segment holds every entry of its good copy, whole or pruned, and nothing else unless it has grown."""
    try:
        with open_segment(path) as file, open_segment(good) as before:
            end = len(MAGIC)
            found = frames(file)
            for old in frames(before):
                new = next(found, None)
                if new is None or not _same(old, new):
                    return False
                end = new.end
            return grown or not rest_of(file, end)
    except JournalError:
        return False


def _same(old: Frame, new: Frame) -> bool:
    """True if a frame is the one that was there, or what stands for it since its readings left by age."""
    bound = (new.sequence, new.previous, new.hash) == (old.sequence, old.previous, old.hash)
    return bound and (new.payload == old.payload or _TELEMETRY in old.payload)
