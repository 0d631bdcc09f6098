"""What the journal proves: its signed checkpoints, and the corrections that were proposed, approved and rejected."""

from itertools import islice
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query

from api.access import CallerScope, EnterpriseId, Here, Installation
from api.schemas import CheckpointDocument, CorrectionDocument
from gateway.correcting import correction_row
from gateway.domain.readings import split_series
from gateway.errors import StoreError
from gateway.journal.corrections import corrections
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries, newest_sequence

router = APIRouter(prefix="/api/v1", tags=["journal"])
MOST_CHECKPOINTS = 1000
LOOKED_BACK = 2000  # entries, where the caller names no place to begin


@router.get("/corrections", operation_id="corrections")
def list_corrections(here: Here, scope: CallerScope, enterprise: EnterpriseId) -> list[CorrectionDocument]:
    """Every correction ever proposed for an enterprise's readings: what was read, what stands, who and why."""
    seen = scope.only(enterprise)
    return [
        CorrectionDocument(**correction_row(here.site, one))
        for one in corrections(_journal(here))
        if seen.allows(split_series(one.correction.series)[0])
    ]


@router.get("/journal/checkpoints", operation_id="checkpoints")
def checkpoints(
    here: Here,
    _scope: CallerScope,
    after: Annotated[
        int | None, Query(description="entries behind this one; empty = the last 2,000", ge=0, lt=2**63)
    ] = None,
) -> list[CheckpointDocument]:
    """Signed checkpoints in their order, at most 1,000: keep them elsewhere, and `emg verify --witness` compares."""
    first = max(0, newest_sequence(_journal(here)) - LOOKED_BACK) if after is None else after
    found = (entry for entry in entries(here.journal_dir, after=first) if entry.kind is EntryKind.CHECKPOINT)
    return [CheckpointDocument(at=entry.at, **entry.body) for entry in islice(found, MOST_CHECKPOINTS)]


def _journal(here: Installation) -> Path:
    """The journal's folder. Raises StoreError, which answers 503, while there is none."""
    if not here.journal_dir.is_dir():
        raise StoreError(f"{here.journal_dir}: there is no journal yet; `emg run {here.site.file}` makes it")
    return here.journal_dir
