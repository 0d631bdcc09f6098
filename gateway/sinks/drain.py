"""The drain: moves journal entries to a sink, in their order, each once, whatever happens in between."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from gateway.clocks import Clock, SystemClock
from gateway.contracts import Delivery, Sink
from gateway.domain.readings import MICROSECONDS
from gateway.errors import StoreError
from gateway.journal.entries import Entry, readings_of
from gateway.journal.reader import entries
from gateway.journal.writer import Journal
from gateway.sinks.patience import Patience

BATCH_READINGS = 5000
PACE_S = 0.2  # rest between deliveries: a memory card bears only a few durable commits per second
IDLE_S = 5.0  # a sink with work of its own is asked for it at least so often
T = TypeVar("T")


class ForeignJournal(StoreError):
    """A sink has stored an entry that this journal does not hold: trying again mends nothing."""


@runtime_checkable
class Rests(Protocol):
    """A sink that has work of its own while nothing waits to be delivered."""

    def rest(self) -> bool:
        """One short step of it; True when there is more, and it wants to be asked again. Raises StoreError."""
        ...


def drain_once(journal_dir: Path, sink: Sink, *, batch_readings: int = BATCH_READINGS, up_to: int | None = None) -> int:
    """Deliver every entry behind the sink's cursor, as far as `up_to`; returns the number of readings moved.

    Holds one batch in memory, however long the backlog. Raises StoreError when the sink fails, ForeignJournal
    when its cursor stands on an entry that this journal does not hold, JournalError when the journal is damaged;
    the cursor then stands behind the last batch that was stored.
    """
    return sum(_moves(journal_dir, sink, batch_readings, up_to))


async def drain_forever(
    journal: Journal,
    journal_dir: Path,
    sink: Sink,
    *,
    on_error: Callable[[StoreError], None],
    on_success: Callable[[], None] | None = None,
    patience: Patience | None = None,
    clock: Clock | None = None,
    executor: Executor | None = None,
    pace_s: float = PACE_S,
) -> None:
    """Deliver what is durable in the journal as it grows, until cancelled; a running delivery is then finished.

    A sink that fails costs nothing but time: `on_error` is told, and it is tried again as `patience` says, by
    `clock`; `on_success` is told whenever all was delivered. A sink that rests (see Rests) does so while nothing
    waits, one step at a time. `executor` runs the steps; one thread of its own keeps a hanging sink away from
    everybody else. Raises ForeignJournal and JournalError, which no waiting mends.
    """
    patience, clock = patience or Patience(), clock or SystemClock()
    run = InThread(executor)
    while True:
        durable = journal.durable_sequence  # beyond it a power cut could still take entries back
        moves = _moves(journal_dir, sink, BATCH_READINGS, durable)
        try:
            while await run(partial(next, moves, None)) is not None:
                patience.restore()
            if isinstance(sink, Rests):
                while await run(sink.rest) and journal.durable_sequence == durable:
                    pass
        except ForeignJournal:
            raise
        except StoreError as error:
            wait_s = patience.after(error)
            on_error(error)
            await clock.sleep_until(clock.now() + int(wait_s * MICROSECONDS))
        else:
            patience.restore()
            if on_success is not None:
                on_success()
            await asyncio.sleep(pace_s)
            await _more(journal, durable, IDLE_S if isinstance(sink, Rests) else None)


async def _more(journal: Journal, durable: int, longest_s: float | None) -> None:
    """Wait until the journal has grown beyond `durable`, at most `longest_s` [s]."""
    try:
        async with asyncio.timeout(longest_s):
            await journal.wait_beyond(durable)
    except TimeoutError:
        return


def _moves(journal_dir: Path, sink: Sink, batch_readings: int, up_to: int | None) -> Iterator[int]:
    """Deliver batch after batch; yields the number of readings of each once it is stored."""
    batch: list[Delivery] = []
    held = 0
    for entry in _behind(journal_dir, sink):
        if up_to is not None and entry.sequence > up_to:
            break
        readings = readings_of(entry)
        batch.append(Delivery(entry.sequence, readings, entry.hash))
        held += len(readings)
        if max(held, len(batch)) >= batch_readings:
            sink.deliver(batch)
            yield held
            batch, held = [], 0
    if batch:
        sink.deliver(batch)
        yield held


def _behind(journal_dir: Path, sink: Sink) -> Iterator[Entry]:
    """The entries behind the cursor, after a look at the one it stands on."""
    cursor, witness = sink.cursor(), sink.witness()
    if cursor == 0:
        return entries(journal_dir, after=0)
    behind = entries(journal_dir, after=cursor - 1)
    standing = next(behind, None)
    if standing is None:
        raise ForeignJournal(
            f"{journal_dir}: the journal ends before entry {cursor}, which the sink {sink.name!r} has stored already. "
            "Was the journal restored from an older copy? Put the newer one back, or move the store away to rebuild it "
            "(a sink begins anew with `emg sinks SITE --again SINK`)."
        )
    if standing.sequence > cursor:  # a salvage told that the one it stands on was lost, and found those behind it
        return chain([standing], behind)
    if witness and standing.hash != witness:
        raise ForeignJournal(
            f"{journal_dir}: entry {cursor} is not the one that the sink {sink.name!r} has stored. "
            "Was the journal replaced or restored? Put the right one back, or move the store away to rebuild it "
            "(a sink begins anew with `emg sinks SITE --again SINK`)."
        )
    return behind


class InThread:
    """Runs one step at a time in a thread. Cancelled, it first lets the running step come to its end."""

    def __init__(self, executor: Executor | None) -> None:
        self._executor = executor

    async def __call__(self, step: Callable[[], T]) -> T:
        """What the step returns, or raises."""
        running = asyncio.get_running_loop().run_in_executor(self._executor, step)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            if not running.cancelled():
                running.exception()  # looked at: the cursor stands, and the next start tries again
            raise
