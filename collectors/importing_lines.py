"""`emg import lines`: readings from files of line protocol, as Telegraf and its relatives write them."""

import getpass
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated

import typer

from collectors.booking import shown_name
from collectors.history import History, as_document, booked_to, find_source, print_tally, shown_progress
from collectors.history_mapping import HistoryMapping, load_history_mapping
from collectors.line_parsing import BadLine, Point, microseconds, parse_line
from collectors.tables import BadRow
from gateway.clocks import SystemClock
from gateway.command_line import print_json, run_app
from gateway.config import load_site
from gateway.errors import ConfigError, ImportRefused

ORIGIN = "emg import lines"
LONGEST_LINE = 1_048_576  # [bytes]
GOOD, FINDINGS, COULD_NOT_RUN = 0, 1, 2
app = typer.Typer(add_completion=False)


@app.command()
def import_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="files of line protocol")],
    mapping_file: Annotated[Path, typer.Option("--map", help="the mapping from measurement, tags and field to points")],
    site_file: Annotated[Path, typer.Option("--site", help="the site file")],
    by: Annotated[str, typer.Option(help="who imports; the journal keeps the name")] = "",
    check: Annotated[bool, typer.Option("--check", help="read only; book nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Read FILE... line by line and book the points that the mapping names.

    A line that cannot be read is told and takes no other with it. What an interrupted import has booked is passed
    over when it is started again.
    """
    site, mapping = load_site(site_file), load_history_mapping(mapping_file)
    if mapping.precision is None:
        expected = "ns, us, ms or s: what the times in the lines count"
        raise ConfigError([mapping.lines.problem(("precision",), "nothing", expected, "Telegraf writes ns.")])
    author = by or getpass.getuser()
    told: list[dict[str, object]] = []
    code = GOOD
    for path in files:
        begun = time.monotonic()
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                source = {"file": shown_name(path), "file_sha256": digest, "mapping_sha256": mapping.sha256}
                history = History(site, mapping, source, origin=ORIGIN, author=author, clock=SystemClock())
                done = booked_to(site, source, 0) or 0
                with shown_progress(path.name, path.stat().st_size, quiet=json) as show:
                    for upto in _batches(file, mapping, mapping.precision, history, done):
                        history.book(0, upto, check=check)
                        show(file.tell(), history.tally.read + history.tally.before)
        except (OSError, ImportRefused) as error:
            why = f"{path}: cannot be read: {error.strerror}." if isinstance(error, OSError) else str(error)
            print(why, file=sys.stderr)  # noqa: T201 - messages go to standard error
            told.append({"source": str(path), "refused": why.splitlines()})
            code = COULD_NOT_RUN
            continue
        tally, seconds = history.tally, time.monotonic() - begun
        code = max(code, FINDINGS if tally.refused or tally.findings else GOOD)
        told.append(as_document(str(path), tally, site, seconds=seconds, checked_only=check))
        if not json:
            print_tally(str(path), tally, site, seconds=seconds, checked_only=check)
    if json:
        print_json({"files": told})
    if code != GOOD:
        raise typer.Exit(code)


def _batches(file: IO[bytes], mapping: HistoryMapping, precision: str, history: History, done: int) -> Iterator[int]:
    """Fills one batch after the other; the line up to which each goes. Those up to `done` are booked already."""
    wanted = find_source(history.sources)
    number = 0
    for number, line in _lines(file, history):
        try:
            point = parse_line(line)
            if point.time is None:
                raise BadLine("time", "nothing", "a time in each line: what it arrived at is not known")  # noqa: TRY301
        except BadLine as bad:
            mend = "Write the line anew, or take it out."
            history.tally.refuse(BadRow(number, bad.place, bad.found, bad.expected, mend))
            continue
        if number <= done:
            history.tally.before += 1
            continue
        _take(point, number, microseconds(point.time, precision), wanted, mapping, history)
        if history.full:
            yield number
    yield number


def _take(
    point: Point,
    number: int,
    when: tuple[int, bool],
    wanted: dict[tuple[str, str], list[int]],
    mapping: HistoryMapping,
    history: History,
) -> None:
    """Give the fields of a point to the series of the mapping."""
    instant, below_us = when
    for name, value in point.fields.items():
        fits = [
            source
            for source in wanted.get((point.measurement, name), ())
            if mapping.sources[source].tags.items() <= point.tags.items()
        ]
        for source in fits:
            history.take(source, value, instant, number)
        history.tally.others += not fits
        history.tally.below_us += below_us and bool(fits)


def _lines(file: IO[bytes], history: History) -> Iterator[tuple[int, str]]:
    """(number, text) of every line that is neither blank nor a comment; what is no text is refused."""
    number = 0
    while data := file.readline(LONGEST_LINE):
        number += 1
        if not data.endswith(b"\n") and len(data) == LONGEST_LINE:
            while data and not data.endswith(b"\n"):
                data = file.readline(LONGEST_LINE)
            history.tally.refuse(BadRow(number, "(line)", "a longer line", f"at most {LONGEST_LINE} bytes"))
            continue
        try:
            line = data.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            found = f"the byte 0x{error.object[error.start]:02x}"
            history.tally.refuse(BadRow(number, "(line)", found, "UTF-8", "Line protocol is UTF-8."))
            continue
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.lstrip(" ")


def import_lines_main(argv: list[str]) -> int:
    """`emg import lines`."""
    return run_app(app, argv, "emg import lines")
