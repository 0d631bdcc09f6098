"""Readings turned into line protocol: by our cached prefixes, by influxdb-client's Point, and by a plain f-string.

    python -m benchmarks.line_protocol [--readings N] [--rounds N] [--json]

The sides take turns in one process and write the same points; the median of the rounds counts. It is checked that
both sides say the same, field by field.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from influxdb_client import Point, WritePrecision

from benchmarks.journal import RESULTS, batches, machine
from gateway.domain.readings import Reading, split_series
from gateway.stores.line_protocol import SeriesLines

SEQUENCE = 77


def ours(readings: list[Reading]) -> list[str]:
    """As stores and sinks write them."""
    return SeriesLines().lines(SEQUENCE, readings)


def by_point(readings: list[Reading]) -> list[str]:
    """As the client library's own type writes them."""
    lines = []
    for series, instant, value, quality, _, _ in readings:
        enterprise, point, quantity = split_series(series)
        made = Point("readings").tag("enterprise", enterprise).tag("point", point).tag("quantity", quantity)
        made.field("count" if type(value) is int else "value", value).field("quality", int(quality))
        lines.append(made.field("sequence", SEQUENCE).time(instant, WritePrecision.US).to_line_protocol())
    return lines


def by_format(readings: list[Reading]) -> list[str]:
    """As one would write them without a thought of escaping: the bound for text made in Python."""
    lines = []
    for series, instant, value, quality, _, _ in readings:
        enterprise, point, quantity = series.split("/")
        field = f"count={value}i" if type(value) is int else f"value={value!r}"
        lines.append(
            f"readings,enterprise={enterprise},point={point},quantity={quantity} "
            f"{field},quality={int(quality)}i,sequence={SEQUENCE}i {instant}"
        )
    return lines


SIDES: dict[str, Callable[[list[Reading]], list[str]]] = {
    "ours, prefix kept": ours,
    "influxdb-client Point": by_point,
    "plain f-string": by_format,
}


def said(line: str) -> tuple[str, dict[str, str], str]:
    """(measurement and tags, fields, time), whatever the order of fields and the form of a whole float."""
    series, fields, instant = line.split(" ")
    pairs = dict(field.split("=") for field in fields.split(","))
    if "value" in pairs:
        pairs["value"] = repr(float(pairs["value"]))
    return series, pairs, instant


def measure(readings: int, rounds: int) -> dict[str, object]:
    """All sides in turns; for each the median [points/s] and the median of its ratios to the Point."""
    work = [reading for batch in batches(readings) for reading in batch]
    if not all(said(one) == said(other) for one, other in zip(ours(work), by_point(work), strict=True)):
        raise SystemExit("our lines and the client library's do not say the same")
    gc.freeze()
    seconds: dict[str, list[float]] = {}
    for number in range(-1, rounds):  # the first one warms up and is not counted
        for side, run in SIDES.items():
            begin = time.perf_counter()
            run(work)
            took = time.perf_counter() - begin
            if number >= 0:
                seconds.setdefault(side, []).append(took)
    peer = seconds["influxdb-client Point"]
    return {
        "readings": readings,
        "rounds": rounds,
        "sides": {
            side: {
                "points_per_s": round(readings / median(took)),
                "to_point": round(median(p / s for p, s in zip(peer, took, strict=True)), 2),
            }
            for side, took in seconds.items()
        },
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.line_protocol", description=__doc__)
    parser.add_argument("--readings", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="also write benchmarks/results/line-protocol-<date>.json")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    now = datetime.now(UTC)
    found = {"measured": f"{now:%Y-%m-%dT%H:%M:%SZ}", "machine": machine(), **measure(chosen.readings, chosen.rounds)}
    print(f"{found['measured']}  {found['machine']}")
    for side, told in found["sides"].items():
        print(f"  {side:28} {told['points_per_s']:>12,} points/s  {told['to_point']:>6.2f} x the Point")
    if chosen.json:
        chosen.results.mkdir(parents=True, exist_ok=True)
        path = chosen.results / f"line-protocol-{now:%Y-%m-%d}.json"
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
