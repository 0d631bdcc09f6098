"""From the domain's words to the documents of the interface: exact decimals as text, instants with offset."""

from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import quote

from analytics.decimals import plain as exact_text
from analytics.derived import DerivedAmount, told
from analytics.uncertainty import format_figure
from api.schemas import (
    DerivedDocument,
    DerivedIntervalDocument,
    FigureDocument,
    IntervalDocument,
    JournalDocument,
    PointDocument,
    ReadingDocument,
)
from gateway.contracts import StoredReading
from gateway.domain.figures import Figure
from gateway.domain.intervals import Interval, Unallocated
from gateway.domain.periods import iso
from gateway.domain.readings import MICROSECONDS, quality_name, split_series
from gateway.domain.scopes import Scope
from gateway.domain.sites import DerivedPoint, Series, Site
from gateway.journal.inbox import waiting_files
from gateway.journal.reader import newest_sequence
from gateway.status import PointAge
from gateway.stores.opening import OpenedStore


def point_document(age: PointAge, timezone: str) -> PointDocument:
    """A metering point with the age of its newest durable reading."""
    point = age.point
    return PointDocument(
        id=point.id,
        enterprise=point.enterprise,
        name_zh=point.name_zh,
        name_en=point.name_en,
        carrier=point.carrier.value,
        level=point.level.value,
        role=point.role.value,
        parent=point.parent,
        counts=point.counts,
        meter=point.meter,
        line=age.line,
        newest_reading=None if age.instant is None else iso(age.instant, timezone),
        age_s=age.age_s,
        late=age.late,
    )


def reading_document(reading: StoredReading, site: Site) -> ReadingDocument:
    """A stored reading; its unit and resolution come from the series as the site declares it."""
    _, point, quantity = split_series(reading.series)
    series = site.series.get(reading.series)
    value, counts = _value_of(reading, series)
    return ReadingDocument(
        series=reading.series,
        point=point,
        quantity=quantity,
        instant=iso(reading.instant, site.timezone),
        instant_us=reading.instant,
        value=None if value is None else plain(value),
        display="—" if value is None else grouped(value),
        unit="" if series is None else series.register.unit,
        counts=counts,
        resolution=None if series is None or series.resolution is None else plain(series.resolution),
        quality=quality_name(reading.quality),
        reason=reading.reason,
        sequence=reading.sequence,
    )


def _value_of(reading: StoredReading, series: Series | None) -> tuple[Decimal | None, int | None]:
    if reading.value is None:
        return None, None
    if isinstance(reading.value, int) and series is not None and series.resolution is not None:
        return reading.value * series.resolution, reading.value
    return Decimal(repr(reading.value)), None


def interval_document(interval: Interval | Unallocated, resolution: Decimal, timezone: str) -> IntervalDocument:
    """An interval, or an amount that the register proves without a place in time."""
    placed = interval if isinstance(interval, Interval) else None
    return IntervalDocument(
        start=iso(interval.start, timezone),
        end=iso(interval.end, timezone),
        start_us=interval.start,
        end_us=interval.end,
        value=None if interval.counts is None else plain(interval.counts * resolution),
        counts=interval.counts,
        quality=quality_name(placed.quality) if placed else "unallocated",
        reason=interval.reason,
        covered_s=placed.covered_us / MICROSECONDS if placed else 0.0,
        edge_counts=placed.edge_counts if placed else 0,
        first_sequence=interval.first_sequence,
        last_sequence=interval.last_sequence,
    )


def derived_document(point: DerivedPoint, amounts: Sequence[DerivedAmount], timezone: str) -> DerivedDocument:
    """A derived point with its values and the parts of each."""
    return DerivedDocument(
        point=point.id,
        name_zh=point.name_zh,
        name_en=point.name_en,
        formula=point.formula,
        unit=point.unit,
        timezone=timezone,
        intervals=[DerivedIntervalDocument(**told(amount, timezone)) for amount in amounts],
    )


def figure_document(figure: Figure) -> FigureDocument:
    """A figure; `display` has its digits cut where its uncertainty makes them meaningless."""
    return FigureDocument(
        id=figure.id,
        kind=figure.kind,
        enterprise=figure.enterprise,
        period=figure.period,
        key=figure.key,
        name_zh=figure.name_zh,
        name_en=figure.name_en,
        value=None if figure.value is None else exact_text(figure.value),
        unit=figure.unit,
        expanded_uncertainty=None if figure.expanded_uncertainty is None else exact_text(figure.expanded_uncertainty),
        display=format_figure(figure),
        uncertainty_note=figure.uncertainty_note,
        coverage=exact_text(figure.coverage),
        share_estimated=exact_text(figure.share_estimated),
        edition=figure.edition,
        method=figure.method,
        sign_convention=figure.sign_convention,
        reason=figure.reason,
        marks=list(figure.marks),
        pedigree_url=f"/api/v1/figures/{quote(figure.id, safe='/:@')}/pedigree",
    )


def journal_document(site: Site, store: OpenedStore, scope: Scope) -> JournalDocument:
    """Where the journal stands and how far the store has followed."""
    newest, stored = newest_sequence(site.data_dir / "journal"), store.cursor()
    return JournalDocument(
        newest_sequence=newest,
        stored_sequence=stored,
        stored_readings=store.count(scope),
        inbox_waiting=len(waiting_files(site.data_dir)),
        entries_waiting=max(0, newest - stored),
    )


def plain(value: Decimal) -> str:
    """A decimal without exponent."""
    return format(value, "f")


def grouped(value: Decimal) -> str:
    """A decimal with thousands separated, at most six significant decimals."""
    text = plain(round(value, 6) if -value.as_tuple().exponent > 6 else value)  # type: ignore[operator]  # finite values have integer exponents
    whole, _, fraction = text.partition(".")
    return f"{int(whole):,}" + (f".{fraction}" if fraction else "") if not whole.startswith("-0") else text
