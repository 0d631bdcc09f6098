"""`emg run`: acquire and serve side by side, settle after every quarter-hour; each may fail alone."""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.clocks import Clock, SystemClock
from gateway.command_line import run_app
from gateway.config import load_site
from gateway.domain.readings import MICROSECONDS
from gateway.parent_watch import Tether, tether

COULD_NOT_RUN = 2
GRACE_S = 15  # how long a program may take to end after SIGTERM
SETTLE_DELAY_S = 15  # after a boundary: the reading at the boundary is stored by then
RESTART_FIRST_S, RESTART_MOST_S = 1, 60
log = logging.getLogger("emg.run")
app = typer.Typer(add_completion=False)


class Supervisor:
    """Keeps programs alive: a program that ends is started again, ever more slowly while it keeps failing."""

    def __init__(self, site_file: Path, clock: Clock, *, settle_every_s: int) -> None:
        self._site_file = site_file
        self._clock = clock
        self._settle_every_us = settle_every_s * MICROSECONDS
        self._children: set[asyncio.subprocess.Process] = set()
        self._acquiring: asyncio.subprocess.Process | None = None
        self._tether: Tether | None = None
        self.could_not_run = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, or a program says at its very start that it cannot run."""
        with tether() as self._tether:  # should this process be killed, the programs end too
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._keep_alive("acquire", stop)),
                    tasks.create_task(self._keep_alive("serve", stop)),
                    tasks.create_task(self._settle_regularly()),
                ]
                await stop.wait()
                for task in running:
                    task.cancel()
            await self._end_children()

    def look_now(self) -> None:
        """Let the acquiring program look at the site's files now, as SIGHUP does."""
        if self._acquiring is not None and self._acquiring.returncode is None:
            self._acquiring.send_signal(signal.SIGHUP)

    async def _keep_alive(self, program: str, stop: asyncio.Event) -> None:
        delay, first = RESTART_FIRST_S, True
        while True:
            started = self._clock.monotonic_ns()
            code = await self._call(program)
            if first and code == COULD_NOT_RUN:
                self.could_not_run = True
                stop.set()
                return
            first = False
            if self._clock.monotonic_ns() - started > RESTART_MOST_S * 10**9:
                delay = RESTART_FIRST_S
            log.error("%s ended with exit code %s; it starts again in %d s", program, code, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RESTART_MOST_S)

    async def _settle_regularly(self) -> None:
        while True:
            if await self._call("settle", "--quiet"):
                log.error("settle failed; the next quarter-hour looks at the same readings again")
            boundary = (self._clock.now() // self._settle_every_us + 1) * self._settle_every_us
            delay_us = min(SETTLE_DELAY_S * MICROSECONDS, self._settle_every_us // 2)
            await self._clock.sleep_until(boundary + delay_us)

    async def _call(self, program: str, *options: str) -> int | None:
        command = (sys.executable, "-m", "gateway", program, str(self._site_file), *options)
        tied = self._tether
        child = await asyncio.create_subprocess_exec(
            *command, pass_fds=(tied.descriptor,) if tied else (), env=tied.environment if tied else None
        )
        self._children.add(child)
        if program == "acquire":
            self._acquiring = child
        code = await child.wait()
        self._children.discard(child)
        return code

    async def _end_children(self) -> None:
        for child in self._children:
            if child.returncode is None:
                child.terminate()
        for child in list(self._children):
            try:
                await asyncio.wait_for(child.wait(), GRACE_S)
            except TimeoutError:
                log.error("process %d did not end within %d s and is killed; the journal is safe", child.pid, GRACE_S)
                child.kill()
                await child.wait()


@app.command()
def run_command(
    site_file: Annotated[Path, typer.Argument(metavar="SITE", help="the site file")],
    settle_every: Annotated[int, typer.Option(help="seconds between two settlements", min=1)] = 900,
) -> None:
    """Acquire, settle and serve SITE until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    load_site(site_file)  # every mistake of the file is told here, before anything starts
    supervisor = Supervisor(site_file, SystemClock(), settle_every_s=settle_every)
    asyncio.run(_supervise(supervisor))
    if supervisor.could_not_run:
        raise typer.Exit(COULD_NOT_RUN)


async def _supervise(supervisor: Supervisor) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, supervisor.look_now)
    await supervisor.run(stop)


def run_main(argv: list[str]) -> int:
    """`emg run`."""
    return run_app(app, argv, "emg run")
