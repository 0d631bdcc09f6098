"""Handing entries to the journal from a program that is not its writer: through the inbox, with a verdict."""

from collections.abc import Mapping, Sequence

from gateway.clocks import Clock
from gateway.domain.sites import Site
from gateway.errors import ImportRefused, JournalError
from gateway.journal.entries import EntryKind
from gateway.journal.inbox import Verdict, submit, take_in, verdict_of
from gateway.journal.writer import Journal
from gateway.sinks.drain import drain_once
from gateway.stores.opening import open_reading_store


def hand_in(
    site: Site,
    items: Sequence[tuple[EntryKind, Mapping[str, object]]],
    *,
    origin: str,
    author: str,
    clock: Clock,
    wait_s: float = 60,
) -> Verdict:
    """Journal these entries, whole or not at all. Returns the verdict that accepted them.

    When an acquiring process holds the journal it takes them in; otherwise this process does, and fills the
    reading store. Raises ImportRefused when they are refused, JournalError (also when no verdict came within
    `wait_s` [s]: the file then waits in the inbox, safe), StoreError.
    """
    try:
        journal = Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=clock)
    except JournalError as error:  # most likely held by `emg run`, which takes in what lies in the inbox
        path = submit(site.data_dir, items, origin=origin, author=author, clock=clock)
        verdict = verdict_of(path, wait_s)
        if verdict is None:
            raise JournalError(
                f"{error}\n{path}: no verdict within {wait_s:g} s. Nothing is lost: the file waits in the inbox and "
                "is taken in as soon as the acquiring process looks there."
            ) from error
        return _accepted(verdict)
    with journal:
        path = submit(site.data_dir, items, origin=origin, author=author, clock=clock)
        verdicts = {verdict.file: verdict for verdict in take_in(site.data_dir, journal)}
    verdict = _accepted(verdicts[path.name])
    with open_reading_store(site, read_only=False) as store:
        drain_once(site.data_dir / "journal", store)
    return verdict


def _accepted(verdict: Verdict) -> Verdict:
    if not verdict.accepted:
        raise ImportRefused(f"the inbox refused {verdict.file}: line {verdict.line}: {verdict.reason}")
    return verdict
