"""What stands in the plant: enterprises, metering points, instruments and their certificates."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query

from analytics.calibration import instrument_statuses
from api.access import Context, EnterpriseId, Here, recorded_now
from api.documents import point_document
from api.schemas import CertificateDocument, EnterpriseDocument, InstrumentDocument, PointDocument
from gateway.domain.figures import figure_id
from gateway.domain.periods import iso, to_datetime
from gateway.status import point_ages

router = APIRouter(prefix="/api/v1", tags=["plant"])
OnDate = Annotated[date | None, Query(description="the date of the status, plant time; empty = today")]


@router.get("/enterprises", operation_id="enterprises")
def enterprises(here: Here, context: Context) -> list[EnterpriseDocument]:
    """The enterprises the caller may see."""
    return [
        EnterpriseDocument(id=one.id, name_zh=one.name_zh, name_en=one.name_en)
        for one in here.site.enterprises.values()
        if context.scope.allows(one.id)
    ]


@router.get("/points", operation_id="points")
def points(here: Here, context: Context, enterprise: EnterpriseId) -> list[PointDocument]:
    """Metering points of an enterprise as a flat tree (`parent`), with the age of their newest durable reading."""
    ages = point_ages(here.site, context.readings, context.scope.only(enterprise), now=here.clock.now())
    return [point_document(age, here.site.timezone) for age in ages]


@router.get("/instruments", operation_id="instruments")
def instruments(here: Here, context: Context, enterprise: EnterpriseId, on: OnDate = None) -> list[InstrumentDocument]:
    """The instrument ledger with the verification or calibration status of each on a date."""
    day = on or to_datetime(here.clock.now(), here.site.timezone).date()
    as_of = recorded_now(here)
    return [
        InstrumentDocument(
            id=one.instrument.id,
            enterprise=one.instrument.enterprise,
            point=one.instrument.point,
            name_zh=one.instrument.name_zh,
            name_en=one.instrument.name_en,
            kind=one.instrument.kind,
            maker=one.instrument.maker,
            model=one.instrument.model,
            serial=one.instrument.serial,
            accuracy_class=one.instrument.accuracy_class.sign if one.instrument.accuracy_class else None,
            state=one.instrument.state.value,
            status=one.status.value,
            status_on=day.isoformat(),
            certificate=one.certificate.number if one.certificate else None,
            last_day=one.last_day.isoformat() if one.last_day else None,
            figure=figure_id("calibration_status", enterprise, day.isoformat(), one.instrument.id, as_of),
        )
        for one in instrument_statuses(context, enterprise, on=day)
    ]


@router.get("/certificates", operation_id="certificates")
def certificates(
    here: Here, context: Context, enterprise: EnterpriseId, instrument: Annotated[str | None, Query()] = None
) -> list[CertificateDocument]:
    """Certificates of an enterprise's instruments: verifications and calibrations, newest knowledge."""
    recorded = context.ledger.certificates(
        context.scope, as_of=here.clock.now(), enterprise=enterprise, instrument=instrument
    )
    return [
        CertificateDocument(
            number=row.fact.number,
            enterprise=row.fact.enterprise,
            instrument=row.fact.instrument,
            kind=row.fact.kind.value,
            laboratory=row.fact.laboratory,
            performed_on=row.fact.performed_on.isoformat(),
            valid_until=row.fact.valid_until.isoformat() if row.fact.valid_until else None,
            conforms=row.fact.conforms,
            expanded_uncertainty_pct=None
            if row.fact.expanded_uncertainty_pct is None
            else str(row.fact.expanded_uncertainty_pct),
            k=None if row.fact.k is None else str(row.fact.k),
            file_sha256=row.fact.file_sha256,
            recorded_at=iso(row.recorded_at),
            recorded_by=row.recorded_by,
        )
        for row in recorded
    ]
