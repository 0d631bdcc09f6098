"""A reading in words and numbers that people and other programs read: in the register's unit, exactly."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from gateway.domain.readings import Reading
from gateway.domain.sites import Series

COUNTS = "count"  # the unit of a total whose register the site file does not know any more


class Shown(NamedTuple):
    """A value as text and its unit; "" where there is none."""

    value: str
    unit: str


def shown(reading: Reading, known: Mapping[str, Series]) -> Shown:
    """The value of a reading: a count times its resolution as exact decimal text, a float by its shortest text."""
    series = known.get(reading.series)
    unit = series.register.unit if series else ""
    value = reading.value
    if value is None:
        return Shown("", unit)
    if isinstance(value, float):
        return Shown(repr(value), unit)
    if series is None or series.resolution is None:
        return Shown(str(value), COUNTS)
    return Shown(f"{Decimal(value) * series.resolution:f}", unit)
