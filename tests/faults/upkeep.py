"""A program for tests: what is done to a journal besides appending, in which any system call may fail.

    python upkeep.py DATA_DIR

Compresses closed segments, changes the key, drains into the embedded store, lets it seal, appends. A step that is refused is told
in a sentence, and everything is tried once more at the end.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.errors import GatewayError
from gateway.journal.compressing import compress_closed
from gateway.journal.entries import EntryKind
from gateway.journal.rotation import rotate
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.embedded import EmbeddedStore

GATEWAY = "gw-test"


def say(text: str) -> None:
    os.writev(1, [f"{text}\n".encode()])  # not `write`: the call that fails for the files


def compress(data_dir: Path) -> None:
    compress_closed(data_dir / "journal")


def change_key(data_dir: Path) -> None:
    rotate(data_dir, gateway_id=GATEWAY, clock=SystemClock())


def drain(data_dir: Path) -> None:
    with EmbeddedStore.open(data_dir / "readings.db") as store:
        drain_once(data_dir / "journal", store)
        while store.rest():
            pass


def append(data_dir: Path) -> None:
    key = site_key(data_dir)
    with Journal.open(data_dir / "journal", gateway_id=GATEWAY, clock=SystemClock(), key=key) as journal:
        journal.append_now(EntryKind.EVENT, {"event": "tick"})
        journal.append_checkpoint_now()


STEPS: tuple[Callable[[Path], None], ...] = (compress, change_key, drain, append)


def keep_up(data_dir: Path) -> bool:
    """Every step; False when one was refused."""
    refused = 0
    for step in STEPS:
        try:
            step(data_dir)
        except (GatewayError, OSError) as error:
            say(f"refused {step.__name__}: {error}")
            refused += 1
    return refused == 0


if __name__ == "__main__":
    where = Path(sys.argv[1])
    whole = keep_up(where) or keep_up(where)
    say("done" if whole else "gave up")
