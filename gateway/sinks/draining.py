"""Draining one sink of a site for as long as the program runs: at its own pace and with its own trouble."""

import asyncio
import logging
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.clocks import Clock
from gateway.contracts import Sink
from gateway.domain.readings import MICROSECONDS
from gateway.errors import GatewayError, JournalError, JournalStopped, SinkDenied, StoreError
from gateway.journal.writer import Journal
from gateway.sinks.delivery_book import DeliveryBook
from gateway.sinks.drain import PACE_S, ForeignJournal, drain_forever
from gateway.sinks.patience import Patience

READING_STORE = "(reading store)"  # its name in the delivery book: no identifier, so no sink can have it
RESTART_S = 30
log = logging.getLogger("emg.sinks")


async def keep_draining(journal: Journal, journal_dir: Path, drained: Iterable["Drained"]) -> None:
    """Drain the journal into all of them until cancelled; running deliveries are finished.

    Evidence goes on being acquired whatever becomes of them. Raises (in a group) JournalStopped alone, when the disk
    fails under the journal itself.
    """
    async with asyncio.TaskGroup() as tasks:
        for one in drained:
            tasks.create_task(one.keep_draining(journal, journal_dir), name=f"drain {one.name}")
        await asyncio.Event().wait()


class Drained:
    """One sink with its name in the book, its patience, and a thread of its own: a sink that hangs holds up nobody.

    Trouble of one is its own: it waits and is tried again, or, where no waiting mends it (ForeignJournal, a damaged
    journal), it alone stops and tells. While there is no book (`book` may be set at any time), what becomes of it is
    told in the log alone.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        book: DeliveryBook | None,
        *,
        clock: Clock,
        chance: random.Random | None = None,
        pace_s: float = PACE_S,
    ) -> None:
        self.name = name
        self.book = book
        self._sink, self._clock, self._pace_s = sink, clock, pace_s
        self._patience = Patience(chance or random.Random())  # noqa: S311 - only waits
        self._troubled = True  # what an earlier run left in the book counts too

    async def keep_draining(self, journal: Journal, journal_dir: Path) -> None:
        """Drain the journal until cancelled; a running delivery is finished. Raises JournalStopped alone."""
        with ThreadPoolExecutor(1, thread_name_prefix=f"drain-{self.name}") as executor:
            while True:
                try:
                    await drain_forever(
                        journal,
                        journal_dir,
                        self._sink,
                        on_error=self._trouble,
                        on_success=self._in_order,
                        patience=self._patience,
                        clock=self._clock,
                        executor=executor,
                        pace_s=self._pace_s,
                    )
                except JournalStopped:
                    raise
                except (ForeignJournal, JournalError) as error:
                    self._stopped(error)
                    return
                except (StoreError, OSError) as error:  # the book, say, on a full disk
                    log.error("%s: %s; tried again in %d s, nothing is lost meanwhile", self.name, error, RESTART_S)
                    self._tell(str(error), "busy", RESTART_S)
                except Exception as error:  # a fault of ours in one sink must not end the acquiring
                    log.exception("%s failed; it is tried again in %d s", self.name, RESTART_S)
                    self._tell(f"a fault of this program: {error!r}", "busy", RESTART_S)
                await self._clock.sleep_until(self._clock.now() + RESTART_S * MICROSECONDS)

    def _trouble(self, error: StoreError) -> None:
        denied = isinstance(error, SinkDenied)
        log.log(
            logging.ERROR if denied else logging.WARNING,
            "%s: %s; tried again in %.1f s, nothing is lost meanwhile",
            self.name,
            error,
            self._patience.wait_s,
        )
        self._tell(str(error), "denied" if denied else "busy", self._patience.wait_s)

    def _in_order(self) -> None:
        if self._troubled and self.book is not None:
            self.book.answered(self.name, at=self._clock.now())
            self._troubled = False

    def _stopped(self, error: GatewayError) -> None:
        log.error("%s is not drained any more until the next start: %s", self.name, error)
        self._tell(str(error), "stopped", None)

    def _tell(self, error: str, state: str, wait_s: float | None) -> None:
        self._troubled = True
        if self.book is None:
            return
        now = self._clock.now()
        retry_at = None if wait_s is None else now + int(wait_s * MICROSECONDS)
        try:
            self.book.failed(self.name, error, state, at=now, retry_at=retry_at)
        except StoreError as untold:
            log.error("%s: its trouble could not be noted: %s", self.name, untold)
