"""A long backlog costs neither time nor memory at the start: only the newest segment is read, in bounded pieces.

The full size, 10 million readings, and its figures: `python -m tests.faults.backlog [--compressed]`.
"""

from pathlib import Path

import pytest

from gateway.journal.compressing import compress_closed
from tests.faults.backlog import make_backlog, start_apart


@pytest.mark.parametrize("compressed", [False, True])
def test_a_process_of_256_mib_starts_on_a_backlog_and_reads_from_its_middle(tmp_path: Path, compressed: bool) -> None:
    last = make_backlog(tmp_path, 1_000_000)
    assert last == 1001
    packed = compress_closed(tmp_path) if compressed else []
    assert len(packed) == (2 if compressed else 0)
    told = start_apart(tmp_path, after=last // 2)  # its address space is limited: more would be a MemoryError
    assert told["readings"] == 200_000
    assert told["last"] == last + 1
