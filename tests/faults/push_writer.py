"""A program for tests: takes readings that meters push, and acknowledges each when it is durable.

    python push_writer.py DATA_DIR [--segment-bytes N] [--lax]

A reading is a line `LINE SERIES INSTANT VALUE` on standard input; what waits of a line becomes one batch. Four lines
work at once; beside them a signed checkpoint comes every 50 ms, closed segments are compressed, and a drain fills the
embedded store. On standard output: `opened SEQUENCE`, then `acked SERIES INSTANT` after the batch is on the disk,
`stored SEQUENCE` after the store has committed up to it, and `stopped SENTENCE` when the journal refuses to go on. At
the end of its input it drains, closes and says `closed`.

`--lax` is the negative control: nothing is brought to the disk, and the store commits with synchronous = NORMAL. A
harness that does not catch it catches nothing.
"""

import argparse
import asyncio
import os
import re
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.contracts import Delivery
from gateway.domain.readings import Reading
from gateway.errors import GatewayError, JournalError
from gateway.journal.compressing import compress_forever
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_forever, drain_once
from gateway.stores.embedded import EmbeddedStore

GATEWAY = "gw-faults"
LINES = 4
STOPPED = 3  # exit code when the journal refused to go on
Waiting = asyncio.Queue[tuple[str, Reading] | None]


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class TellingStore:
    """The embedded store, which says aloud what it has committed."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self.name = store.name

    def cursor(self) -> int:
        return self._store.cursor()

    def witness(self) -> bytes:
        return self._store.witness()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self._store.deliver(deliveries)
        say(f"stored {deliveries[-1].sequence}")

    def rest(self) -> bool:
        return self._store.rest()  # seals days that are over


async def take_line(journal: Journal, line: str, waiting: Waiting) -> None:
    """What waits becomes one batch; it is acknowledged before the next is looked at."""
    while True:
        first = await waiting.get()
        batch = [first]
        while not waiting.empty():
            batch.append(waiting.get_nowait())
        readings = [each for each in batch if each is not None]
        if readings:
            await journal.append_readings(line, [reading for _, reading in readings])
            say("\n".join(f"acked {word} {reading.instant}" for word, reading in readings))
        if batch[-1] is None:
            return


async def checkpoints(journal: Journal) -> None:
    while True:
        await journal.append_checkpoint()
        await asyncio.sleep(0.05)


async def take_input(queues: dict[str, Waiting]) -> None:
    stream = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    async for words in stream:
        line, series, instant, value = words.decode().split()
        queues[line].put_nowait((series, Reading(series, int(instant), int(value))))
    for queue in queues.values():
        queue.put_nowait(None)


async def main(data_dir: Path, segment_bytes: int) -> int:
    journal_dir = data_dir / "journal"
    key = site_key(data_dir)
    journal = Journal.open(journal_dir, gateway_id=GATEWAY, clock=SystemClock(), segment_bytes=segment_bytes, key=key)
    store = EmbeddedStore.open(data_dir / "readings.db")
    say(f"opened {journal.durable_sequence}")
    queues: dict[str, Waiting] = {f"line-{n}": asyncio.Queue() for n in range(LINES)}
    telling = TellingStore(store)

    def tell(error: Exception) -> None:
        say(f"store {error}")

    draining = asyncio.create_task(drain_forever(journal, journal_dir, telling, on_error=tell, pace_s=0.02))
    stopped = ""
    try:
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(checkpoints(journal)),
                tasks.create_task(compress_forever(journal, pace_s=0.02)),
            ]
            taking = [tasks.create_task(take_line(journal, line, queue)) for line, queue in queues.items()]
            await take_input(queues)
            await asyncio.wait(taking)
            for task in beside:
                task.cancel()
    except* JournalError as group:
        stopped = str(group.exceptions[0])
    draining.cancel()
    await asyncio.wait([draining])
    if stopped:
        say(f"stopped {stopped}")
        return STOPPED
    drain_once(journal_dir, telling)
    await journal.close()
    store.close()
    say("closed")
    return 0


def bring_nothing_to_the_disk() -> None:
    """Take the promise away: no sync reaches the kernel, and SQLite may forget its newest commits."""
    os.fsync = os.fdatasync = lambda _: None
    connect = sqlite3.connect

    class Lax(sqlite3.Connection):
        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            return super().execute(re.sub(r"synchronous\s*=\s*(FULL|EXTRA)", "synchronous = NORMAL", sql), *parameters)

    def lax_connect(*words: object, **options: object) -> sqlite3.Connection:
        return connect(*words, **{"factory": Lax, **options})  # type: ignore[call-overload] - passed on as it came

    sqlite3.connect = lax_connect


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--segment-bytes", type=int, default=65536)
    parser.add_argument("--lax", action="store_true")
    given = parser.parse_args()
    if given.lax:
        bring_nothing_to_the_disk()
    try:
        code = asyncio.run(main(given.data_dir, given.segment_bytes))
    except GatewayError as refused:
        say(f"stopped {refused}")
        code = STOPPED
    sys.exit(code)
