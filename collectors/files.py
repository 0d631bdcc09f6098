"""A drop folder: files that land there become readings, and are moved away when those are durable.

    folder/tickets.csv                   waiting; taken when it did not change for one look at the folder
    folder/tickets.csv.verdict.json      it could not be read: why; looked at again when it or the mapping changes
    folder/tickets.csv.verdict.csv       the same as a table for people
    folder/done/tickets.csv              its readings are in the journal
    folder/done/tickets.csv.verdict.json rows of it that were refused, and what was found; .csv as above

A crash between the journal and the move costs nothing: the file is read again and gives the same readings of
the same instants, of which the store keeps one.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import NamedTuple

from collectors.amounts import targets
from collectors.booking import note_dropped, shown_name
from collectors.file_readings import FileReadings, FileRefused, read_file
from collectors.known_rows import KnownRows
from collectors.mapping import Mapping, load_mapping
from collectors.tables import BadRow
from collectors.verdicts import ENDINGS, remove_verdict, verdict_files, verdict_of_readings, write_verdict
from gateway.clocks import Clock
from gateway.domain.periods import iso
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.domain.sites import Line, Site
from gateway.errors import ConfigError, GatewayError, ImportRefused
from gateway.journal.disk import make_directory, move_file

DONE = "done"
TAKEN = (".csv", ".xlsx")
LOOK_EVERY_S = 1
READINGS_A_LIST = 2000
log = logging.getLogger("emg.files")

_State = tuple[int, ...]


class _Taken(NamedTuple):
    """A file whose readings were handed out, and what is told of it."""

    found: FileReadings
    mapping: Mapping


class DropFolderCollector:
    """The files of one folder, in the order of their names. Each is read by the line's mapping, afresh."""

    def __init__(self, line: Line, site: Site, clock: Clock) -> None:
        self.line = line.id
        self._folder, self._mapping_file = line.folder, line.mapping
        self._site, self._clock = site, clock
        self._known = KnownRows(site)
        self._seen: dict[Path, _State] = {}
        self._durable: dict[Path, tuple[_State, _Taken]] = {}  # could not be moved yet

    async def readings(self) -> AsyncGenerator[list[Reading], None]:
        """Lists of readings for as long as it is iterated. Raises OSError when the folder cannot be used."""
        await asyncio.to_thread(make_directory, self._folder / DONE)
        while True:
            for path, state in await asyncio.to_thread(self._settled):
                taken = await asyncio.to_thread(self._take, path, state)
                if taken is None:
                    continue
                if path not in self._durable:
                    fresh = taken.found.fresh()
                    for start in range(0, len(fresh), READINGS_A_LIST):
                        yield fresh[start : start + READINGS_A_LIST]
                    await asyncio.to_thread(self._note, path, taken)
                    self._durable[path] = state, taken
                await asyncio.to_thread(self._put_away, path)
            await self._clock.sleep_until(self._clock.now() + LOOK_EVERY_S * MICROSECONDS)

    def _settled(self) -> list[tuple[Path, _State]]:
        """Files that are as they were at the last look, and not refused since."""
        now = {path: _state(path) for path in sorted(self._folder.iterdir()) if _is_meant(path)}
        settled = [(path, state) for path, state in now.items() if self._seen.get(path) == state]
        self._seen = now
        judged = _state(self._mapping_file)
        return [(path, state) for path, state in settled if _refused_state(path) != [*state, *judged]]

    def _take(self, path: Path, state: _State) -> _Taken | None:
        if path in self._durable and self._durable[path][0] == state:
            return self._durable[path][1]
        self._durable.pop(path, None)
        judged = [*state, *_state(self._mapping_file)]
        try:
            mapping = load_mapping(self._mapping_file)
            self._own(mapping)
            found = read_file(path, mapping, self._site, now=self._clock.now())
            return _Taken(self._known.sift(found), mapping)
        except (ImportRefused, ConfigError) as refusal:
            log.error("line %s: %s", self.line, refusal)
            sentences = str(refusal).splitlines()
            rows = refusal.rows if isinstance(refusal, FileRefused) else ()
        except GatewayError:  # of journal or store, no fault of the file
            raise
        except Exception as error:  # one file that nobody thought of does not end the intake of all others
            log.exception("line %s: %a: it cannot be read; it stays", self.line, str(path))
            sentences, rows = [f"{shown_name(path)}: it cannot be read: {error!r}."], ()
        self._tell(path, path, {"accepted": False, "refused": sentences, "judged": judged}, rows, sentences)
        return None

    def _note(self, path: Path, taken: _Taken) -> None:
        """What the journal keeps of a file beside its readings, which are durable now."""
        note_dropped(path, taken.found, taken.mapping, self._site, self.line, self._clock)
        self._known.remember(taken.found)

    def _own(self, mapping: Mapping) -> None:
        """A mapping must not book into a point that another line reads."""
        for wanted, series in zip(mapping.wanted, targets(mapping, self._site), strict=True):
            line = self._site.meters[series.meter].line
            if line != self.line:
                found = f"a point whose meter {series.meter} is read by line {line}"
                expected = f"a point of line {self.line}"
                raise ConfigError([mapping.lines.problem(wanted.key("point"), found, expected)])

    def _put_away(self, path: Path) -> None:
        """Move a file whose readings are durable; when that fails it is tried again at the next look."""
        state, (found, mapping) = self._durable[path]
        if _state(path) != state:  # written to meanwhile: what is new in it was not read
            del self._durable[path]
            return
        aim = self._folder / DONE / path.name
        if aim.exists():  # a name used twice must not cost the earlier file
            aim = aim.with_name(f"{path.stem}.{found.file_sha256[:8]}{path.suffix}")
        try:
            if found.bad or found.findings or found.repeated:
                told = verdict_of_readings(found, mapping, self._site.timezone)
                self._tell(aim, path, told, found.bad, found.findings)
            remove_verdict(path)  # of an earlier, refused content
            move_file(path, aim)
        except OSError as error:
            log.error("line %s: %s is booked and cannot be moved to %s: %s", self.line, path, aim, error)
            return
        del self._durable[path]

    def _tell(
        self, aim: Path, path: Path, told: dict[str, object], rows: Sequence[BadRow], sentences: Sequence[str]
    ) -> None:
        head = {"file": shown_name(path), "line": self.line, "judged_at": iso(self._clock.now())}
        write_verdict(aim, {**head, **told}, rows, sentences)


def _is_meant(path: Path) -> bool:
    """A CSV or a workbook, and neither hidden nor a verdict; a spreadsheet that is open leaves a file called ~$..."""
    named = path.suffix.lower() in TAKEN and not path.name.startswith((".", "~$"))
    return named and not path.name.endswith(ENDINGS) and not path.is_symlink() and path.is_file()


def _state(path: Path) -> _State:
    """What changes when somebody writes the file: size [bytes], time of modification [ns]; nothing where it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_size, stat.st_mtime_ns


def _refused_state(path: Path) -> object:
    """The state of file and mapping in which the file was refused; None where it was not."""
    try:
        told = json.loads(verdict_files(path)[0].read_bytes())
    except (OSError, ValueError):
        return None
    return told.get("judged") if isinstance(told, dict) else None
