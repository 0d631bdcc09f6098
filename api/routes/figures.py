"""Figures, and the pedigree of each."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from analytics.figures import figures_of
from analytics.pedigree import unfold
from api.access import Context, EnterpriseId, Here, figure_named, known_at, plant_period
from api.documents import figure_document
from api.routes.measurements import PeriodName
from api.schemas import FigureDocument, PedigreeDocument

router = APIRouter(prefix="/api/v1", tags=["figures"])
FigureId = Annotated[str, Path(description="kind/enterprise/period/key@as-of")]


@router.get("/figures", operation_id="figures")
def figures(
    here: Here,
    context: Context,
    enterprise: EnterpriseId,
    name: PeriodName,
    as_of: Annotated[
        AwareDatetime | None, Query(description="recorded time of the ledger, ISO 8601 with offset; left out = now")
    ] = None,
) -> list[FigureDocument]:
    """All figures of an enterprise and a period."""
    plant_period(here, name)  # a period that is none is told before anything is computed
    found = figures_of(context, enterprise, name, as_of=known_at(here, as_of))
    return [figure_document(figure) for figure in found]


@router.get("/figures/{figure:path}/pedigree", operation_id="pedigree")
def pedigree(context: Context, figure: FigureId) -> PedigreeDocument:
    """The whole derivation of one figure: formula, conversion rows, readings, instruments, certificates."""
    found = figure_named(context, figure)
    return PedigreeDocument(figure=found.id, tree=unfold(context, found))


@router.get("/figures/{figure:path}", operation_id="figure")
def figure(context: Context, figure: FigureId) -> FigureDocument:
    """One figure by its id, computed again from what was known at its as-of."""
    return figure_document(figure_named(context, figure))
