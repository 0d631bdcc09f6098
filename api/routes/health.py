"""Is the program alive, and is the plant being measured."""

from importlib.metadata import version

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from api.access import CallerScope, Here, Readings
from api.documents import journal_document
from api.schemas import HealthDocument, JournalDocument, ReadyDocument
from gateway.acquire_socket import METRICS, NOT_RUNNING, RUNNING, ask_acquire
from gateway.status import point_ages

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="healthz")
def healthz() -> HealthDocument:
    """The program answers. Whether the plant is measured is said by /readyz."""
    return HealthDocument(status="alive", version=version("energy-metrology-gateway"))


@router.get("/readyz", operation_id="readyz", responses={503: {"model": ReadyDocument}})
def readyz(here: Here, scope: CallerScope, store: Readings, response: Response) -> ReadyDocument:
    """200 when no point is late, 503 otherwise; the age of the newest durable reading of every point."""
    ages = point_ages(here.site, store, scope, now=here.clock.now())
    journal = journal_document(here.site, store, scope)
    known = [age.age_s for age in ages if age.age_s is not None]
    late = [age.point.id for age in ages if age.late]
    response.status_code = 503 if late else 200
    return ReadyDocument(
        ready=not late,
        newest_reading_age_s=min(known, default=None),
        late_points=late,
        journal=journal,
        ages_s={age.point.id: age.age_s for age in ages},
    )


@router.get("/metrics", operation_id="metrics", response_class=PlainTextResponse)
def metrics(here: Here, scope: CallerScope) -> PlainTextResponse:
    """What the acquiring process counts of lines, devices, journal and clock, in Prometheus's text format.

    `emg_acquire_running` alone, and 0, while none runs. Lines serve several enterprises: who may not see all of the
    installation is told that it runs, and no more.
    """
    text = ask_acquire(here.site.data_dir, METRICS) or NOT_RUNNING
    if scope.enterprises is not None and text != NOT_RUNNING:
        text = RUNNING
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/api/v1/journal", operation_id="journal", tags=["journal"])
def journal(here: Here, scope: CallerScope, store: Readings) -> JournalDocument:
    """The newest entry on disk, and how far the reading store has followed."""
    return journal_document(here.site, store, scope)
