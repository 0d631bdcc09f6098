"""`emg demo`: a simulated plant and the whole chain, started as a person would, compared with the known truth."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

from gateway.clocks import SystemClock
from gateway.command_line import print_json, run_app
from gateway.domain.readings import MICROSECONDS
from gateway.errors import GatewayError
from simulators.broker import BrokerKind, RunningBroker, running_broker
from simulators.demo_checks import Api, LiveSpan
from simulators.demo_folder import (
    DemoState,
    forget,
    hand_over_history,
    load_state,
    save_state,
    write_ledger,
    write_site,
)
from simulators.demo_process import Stop, emg, gateway_ended, only_demo, running_gateway, unless
from simulators.demo_report import Evidence, judge, print_report
from simulators.influx import DemoStore, WantedStore, running_store
from simulators.lab import Lab, load_lab
from simulators.plant import Plant
from simulators.simulate import put_on_wire
from simulators.truth import TruthLog

READY_S = 60  # how long the gateway may take to answer and to have read every meter
STORED_WITHIN_S = 3  # from the sample to the store, while settling goes on beside it
app = typer.Typer(add_completion=False)


@app.command()
def demo_command(
    folder: Annotated[Path, typer.Option("--dir", help="where the demo keeps its plant")] = Path("demo-site"),
    seconds: Annotated[float | None, typer.Option(help="end after this many seconds of live data", min=1)] = None,
    headless: Annotated[bool, typer.Option("--headless", help="end by itself (after 20 s, or --seconds)")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object at the end")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="forget the plant of an earlier start")] = False,
    lab: Annotated[str, typer.Option(help="the plant: the name of a lab that comes along")] = "cement",
    broker: Annotated[BrokerKind, typer.Option(help="the MQTT broker of the plant")] = BrokerKind.AUTO,
    store: Annotated[DemoStore, typer.Option(help="where readings are kept")] = DemoStore.EMBEDDED,
    influx_url: Annotated[str, typer.Option(help="an InfluxDB that runs; none = influxd is started here")] = "",
    influx_version: Annotated[str, typer.Option(help="its version: 1, 2 or 3; token in EMG_STORE_TOKEN")] = "1",
    influx_org: Annotated[str, typer.Option(help="its organisation (version 2)")] = "",
) -> None:
    """Simulate a plant, run the gateway on it, and compare everything with the truth; exit 1 when anything differs."""
    declared, limit = load_lab(lab), seconds or (20.0 if headless else None)
    folder, kept = folder.resolve(), WantedStore(store, influx_url, influx_version, influx_org)
    with only_demo(folder):
        if fresh:
            forget(folder)
        report = asyncio.run(_demo(folder, declared, limit, broker, kept))
    if json:
        print_json(report)
    else:
        print_report(report)
    if not report["ok"]:
        raise typer.Exit(1)


async def _demo(folder: Path, lab: Lab, limit_s: float | None, kind: BrokerKind, kept: WantedStore) -> dict[str, Any]:
    clock, stop = SystemClock(), Stop()
    state = load_state(folder, lab, now=clock.now())
    plant = Plant(lab, epoch=state.epoch)
    truth_file = folder / "truth.jsonl"
    truth_file.unlink(missing_ok=True)  # this run's live values are compared; the past is a function of the epoch
    with stop.listening(), TruthLog(truth_file) as log:
        log.lab(plant, lab.lab.name)
        demo = _Demo(folder, plant, state, clock, log, truth_file, limit_s)
        async with (
            running_broker(folder / "broker", kind) as broker,
            running_store(folder / "influxdb", kept, state.database) as store,
        ):
            return await unless(demo.run(broker, store, stop), stop.too_early())


class _Demo(NamedTuple):
    """One run of the demo: the plant, what it remembers, and for how long [s] it is to live (None = until stopped)."""

    folder: Path
    plant: Plant
    state: DemoState
    clock: SystemClock
    log: TruthLog
    truth_file: Path
    limit_s: float | None

    async def run(self, broker: RunningBroker, store: str, stop: Stop) -> dict[str, Any]:
        """Put the plant on the wire, run the gateway on it, and judge. Raises GatewayError."""
        name = self.plant.lab.enterprise.name_en
        say(f"plant [b]{name}[/b] on the wire; MQTT broker: {broker.name} on port {broker.port}")
        wire = await put_on_wire(
            self.plant,
            self.clock,
            log=self.log,
            broker=("127.0.0.1", broker.port),
            broker_version=broker.version,
            drop=self.folder,
            files_since=self.state.history_until or self.plant.epoch,
        )
        try:
            site = write_site(self.folder, self.plant, self.state, wire.ports, broker, store)
            if store:
                await emg("db", "init", str(site))
            now = self.clock.now()
            handed = await asyncio.to_thread(hand_over_history, self.folder, self.plant, self.state, now=now)
            save_state(self.folder, self.state)
            say(f"{handed:,} quarter-hour readings of the past handed over to the journal")
            async with running_gateway(site) as process:
                return await unless(self._compared(site, stop, handed), gateway_ended(process))
        finally:
            await wire.stop()

    async def _compared(self, site: Path, stop: Stop, handed: int) -> dict[str, Any]:
        api = Api(f"http://127.0.0.1:{self.state.api_port}")
        span = await self._live(api, site, stop)
        evidence = Evidence(self.folder, self.plant, self.state, self.truth_file, span, handed)
        return await asyncio.to_thread(judge, Api(api.url), evidence)

    async def _live(self, api: Api, site: Path, stop: Stop) -> LiveSpan:
        """Until every meter was read; then books the ledger, settles, and lets the plant run for its time."""
        began = time.monotonic()
        await _until_all_read(api)
        stop.started.set()
        start = self.clock.now()
        say(f"every meter read {time.monotonic() - began:.1f} s after the gateway was started: [b]{api.url}/[/b]")
        for kind, file in await asyncio.to_thread(write_ledger, self.folder, self.plant, self.state, now=start):
            await emg("import", kind, str(file), "--site", str(site), "--by", "emg demo", "--reason", "demonstration")
        await _until_stored(api)
        await emg("settle", str(site), "--quiet")
        if self.limit_s is None:
            say("figures are on the page; Ctrl-C ends the demo and prints the comparison with the truth")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.asked.wait(), self.limit_s)
        # The newest seconds may still be on their way to the store.
        end = self.clock.now() - STORED_WITHIN_S * MICROSECONDS
        await emg("settle", str(site), "--quiet")
        return LiveSpan(start, end)


def say(sentence: str) -> None:
    """One sentence for the person at the terminal, on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(sentence)


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


def demo_main(argv: Sequence[str]) -> int:
    """`emg demo`."""
    return run_app(app, argv, "emg demo")
