"""The growing end of the chain: entries get their place, their frame and their disk, in one go."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gateway.journal.disk import sync_directory, write_all
from gateway.journal.recovery import Standing, month_of
from gateway.journal.segments import MAGIC, encode_frame, entry_hash, segment_name


class Draft(NamedTuple):
    """An entry that waits for its place in the chain, handed over at `at` [us, UTC].

    Where the payload says something of the place itself, it is what makes it: of the sequence number, and of the
    hash of the entry before.
    """

    at: int
    payload: bytes | Callable[[int, bytes], bytes]


class ChainEnd:
    """The newest segment, open for writing. Not for two threads at once, and not after an exception."""

    def __init__(self, directory: Path, standing: Standing, segment_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self.path, self._size, self._month, self.sequence, self._hash = standing
        self._descriptor = -1 if self.path is None else os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def extend(self, drafts: Iterable[Draft], on_durable: Callable[[int], None]) -> None:
        """Append entries and sync, once or once per segment; `on_durable` gets the last sequence number each time.

        Raises OSError: then the file says nothing true any more.
        """
        pending: list[bytes] = []
        for draft in drafts:
            made = draft.payload
            payload = made if isinstance(made, bytes) else made(self.sequence + 1, self._hash)
            frame = encode_frame(self.sequence + 1, self._hash, payload)
            if self._segment_ends(draft.at, len(frame)):
                self._flush(pending, on_durable)
                pending = []
                self._begin_segment(draft.at)
            pending.append(frame)
            self._size += len(frame)
            self._hash = entry_hash(self.sequence + 1, self._hash, payload)
            self.sequence += 1
        self._flush(pending, on_durable)

    def close(self) -> None:
        """Close the file; what was not synced is not."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):
                os.close(descriptor)

    def _segment_ends(self, at: int, size: int) -> bool:
        full = self._size > len(MAGIC) and self._size + size > self._segment_bytes
        return self._descriptor < 0 or full or month_of(at) != self._month

    def _begin_segment(self, at: int) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.path = self._directory / segment_name(self.sequence + 1)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        write_all(self._descriptor, MAGIC)
        sync_directory(self._directory)
        self._size, self._month = len(MAGIC), month_of(at)

    def _flush(self, pending: list[bytes], on_durable: Callable[[int], None]) -> None:
        if pending:
            write_all(self._descriptor, b"".join(pending))
            os.fdatasync(self._descriptor)
            on_durable(self.sequence)
