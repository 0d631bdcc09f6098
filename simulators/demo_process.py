"""What keeps the demo orderly: one demo per folder, the gateway as a process beside it, and an end when asked."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gateway.errors import GatewayError
from gateway.parent_watch import tether

LOCK = "lock"
T = TypeVar("T")


@contextmanager
def only_demo(folder: Path) -> Iterator[None]:
    """Make the folder and hold it for this process. Raises GatewayError when another demo runs in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise GatewayError(
            f"the demo cannot write into {folder}: {error.strerror}; choose another with --dir"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise GatewayError(
                f"{folder}: another demo is running there (process {holder}); stop it, or choose another with --dir"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


class Stop:
    """Ctrl-C and SIGTERM. `asked` is set by the first of them; before `started` was set it ends the demo at once."""

    def __init__(self) -> None:
        self.asked, self.started = asyncio.Event(), asyncio.Event()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take both signals for as long as the context lasts; a second Ctrl-C interrupts whatever runs then."""
        loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)

        def told(number: signal.Signals) -> None:
            self.asked.set()
            if number is signal.SIGINT:
                loop.remove_signal_handler(number)

        for number in numbers:
            loop.add_signal_handler(number, told, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def too_early(self) -> str:
        """Returns a sentence when the end is asked for before `started`; afterwards never."""
        await self.asked.wait()
        if self.started.is_set():
            await asyncio.Event().wait()
        return "the demo was stopped before every meter was read; nothing was compared"


async def unless(work: Coroutine[Any, Any, T], happens: Coroutine[Any, Any, str]) -> T:
    """What `work` returns. When `happens` returns first, `work` is cancelled; raises GatewayError with its sentence."""
    working, watching = asyncio.create_task(work), asyncio.create_task(happens)
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        # What went wrong because it happened is not the news, that it happened is.
        if watching.done():
            raise GatewayError(watching.result())
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
            with suppress(asyncio.CancelledError, GatewayError):
                await task


@asynccontextmanager
async def running_gateway(site: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`emg run SITE` for as long as the context lasts, and no longer than this process, whatever ends it."""
    with tether() as tied:
        process = await asyncio.create_subprocess_exec(
            *_command("run", str(site)),
            stdout=sys.stderr,
            start_new_session=True,
            pass_fds=(tied.descriptor,),
            env=tied.environment,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def gateway_ended(process: asyncio.subprocess.Process) -> str:
    """Returns a sentence when the gateway ends by itself."""
    code = await process.wait()
    return f"the gateway (emg run) ended by itself with exit code {code}; what it said is above"


async def emg(*words: str) -> None:
    """One `emg` command. Raises GatewayError with what it said when it fails."""
    process = await asyncio.create_subprocess_exec(
        *_command(*words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if process.returncode:
        raise GatewayError(f"emg {' '.join(words)} ended with {process.returncode}:\n{said.decode()}")


def _command(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "gateway", *words)
