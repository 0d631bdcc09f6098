"""`emg correct ...`: propose what is to stand instead of a reading, and decide what another person proposed."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from gateway.clocks import SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.instruments import RegisterKind
from gateway.domain.periods import iso, to_instant
from gateway.domain.readings import INSTANTS, is_instant
from gateway.domain.sites import Series, Site
from gateway.errors import ImportRefused
from gateway.handing_in import hand_in
from gateway.journal.correction_bodies import Correction, Evidence, decision_body, proposal_body
from gateway.journal.corrections import ProposedCorrection, corrections
from gateway.journal.disk import make_directory, write_file
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries_between
from gateway.journal.recorded import EVIDENCE, Asked, recorded

ORIGIN = "emg correct"
STRIKE_OUT = "none"
_VALUE_HELP = 'in the register\'s unit; "none" strikes it out; one below zero comes last, behind "--": ... -- -5'
app = typer.Typer(add_completion=False)
SiteFile = Annotated[Path, typer.Argument(metavar="SITE", help="the site file")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]


@app.command("propose")
def propose_command(
    site_file: SiteFile,
    series: Annotated[str, typer.Argument(metavar="SERIES", help="enterprise/point/quantity")],
    at: Annotated[str, typer.Argument(metavar="INSTANT", help="ISO 8601; plant time where no offset is given")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help=_VALUE_HELP)],
    reason: Annotated[str, typer.Option(help="why, in words")],
    author: Annotated[str, typer.Option(help="who proposes it")],
    evidence: Annotated[Path | None, typer.Option(help="a document that shows why; kept by its digest")] = None,
    json: AsJson = False,
) -> None:
    """Propose what is to stand at an instant; nothing changes before another person approves it."""
    site = load_site(site_file)
    one = _series(site, series)
    instant = _instant(at, site.timezone)
    correction = Correction(series, (instant,), (_carried(value, one),), reason)
    asked = Asked(series, (instant,))
    was = recorded(site.data_dir / "journal", [asked])[asked]
    body = _told(proposal_body, correction, was=was, evidence=_keep(site, evidence))
    handed = hand_in(site, [(EntryKind.CORRECTION, body)], origin=ORIGIN, author=author, clock=SystemClock())
    [found] = [one for one in corrections(site.data_dir / "journal") if one.sequence == handed.last_sequence]
    _print(site, [found], as_json=json)


@app.command("approve")
def approve_command(
    site_file: SiteFile,
    proposal: Annotated[int, typer.Argument(metavar="PROPOSAL", help="sequence number of the proposal", min=1)],
    approver: Annotated[str, typer.Option(help="who approves it: not who proposed it")],
    remark: Annotated[str, typer.Option(help="what is to be remembered")] = "",
    json: AsJson = False,
) -> None:
    """Approve a proposal: from now on its values stand, and what was read is kept beside them."""
    _decide(site_file, proposal, approver, remark, approved=True, as_json=json)


@app.command("reject")
def reject_command(
    site_file: SiteFile,
    proposal: Annotated[int, typer.Argument(metavar="PROPOSAL", help="sequence number of the proposal", min=1)],
    approver: Annotated[str, typer.Option(help="who rejects it; who proposed it may take it back")],
    remark: Annotated[str, typer.Option(help="why, in words")],
    json: AsJson = False,
) -> None:
    """Reject a proposal, or take one's own back."""
    _decide(site_file, proposal, approver, remark, approved=False, as_json=json)


@app.command("list")
def list_command(
    site_file: SiteFile,
    waiting: Annotated[bool, typer.Option("--open", help="only those that wait for a decision")] = False,
    json: AsJson = False,
) -> None:
    """List all corrections ever proposed, with both values and both names."""
    site = load_site(site_file)
    found = corrections(site.data_dir / "journal")
    _print(site, [one for one in found if not (waiting and one.decision)], as_json=json)


def _decide(site_file: Path, proposal: int, approver: str, remark: str, *, approved: bool, as_json: bool) -> None:
    site = load_site(site_file)
    journal_dir = site.data_dir / "journal"
    entry = next(entries_between(journal_dir, proposal, proposal), None)
    if entry is None or entry.kind is not EntryKind.CORRECTION or entry.body["correction"] != "proposed":
        raise ImportRefused(f"entry {proposal} of the journal is no proposal; `emg correct list SITE` shows them")
    body = _told(decision_body, entry.body, proposal, approved=approved, reason=remark)
    hand_in(site, [(EntryKind.CORRECTION, body)], origin=ORIGIN, author=approver, clock=SystemClock())
    _print(site, [one for one in corrections(journal_dir) if one.sequence == proposal], as_json=as_json)


def _told(make: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - passes through what it gets
    """The body that `make` makes; its complaint becomes the program's sentence."""
    try:
        body: dict[str, Any] = make(*args, **kwargs)
    except ValueError as error:
        raise ImportRefused(str(error)) from error
    return body


def _series(site: Site, name: str) -> Series:
    found = site.series.get(name)
    if found is None:
        raise ImportRefused(f"{name}: the site has no such series; it has {', '.join(sorted(site.series))}")
    return found


def _instant(text: str, timezone: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ImportRefused(f"INSTANT: found {text!r}; expected e.g. 2026-10-31T08:00:00+08:00") from error
    instant = to_instant(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone)))
    if not is_instant(instant):
        raise ImportRefused(f"INSTANT: found {text!r}; expected {INSTANTS}")
    return instant


def _carried(text: str, series: Series) -> int | float | None:
    """The value as a reading carries it: counts of the resolution, or a float in the register's unit."""
    if text == STRIKE_OUT:
        return None
    number = _number(text)
    if number is None:
        raise ImportRefused(f'VALUE: found {text!r}; expected a number [{series.register.unit}], or "none"')
    if series.register.kind is RegisterKind.INSTANTANEOUS or series.resolution is None:
        return float(number)
    if abs(number) >= series.resolution * 2**63:  # more digits than can be divided, too
        raise ImportRefused(f"VALUE: found {text} {series.register.unit}; expected at most 64 bits of counts")
    counts, rest = divmod(number, series.resolution)
    if rest:
        raise ImportRefused(
            f"VALUE: found {text} {series.register.unit}; expected a multiple of the register's resolution, "
            f"{series.resolution} {series.register.unit}"
        )
    return int(counts)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _keep(site: Site, path: Path | None) -> Evidence | None:
    """Keep a copy of the document under its digest, durably, before anything names it."""
    if path is None:
        return None
    try:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        folder = site.data_dir / EVIDENCE
        make_directory(folder)
        write_file(folder / digest, data)
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be kept as evidence: {error.strerror}") from error
    return Evidence(path.name, digest, len(data))


def _print(site: Site, found: Iterable[ProposedCorrection], *, as_json: bool) -> None:
    rows = [correction_row(site, one) for one in found]
    if as_json:
        print_json({"corrections": rows})
        return
    table = Table("proposal", "series", f"instant ({site.timezone})", "read", "put in place", "state", "why", "author")
    for row in rows:
        instants = row["instants"]
        more = f" and {len(instants) - 1} more" if len(instants) > 1 else ""
        decided = row["decision"]
        state = "open" if decided is None else f"{decided['state']} by {decided['by']}"
        values = [f"{'—' if v[0] is None else v[0]} {row['unit']}" for v in (row["was"], row["values"])]
        shown = (str(row["proposal"]), row["series"], instants[0] + more, *values, state, row["reason"], row["author"])
        table.add_row(*shown)
    console().print(table)


def correction_row(site: Site, one: ProposedCorrection) -> dict[str, Any]:
    """One correction as a document: both values in the register's unit, both names, all times in plant time."""
    series = site.series.get(one.correction.series)
    decision = one.decision and {
        "state": "approved" if one.decision.approved else "rejected",
        "by": one.decision.approver,
        "at": iso(one.decision.at, site.timezone),
        "entry": one.decision.sequence,
        "remark": one.decision.remark,
    }
    return {
        "proposal": one.sequence,
        "series": one.correction.series,
        "unit": "" if series is None else series.register.unit,
        "instants": [iso(instant, site.timezone) for instant in one.correction.instants],
        "was": [_shown(value, series) for value in one.was],
        "values": [_shown(value, series) for value in one.correction.values],
        "reason": one.correction.reason,
        "author": one.author,
        "at": iso(one.at, site.timezone),
        "evidence": one.evidence,
        "decision": decision,
    }


def _shown(value: float | None, series: Series | None) -> str | None:
    """A value in the register's unit, exact; counts where the site no longer knows the series."""
    if value is None:
        return None
    if isinstance(value, int) and series is not None and series.resolution is not None:
        return str(value * series.resolution)
    return str(value)


def correct_main(argv: list[str]) -> int:
    """`emg correct propose|approve|reject|list`."""
    return run_app(app, argv, "emg correct")
