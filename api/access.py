"""What a request may see, and the stores it reads from: the one place where scope and files are opened."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import Depends, HTTPException, Query, Request

from analytics.context import FigureContext
from analytics.figures import resolve
from analytics.standards.tables import Tables
from api.problems import not_found, unfit
from gateway.clocks import Clock
from gateway.domain.figures import Figure
from gateway.domain.periods import Period, iso, period, to_datetime, to_instant
from gateway.domain.scopes import EVERYTHING, Scope
from gateway.domain.sites import Site
from gateway.errors import LedgerError
from gateway.ledger.opening import open_ledger
from gateway.stores.opening import OpenedStore, open_interval_store, open_reading_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the whole program shares: the site, the clock, the tables of the standards."""

    site: Site
    clock: Clock
    tables: Tables

    @property
    def journal_dir(self) -> Path:
        """Where the journal's segments lie."""
        return self.site.data_dir / "journal"


def installation(request: Request) -> Installation:
    """The installation this program serves."""
    found: Installation = request.app.state.installation
    return found


def caller_scope() -> Scope:
    """The enterprises the caller may see.

    Until there are users, the interface listens on loopback only and its caller is the operator.
    """
    return EVERYTHING


def reading_store(here: Annotated[Installation, Depends(installation)]) -> Iterator[OpenedStore]:
    """The reading store, opened read-only for one request and closed after it."""
    with closing(open_reading_store(here.site, read_only=True)) as store:
        yield store


def figure_context(
    here: Annotated[Installation, Depends(installation)],
    scope: Annotated[Scope, Depends(caller_scope)],
    readings: Annotated[OpenedStore, Depends(reading_store)],
) -> Iterator[FigureContext]:
    """Stores and ledger, opened read-only for one request and closed after it."""
    with (
        closing(open_interval_store(here.site, read_only=True)) as intervals,
        closing(open_ledger(here.site, read_only=True)) as ledger,
    ):
        yield FigureContext(
            site_timezone=here.site.timezone,
            intervals=intervals,
            readings=readings,
            ledger=ledger,
            tables=here.tables,
            scope=scope,
            now=here.clock.now(),
            series=here.site.series,
            interval_s=here.site.interval_s,
            due_soon_days=here.site.due_soon_days,
        )


def visible_enterprise(
    here: Annotated[Installation, Depends(installation)],
    scope: Annotated[Scope, Depends(caller_scope)],
    enterprise: Annotated[str, Query(description="id of the enterprise", examples=["cement-1"])],
) -> str:
    """The id of the enterprise that the request names. Answers 404 when there is none within the caller's scope."""
    if enterprise not in here.site.enterprises or not scope.allows(enterprise):
        raise not_found("enterprise", enterprise)
    return enterprise


def plant_period(here: Installation, name: str) -> Period:
    """The period of plant time with this name. Answers 422 when the words are no period."""
    try:
        return period(name, here.site.timezone)
    except OverflowError:
        raise unfit(f"{name!r} lies beyond the calendar") from None
    except ValueError as error:
        raise unfit(f"period {name!r}: {error}") from error


def known_at(here: Installation, as_of: datetime | None) -> int | str:
    """The as-of of a request; without one the present. Answers 422 outside the calendar, and for the future.

    What will be known later nobody can say now: a figure with such an id could not be made again.
    """
    if as_of is None:
        return recorded_now(here)
    instant = to_instant(as_of)
    try:
        to_datetime(instant), to_datetime(instant, here.site.timezone)
    except OverflowError:
        raise unfit(f"as_of {as_of.isoformat()} lies beyond the calendar") from None
    if instant > here.clock.now():
        raise unfit(f"as_of {as_of.isoformat()} lies in the future")
    return instant


def figure_named(context: FigureContext, figure: str) -> Figure:
    """The figure with this id within the caller's scope. Answers 404, with the sentence that says why there is none."""
    try:
        return resolve(context, figure)
    except OverflowError:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"{figure}: its period or as-of lies beyond the calendar") from None
    except LedgerError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error


def recorded_now(here: Installation) -> str:
    """The present as an as-of text: ISO 8601, UTC, to the second."""
    return iso(here.clock.now() // 1_000_000 * 1_000_000).replace("+00:00", "Z")


Here = Annotated[Installation, Depends(installation)]
CallerScope = Annotated[Scope, Depends(caller_scope)]
Readings = Annotated[OpenedStore, Depends(reading_store)]
EnterpriseId = Annotated[str, Depends(visible_enterprise)]
Context = Annotated[FigureContext, Depends(figure_context)]
