"""A program for tests: appends to a journal for ever, and prints what was acknowledged after it was.

    python appending.py DIR LABEL [--limit BYTES]

Eight appenders work at once, in segments of 8 KiB, so that a kill falls into group commits and into changes
of segment. `--limit` forbids files to grow beyond so many bytes: the disk is full, for this process alone.
When the journal stops, that is printed too, and whether a further append is refused.
"""

import asyncio
import os
import resource
import sys
from itertools import count
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.errors import JournalError
from gateway.journal.entries import EntryKind
from gateway.journal.writer import Journal


def say(text: str) -> None:
    os.write(1, (text + "\n").encode())


async def append_for_ever(journal: Journal, worker: str) -> None:
    for number in count():
        token = f"{worker}.{number}"
        body = {"event": "tick", "token": token, "padding": "x" * (number % 700)}
        say(f"acked {await journal.append(EntryKind.EVENT, body)} {token}")


async def main(directory: Path, label: str, limit: int | None) -> None:
    journal = Journal.open(directory, gateway_id="gw-test", clock=SystemClock(), segment_bytes=8192)
    say(f"opened {journal.durable_sequence}")
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    work = [asyncio.ensure_future(append_for_ever(journal, f"{label}.{n}")) for n in range(8)]
    results = await asyncio.gather(*work, return_exceptions=True)
    say(f"refused {sum(isinstance(result, JournalError) for result in results)}")
    say(f"stopped {results[0]}")
    try:
        journal.append_now(EntryKind.EVENT, {"event": "after the stop"})
    except JournalError:
        say("still stopped")
    await journal.close()


if __name__ == "__main__":
    limit = int(sys.argv[4]) if sys.argv[3:4] == ["--limit"] else None
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], limit))
