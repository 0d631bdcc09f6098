"""`emg sinks`: how far every sink has got, what is held back, and whether what it holds is what the journal says."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gateway.clocks import SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.destinations import SinkKind, SinkSettings
from gateway.domain.periods import iso
from gateway.domain.readings import MICROSECONDS
from gateway.domain.sites import Site
from gateway.errors import StoreError
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries_between, entries_of, newest_sequence
from gateway.journal.segments import segments
from gateway.sinks.chores import ask
from gateway.sinks.delivery_book import FILE, DayRow, DeliveryBook, is_being_written
from gateway.sinks.opening import open_sinks, target
from gateway.sinks.overview import MEND_REFUSED, Overview, SinkRow, comparable, overview

SHOWN = 20  # of what is held back
app = typer.Typer(add_completion=False)


@app.command()
def sinks_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    retry: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="send this held-back reading again, or `all`; repeatable")
    ] = None,
    reconcile: Annotated[bool, typer.Option("--reconcile", help="compare sinks with the journal now")] = False,
    accept: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="tell these points that only a sink has no more; repeatable")
    ] = None,
    day: Annotated[str, typer.Option(help="with --reconcile: this plant day alone, YYYY-MM-DD")] = "",
    again: Annotated[
        str, typer.Option(metavar="SINK", help="send this sink everything again, from the oldest on")
    ] = "",
    wait_s: Annotated[float, typer.Option(help="how long the acquiring process may take for that [s]")] = 60,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Show every sink; exit 1 when one fails, has stopped, holds readings back or still differs."""
    site = load_site(site_file)
    if again:
        _begin_anew(site, again)
    if retry or reconcile:
        asked = _requests(site, _numbers(retry or []), _ordinal(day) if day else None, reconcile=reconcile)
        _carry_out(site, {name: {"retry": ids, "compare": days} for name, (ids, days) in asked.items()}, wait_s)
    if accept:
        _accept(site, accept, wait_s)
    found = overview(site)
    if json:
        print_json(_as_json(site, found))
    else:
        _print(site, found)
    if not found.in_order:
        raise typer.Exit(1)


def _ordinal(day: str) -> int:
    try:
        return date.fromisoformat(day).toordinal()
    except ValueError:
        raise typer.BadParameter(f"found {day!r}; expected a day as YYYY-MM-DD", param_hint="--day") from None


def _numbers(retry: list[str]) -> list[int] | None:
    """The ids that are asked for; None for all."""
    if "all" in retry:
        return None
    if wrong := [one for one in retry if not (one.isascii() and one.isdigit())]:
        raise typer.BadParameter(f"found {wrong[0]!r}; expected the number of a reading, or all", param_hint="--retry")
    return [int(one) for one in retry]


def _begin_anew(site: Site, name: str) -> None:
    if name not in site.sinks:
        raise StoreError(f"{site.file}: there is no sink {name!r}; known: {', '.join(site.sinks) or 'none'}")
    if is_being_written(site.data_dir):
        raise StoreError("the acquiring process is running; stop it, then let the sink begin anew.")
    settings = site.sinks[name]
    with DeliveryBook.open(site.data_dir) as book:
        book.enrol(name, target(settings))
        if settings.kind is SinkKind.FILES:
            _refuse_to_cut(site, settings, book.days(name))
        book.begin_anew(name)


def _refuse_to_cut(site: Site, settings: SinkSettings, days: Sequence[DayRow]) -> None:
    """Raises StoreError where files hold readings whose entries left the journal: nothing could write them anew."""
    journal_dir = site.data_dir / "journal"
    kept = segments(journal_dir)
    pruned = next(entries_of(journal_dir, b'"payloads_pruned"'), None) is not None
    oldest = kept[0].first if kept else newest_sequence(journal_dir) + 1
    for row in days:
        name = date.fromordinal(row.day).isoformat()
        here = sorted(settings.folder.glob(f"*/{name}.*"))
        if here and (row.first < oldest or (pruned and _has_pruned(journal_dir, row))):
            raise StoreError(
                f"{here[0]}: has readings whose entries (from {row.first} on) have left the journal, which begins with "
                f"entry {oldest}: written anew, the file would lose them. Move the files of {name} and of other such "
                f"days out of {settings.folder} to keep them, then let the sink begin anew."
            )


def _has_pruned(journal_dir: Path, row: DayRow) -> bool:
    return any(entry.kind is EntryKind.PRUNED for entry in entries_between(journal_dir, row.first, row.last))


def _requests(
    site: Site, retry: list[int] | None, day: int | None, *, reconcile: bool
) -> dict[str, tuple[list[int], list[int]]]:
    """By sink: the ids to send again, and the days to compare."""
    if not (site.data_dir / FILE).exists():
        raise StoreError(f"{site.data_dir / FILE} does not exist: nothing was delivered yet. `emg run SITE` begins.")
    with DeliveryBook.open(site.data_dir, read_only=True) as book:
        held = {one.id: one.sink for one in book.quarantine()}
        asked = [one for one in held if held[one] in site.sinks] if retry is None else retry
        if unknown := sorted(set(asked) - held.keys()):
            raise StoreError(f"nothing is held back as {unknown}; known: {sorted(held) or 'none'}")
        found = {}
        for name, settings in site.sinks.items():
            ids = [one for one in asked if held[one] == name]
            days = _days(book.days(name), day, settings) if reconcile and comparable(settings) else []
            if ids or days:
                found[name] = (ids, days)
        return found


def _days(rows: Sequence[DayRow], day: int | None, settings: SinkSettings) -> list[int]:
    """The days to compare; where the other side tells all that it has, those without readings between them too."""
    known = [row.day for row in rows]
    if settings.kind is not SinkKind.INFLUXDB:
        return [one for one in known if day in {None, one}]
    return [day] if day is not None else list(range(known[0], known[-1] + 1)) if known else []


def _accept(site: Site, ids: list[str], wait_s: float) -> None:
    """Have the points that were told under these ids accepted, and their days compared again. Raises StoreError."""
    for one in ids:
        rows = [(row.name, day) for row in overview(site).rows for day in row.differing]
        found = {name: day.day for name, day in rows if f"[{one}]" in (day.verdict or "")}
        if not found:
            raise StoreError(f"nothing that only a sink has is told as {one!r}; `emg sinks {site.file}` shows the ids")
        _carry_out(site, {name: {"accept": [one], "compare": [day]} for name, day in found.items()}, wait_s)


def _carry_out(site: Site, requests: Mapping[str, Mapping[str, Any]], wait_s: float) -> None:
    """Have the acquiring process do it, or do it here where none runs. Raises StoreError."""
    clock = SystemClock()
    paths = [ask(site.data_dir, name, stamp=clock.now(), **asked) for name, asked in requests.items()]
    until = time.monotonic() + wait_s
    while any(path.exists() for path in paths):
        if not is_being_written(site.data_dir):
            with open_sinks(site, clock) as (_, sinks):
                for sink in sinks:
                    if sink.name in requests:
                        sink.carry_out()
        elif time.monotonic() > until:
            raise StoreError(
                f"not done within {wait_s:g} s: the acquiring process does it when its sink has delivered what waits. "
                f"`emg sinks {site.file}` shows what came of it."
            )
        time.sleep(0.1)


def _as_json(site: Site, found: Overview) -> dict[str, Any]:
    return {
        "journal_sequence": found.newest,
        "alarm": found.alarm,
        "sinks": [_row_as_json(site, row) for row in found.rows],
        "quarantine": [
            {**one._asdict(), "instant": iso(one.instant, site.timezone), "at": iso(one.at, site.timezone)}
            for one in found.quarantine
        ],
        "refused": {
            "total": found.refused.total,
            "newest": [{**one._asdict(), "instant": iso(one.instant, site.timezone)} for one in found.refused.newest],
        },
    }


def _row_as_json(site: Site, row: SinkRow) -> dict[str, Any]:
    standing, depth = row.standing, row.depth
    return {
        "sink": row.name,
        "kind": row.kind,
        "state": standing.state,
        "sequence": standing.sequence,
        "delivered": standing.delivered,
        "entries_behind": depth.entries,
        "readings_behind": depth.readings,
        "oldest_age_s": _age_s(depth.oldest),
        "last_delivered": _at(site, standing.succeeded),
        "error": standing.error,
        "failing_since": _at(site, standing.failing_since),
        "retry_at": _at(site, standing.retry_at),
        "quarantined": row.quarantined,
        "compared_day": None if row.compared is None else date.fromordinal(row.compared.day).isoformat(),
        "differing": {date.fromordinal(one.day).isoformat(): one.verdict for one in row.differing},
        "in_order": row.in_order,
    }


def _print(site: Site, found: Overview) -> None:
    table = Table("sink", "kind", "state", f"last delivered ({site.timezone})", "last compared")
    for column in ("entries behind", "readings behind", "oldest [s]", "held back"):
        table.add_column(column, justify="right")
    for row in found.rows:
        depth, age_s = row.depth, _age_s(row.depth.oldest)
        table.add_row(
            row.name,
            row.kind,
            row.standing.state,
            (_at(site, row.standing.succeeded) or "—")[:19],
            _compared(row),
            f"{depth.entries:,}",
            "very many" if depth.readings is None else f"{depth.readings:,}",
            "—" if age_s is None else f"{age_s:,.0f}",
            f"{row.quarantined:,}",
        )
    out = console()
    out.print(table)
    for sentence in [*_troubles(site, found), *_held_back(site, found)]:
        out.print(escape(sentence), soft_wrap=True)


def _troubles(site: Site, found: Overview) -> Iterator[str]:
    if found.alarm:
        yield f"ALARM: no sink is given anything. {found.alarm}"
    for row in found.rows:
        standing = row.standing
        if standing.error:
            since = _at(site, standing.failing_since)
            again = f"; tried again at {_at(site, standing.retry_at)}" if standing.retry_at is not None else ""
            yield f"{row.name}: {standing.error} (since {since}{again})"
        for day in row.differing:
            yield f"{row.name} still differs from the journal: {day.verdict}"


def _held_back(site: Site, found: Overview) -> Iterator[str]:
    for one in found.quarantine[:SHOWN]:
        at = iso(one.instant, site.timezone)
        yield f"held back by {one.sink} as {one.id}: {one.series} at {at}, entry {one.sequence}: {one.reason}"
    if len(found.quarantine) > SHOWN:
        yield f"... and {len(found.quarantine) - SHOWN} more; --json shows all."
    if found.quarantine:
        yield f"Send one again with: emg sinks {site.file} --retry {found.quarantine[0].id} (or --retry all)"
    for refusal in found.refused.newest[:SHOWN]:
        at = iso(refusal.instant, site.timezone)
        yield f"refused by the reading store: {refusal.series} at {at}, entry {refusal.sequence}: {refusal.said}"
    if found.refused.total:
        yield (
            f"The server of the reading store refuses {found.refused.total:,} readings for good; the journal holds "
            f"them. {MEND_REFUSED}"
        )


def _compared(row: SinkRow) -> str:
    if row.compared is None:
        return "—"
    mended = "" if not row.compared.wrong else f", {row.compared.wrong} wrong, {row.compared.left or 0} left"
    return f"{date.fromordinal(row.compared.day).isoformat()}{mended}"


def _at(site: Site, instant: int | None) -> str | None:
    return None if instant is None else iso(instant, site.timezone)


def _age_s(instant: int | None) -> float | None:
    return None if instant is None else max(0.0, (SystemClock().now() - instant) / MICROSECONDS)


def sinks_main(argv: list[str]) -> int:
    """`emg sinks`."""
    return run_app(app, argv, "emg sinks")
