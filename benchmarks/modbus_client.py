"""Our Modbus TCP client beside libmodbus (C), pymodbus (asyncio) and, with many connections, a C epoll loop.

    python -m benchmarks.modbus_client [--words 2,10,60,125] [--connections 1] [--rounds N] [--seconds S] [--json]

Client and checks, no decoding into values: every client turns the answer into numbers as its users get them (ours
with one precompiled Struct) and looks at the last one. Every question has a timeout. The server is libmodbus behind
epoll; client and server share one core, because a round trip between cores measures the system's wake-ups. The
sides take turns, and the median of the rounds counts. The C programs are built with cc at each run.

On a machine with other work the rate of a side is that of its share; processor time per request hardly is. So both
are told, and beside the ratio of the rates the one of what a request costs on the core, client and server together.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from struct import Struct
from typing import NamedTuple

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIBMODBUS, EPOLL, PYMODBUS = "libmodbus (C)", "epoll (C)", "pymodbus async"
OURS, OURS_UVLOOP = "ours", "ours, uvloop"
TIMEOUT_S = 1.0


class Run(NamedTuple):
    """What one side did in one turn: requests, wall and processor seconds, and the server's processor seconds."""

    requests: int
    seconds: float
    cpu_s: float
    server_cpu_s: float

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.requests * 1e6

    @property
    def core_us(self) -> float:
        return (self.cpu_s + self.server_cpu_s) / self.requests * 1e6


class Server(NamedTuple):
    """The running server: its port and the process whose time is looked at."""

    port: int
    process: "subprocess.Popen[str]"

    def cpu_s(self) -> float:
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9


def build(folder: Path) -> None:
    """The three C programs, into `folder`."""
    for name, libraries in (("server", ["-lmodbus"]), ("libmodbus_client", ["-lmodbus"]), ("epoll_client", [])):
        source = HERE / f"modbus_{name}.c"
        command = ["cc", "-O2", "-Wall", "-I/usr/include/modbus", str(source), "-o", str(folder / name), *libraries]
        subprocess.run(command, check=True, timeout=120)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    pipe = subprocess.PIPE
    with subprocess.Popen([str(folder / "server")], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()), process)
        finally:
            process.stdin.close()
            process.wait(10)


def c_client(program: Path, port: int, words: int, seconds: float, connections: int) -> tuple[int, float, float]:
    """Requests, wall seconds, processor seconds, as the program measured them."""
    command = [str(program), str(port), str(words), str(seconds), str(connections)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout.split()
    return int(told[0]), float(told[1]), float(told[2])


Ask = Callable[[], Awaitable[None]]


async def our_connection(port: int, words: int) -> tuple[Ask, Callable[[], None]]:
    from collectors.blocks import Block  # noqa: PLC0415 - each side loads in a process of its own
    from collectors.modbus_tcp import ModbusTcpLine  # noqa: PLC0415 - same

    line = ModbusTcpLine("127.0.0.1", port)
    await line.connect(TIMEOUT_S)
    block, numbers = Block("holding", 0, words, ()), Struct(f">{words}H").unpack

    async def ask() -> None:
        if numbers(await line.read(1, block, TIMEOUT_S))[-1] != words - 1:
            raise ValueError("a wrong word")

    return ask, line.close


async def pymodbus_connection(port: int, words: int) -> tuple[Ask, Callable[[], None]]:
    from pymodbus.client import AsyncModbusTcpClient  # noqa: PLC0415 - as above

    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=TIMEOUT_S, retries=0)
    if not await client.connect():
        raise ConnectionError("no connection")

    async def ask() -> None:
        answer = await client.read_holding_registers(0, count=words, device_id=1)
        if answer.isError() or answer.registers[-1] != words - 1:
            raise ValueError("a wrong word")

    return ask, client.close


SIDES = {PYMODBUS: pymodbus_connection, OURS: our_connection, OURS_UVLOOP: our_connection}


async def ask_on(side: str, port: int, words: int, seconds: float, connections: int) -> tuple[int, float, float]:
    """Ask on so many connections side by side, one question on each at a time."""
    opened = [await SIDES[side](port, words) for _ in range(connections)]
    requests = 0
    gc.collect()
    used, begun = processor_s(), time.perf_counter()
    end = begun + seconds

    async def keep_asking(ask: Ask) -> None:
        nonlocal requests
        while time.perf_counter() < end:
            await ask()
            requests += 1

    await asyncio.gather(*(keep_asking(ask) for ask, _ in opened))
    took, cost = time.perf_counter() - begun, processor_s() - used
    for _, close in opened:
        close()
    return requests, took, cost


def processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def in_this_process(side: str, port: int, words: int, seconds: float, connections: int) -> tuple[int, float, float]:
    """One turn of a Python side, on its event loop."""
    factory = None
    if side == OURS_UVLOOP:
        import uvloop  # noqa: PLC0415 - an extra

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(ask_on(side, port, words, seconds, connections))


def turn(folder: Path, server: Server, side: str, words: int, *, seconds: float, connections: int) -> Run:
    """One turn of one side; Python sides run in a fresh process."""
    before = server.cpu_s()
    if side in SIDES:
        order = json.dumps([side, server.port, words, seconds, connections])
        command = [sys.executable, "-m", "benchmarks.modbus_client", "--turn", order]
        out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parent, timeout=seconds + 60)
        requests, took, cpu_s = json.loads(out.stdout)
    else:
        program = folder / ("libmodbus_client" if side == LIBMODBUS else "epoll_client")
        requests, took, cpu_s = c_client(program, server.port, words, seconds, connections)
    return Run(requests, took, cpu_s, server.cpu_s() - before)


def measured(words: list[int], *, connections: int, rounds: int, seconds: float) -> dict[int, dict[str, list[Run]]]:
    """All turns, by words and side, the sides after one another in every round."""
    sides = [LIBMODBUS if connections == 1 else EPOLL, PYMODBUS, OURS]
    try:
        import uvloop  # noqa: F401, PLC0415 - only whether it is there

        sides.append(OURS_UVLOOP)
    except ImportError:
        print("uvloop is not installed: its side is left out", file=sys.stderr)
    runs: dict[int, dict[str, list[Run]]] = {count: {side: [] for side in sides} for count in words}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        with serving(folder) as server:
            for _ in range(rounds):
                for count in words:
                    for side in sides:
                        run = turn(folder, server, side, count, seconds=seconds, connections=connections)
                        runs[count][side].append(run)
    return runs


def told(runs: dict[str, list[Run]], connections: int) -> dict[str, object]:
    """The medians of one register count, and how the sides compare."""
    sides = {
        side: {
            "requests_per_s": round(median(run.per_s for run in some)),
            "cpu_us": round(median(run.cpu_us for run in some), 2),
            "core_us": round(median(run.core_us for run in some), 2),
        }
        for side, some in runs.items()
    }
    peer = LIBMODBUS if connections == 1 else EPOLL
    name = "libmodbus" if connections == 1 else "epoll"
    found: dict[str, object] = {"sides": sides}
    for side, short in ((OURS, "ours"), (OURS_UVLOOP, "ours_uvloop")):
        if side not in sides:
            continue
        mine = sides[side]
        found[f"{short}_to_{name}"] = round(mine["requests_per_s"] / sides[peer]["requests_per_s"], 3)
        found[f"{short}_to_{name}_by_core_time"] = round(sides[peer]["core_us"] / mine["core_us"], 3)
        found[f"{short}_to_pymodbus_async"] = round(mine["requests_per_s"] / sides[PYMODBUS]["requests_per_s"], 3)
        found[f"{short}_to_pymodbus_async_by_core_time"] = round(sides[PYMODBUS]["core_us"] / mine["core_us"], 3)
        cpu = f"cpu_to_{name}" if side == OURS else f"cpu_uvloop_to_{name}"
        found[cpu] = round(mine["cpu_us"] / sides[peer]["cpu_us"], 3)
    return found


def machine() -> dict[str, object]:
    """Where it ran and how busy that was."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def show(found: dict[str, object], by_words: dict[int, dict[str, object]]) -> None:
    """For people: one table per register count."""
    print(f"{found['connections']} connection(s), medians of {found['rounds']} rounds of {found['seconds']} s")
    for words, one in by_words.items():
        sides = one["sides"]
        assert isinstance(sides, dict)
        print(f"\n{words} registers")
        for side, figures in sides.items():
            print(
                f"  {side:16} {figures['requests_per_s']:>8,}/s   cpu {figures['cpu_us']:>6} us   "
                f"with the server {figures['core_us']:>6} us"
            )
        print("  " + ", ".join(f"{name} {value}" for name, value in one.items() if name != "sides"))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", default="2,10,60,125", help="register counts, comma-separated")
    parser.add_argument("--connections", type=int, default=1, help="more than one: beside a C epoll loop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each turn")
    parser.add_argument("--json", action="store_true", help="print one JSON object and keep it in --results")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--turn", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # all that is started here shares one core
    if given.turn:
        print(json.dumps(in_this_process(*json.loads(given.turn))))
        return 0
    words = [int(count) for count in given.words.split(",")]
    runs = measured(words, connections=given.connections, rounds=given.rounds, seconds=given.seconds)
    by_words = {count: told(some, given.connections) for count, some in runs.items()}
    found: dict[str, object] = {
        "machine": machine(),
        "connections": given.connections,
        "rounds": given.rounds,
        "seconds": given.seconds,
        "registers": {str(count): one for count, one in by_words.items()},
    }
    if given.json:
        given.results.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=1)
        name = f"modbus-client-{given.connections}-{datetime.now(UTC):%Y-%m-%d}.json"
        (given.results / name).write_text(text + "\n", "utf-8")
        print(text)
    else:
        show(found, by_words)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
