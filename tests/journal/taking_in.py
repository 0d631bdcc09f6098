"""A program for tests: takes the inbox in, and dies before the K-th change it makes to the disk.

    python taking_in.py DATA_DIR K

Every file opened for writing, renamed, removed, shortened or made is one change. It prints `done N` if it lived,
N being the number of changes it made.
"""

import os
import signal
import sys
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.journal.inbox import take_in
from gateway.journal.writer import Journal

CHANGES = {"os.rename", "os.remove", "os.truncate", "os.mkdir"}


def main(data_dir: Path, last: int) -> None:
    seen = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        flags = arguments[2] if event == "open" else 0
        if event in CHANGES or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    journal = Journal.open(data_dir / "journal", gateway_id="gw-test", clock=SystemClock(), segment_bytes=1500)
    sys.addaudithook(count)
    take_in(data_dir, journal)
    os.write(1, f"done {seen}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
