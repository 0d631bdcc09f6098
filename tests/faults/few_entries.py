"""A program for tests: a short life of a journal, in which any system call may fail.

    python few_entries.py DATA_DIR

Makes the key where there is none, opens, appends over several segments, closes, opens again, appends, closes. It says
`acked SEQUENCE TOKEN` after each entry. When the journal stops it says so, checks that a further append is refused, opens the journal anew and goes on
where the disk allows it; at the second trouble it gives up.
"""

import os
import sys
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.errors import JournalError
from gateway.journal.entries import EntryKind
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal

SEGMENT_BYTES = 1500


def say(text: str) -> None:
    os.writev(1, [f"{text}\n".encode()])  # not `write`: the call that fails for the journal


def live(data_dir: Path, life: str, entries: int) -> bool:
    """One opening, `entries` appends, one close; False when the journal stopped or would not open."""
    try:
        journal = Journal.open(
            data_dir / "journal",
            gateway_id="gw-test",
            clock=SystemClock(),
            segment_bytes=SEGMENT_BYTES,
            key=site_key(data_dir),
        )
    except JournalError as error:
        say(f"refused {error}")
        return False
    say(f"opened {journal.durable_sequence}")
    with journal:
        for number in range(entries):
            body = {"event": "tick", "padding": "x" * 400, "token": f"{life}.{number}"}
            try:
                say(f"acked {journal.append_now(EntryKind.EVENT, body)} {life}.{number}")
            except JournalError as error:
                say(f"stopped {error}")
                return _stays_stopped(journal)
    return True


def _stays_stopped(journal: Journal) -> bool:
    try:
        say(f"went on after the stop {journal.append_now(EntryKind.EVENT, {'event': 'after the stop'})}")
    except JournalError:
        say("still stopped")
    return False


if __name__ == "__main__":
    where = Path(sys.argv[1])
    whole = live(where, "first", 5) and live(where, "second", 2)
    if not whole:
        whole = live(where, "after", 2)
    say("done" if whole else "gave up")
