"""A reading: what one register of one metering point showed at one instant."""

import re
from enum import IntFlag
from typing import NamedTuple

MICROSECONDS = 1_000_000
# The instants that a reading may have [us, UTC]: the span that the journal allows its own stamps, 1970 to the year
# 6536. Every zone, calendar and store can write all of it; nothing was metered before, no clock is right after.
EARLIEST, LATEST = 0, 2**57 - 1
INSTANTS = "an instant from 1970-01-01 to the year 6536"  # what is expected of one, for people
# Never a path, a topic or a wildcard: ids reach file names, topics and SQL.
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Quality(IntFlag):
    """How far a reading or an interval can be trusted; MISSING is a recorded gap, never a zero."""

    GOOD = 1  # read well, no check doubts it
    SUSPECT = 2  # read well, but a check doubts it; kept, not used in a report without notice
    ESTIMATED = 4  # calculated by a declared method where nothing was read
    SUBSTITUTED = 8  # entered by a person or taken from a check meter, with reason and name
    MISSING = 16  # nothing usable was read at this slot; the reason says why
    CORRECTED = 32  # put in the place of another reading by an approved correction; the other is kept beside it


def quality_words(flags: int) -> list[str]:
    """The flags of a quality by name, the worst last."""
    return [flag.name for flag in Quality if flag & flags and flag.name]


def quality_name(quality: Quality) -> str:
    """The flags of a quality as one lower-case text, e.g. "suspect|estimated"."""
    return "|".join(quality_words(quality)).lower()


class Reading(NamedTuple):
    """One register value at one instant, as read; immutable.

    `series` names the register of the metering point (see `series_key`). `instant` is the sampling
    instant [us, UTC]. `value` is an integer count of the register's resolution for cumulative and
    interval registers, a float in the register's unit otherwise, None when MISSING. `reason` is a
    short code that explains any quality other than GOOD. `words` are the raw register words as they
    came over the wire (big-endian 16-bit words; empty where the wire has none).
    """

    series: str
    instant: int
    value: int | float | None
    quality: Quality = Quality.GOOD
    reason: str = ""
    words: bytes = b""


def series_key(enterprise: str, point: str, quantity: str) -> str:
    """The name of a series: `enterprise/point/quantity`."""
    return f"{enterprise}/{point}/{quantity}"


def split_series(series: str) -> tuple[str, str, str]:
    """(enterprise, point, quantity) of a series name. Raises ValueError on any other text."""
    enterprise, point, quantity = series.split("/")
    return enterprise, point, quantity


def is_instant(instant: int) -> bool:
    """True if a reading may have this instant [us, UTC]."""
    return EARLIEST <= instant <= LATEST


def is_identifier(text: str) -> bool:
    """True if `text` may name an enterprise, a point, a meter or a line."""
    return IDENTIFIER.fullmatch(text) is not None
