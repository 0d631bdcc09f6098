"""Whether the machine's clock is kept right by somebody: the kernel's word, and where it gives none, that is said."""

import ctypes
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal["synchronised", "unsynchronised", "unknown"]
# systemd-timesyncd touches it when it has set the clock from a server, in each boot.
# Source: systemd-timesyncd.service(8), files.
TIMESYNC = Path("/run/systemd/timesync/synchronized")
# Source: adjtimex(2): STA_UNSYNC in `status`; the state TIME_ERROR is returned while it is set.
_STA_UNSYNC = 0x0040


class _Timex(ctypes.Structure):
    """Linux's struct timex up to what is read, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


class ClockState(NamedTuple):
    """How the clock is kept, and the greatest error [us] by the kernel's estimate, where it makes one."""

    state: State
    error_us: int | None = None


def clock_state(timesync: Path = TIMESYNC) -> ClockState:
    """How the machine's clock is kept, by adjtimex(2), else by systemd-timesyncd's file, else `unknown`."""
    kernel = _kernel_state()
    if kernel.state != "unknown":
        return kernel
    return ClockState("synchronised") if timesync.exists() else kernel


def _kernel_state() -> ClockState:
    timex = _Timex()  # modes 0: nothing is set, so nobody needs a privilege
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):  # not Linux
        return ClockState("unknown")
    if state < 0:
        return ClockState("unknown")
    if timex.status & _STA_UNSYNC:
        return ClockState("unsynchronised")
    return ClockState("synchronised", int(timex.maxerror))
