"""How far every sink of a site has got, as anybody may read it while the acquiring process runs or does not."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gateway.domain.destinations import SinkSettings
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.entries import Entry, EntryKind, readings_of
from gateway.journal.reader import entries, newest_sequence
from gateway.sinks.delivery_book import FILE, DayRow, DeliveryBook, Quarantined, Standing
from gateway.sinks.draining import READING_STORE
from gateway.stores.opening import open_reading_store

MOST_ENTRIES = 200_000  # so many entries are looked at to count the readings behind a sink


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
        """True if nobody has to do anything."""
        return self.standing.state not in {"denied", "stopped"} and not self.quarantined and not self.differing


class Overview(NamedTuple):
    """All sinks of a site, the reading store first, and what is held back."""

    newest: int  # sequence number of the journal's last entry
    rows: list[SinkRow]
    quarantine: list[Quarantined]


def overview(site: Site) -> Overview:
    """How every sink of the site stands. Raises StoreError, JournalError."""
    standings, quarantine, days = _book(site.data_dir)
    cursor, error = _store_cursor(site)
    store = standings.get(READING_STORE, _unknown(READING_STORE))
    store = store._replace(sequence=cursor, error=store.error or error, state=store.state if store.error else "running")
    known = {READING_STORE: store, **{name: standings.get(name, _unknown(name)) for name in site.sinks}}
    depths = _depths(site.data_dir / "journal", {name: standing.sequence for name, standing in known.items()})
    rows = []
    for name, standing in known.items():
        kind = site.sinks[name].kind if name in site.sinks else site.store.kind
        held = sum(one.sink == name for one in quarantine)
        compared = [day for day in days.get(name, ()) if day.at is not None]
        latest = max(compared, key=lambda day: (day.at or 0, day.day), default=None)
        rows.append(
            SinkRow(name, kind.value, standing, depths[name], held, latest, [day for day in compared if day.left])
        )
    return Overview(
        newest_sequence(site.data_dir / "journal"), rows, [one for one in quarantine if one.sink in site.sinks]
    )


def comparable(settings: SinkSettings) -> bool:
    """True if what a sink holds can be read back."""
    return settings.broker is None


def _book(data_dir: Path) -> tuple[dict[str, Standing], list[Quarantined], dict[str, list[DayRow]]]:
    if not (data_dir / FILE).is_file():
        return {}, [], {}
    with DeliveryBook.open(data_dir, read_only=True) as book:
        standings = book.standings()
        return standings, book.quarantine(), {name: book.days(name) for name in standings}


def _unknown(name: str) -> Standing:
    return Standing(name, 0, b"", 0, None, "", None, None, "not started", "")


def _store_cursor(site: Site) -> tuple[int, str]:
    """How far the reading store is, and why that cannot be told."""
    try:
        with open_reading_store(site, read_only=True) as store:
            return store.cursor(), ""
    except StoreError as error:
        return 0, str(error)


def _depths(journal_dir: Path, cursors: Mapping[str, int]) -> dict[str, Depth]:
    """What lies behind each cursor, in one walk from the one that is farthest back."""
    newest = newest_sequence(journal_dir)
    readings = dict.fromkeys(cursors, 0)
    oldest: dict[str, int | None] = dict.fromkeys(cursors, None)
    reached = newest
    behind = min(cursors.values(), default=newest)
    if behind < newest:
        for entry in islice(entries(journal_dir, after=behind), MOST_ENTRIES):
            reached = entry.sequence
            brought = _brought(entry)
            for name, cursor in cursors.items():
                if entry.sequence > cursor:
                    readings[name] += brought
                    oldest[name] = entry.at if oldest[name] is None else oldest[name]
    return {
        name: Depth(max(0, newest - cursor), readings[name] if reached >= newest else None, oldest[name])
        for name, cursor in cursors.items()
    }


def _brought(entry: Entry) -> int:
    """How many readings an entry has, without making them."""
    if entry.kind is EntryKind.READINGS:
        return len(entry.body.get("of", ()))
    return len(readings_of(entry))
