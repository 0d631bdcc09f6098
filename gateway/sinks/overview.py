"""How far every sink of a site has got, as anybody may read it while the acquiring process runs or does not."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.alarm import SINKS, alarm_of
from gateway.contracts import Sink
from gateway.domain.destinations import SinkSettings
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.entries import Entry, EntryKind, readings_of
from gateway.journal.reader import entries, entries_between, newest_sequence
from gateway.sinks.delivery_book import FILE, DayRow, DeliveryBook, Quarantined, Standing
from gateway.sinks.draining import READING_STORE
from gateway.stores.hot_rows import Refused
from gateway.stores.opening import open_reading_store

# So far the readings behind a sink are counted, in entries and [s]: a sink that is down for days holds nobody up here.
MOST_ENTRIES = 20_000
LONGEST_S = 1.0
MEND_REFUSED = (
    "Mend what it says, then stop the gateway and move influx-store.db with its -wal and -shm out of the data folder: "
    "the next start gives the server everything of the journal again."
)


class Depth(NamedTuple):
    """What a sink has not got yet. `readings` is None where there are too many entries to count them."""

    entries: int
    readings: int | None
    oldest: int | None  # when the first of them was journaled [us, UTC]


class SinkRow(NamedTuple):
    """One sink as it is shown. `kind` says what it is, "embedded" or "influxdb" for the reading store."""

    name: str
    kind: str
    standing: Standing
    depth: Depth
    quarantined: int
    compared: DayRow | None  # the day that was compared last
    differing: Sequence[DayRow]  # days that still differ

    @property
    def in_order(self) -> bool:
        """True if it takes what it is given, holds nothing back and holds what the journal says."""
        return self.standing.failing_since is None and not self.quarantined and not self.differing


class Overview(NamedTuple):
    """All sinks of a site, the reading store first, and what is held back."""

    newest: int  # sequence number of the journal's last entry
    rows: list[SinkRow]
    quarantine: list[Quarantined]
    refused: Refused  # by the server of the reading store
    alarm: str  # why no sink is given anything, as the acquiring process says; "" = it is not so

    @property
    def in_order(self) -> bool:
        """True if nobody has to do anything."""
        return not self.alarm and all(row.in_order for row in self.rows)


def overview(site: Site) -> Overview:
    """How every sink of the site stands. Raises StoreError, JournalError."""
    standings, quarantine, days = _book(site.data_dir)
    cursor, refused, error = _store(site)
    store = standings.get(READING_STORE, _unknown(READING_STORE))
    store = store._replace(sequence=cursor, error=store.error or error, state=store.state if store.error else "running")
    known = {READING_STORE: store, **{name: standings.get(name, _unknown(name)) for name in site.sinks}}
    depths = _depths(site.data_dir / "journal", {name: standing.sequence for name, standing in known.items()})
    rows = []
    for name, standing in known.items():
        kind = site.sinks[name].kind if name in site.sinks else site.store.kind
        held = refused.total if name == READING_STORE else sum(one.sink == name for one in quarantine)
        compared = [day for day in days.get(name, ()) if day.at is not None]
        latest = max(compared, key=lambda day: (day.at or 0, day.day), default=None)
        rows.append(
            SinkRow(name, kind.value, standing, depths[name], held, latest, [day for day in compared if day.left])
        )
    held_back = [one for one in quarantine if one.sink in site.sinks]
    alarm = alarm_of(site.data_dir, SINKS)
    why = "" if alarm is None else alarm.why
    return Overview(newest_sequence(site.data_dir / "journal"), rows, held_back, refused, why)


def least_cursor(site: Site, store: Sink) -> int:
    """The entry up to which the reading store and every sink have everything; 0 while one has got nothing.

    Raises StoreError.
    """
    standings = _book(site.data_dir)[0] if site.sinks else {}
    cursors = (standings[name].sequence if name in standings else 0 for name in site.sinks)
    return min([store.cursor(), *cursors])


def comparable(settings: SinkSettings) -> bool:
    """True if what a sink holds can be read back."""
    return settings.broker is None


def _book(data_dir: Path) -> tuple[dict[str, Standing], list[Quarantined], dict[str, list[DayRow]]]:
    if not (data_dir / FILE).exists():
        return {}, [], {}
    with DeliveryBook.open(data_dir, read_only=True) as book:
        standings = book.standings()
        return standings, book.quarantine(), {name: book.days(name) for name in standings}


def _unknown(name: str) -> Standing:
    return Standing(name, 0, b"", 0, None, "", None, None, "not started", "")


def _store(site: Site) -> tuple[int, Refused, str]:
    """How far the reading store is, what its server refused, and why that cannot be told."""
    try:
        with open_reading_store(site, read_only=True) as store:
            return store.cursor(), store.refused(EVERYTHING), ""
    except StoreError as error:
        return 0, Refused(), str(error)


def _depths(journal_dir: Path, cursors: Mapping[str, int]) -> dict[str, Depth]:
    """What lies behind each cursor: counted in one walk, for those that are not too far back."""
    newest = newest_sequence(journal_dir)
    near = {name: cursor for name, cursor in cursors.items() if newest - MOST_ENTRIES <= cursor < newest}
    readings = dict.fromkeys(near, 0)
    reached = min(near.values(), default=newest)
    until = time.monotonic() + LONGEST_S
    for entry in entries_between(journal_dir, reached + 1, newest) if near else ():
        reached = entry.sequence
        brought = _brought(entry)
        for name, cursor in near.items():
            readings[name] += brought if entry.sequence > cursor else 0
        if time.monotonic() > until:
            break
    return {
        name: Depth(
            max(0, newest - cursor),
            0 if cursor >= newest else readings[name] if name in near and reached >= newest else None,
            _journaled_after(journal_dir, cursor) if cursor < newest else None,
        )
        for name, cursor in cursors.items()
    }


def _journaled_after(journal_dir: Path, cursor: int) -> int | None:
    """When the first entry behind a cursor was journaled [us, UTC]."""
    following = next(entries(journal_dir, after=cursor), None)
    return None if following is None else following.at


def _brought(entry: Entry) -> int:
    """How many readings an entry has, without making them."""
    if entry.kind is EntryKind.READINGS:
        return len(entry.body.get("of", ()))
    return len(readings_of(entry))
