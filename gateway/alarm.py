"""The alarms of the acquiring process: files of one size, written in place, so that a full disk takes them too."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

NAME = "acquire.alarm"  # nothing is taken in
CONFIG = "config.alarm"  # an edited site file is not applied
STORE = "store.alarm"  # the journal takes readings in, the reading store does not
SINKS = "sinks.alarm"  # journal and reading store go on, no sink is given anything
SIZE = 4096


class Alarm(NamedTuple):
    """Why something does not go on, and since when [us, UTC]."""

    since: int
    why: str


def set_alarm(data_dir: Path, alarm: Alarm | None, name: str = NAME) -> None:
    """Say that it does not go on (by `name`: intake, store, sinks, an edit), or (None) that all is in order.

    Called once while the disk has room, it can be said later without any. A disk that refuses even this is told in
    the log alone.
    """
    told = {} if alarm is None else {"since": alarm.since, "why": alarm.why[: SIZE // 8]}
    text = json.dumps(told).encode().ljust(SIZE)
    with suppress(OSError):
        descriptor = os.open(data_dir / name, os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            os.pwrite(descriptor, text, 0)
        finally:
            os.close(descriptor)


def alarm_of(data_dir: Path, name: str = NAME) -> Alarm | None:
    """What the acquiring process said last; None when all is in order, or it never ran."""
    try:
        told = json.loads((data_dir / name).read_bytes())
        return Alarm(int(told["since"]), str(told["why"])) if told else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
