"""The drain: moves journal entries to a sink, in their order, each once, whatever happens in between."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.contracts import Delivery, Sink
from gateway.errors import StoreError
from gateway.journal.entries import Entry, readings_of
from gateway.journal.reader import entries
from gateway.journal.writer import Journal

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
PACE_S = 0.2  # rest between deliveries: a memory card bears only a few durable commits per second


class ForeignJournal(StoreError):
    """A sink has stored an entry that this journal does not hold: trying again mends nothing."""


def drain_once(journal_dir: Path, sink: Sink, *, batch_readings: int = 5000, up_to: int | None = None) -> int:
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
    first_delay_s: float = FIRST_DELAY_S,
    pace_s: float = PACE_S,
) -> None:
    """Deliver what is durable in the journal as it grows, until cancelled; a running delivery is then finished.

    A sink that fails costs nothing but time: `on_error` is told, and it is tried again after `first_delay_s` [s],
    doubling to 30 s. Raises ForeignJournal and JournalError, which no waiting mends.
    """
    delay_s = first_delay_s
    while True:
        durable = journal.durable_sequence  # beyond it a power cut could still take entries back
        try:
            moves = _moves(journal_dir, sink, 5000, durable)
            while await _next_move(moves) is not None:
                delay_s = first_delay_s
        except ForeignJournal:
            raise
        except StoreError as error:
            on_error(error)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)
        else:
            delay_s = first_delay_s
            await asyncio.sleep(pace_s)
            await journal.wait_beyond(durable)


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
    found = entries(journal_dir, after=cursor - 1)
    standing = next(found, None)
    if standing is None:
        raise ForeignJournal(
            f"{journal_dir}: the journal ends before entry {cursor}, which the sink {sink.name!r} has stored already. "
            "Was the journal restored from an older copy? Put the newer one back, or move the store away to rebuild it."
        )
    if witness and standing.hash != witness:
        raise ForeignJournal(
            f"{journal_dir}: entry {cursor} is not the one that the sink {sink.name!r} has stored. "
            "Was the journal replaced or restored? Put the right one back, or move the store away to rebuild it."
        )
    return found


async def _next_move(moves: Iterator[int]) -> int | None:
    """One batch in a thread; None at the end. Cancelled, it first lets the running delivery come to its end."""
    step = asyncio.create_task(asyncio.to_thread(_step, moves))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait({step})
        if not step.cancelled():
            step.exception()  # looked at: the cursor stands, and the next start tries again
        raise


def _step(moves: Iterator[int]) -> int | None:
    return next(moves, None)
