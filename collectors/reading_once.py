"""`emg read`: ask the meters once and show raw words and values side by side, as one does beside the meter."""

import asyncio
from collections.abc import Mapping
from decimal import Context, Decimal, Inexact
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Table

from collectors.device_watch import RATIO, DeviceWatch, Tell, keep_to_oneself
from collectors.lines import devices_of, wire_to
from collectors.polling import Answer, PolledDevice, ask, missing, readings_of
from collectors.register_line import RegisterLine
from gateway.clocks import Clock, SystemClock
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.periods import iso
from gateway.domain.readings import Quality, Reading, split_series
from gateway.domain.sites import Line, MeteringPoint, Series, Site
from gateway.errors import ConfigError, LineError, Problem

_EXACT = Context(prec=100, traps=[Inexact])  # counts of an int64 times any resolution fit without rounding
app = typer.Typer(add_completion=False)


class LiveValue(NamedTuple):
    """One register as its meter shows it now. `shown` [unit] is counts x resolution, exactly, for totals."""

    series: Series
    reading: Reading
    shown: Decimal | float | None
    meter: str
    address: int | str
    took_us: int
    trouble: str


def shown_value(series: Series, value: float | None) -> Decimal | float | None:
    """A reading's value in the series' unit: an exact decimal for counts, the float as it is otherwise."""
    if not isinstance(value, int) or series.resolution is None:
        return value
    return _EXACT.multiply(Decimal(value), series.resolution)


async def read_site(site: Site, point: str, clock: Clock, tell: Tell = keep_to_oneself) -> list[LiveValue]:
    """Every register of the site that can be asked for (of one point, when named), read once; lines side by side.

    `tell` takes what the devices say of themselves, as events of the journal.
    """
    lines = [line for line in site.lines.values() if line.kind.is_polled]
    read = await asyncio.gather(*(_read_line(site, line, point, clock, tell) for line in lines))
    values = {value.series.key: value for of_line in read for value in of_line}
    return [values[key] for key in site.series if key in values]


async def _read_line(site: Site, line: Line, point: str, clock: Clock, tell: Tell) -> list[LiveValue]:
    wire, watch = wire_to(site, line), DeviceWatch(line, clock, tell)
    values: list[LiveValue] = []
    try:
        for device in devices_of(site, line):
            asked = _only(device, site, point)
            answers: dict[str, Answer] = {}
            readings: list[Reading] = []
            for answer in await _ask_all(wire, line, asked, clock):
                readings += readings_of(answer) or missing([answer.polled], answer.instant, answer.reason)
                answers |= dict.fromkeys(answer.polled.series, answer)
            if readings:
                readings = await watch.after(asked, readings, wire, clock.now())
            values += [
                _live(site, device, answers[reading.series], reading)
                for reading in readings
                if not point or site.series[reading.series].point == point
            ]
    finally:
        wire.close()
    return values


def _only(device: PolledDevice, site: Site, point: str) -> PolledDevice:
    """The device with the requests that bring something of one point; all of them when none is named."""
    blocks = (
        polled
        for polled in device.blocks
        if not point or any(site.series[series].point == point for series in polled.series)
    )
    return device._replace(blocks=tuple(blocks))


async def _ask_all(wire: RegisterLine, line: Line, device: PolledDevice, clock: Clock) -> list[Answer]:
    """The answers of one device; after the first silence the rest is not asked, it would only take longer."""
    answers: list[Answer] = []
    silence: LineError | None = None
    for polled in device.blocks:
        if silence is not None:
            answers.append(Answer(polled, clock.now(), 0, trouble=silence))
            continue
        answers.append(await ask(wire, device, polled, clock, float(line.timeout_s)))
        silence = answers[-1].trouble if answers[-1].silent else None
    return answers


def _live(site: Site, device: PolledDevice, answer: Answer, reading: Reading) -> LiveValue:
    series = site.series[reading.series]
    trouble = str(answer.trouble) if answer.trouble else ""
    shown = shown_value(series, reading.value)
    return LiveValue(series, reading, shown, device.meter, site.meters[device.meter].asked_at, answer.took_us, trouble)


def pushed_points(site: Site, point: str) -> list[tuple[MeteringPoint, str]]:
    """The points that cannot be asked, each with the sentence that says why."""
    told = []
    for candidate in site.points.values():
        if point and candidate.id != point:
            continue
        meter = site.meters.get(candidate.meter)
        line = site.lines[meter.line] if meter else None
        if line is None:
            told.append((candidate, "has no meter: people and files bring its readings; it cannot be asked"))
        elif not line.kind.is_polled:
            told.append((candidate, f"is pushed over {line.kind.value} line {line.id}; it cannot be asked"))
    return told


@app.command()
def read_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    point: Annotated[str, typer.Argument(metavar="[POINT]", help="one metering point; all when left out")] = "",
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Ask every meter of SITE that can be asked once; exit 1 when a value is missing or doubtful."""
    site = load_site(site_file)
    if point and point not in site.points:
        known = ", ".join(site.points) or "none"
        raise ConfigError(
            [Problem(file=str(site_file), line=None, key="point", found=point, expected=f"one of {known}")]
        )
    devices: list[dict[str, object]] = []

    def tell(name: str, told: Mapping[str, object]) -> None:
        devices.append({"event": name, **told})

    values = asyncio.run(read_site(site, point, SystemClock(), tell))
    pushed = pushed_points(site, point)
    if json:
        told = [{"point": candidate.id, "why": f"{candidate.id} {why}"} for candidate, why in pushed]
        print_json({"values": [_as_json(value) for value in values], "not_asked": told, "devices": devices})
    else:
        _print(site, values, pushed)
        for device in devices:
            console().print(_sentence(device), markup=False, highlight=False, soft_wrap=True)
    if any(value.reading.quality is not Quality.GOOD for value in values):
        raise typer.Exit(1)


def _sentence(device: Mapping[str, Any]) -> str:
    """What a device says of itself, and what was expected, for a person."""
    said = device["found"]
    found = ", ".join(f"{what} {text or 'nothing'}" for what, text in said.items()) if isinstance(said, dict) else said
    text = f"{device['meter']} @ {device['device_address']}: {device['event']}: found {found}"
    if serial := device.get("serial"):
        text += f", serial {serial}"
    if device["event"] == RATIO:
        return f"{text} as {device['ratio']}; the site file says {device['site']}."
    expected = device.get("expected")
    if isinstance(expected, dict):
        expected = ", ".join(f"{what} {text}" for what, text in expected.items())
    return f"{text}; expected {expected}." if expected else f"{text}, as its profile says."


def _as_json(value: LiveValue) -> dict[str, object]:
    reading, series = value.reading, value.series
    return {
        "series": series.key,
        "point": series.point,
        "quantity": series.register.quantity,
        "instant": iso(reading.instant),
        "words": reading.words.hex(" ", 2),
        "counts": reading.value if isinstance(reading.value, int) else None,
        "value": format(value.shown, "f") if isinstance(value.shown, Decimal) else value.shown,
        "unit": series.register.unit,
        "quality": (reading.quality.name or "").lower(),
        "reason": reading.reason,
        "trouble": value.trouble,
        "meter": value.meter,
        "device_address": value.address,
        "milliseconds": value.took_us / 1000,
    }


def _print(site: Site, values: list[LiveValue], pushed: list[tuple[MeteringPoint, str]]) -> None:
    table = Table("point", "quantity", "words (hex)", title=f"{site.name}: values as the meters show them now")
    table.add_column("value", justify="right")
    for heading in ("unit", "quality", "meter @ address"):
        table.add_column(heading)
    table.add_column("milliseconds", justify="right")
    for value in values:
        series, reading = value.series, value.reading
        _, point, quantity = split_series(series.key)
        quality = (reading.quality.name or "").lower() + (f" ({reading.reason})" if reading.reason else "")
        shown = format(value.shown, "f") if isinstance(value.shown, Decimal) else _short(value.shown)
        device = f"{value.meter} @ {value.address}"
        words = reading.words.hex(" ", 2).upper()
        table.add_row(
            point, quantity, words, shown, series.register.unit, quality, device, f"{value.took_us / 1000:.1f}"
        )
    out = console()
    if values:
        out.print(table)
    for trouble in dict.fromkeys(value.trouble for value in values if value.trouble):
        out.print(trouble, markup=False)
    for candidate, why in pushed:
        out.print(f"{candidate.id} {why}.", markup=False)


def _short(value: float | None) -> str:
    return "—" if value is None else f"{value:.7g}"


def read_main(argv: list[str]) -> int:
    """`emg read`."""
    return run_app(app, argv, "emg read")
