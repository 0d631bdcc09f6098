"""`emg status`: is everything being measured? How old the newest durable reading of every point is, and the journal."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from gateway.alarm import CONFIG, SINKS, STORE, Alarm, alarm_of
from gateway.clocks import SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.contracts import ReadingStore
from gateway.domain.periods import iso
from gateway.domain.readings import MICROSECONDS, split_series
from gateway.domain.scopes import EVERYTHING, Scope
from gateway.domain.sites import LineKind, MeteringPoint, Site
from gateway.errors import ConfigError, GatewayError, StoreError
from gateway.journal.reader import entries, entries_between, newest_sequence
from gateway.journal.slots import SlotCount, account_slots
from gateway.journal.witness import witness_state
from gateway.line_status import acquire_status, print_lines
from gateway.sinks.delivery_book import FILE, DeliveryBook
from gateway.stores.hot_rows import Refused
from gateway.stores.opening import open_reading_store

LATE_PERIODS = 3  # a polled point is late when it missed this many of its slots
AHEAD_S = 60  # a newest reading further ahead of the clock than this counts as late
LATE_PUSHED_S = 900  # a pushed point promises no period: one quarter-hour
SILENT_CHECKPOINTS = 3  # a journal that took no entry for so many checkpoints is not being written
app = typer.Typer(add_completion=False)


class PointAge(NamedTuple):
    """How old the newest durable reading of one point is. `late` is None where nothing promises a period."""

    point: MeteringPoint
    line: str
    instant: int | None  # [us, UTC]; None: never read
    age_s: float | None
    late: bool | None


def point_ages(site: Site, store: ReadingStore, scope: Scope, *, now: int) -> list[PointAge]:
    """One row per metering point of the scope, in the order of the site file."""
    newest: dict[str, int] = {}
    for reading in store.latest(scope):
        point = split_series(reading.series)[1]
        newest[point] = max(newest.get(point, 0), reading.instant)
    visible = [point for point in site.points.values() if scope.allows(point.enterprise)]
    return [_age(site, point, newest.get(point.id), now) for point in visible]


def _age(site: Site, point: MeteringPoint, instant: int | None, now: int) -> PointAge:
    meter = site.meters.get(point.meter)
    line = site.lines[meter.line] if meter else None
    name = line.id if line else ""
    age_s = None if instant is None else max(0.0, (now - instant) / MICROSECONDS)
    if line is None or line.kind is LineKind.FILES:
        return PointAge(point, name, instant, age_s, None)
    limit_s = float(line.period_s) * LATE_PERIODS if line.kind.is_polled else LATE_PUSHED_S
    late = age_s is None or age_s > limit_s or _is_ahead(instant, now)
    return PointAge(point, name, instant, age_s, late)


def _is_ahead(instant: int | None, now: int) -> bool:
    """True for a reading dated so far ahead of the clock that it says nothing of how its meter fares now."""
    return instant is not None and instant > now + AHEAD_S * MICROSECONDS


class JournalAge(NamedTuple):
    """How the journal stands: its newest entry, the age of that [s], and the room for more [bytes].

    `silent`: nothing was written for longer than a running `emg acquire` ever leaves it alone: it does not run, or
    nothing can be written. `alarm` is what it says of that itself, `refused` why it does not take up an edited site.
    """

    sequence: int
    age_s: float | None
    free_bytes: int
    silent: bool
    alarm: Alarm | None
    refused: Alarm | None


def journal_age(site: Site, *, now: int) -> JournalAge:
    """The age of the site's journal. Raises JournalError when it is damaged."""
    directory = site.data_dir / "journal"
    sequence = newest_sequence(directory)
    newest = next(entries_between(directory, sequence, sequence), None) if sequence else None
    age_s = None if newest is None else max(0.0, (now - newest.at) / MICROSECONDS)
    silent = age_s is None or age_s > SILENT_CHECKPOINTS * site.journal.checkpoint_every_s
    free = shutil.disk_usage(site.data_dir).free if site.data_dir.is_dir() else 0
    return JournalAge(sequence, age_s, free, silent, alarm_of(site.data_dir), alarm_of(site.data_dir, CONFIG))


class Stored(NamedTuple):
    """What the reading store tells: how far it is, its points, and ("" = none) why it cannot tell or does not go on."""

    sequence: int
    ages: list[PointAge]
    error: str
    refused: Refused  # by its server, for good


def stored_so_far(site: Site, journal: JournalAge, *, now: int) -> Stored:
    """How the reading store stands. Raises StoreError when it cannot be read and nothing was journaled either."""
    alarm = alarm_of(site.data_dir, STORE)
    said = "" if alarm is None else alarm.why
    try:
        with open_reading_store(site, read_only=True) as store:
            return Stored(store.cursor(), point_ages(site, store, EVERYTHING, now=now), said, store.refused(EVERYTHING))
    except StoreError as error:
        if not journal.sequence:
            raise
        return Stored(0, [], said or str(error), Refused())


def sinks_error(site: Site) -> str:
    """Why no sink is given anything, from the acquiring process or the delivery book itself; "" = it is not so."""
    alarm = alarm_of(site.data_dir, SINKS)
    if alarm is not None:
        return alarm.why
    if not (site.data_dir / FILE).exists():
        return ""
    try:
        with DeliveryBook.open(site.data_dir, read_only=True) as book:
            book.standings()
    except StoreError as error:
        return str(error)
    return ""


@app.command()
def status_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    slots: Annotated[bool, typer.Option(help="account for every scheduled slot; reads the whole journal")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Show how old every point's newest durable reading is and how each line fares.

    Exit 1 when a point is late, the journal silent, or a store in trouble.
    """
    try:
        site = load_site(site_file)
    except ConfigError as error:
        said = "Until this is mended, a running `emg acquire` goes on by the site as it was before."
        raise GatewayError(f"{error}\n{said}") from error
    now = SystemClock().now()
    journal = journal_age(site, now=now)
    store = stored_so_far(site, journal, now=now)
    ages = store.ages
    copies = sinks_error(site)
    acquiring = acquire_status(site.data_dir)
    witness = witness_state(site.data_dir) if site.journal.witness else None
    counts = account_slots(entries(site.data_dir / "journal")) if slots else {}
    if json:
        told: dict[str, object] = {
            "journal_sequence": journal.sequence,
            "journal_age_s": journal.age_s,
            "journal_silent": journal.silent,
        }
        told |= {"alarm": None if journal.alarm is None else journal.alarm.why, "store_error": store.error}
        told |= {"site_refused": None if journal.refused is None else journal.refused.why}
        told |= {"sinks_error": copies, "refused": _refused_as_json(store.refused)}
        told |= {"witness": None if witness is None else witness._asdict()}
        told |= {"disk_free_bytes": journal.free_bytes, "stored_sequence": store.sequence}
        told |= {"acquire": None if acquiring is None else acquiring.told()}
        told |= {"points": [_as_json(age) for age in ages]}
        told |= {"slots": {series: count._asdict() for series, count in counts.items()}} if slots else {}
        print_json(told)
    else:
        _print(site, store, journal, copies, now)
        print_lines(acquiring)
        if witness is not None:
            console().print(f"Witness: knows entry {witness.sent_sequence}. {witness.error}".rstrip(), markup=False)
        if slots:
            _print_slots(counts)
    if (
        journal.alarm
        or journal.refused
        or store.error
        or store.refused.total
        or copies
        or journal.silent
        or any(age.late for age in ages)
        or not all(count.exact for count in counts.values())
    ):
        raise typer.Exit(1)


def _as_json(age: PointAge) -> dict[str, object]:
    at = None if age.instant is None else iso(age.instant)
    return {"point": age.point.id, "line": age.line, "newest": at, "age_s": age.age_s, "late": age.late}


def _refused_as_json(refused: Refused) -> dict[str, object]:
    newest = refused.newest[0] if refused.newest else None
    return {"total": refused.total, "newest": None if newest is None else newest._asdict()}


def _print(site: Site, store: Stored, journal: JournalAge, copies: str, now: int) -> None:
    table = Table("point", "name", "line", f"newest durable reading ({site.timezone})", "state")
    table.add_column("age \\[s]", justify="right")
    for age in store.ages:
        at = "—" if age.instant is None else iso(age.instant, site.timezone)
        seconds = "—" if age.age_s is None else f"{age.age_s:,.0f}"
        ahead = ", ahead of the clock" if _is_ahead(age.instant, now) else ""
        state = {True: "late", False: "in order", None: "no period promised"}[age.late] + ahead
        table.add_row(age.point.id, age.point.name_en, age.line, at, state, seconds)
    out = console()
    out.print(table)
    late = sum(age.late is True for age in store.ages)
    entries_behind = journal.sequence - store.sequence
    behind = f" (store is {entries_behind} entries behind)" if entries_behind else ""
    out.print(f"{len(store.ages)} points, {late} late; journal at entry {journal.sequence}{behind}.")
    old = "nothing in it" if journal.age_s is None else f"its newest entry is {journal.age_s:,.0f} s old"
    if journal.alarm is not None:
        since = iso(journal.alarm.since, site.timezone)
        out.print(f"ALARM since {since}: nothing is taken in. {journal.alarm.why}", style="bold red", markup=False)
    if journal.refused is not None:
        since = iso(journal.refused.since, site.timezone)
        said = f"NOT APPLIED since {since}: `emg acquire` goes on by the site as it was before. {journal.refused.why}"
        out.print(said, style="bold red", markup=False)
    if store.error:
        said = f"ALARM: the reading store is not there; the journal keeps every reading meanwhile. {store.error}"
        out.print(said, style="bold red", markup=False)
    if copies:
        out.print(f"ALARM: no sink is given anything. {copies}", style="bold red", markup=False)
    if store.refused.total:
        newest = store.refused.newest[0]
        out.print(
            f"The server of the reading store refuses {store.refused.total:,} readings for good; the newest is "
            f"{newest.series} at {iso(newest.instant, site.timezone)}: {newest.said}. `emg sinks SITE` shows more.",
            markup=False,
        )
    silent = "NOT BEING WRITTEN, " if journal.silent else ""
    out.print(f"Journal: {silent}{old}; {journal.free_bytes / 1e9:,.1f} GB free beside it.")


def _print_slots(counts: Mapping[str, SlotCount]) -> None:
    table = Table("series")
    for heading in SlotCount._fields:
        table.add_column(heading, justify="right")
    for series, count in sorted(counts.items()):
        table.add_row(series, *(f"{number:,}" for number in count))
    out = console()
    out.print(table)
    wrong = sum(not count.exact for count in counts.values())
    out.print(
        f"Slots of {len(counts)} polled series; {wrong} series with a slot that nothing accounts for, or told twice."
    )


def status_main(argv: list[str]) -> int:
    """`emg status`."""
    return run_app(app, argv, "emg status")
