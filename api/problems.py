"""Trouble as RFC 9457 problem documents: what happened, what is safe, what to do."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.errors import GatewayError, LedgerError, StandardTableError, StoreError

MEDIA_TYPE = "application/problem+json"
_STATUS: dict[type[GatewayError], HTTPStatus] = {
    StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    LedgerError: HTTPStatus.CONFLICT,
    StandardTableError: HTTPStatus.UNPROCESSABLE_ENTITY,
}


def problem(status: int, title: str, detail: str, **more: object) -> JSONResponse:
    """One problem document."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE)


def not_found(what: str, key: str) -> HTTPException:
    """404 for something that does not exist or lies outside the caller's scope: the two look alike."""
    return HTTPException(HTTPStatus.NOT_FOUND, f"there is no {what} {key!r} here")


def install(app: FastAPI) -> None:
    """Answer every kind of trouble as a problem document."""

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"where": ".".join(str(part) for part in item["loc"]), "found": str(item.get("input")), "what": item["msg"]}
            for item in error.errors()
        ]
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The request does not fit",
            "see `errors` for each parameter",
            errors=errors,
        )

    @app.exception_handler(GatewayError)
    async def _gateway(_request: Request, error: GatewayError) -> JSONResponse:
        status = _STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
        return problem(status, status.phrase, str(error))

    @app.exception_handler(ValueError)
    async def _value(_request: Request, error: ValueError) -> JSONResponse:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request does not fit", str(error))
