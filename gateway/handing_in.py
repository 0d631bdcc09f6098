"""Handing entries to the journal from a program that is not its writer: through the inbox, with a verdict."""

import os
import pwd
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gateway.clocks import Clock
from gateway.domain.sites import Site
from gateway.errors import ImportRefused, JournalError, JournalHeld
from gateway.journal.entries import EntryKind
from gateway.journal.inbox import submit, take_in, verdict_of
from gateway.journal.signing import site_key
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store

ITEMS_A_FILE = 200  # an inbox file has a largest size
TRY_S = 0.5  # how long to wait for a verdict before the journal is tried again: it may be free by now
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

    When another process holds the journal it takes them in, be it the acquiring one or a command like this; as soon
    as nobody holds it this process does, signs what it added and fills the reading store. Raises ImportRefused when
    they are refused, JournalError (also when no file got a verdict within `wait_s` [s]: they then wait in the inbox,
    safe), StoreError.
    """
    journal = _open(site, clock)
    try:
        paths = list(_submit(site, items, origin, author, clock))
        fewest, until = len(paths), time.monotonic() + wait_s
        while isinstance(journal, JournalHeld):
            waiting = [path for path in paths if verdict_of(path, 0) is None]
            if not waiting:
                return _handed_in(paths, stored=None)
            if len(waiting) < fewest:
                fewest, until = len(waiting), time.monotonic() + wait_s
            if time.monotonic() >= until:
                raise _no_verdict(waiting, wait_s, journal)
            verdict_of(waiting[-1], min(TRY_S, wait_s))
            journal = _open(site, clock)
        if take_in(site.data_dir, journal):
            journal.append_checkpoint_now()
    finally:
        if isinstance(journal, Journal):
            journal.close_now()
    with open_reading_store(site, read_only=False) as store:
        stored = drain_once(site.data_dir / "journal", store)
    return _handed_in(paths, stored=stored)


def _open(site: Site, clock: Clock) -> Journal | JournalHeld:
    directory, key = site.data_dir / "journal", site_key(site.data_dir)
    try:
        return Journal.open(directory, gateway_id=site.gateway_id, clock=clock, key=key)
    except JournalHeld as error:
        return error


def _submit(site: Site, items: Sequence[Item], origin: str, author: str, clock: Clock) -> Iterator[Path]:
    user = _system_user()
    for start in range(0, len(items), ITEMS_A_FILE):
        try:
            some = items[start : start + ITEMS_A_FILE]
            yield submit(site.data_dir, some, origin=origin, author=author, user=user, clock=clock)
        except ValueError as error:
            raise ImportRefused(str(error)) from error


def _system_user() -> str:
    """Who runs this program, as the operating system has it; its number where that has no name."""
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return str(os.getuid())


def _no_verdict(waiting: Sequence[Path], wait_s: float, why: JournalHeld) -> JournalError:
    return JournalError(
        f"{why}\n{', '.join(map(str, waiting))}: no verdict within {wait_s:g} s. Nothing is lost: what was handed in "
        "waits in the inbox and is taken in as soon as that process, or the next one, looks there."
    )


def _handed_in(paths: Sequence[Path], *, stored: int | None) -> HandedIn:
    verdicts = []
    for path in paths:
        verdict = verdict_of(path, 0)
        if verdict is None:
            raise JournalError(f"{path}: cannot be taken in now; it stays and waits, and the log says why")
        if not verdict.accepted:
            where = verdict.file if verdict.line is None else f"{verdict.file}: line {verdict.line}"
            raise ImportRefused(f"the inbox refused {where}: {verdict.reason}")
        verdicts.append(verdict)
    first = min((verdict.first_sequence for verdict in verdicts), default=0)
    return HandedIn(first, max((verdict.last_sequence for verdict in verdicts), default=0), stored)
