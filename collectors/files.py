"""A drop folder: CSV files that land there become readings, and are moved away when those are durable.

    folder/tickets.csv                   waiting; taken when it did not change for one look at the folder
    folder/tickets.csv.verdict.json      it could not be read: why; looked at again when it or the mapping changes
    folder/done/tickets.csv              its readings are in the journal
    folder/done/tickets.csv.verdict.json rows of it that were refused, and what was found

A crash between the journal and the move costs nothing: the file is read again and gives the same readings of
the same instants, of which the store keeps one.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple

from collectors.file_readings import FileReadings, read_file, target
from collectors.mapping import Mapping, load_mapping
from gateway.clocks import Clock
from gateway.domain.periods import iso
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.domain.sites import Line, Site
from gateway.errors import ConfigError, ImportRefused
from gateway.journal.disk import make_directory, move_file, remove_file, write_file

DONE = "done"
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
                    for start in range(0, len(taken.found.readings), READINGS_A_LIST):
                        yield taken.found.readings[start : start + READINGS_A_LIST]
                    self._durable[path] = state, taken
                await asyncio.to_thread(self._put_away, path)
            await self._clock.sleep_until(self._clock.now() + LOOK_EVERY_S * MICROSECONDS)

    def _settled(self) -> list[tuple[Path, _State]]:
        """Files that are as they were at the last look, and not refused since."""
        now = {path: _state(path) for path in sorted(self._folder.iterdir()) if _is_csv(path)}
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
            return _Taken(read_file(path, mapping, self._site, now=self._clock.now()), mapping)
        except (ImportRefused, ConfigError) as refusal:
            log.error("line %s: %s", self.line, refusal)
            why = {"accepted": False, "refused": str(refusal).splitlines(), "judged": judged}
            self._tell(_verdict_file(path), path, why)
            return None

    def _own(self, mapping: Mapping) -> None:
        """A mapping must not book into a point that another line reads."""
        series = target(mapping, self._site)
        line = self._site.meters[series.meter].line
        if line != self.line:
            found = f"a point whose meter {series.meter} is read by line {line}"
            raise ConfigError([mapping.lines.problem(("into", "point"), found, f"a point of line {self.line}")])

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
            if found.bad or found.findings:
                self._tell(_verdict_file(aim), path, _verdict(found, mapping, self._site.timezone))
            remove_file(_verdict_file(path))  # of an earlier, refused content
            move_file(path, aim)
        except OSError as error:
            log.error("line %s: %s is booked and cannot be moved to %s: %s", self.line, path, aim, error)
            return
        del self._durable[path]

    def _tell(self, aim: Path, path: Path, verdict: dict[str, object]) -> None:
        told = {"file": path.name, "line": self.line, "judged_at": iso(self._clock.now()), **verdict}
        write_file(aim, json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n")


def _verdict(found: FileReadings, mapping: Mapping, timezone: str) -> dict[str, object]:
    return {
        "accepted": True,
        "file_sha256": found.file_sha256,
        "mapping": mapping.file,
        "mapping_sha256": mapping.sha256,
        "readings": len(found.readings),
        "first": iso(found.first, timezone),
        "last_end": iso(found.last_end, timezone),
        "refused_rows": [row._asdict() for row in found.bad],
        "findings": found.findings,
    }


def _is_csv(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() == ".csv" and not hidden and not path.is_symlink() and path.is_file()


def _state(path: Path) -> _State:
    """What changes when somebody writes the file: size [bytes], time of modification [ns]; nothing where it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_size, stat.st_mtime_ns


def _verdict_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.verdict.json")


def _refused_state(path: Path) -> object:
    """The state of file and mapping in which the file was refused; None where it was not."""
    try:
        told = json.loads(_verdict_file(path).read_bytes())
    except (OSError, ValueError):
        return None
    return told.get("judged") if isinstance(told, dict) else None
