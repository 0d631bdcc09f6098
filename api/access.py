"""What a request may see, and the stores it reads from: the one place where scope and files are opened."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from analytics.context import FigureContext
from analytics.standards.tables import Tables
from gateway.clocks import Clock
from gateway.domain.periods import iso
from gateway.domain.scopes import EVERYTHING, Scope
from gateway.domain.sites import Site
from gateway.ledger.opening import open_ledger
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.opening import open_interval_store, open_reading_store


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


def reading_store(here: Annotated[Installation, Depends(installation)]) -> Iterator[EmbeddedStore]:
    """The reading store, opened read-only for one request and closed after it."""
    with closing(open_reading_store(here.site, read_only=True)) as store:
        yield store


def figure_context(
    here: Annotated[Installation, Depends(installation)],
    scope: Annotated[Scope, Depends(caller_scope)],
    readings: Annotated[EmbeddedStore, Depends(reading_store)],
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


def recorded_now(here: Installation) -> str:
    """The present as an as-of text: ISO 8601, UTC, to the second."""
    return iso(here.clock.now() // 1_000_000 * 1_000_000).replace("+00:00", "Z")


Here = Annotated[Installation, Depends(installation)]
CallerScope = Annotated[Scope, Depends(caller_scope)]
Readings = Annotated[EmbeddedStore, Depends(reading_store)]
Context = Annotated[FigureContext, Depends(figure_context)]
