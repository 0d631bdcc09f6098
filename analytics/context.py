"""What figures are made from, and what one question about them is: an enterprise, a period, an as-of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from analytics.standards.tables import Tables
from gateway.contracts import ReadingStore
from gateway.domain.figures import figure_id
from gateway.domain.periods import Period, iso, period, to_datetime, to_instant
from gateway.domain.scopes import Scope
from gateway.domain.sites import Enterprise, Series
from gateway.errors import LedgerError
from gateway.ledger.ledger import Ledger
from gateway.stores.intervals import IntervalStore

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureContext:
    """Everything a figure is a pure function of, opened for reading.

    `series` are the site's registers by name. `stock_tolerance_s` [s] is how long before the edge of a
    period a stock may have been taken.
    """

    site_timezone: str
    intervals: IntervalStore
    readings: ReadingStore
    ledger: Ledger
    tables: Tables
    scope: Scope
    now: int
    series: Mapping[str, Series]
    interval_s: int = 900
    due_soon_days: int = 30
    stock_tolerance_s: int = DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question: the figures of an enterprise over a period, as known at `as_of` [us, UTC]."""

    context: FigureContext
    enterprise: Enterprise
    whole: Period
    as_of: int

    @property
    def scope(self) -> Scope:
        """The part of the caller's scope that the question needs."""
        return self.context.scope.only(self.enterprise.id)

    @property
    def ended(self) -> bool:
        """True if the period was over when this was known."""
        return self.whole.end <= self.as_of

    @property
    def until(self) -> int:
        """The instant [us, UTC] up to which the period can have been measured."""
        return max(self.whole.start, min(self.whole.end, self.as_of))

    @property
    def elapsed(self) -> Decimal:
        """The share of the period [1] that had passed."""
        return Decimal(self.until - self.whole.start) / Decimal(self.whole.end - self.whole.start)

    @property
    def last_day(self) -> date:
        """The period's last day of plant time, or that of the as-of while it runs."""
        end = self.whole.day_after - timedelta(days=1)
        today = to_datetime(self.as_of, self.context.site_timezone).date()
        return max(self.whole.first_day, min(end, today))

    @property
    def to_date(self) -> str:
        """What a method adds while the period runs, "" afterwards."""
        return "" if self.ended else f"; to date, the period ends on {self.whole.day_after - timedelta(days=1)}"

    def id(self, kind: str, key: str, *, whole: str = "") -> str:
        """The canonical id of a figure of this question (or of another period, `whole`)."""
        return figure_id(kind, self.enterprise.id, whole or self.whole.name, key, as_of_text(self.as_of))

    def over(self, name: str) -> "Asked":
        """The same question over another period."""
        whole = period(name, self.context.site_timezone)
        return Asked(context=self.context, enterprise=self.enterprise, whole=whole, as_of=self.as_of)


def asked(context: FigureContext, enterprise: str, period_name: str, as_of: int | str | None = None) -> Asked:
    """The question as its words give it; without `as_of`, as known now.

    Raises LedgerError when the enterprise is not known within the scope or the words are no period or instant.
    """
    try:
        whole = period(period_name, context.site_timezone)
        instant = context.now if as_of in {None, ""} else _instant(as_of)
    except ValueError as error:
        raise LedgerError(str(error)) from error
    # An enterprise that was enrolled after the as-of still has its readings: its name is taken from now.
    found = [row.fact for row in context.ledger.enterprises(context.scope, as_of=None, on=None)]
    known = {one.id: one for one in found}
    if enterprise not in known:
        names = ", ".join(sorted(known)) or "none"
        raise LedgerError(f"no enterprise {enterprise!r} is known here; known: {names}")
    return Asked(context=context, enterprise=known[enterprise], whole=whole, as_of=instant)


def _instant(as_of: int | str | None) -> int:
    if isinstance(as_of, int):
        return as_of
    return to_instant(datetime.fromisoformat(str(as_of)))


def as_of_text(instant: int) -> str:
    """An as-of [us, UTC] as figure ids carry it: ISO 8601, UTC, "Z"."""
    return iso(instant).replace("+00:00", "Z")


def reasons(*sentences: str) -> str:
    """Reasons that apply, in one line, each once."""
    return "; ".join(dict.fromkeys(sentence for sentence in sentences if sentence))


def marks(figure_marks: Mapping[str, bool]) -> tuple[str, ...]:
    """The marks that are set, in their order."""
    return tuple(mark for mark, is_set in figure_marks.items() if is_set)
