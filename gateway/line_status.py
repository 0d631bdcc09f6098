"""Lines and devices as `emg status` tells them: what the acquiring process counts, asked while it runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from gateway.acquire_socket import COUNTS, ask_acquire
from gateway.command_line import console


class AcquireStatus(NamedTuple):
    """What the acquiring process says of itself, and of each of its lines by id."""

    process: dict[str, Any]
    lines: dict[str, dict[str, Any]]

    def told(self) -> dict[str, object]:
        """As one JSON object."""
        return {**self.process, "lines": self.lines}


def acquire_status(data_dir: Path) -> AcquireStatus | None:
    """What the acquiring process of this data folder counts; None while none runs."""
    text = ask_acquire(data_dir, COUNTS)
    if not text:
        return None
    process, *lines = map(json.loads, text.splitlines())
    return AcquireStatus(process, {line.pop("line"): line for line in lines})


def print_lines(status: AcquireStatus | None) -> None:
    """A table of lines and devices, and the state of the clock."""
    out = console()
    if status is None:
        out.print("No emg acquire answers here: none runs, or its socket is not for you.")
        return
    table = Table("line", "meter")
    for heading in (
        "polls",
        "answered",
        "silent",
        "garbled",
        "refused",
        "late",
        "on time",
        "missed",
        "back-off",
        "age",
    ):
        table.add_column(heading + (" \\[s]" if heading in {"back-off", "age"} else ""), justify="right")
    table.add_column("round trip \\[ms]", justify="right")
    for line, counts in status.lines.items():
        devices = counts["devices"]
        if not devices:
            table.add_row(line, "", *["—"] * 9, _seconds(counts["newest_age_s"]), "—")
        for place, (meter, device) in enumerate(devices.items()):
            own = (counts["late_answers"], _middle(counts["round_trip"])) if place == 0 else ("", "")
            table.add_row(line if place == 0 else "", meter, *_row(device, *own))
    out.print(table)
    commit = _middle(status.process["commit"])
    out.print(
        f"Clock of the machine: {status.process['clock']}. Half of all commits of the journal took {commit} ms; "
        f"{status.process['waiting_lists']} lists wait for it."
    )


def _row(device: Mapping[str, Any], late: object, round_trip: str) -> list[str]:
    refused = ", ".join(f"{number} x {code}" for code, number in device["refused"].items()) or "0"
    slots = device["slots_on_time"] + device["slots_late"]
    share = f"{device['slots_on_time'] / slots:.2%}" if slots else "—"
    missed = device["slots_empty"] + device["slots_passed_over"]
    told = [device["polls"], device["answered"], device["silent"], device["garbled"], refused, late, share, missed]
    return [*map(str, told), f"{device['backoff_s']:,.0f}", _seconds(device["newest_age_s"]), round_trip]


def _seconds(age_s: float | None) -> str:
    return "—" if age_s is None else f"{age_s:,.0f}"


def _middle(histogram: Mapping[str, Any]) -> str:
    """The bound [ms] at or below which half of the values lie."""
    half, seen = sum(histogram["counts"]) / 2, 0
    if not half:
        return "—"
    for bound, number in zip(histogram["bounds_us"], histogram["counts"], strict=False):
        seen += number
        if seen >= half:
            return f"≤ {bound / 1000:g}"
    return f"> {histogram['bounds_us'][-1] / 1000:g}"
