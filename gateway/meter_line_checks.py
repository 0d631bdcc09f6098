"""What on a line of DL/T 645 or CJ/T 188 meters contradicts itself: addresses, and lines that share one bus."""

import re
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import Problem
from gateway.line_form import MeterSerialForm, MeterTcpForm, ModbusRtuSerialForm, ModbusRtuTcpForm
from gateway.site_draft import SiteDraft
from gateway.site_form import MeterForm
from gateway.toml_form import shown
from gateway.toml_lines import Place

# Digits of an address: 6 bytes of decimals, or 7 bytes of which the makers' part is hexadecimal with some.
# AA stands for any address and 99...9 for all meters at once: nothing that answers has such an address.
_ADDRESSES = {
    "dlt645": (re.compile(r"(?!9{12})[0-9]{12}"), "12 digits, with all leading zeros, and no broadcast address"),
    "cjt188": (
        re.compile(r"(?:(?!AA)[0-9A-F]{2}){7}"),
        "14 digits (maker's code first), with all leading zeros, no AA",
    ),
}


def meter_line_contradictions(draft: SiteDraft) -> Iterator[Problem]:
    """Every mistake that only shows when these lines and their meters are read together."""
    yield from _shared_buses(draft)
    yield from _addresses(draft)


def _shared_buses(draft: SiteDraft) -> Iterator[Problem]:
    """Two lines on one port: each would hear the other's answers."""
    owners: dict[str, Place] = {}
    for place, line in draft.ways.items():
        if isinstance(line, MeterSerialForm | ModbusRtuSerialForm):
            key, bus = "serial_port", str(Path(line.serial_port).resolve())
        elif isinstance(line, MeterTcpForm | ModbusRtuTcpForm):
            key, bus = "port", f"{line.host.lower()}:{line.port}"
        else:
            continue
        other = owners.setdefault(bus, place)
        if other != place:
            told = f"{shown(getattr(line, key))}, where line {draft.ways[other].id!r} reads"
            mend = "Put the meters of both on one line, or on a bus of its own each."
            yield draft.lines.problem((*place, key), told, "a port of its own", mend)


def _addresses(draft: SiteDraft) -> Iterator[Problem]:
    """Addresses that no meter can have, that two have, or that are told to a meter of another kind."""
    owners: dict[tuple[str, str], Place] = {}
    for place, meter in draft.meters.items():
        line = draft.way(meter.line)
        if line is None:
            continue
        here = (*place, "address")
        if not isinstance(line, MeterSerialForm | MeterTcpForm):
            if meter.address:
                expected = f"no such key on a line of kind {line.kind}"
                yield draft.lines.problem(here, shown(meter.address), expected, "Its address is 'device_address'.")
            continue
        yield from _address(draft, place, meter, line.kind.partition("-")[0])
        other = owners.setdefault((meter.line, meter.address), place)
        if other != place and meter.address:
            told = f"{shown(meter.address)}, which meter {draft.meters[other].id!r} has on the same line"
            yield draft.lines.problem(here, told, f"an address of its own on line {meter.line!r}")


def _address(draft: SiteDraft, place: Place, meter: MeterForm, protocol: str) -> Iterator[Problem]:
    pattern, expected = _ADDRESSES[protocol]
    if "device_address" in meter.model_fields_set:
        told = f"{meter.device_address}, of a meter that speaks {protocol}"
        yield draft.lines.problem((*place, "device_address"), told, "no such key", "Its address is 'address'.")
    if not pattern.fullmatch(meter.address):
        found = shown(meter.address) if meter.address else "nothing"
        mend = (
            f'Write the address on the name plate in quotes, e.g. "{"0" * (7 if protocol == "cjt188" else 5)}1234567".'
        )
        yield draft.lines.problem((*place, "address"), found, expected, mend)
