"""From the label of a row to its instant: format, day end, zone, start or end of the interval."""

import hashlib
import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from collectors.mapping import NEXT_DAY, SAME_DAY, TWENTY_FOUR, Mapping
from collectors.tables import quoted
from gateway.domain.periods import to_datetime, to_instant
from gateway.domain.readings import INSTANTS, MICROSECONDS, is_instant

_MIDNIGHT = time()
_TWENTY_FOUR = re.compile(r"(?<![\d:])24:00")
_TICKET_DIGITS = 6


class Contradiction(ValueError):
    """A label that cannot occur if the mapping is right: not a slip of one row."""


class Labels:
    """Reads labels in the order of time: in an hour that the clock shows twice, the order tells which it is."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._zone = mapping.zone
        self._span = (mapping.time.interval_s or 0) * MICROSECONDS
        self._last = -(2**63)
        self._format = mapping.time.formats[0]

    def instant(self, label: str | datetime, ticket: str = "") -> int:
        """The start of the interval, or the instant itself [us, UTC]. Raises ValueError with what was expected.

        A ticket's microseconds are the last six digits of its number (of its SHA-256 where it has none), so
        that two tickets of one second stay two readings.
        """
        instant = self._end_or_instant(self._moment(label))
        self._last = max(self._last, instant)
        if ticket:
            if instant % MICROSECONDS:
                raise ValueError("a time in whole seconds: the rest is made from the ticket's number")
            instant += ticket_microseconds(ticket)
        start = instant - self._span if self._mapping.time.label == "end" else instant
        if not is_instant(start):
            raise ValueError(INSTANTS)
        return start

    def _end_or_instant(self, moment: datetime) -> int:
        if moment.tzinfo:
            return to_instant(moment)
        try:
            return self._in_zone(moment)
        except ValueError:
            if self._mapping.time.label != "end":
                raise
            # An interval that began before the clocks were set forward may end at the time they skipped to begin with.
            return self._in_zone(moment - timedelta(microseconds=self._span)) + self._span

    def _moment(self, label: str | datetime) -> datetime:
        day_end = self._mapping.time.day_end
        if isinstance(label, datetime):  # a date of a workbook has its day, whatever its midnight means
            return label + timedelta(days=day_end == SAME_DAY and label.time() == _MIDNIGHT)
        zeroed, late = _TWENTY_FOUR.subn("00:00", label) if day_end == TWENTY_FOUR else (label, 0)
        moment = self._parsed(zeroed)
        if moment.time() == _MIDNIGHT:
            if day_end == TWENTY_FOUR and not late:
                raise Contradiction(
                    f'the label {quoted(label)} means no end of a day if time.day_end = "24:00": '
                    f'declare "{SAME_DAY}" or "{NEXT_DAY}", whichever it is.'
                )
            if late or day_end == SAME_DAY:
                moment += timedelta(days=1)
        return moment

    def _parsed(self, label: str) -> datetime:
        for text in (self._format, *self._mapping.time.formats):
            try:
                moment = datetime.strptime(label, text)  # noqa: DTZ007 - the zone is declared apart from the label
            except ValueError:
                continue
            self._format = text  # most likely the next row's too
            return moment
        formats = " or ".join(quoted(text) for text in self._mapping.time.formats)
        raise ValueError(f"a time written as {formats}")

    def _in_zone(self, moment: datetime) -> int:
        zone = self._zone
        if zone is None:
            raise ValueError("a time with its offset")
        first, second = (to_instant(moment.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
        if first != second and not _exists(first, moment, zone):
            raise ValueError(f"a time that the clocks in {zone.key} have shown: they were set forward over it")
        # Two intervals never have one label; two tickets may be of one second.
        passed = first <= self._last if self._span else first < self._last
        return second if first < second and passed else first


def _exists(instant: int, moment: datetime, zone: ZoneInfo) -> bool:
    return to_datetime(instant, zone.key).replace(tzinfo=None, fold=0) == moment


def ticket_microseconds(ticket: str) -> int:
    """The microseconds that a ticket's number gives its instant: its last six digits."""
    digits = "".join(sign for sign in ticket if sign in "0123456789")[-_TICKET_DIGITS:]
    return int(digits) if digits else int(hashlib.sha256(ticket.encode()).hexdigest(), 16) % MICROSECONDS
