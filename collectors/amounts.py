"""From the number of a source to the value of a register: which register it is, and its scale, exactly."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from collectors.mapping import Mapping, Wanted
from collectors.mapping_form import AmountForm
from gateway.decoding import COUNTED
from gateway.domain.instruments import RegisterKind
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Series, Site
from gateway.domain.units import convert
from gateway.errors import ConfigError, Problem
from gateway.toml_lines import TomlLines

OVER_LIMIT = "over_limit"  # as a register read over a wire says it
_INT64 = range(-(2**63), 2**63)


def targets(mapping: Mapping, site: Site) -> list[Series]:
    """The series that a mapping books into, in its order. Raises ConfigError where the site has none that fits."""
    interval_s = mapping.time.interval_s or 0
    found: list[Series] = []
    problems: list[Problem] = []
    for one in mapping.wanted:
        try:
            found.append(series_of(one, site, mapping.lines))
        except ConfigError as error:
            problems += error.problems
            continue
        problems += _unfit(mapping, one, found[-1], interval_s)
    if problems:
        raise ConfigError(problems)
    return found


def series_of(wanted: Wanted, site: Site, lines: TomlLines) -> Series:
    """The series of one point and quantity. Raises ConfigError when the site has none that fits."""
    point = site.points.get(wanted.point)
    if point is None:
        known = ", ".join(sorted(site.points))
        expected = f"a point of the site: {known}"
        raise ConfigError([lines.problem(wanted.key("point"), repr(wanted.point), expected)])
    series = next((s for s in site.series_of(point) if s.register.quantity == wanted.quantity), None)
    if series is None:
        known = ", ".join(s.register.quantity for s in site.series_of(point)) or "none, since it has no meter"
        expected = f"a quantity of point {point.id}: {known}"
        raise ConfigError([lines.problem(wanted.key("quantity"), repr(wanted.quantity), expected)])
    register, said, problems = series.register, wanted.says, []
    if register.kind is not said.kind:
        expected = f'"{register.kind.value}", as profile {series.profile} declares the register'
        problems.append(lines.problem(wanted.key("kind"), f'"{said.kind.value}"', expected))
    if series.ratio != 1 and said.side is None:
        expected = f"primary or secondary, since meter {series.meter} has the ratio {series.ratio}"
        problems.append(lines.problem(wanted.key("side"), "nothing", expected))
    if problems:
        raise ConfigError(problems)
    return series


def _unfit(mapping: Mapping, wanted: Wanted, series: Series, interval_s: int) -> Iterator[Problem]:
    """What a file must have beside its numbers: the length of an interval, and who read by hand."""
    register, lines = series.register, mapping.lines
    if register.kind is RegisterKind.INTERVAL and register.interval_s != interval_s:
        expected = f"{register.interval_s} s, as profile {series.profile} declares it (0 = booked at an instant)"
        yield lines.problem(("time", "interval_s"), f"{interval_s} s", expected)
    if series.by_hand and mapping.person is None:
        expected = f"the column with who read it, since a person reads {wanted.point} (profile {series.profile})"
        yield lines.problem(("person", "column"), "nothing", expected, "Add the table [person].")


def reading_of(series: Series, instant: int, value: float) -> Reading:
    """A reading of a value, suspect where it is beyond what is physically possible."""
    limit = series.register.limit
    if limit is not None and abs(value) > limit * series.ratio and series.register.kind not in COUNTED:
        return Reading(series.key, instant, value, Quality.SUSPECT, OVER_LIMIT)
    return Reading(series.key, instant, value)


class Scale:
    """From a number in the mapping's unit to the register's value, exactly."""

    def __init__(self, says: AmountForm, series: Series) -> None:
        register = series.register
        secondary = says.side == "secondary"
        self._counted = register.kind in COUNTED
        self._step = (register.resolution if secondary else series.resolution) or Decimal(1)
        zero, one = (convert(number, says.unit, register.unit) for number in (0, 1))
        unit = Fraction(self._step) if self._counted else 1 / Fraction(series.ratio if secondary else 1)
        self._slope, self._zero = (one - zero) / unit, zero / unit
        self._unit, self._round = register.unit, says.round

    def value(self, number: Decimal) -> int | float:
        """Counts of the resolution, or a float. Raises ValueError with what was expected, OverflowError."""
        exact = self._slope * Fraction(number) + self._zero
        if not self._counted:
            return float(exact)
        if self._round:
            exact = Fraction(round(exact))
        if exact.denominator != 1:
            step = f"{self._step} {self._unit}"
            raise ValueError(
                f"a multiple of the register's resolution, {step}: nothing is rounded away unasked (key round)"
            )
        if exact < 0:
            raise ValueError("no negative amount; a reversal is booked as a correction, with its reason")
        if exact.numerator not in _INT64:
            raise ValueError("a number that an instrument can show")
        return exact.numerator
