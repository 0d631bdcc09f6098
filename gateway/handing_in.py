"""Handing entries to the journal from a program that is not its writer: through the inbox, with a verdict."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.clocks import Clock
from gateway.domain.sites import Site
from gateway.errors import ImportRefused, JournalError, JournalHeld
from gateway.journal.entries import EntryKind
from gateway.journal.inbox import Verdict, submit, take_in, verdict_of
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store

ITEMS_A_FILE = 200  # an inbox file has a largest size
Item = tuple[EntryKind, Mapping[str, object]]


class HandedIn(NamedTuple):
    """The sequence numbers that the entries got (0 where there were none)."""

    first_sequence: int
    last_sequence: int
    stored: int | None  # readings moved into the reading store here; None: the acquiring process does it


def hand_in(
    site: Site, items: Sequence[Item], *, origin: str, author: str, clock: Clock, wait_s: float = 60
) -> HandedIn:
    """Journal these entries in their order, each file of up to 200 whole or not at all.

    When an acquiring process holds the journal it takes them in; otherwise this process does, signs what it added
    and fills the reading store. Raises ImportRefused when they are refused, JournalError (also when no verdict came
    within `wait_s` [s]: the file then waits in the inbox, safe), StoreError.
    """
    directory = site.data_dir / "journal"
    try:
        journal = Journal.open(directory, gateway_id=site.gateway_id, clock=clock, key=site_key(site.data_dir))
    except JournalHeld as error:
        verdicts = [_await(path, wait_s, error) for path in _submit(site, items, origin, author, clock)]
        return _handed_in(verdicts, stored=None)
    with journal:
        names = {path.name for path in _submit(site, items, origin, author, clock)}
        verdicts = [verdict for verdict in take_in(site.data_dir, journal) if verdict.file in names]
        if verdicts:
            journal.append_checkpoint_now()
    with open_reading_store(site, read_only=False) as store:
        stored = drain_once(directory, store)
    return _handed_in(verdicts, stored=stored)


def _submit(site: Site, items: Sequence[Item], origin: str, author: str, clock: Clock) -> Iterator[Path]:
    for start in range(0, len(items), ITEMS_A_FILE):
        yield submit(site.data_dir, items[start : start + ITEMS_A_FILE], origin=origin, author=author, clock=clock)


def _await(path: Path, wait_s: float, why: JournalError) -> Verdict:
    verdict = verdict_of(path, wait_s)
    if verdict is None:
        raise JournalError(
            f"{why}\n{path}: no verdict within {wait_s:g} s. Nothing is lost: the file waits in the inbox and is "
            "taken in as soon as the acquiring process looks there."
        )
    return verdict


def _handed_in(verdicts: Sequence[Verdict], *, stored: int | None) -> HandedIn:
    for verdict in verdicts:
        if not verdict.accepted:
            raise ImportRefused(f"the inbox refused {verdict.file}: line {verdict.line}: {verdict.reason}")
    first = min((verdict.first_sequence for verdict in verdicts), default=0)
    return HandedIn(first, max((verdict.last_sequence for verdict in verdicts), default=0), stored)
