"""`emg demo`: a simulated plant and the whole chain, started as a person would, compared with the known truth."""

import asyncio
import fcntl
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gateway.clocks import SystemClock
from gateway.command_line import print_json, run_app
from gateway.domain.readings import MICROSECONDS
from gateway.errors import GatewayError
from simulators.broker import BrokerKind, running_broker
from simulators.demo_checks import Api, LiveSpan
from simulators.demo_folder import DemoState, hand_over_history, load_state, save_state, write_ledger, write_site
from simulators.demo_report import Evidence, judge, print_report
from simulators.lab import load_lab
from simulators.plant import Plant
from simulators.simulate import put_on_wire
from simulators.truth import TruthLog

READY_S = 60  # how long the gateway may take to answer and to have read every meter
app = typer.Typer(add_completion=False)


@app.command()
def demo_command(
    folder: Annotated[Path, typer.Option("--dir", help="where the demo keeps its plant")] = Path("demo-site"),
    seconds: Annotated[float | None, typer.Option(help="end after this many seconds of live data", min=1)] = None,
    headless: Annotated[bool, typer.Option("--headless", help="end by itself (after 20 s, or --seconds)")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object at the end")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="forget the plant of an earlier start")] = False,
    lab: Annotated[str, typer.Option(help="the plant: the name of a lab that comes along")] = "cement",
    broker: Annotated[BrokerKind, typer.Option(help="which MQTT broker")] = BrokerKind.AUTO,
) -> None:
    """Simulate a plant, run the gateway on it, and compare everything with the truth; exit 1 when anything differs."""
    if fresh and (folder / "state.json").is_file():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    limit = seconds or (20.0 if headless else None)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GatewayError(f"{folder}: another demo is running there; end it, or choose --dir") from None
        report = asyncio.run(_demo(folder.resolve(), lab, limit, broker))
    if json:
        print_json(report)
    else:
        print_report(report)
    if not report["ok"]:
        raise typer.Exit(1)


async def _demo(folder: Path, lab_name: str, limit_s: float | None, kind: BrokerKind) -> dict[str, Any]:
    say = Console(stderr=True, highlight=False).print
    clock, lab = SystemClock(), load_lab(lab_name)
    state = load_state(folder, now=clock.now(), timezone=lab.lab.timezone)
    plant = Plant(lab, epoch=state.epoch)
    files_since = state.history_until or plant.epoch
    truth_file = folder / "truth.jsonl"
    truth_file.unlink(missing_ok=True)  # this run's live values are compared; the past is a function of the epoch
    with TruthLog(truth_file) as log:
        log.lab(plant, lab_name)
        async with running_broker(folder / "broker", kind) as broker:
            say(f"plant [b]{lab.enterprise.name_en}[/b] on the wire; MQTT broker: {broker.name} on port {broker.port}")
            wire = await put_on_wire(
                plant,
                clock,
                log=log,
                broker=("127.0.0.1", broker.port),
                broker_version=broker.version,
                drop=folder,
                files_since=files_since,
            )
            try:
                site = write_site(folder, plant, state, wire.ports, broker)
                handed = await asyncio.to_thread(hand_over_history, folder, plant, state, now=clock.now())
                save_state(folder, state)
                say(f"{handed:,} quarter-hour readings of the past handed over to the journal")
                url = f"http://127.0.0.1:{state.api_port}"
                async with _gateway(site):
                    span = await _live(Api(url), clock, folder, site, plant, state, limit_s, say)
                    evidence = Evidence(folder, plant, state, truth_file, span, handed)
                    try:
                        return await asyncio.to_thread(judge, Api(url), evidence)
                    except OSError as error:
                        where = getattr(error, "url", None) or url
                        raise GatewayError(f"{where}: {error}; the gateway's own messages are above") from error
            finally:
                await wire.stop()


async def _live(
    api: Api,
    clock: SystemClock,
    folder: Path,
    site: Path,
    plant: Plant,
    state: DemoState,
    limit_s: float | None,
    say: Callable[[str], None],
) -> LiveSpan:
    """Until every meter was read; then books the ledger, settles, and lets the plant run for its time."""
    began = time.monotonic()
    await _until_all_read(api)
    start = clock.now()
    say(f"every meter read {time.monotonic() - began:.1f} s after the gateway was started: [b]{api.url}/[/b]")
    for kind, file in await asyncio.to_thread(write_ledger, folder, plant, state, now=clock.now()):
        await _emg("import", kind, str(file), "--site", str(site), "--by", "emg demo", "--reason", "demonstration")
    await _until_stored(api)
    await _emg("settle", str(site), "--quiet")
    if limit_s is None:
        say("figures are on the page; Ctrl-C ends the demo and prints the comparison with the truth")
    await _wait(limit_s)
    await _emg("settle", str(site), "--quiet")
    # The newest seconds may still be on their way to the store.
    return LiveSpan(start, clock.now() - 3 * MICROSECONDS)


async def _wait(limit_s: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await asyncio.wait_for(stop.wait(), limit_s)
    except TimeoutError:
        return
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _until_all_read(api: Api) -> None:
    """Until /readyz says that every point with a promised period is fresh. Raises GatewayError after READY_S."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        ready = await asyncio.to_thread(api.ready)
        if ready is not None and ready["ready"]:
            return
        await asyncio.sleep(0.2)
    raise GatewayError(f"the gateway has not read every meter within {READY_S} s; its messages are above")


async def _until_stored(api: Api) -> None:
    """Until the reading store has caught up with the journal. Raises GatewayError after READY_S."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        journal = await asyncio.to_thread(api.get, "/api/v1/journal")
        if journal["inbox_waiting"] == 0 and journal["entries_waiting"] < 20:
            return
        await asyncio.sleep(0.2)
    raise GatewayError(f"the store has not caught up with the journal within {READY_S} s")


@asynccontextmanager
async def _gateway(site: Path) -> AsyncIterator[None]:
    """`emg run SITE` for as long as the context lasts."""
    process = await asyncio.create_subprocess_exec(
        *_command("run", str(site)), stdout=sys.stderr, start_new_session=True
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _emg(*words: str) -> None:
    """One `emg` command. Raises GatewayError with what it said when it fails."""
    process = await asyncio.create_subprocess_exec(
        *_command(*words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise GatewayError(f"emg {' '.join(words)} ended with {process.returncode}:\n{said.decode()}")


def _command(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "gateway", *words)


def demo_main(argv: Sequence[str]) -> int:
    """`emg demo`."""
    return run_app(app, argv, "emg demo")
