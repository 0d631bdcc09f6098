"""How much of a serial line's time is used: questions over a pseudo-terminal whose far end takes the time on the wire.

    python -m benchmarks.modbus_rtu [--bauds 9600,19200] [--words 2,10,60,125] [--questions N] [--json]

The wire limit is what questions, answers and the silences between them (3.5 characters before each) occupy at least; a
device answers at once. Beside ours pymodbus's serial client asks the same bus; it keeps no silence of its own.
"""

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from statistics import median

from pymodbus.client import AsyncModbusSerialClient

from benchmarks.journal import RESULTS, machine
from collectors.modbus_rtu import ModbusRtuLine
from collectors.wire_time import line_wire
from tests.collectors.modbus_peer import block
from tests.collectors.rtu_bus import RtuBus, right, serial_line

ROUNDS = 3


async def ours(bus: RtuBus, baud: int, words: int, questions: int) -> float:
    """Seconds for so many questions."""
    line = ModbusRtuLine.to(serial_line(bus.port, baud=baud))
    try:
        await line.read(1, block(0, words), 5.0)
        begin = time.perf_counter()
        for _ in range(questions):
            await line.read(1, block(0, words), 5.0)
        return time.perf_counter() - begin
    finally:
        line.close()


async def pymodbus(bus: RtuBus, baud: int, words: int, questions: int) -> float:
    """Seconds for so many questions."""
    client = AsyncModbusSerialClient(bus.port, baudrate=baud, parity="N", stopbits=2)
    await client.connect()
    try:
        await client.read_holding_registers(0, count=words, device_id=1)
        begin = time.perf_counter()
        for _ in range(questions):
            await client.read_holding_registers(0, count=words, device_id=1)
        return time.perf_counter() - begin
    finally:
        client.close()


def measure(baud: int, words: int, questions: int) -> dict[str, float]:
    """Shares of the wire limit, the median of the rounds; sides in turns, each on a bus of its own."""
    limit = questions * (line_wire(serial_line("", baud=baud)).of(words) / 1e9 - 0.01)  # a plan reckons with 10 ms
    limit -= questions * 3.5 * 11 / baud  # and with a silence behind the answer too: it is the one before the next
    took: dict[str, list[float]] = {"ours": [], "pymodbus": []}
    for _ in range(ROUNDS):
        for name, side in (("ours", ours), ("pymodbus", pymodbus)):
            bus = RtuBus(lambda question: [(0.0, right(question))], baud=baud)
            bus.start()
            took[name].append(asyncio.run(side(bus, baud, words, questions)))
            bus.close()
    return {name: round(limit / median(times), 3) for name, times in took.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modbus_rtu", description=__doc__)
    parser.add_argument("--bauds", default="9600,19200")
    parser.add_argument("--words", default="2,10,60,125")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="also write benchmarks/results/modbus-rtu-<date>.json")
    chosen = parser.parse_args(argv)
    found: dict[str, object] = {"measured": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "machine": machine()}
    found["share_of_the_wire_limit"] = shares = {}
    for baud in map(int, chosen.bauds.split(",")):
        for words in map(int, chosen.words.split(",")):
            shares[f"{baud} baud, {words} words"] = share = measure(baud, words, chosen.questions)
            print(f"{baud:>7} baud {words:>4} words  ours {share['ours']:.1%}  pymodbus {share['pymodbus']:.1%}")
    if chosen.json:
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"modbus-rtu-{datetime.now(UTC):%Y-%m-%d}.json"
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
