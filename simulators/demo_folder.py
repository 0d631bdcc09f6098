"""The demo's folder: what it must remember between two starts, and the files it writes for `emg`."""

import hashlib
import json
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path

from gateway.domain.periods import midnight, to_datetime
from gateway.domain.readings import MICROSECONDS, Reading
from gateway.errors import GatewayError
from gateway.journal.disk import write_file
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.inbox import submit
from simulators.broker import RunningBroker, free_port, is_free
from simulators.demo_ledger import ledger_files
from simulators.demo_process import LOCK
from simulators.lab import Lab
from simulators.lab_site import mapping_texts, site_text
from simulators.load_shapes import QUARTER_S
from simulators.models import MODELS
from simulators.plant import Plant, reading_at

HISTORY_DAYS = 35  # at least; it reaches back to the first of a month, so that one month is whole
QUARTER_US = QUARTER_S * MICROSECONDS
READINGS_PER_ENTRY = 2000
STATE = "state.json"


@dataclass(slots=True)
class DemoState:
    """What outlives one run [us, UTC]: the epoch of the plant, and how far its past was handed over."""

    epoch: int
    installed_on: str  # ISO date of the first start; the certificates are dated from it
    history_until: int  # last quarter-hour boundary that was handed over; 0 = none yet
    api_port: int
    made_of: str = ""  # digest of the lab: another lab has another past
    # On an InfluxDB that others use too: each plant has a database of its own.
    database: str = field(default_factory=lambda: f"emg-demo-{secrets.token_hex(4)}")


def load_state(folder: Path, lab: Lab, *, now: int) -> DemoState:
    """The state of an earlier start, or that of a first one. Raises GatewayError where the folder is another's."""
    path, timezone = folder / STATE, lab.lab.timezone
    made_of = hashlib.sha256(lab.model_dump_json().encode()).hexdigest()
    if not path.is_file():
        strangers = sorted(each.name for each in folder.iterdir() if each.name != LOCK)
        if strangers:
            raise GatewayError(
                f"{folder} holds {strangers[0]!r} and was not made by the demo; choose an empty folder with --dir"
            )
        today = to_datetime(now, timezone).date()
        first = (today - timedelta(days=HISTORY_DAYS)).replace(day=1)
        state = DemoState(midnight(first, timezone), today.isoformat(), 0, free_port(), made_of)
        save_state(folder, state)
        return state
    try:
        state = DemoState(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise GatewayError(f"{path}: not what this version of the demo writes ({error}); start with --fresh") from error
    if state.made_of != made_of:
        raise GatewayError(
            f"{folder} holds the past of another plant than lab {lab.lab.name!r} as it is now: its registers would "
            "contradict each other; start with --fresh, or choose another folder with --dir"
        )
    if not is_free(state.api_port):
        state.api_port = free_port()
    return state


def forget(folder: Path) -> None:
    """Empty a folder that the demo made; any other stays as it is."""
    if (folder / STATE).is_file():
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


def save_state(folder: Path, state: DemoState) -> None:
    """Write the state whole."""
    write_file(folder / STATE, f"{json.dumps(asdict(state))}\n".encode())


def write_site(
    folder: Path, plant: Plant, state: DemoState, ports: dict[str, int], broker: RunningBroker, store: str
) -> Path:
    """`site.toml`, with the table `store`, and the mapping files; returns the site file."""
    brokers = {line.id: broker.port for line in plant.lab.line if line.kind == "mqtt"}
    text = site_text(plant.lab, ports=ports | brokers, broker_version=broker.version, api_port=state.api_port)
    for name, mapping in mapping_texts(plant.lab).items():
        (folder / name).write_text(mapping, "utf-8")
    for line in plant.lab.line:
        if line.kind == "files":
            (folder / line.folder).mkdir(parents=True, exist_ok=True)
    site = folder / "site.toml"
    site.write_text(f"{text}\n{store}" if store else text, "utf-8")
    return site


def write_ledger(folder: Path, plant: Plant, state: DemoState, *, now: int) -> list[tuple[str, Path]]:
    """The files for `emg import`, production up to yesterday: (kind, file)."""
    zone = plant.lab.lab.timezone
    written = []
    days = to_datetime(plant.epoch, zone).date(), to_datetime(now, zone).date()
    for kind, text in ledger_files(plant, *days, date.fromisoformat(state.installed_on)):
        path = folder / f"{kind}.csv"
        path.write_text(text, "utf-8")
        written.append((kind, path))
    return written


def hand_over_history(folder: Path, plant: Plant, state: DemoState, *, now: int) -> int:
    """Put the quarter-hours since the last start into the inbox, as load profiles read out of the meters.

    Returns the number of readings. Tickets and surveys are not among them: they come through the drop folders.
    """
    last = now // QUARTER_US * QUARTER_US
    first = state.history_until + QUARTER_US if state.history_until else plant.epoch
    totals = [(point.id, q) for point, q in plant.series_on_wire() if MODELS[point.model].field(q).total]
    readings = [
        reading_at(plant, point, quantity, instant)
        for instant in range(first, last + 1, QUARTER_US)
        for point, quantity in totals
    ]
    if readings:
        submit(folder / "data", _entries(readings), origin="load profiles of the simulated meters", author="emg demo")
        state.history_until = last
    return len(readings)


def _entries(readings: list[Reading]) -> list[tuple[EntryKind, dict[str, object]]]:
    return [
        (EntryKind.READINGS, readings_body("history", readings[at : at + READINGS_PER_ENTRY]))
        for at in range(0, len(readings), READINGS_PER_ENTRY)
    ]
