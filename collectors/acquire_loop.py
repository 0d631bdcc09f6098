"""The event loop of `emg acquire`: which one, and how the samples of many lines are taken on time on it."""

import asyncio
import gc
import sys
from collections.abc import Callable

LOOP = "EMG_LOOP"  # the event loop: "asyncio", or "uvloop" where that is installed
SETTLED_AFTER_S = 5


def loop_factory(wanted: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where it is installed (the extra `fast`), unless asyncio's own is `wanted`."""
    if wanted == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return uvloop.new_event_loop


def keep_pauses_short(loop: asyncio.AbstractEventLoop) -> None:
    """Samples of many lines are to be taken on time: nothing of this process holds the others up for long.

    Threads (journal, store) hand the interpreter back after 0.5 ms instead of 5 ms. What the site file made is
    looked through for garbage once, when all lines have begun, and never again; readings on their way are no
    garbage in circles, and are not looked through with every 700 of them.
    """
    sys.setswitchinterval(0.0005)

    def settle() -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)

    loop.call_later(SETTLED_AFTER_S, settle)
