"""Trouble as RFC 9457 problem documents: what happened, what is safe, what to do."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.errors import GatewayError, LedgerError, StoreError

MEDIA_TYPE = "application/problem+json"
# What a caller asked for wrongly is told before stores and ledger are asked: what these raise is a source that
# cannot be read now, and the sentence says how it is made or mended.
_NOT_READY = (StoreError, LedgerError)


def problem(
    status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """One problem document."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def not_found(what: str, key: str) -> HTTPException:
    """404 for something that does not exist or lies outside the caller's scope: the two look alike."""
    return HTTPException(HTTPStatus.NOT_FOUND, f"there is no {what} {key!r} here")


def unfit(sentence: str) -> HTTPException:
    """422 for a request whose words mean nothing, e.g. a period that is none."""
    return HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, sentence)


def install(app: FastAPI) -> None:
    """Answer every kind of trouble as a problem document."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        title = HTTPStatus(error.status_code).phrase
        # The router says no more than the title where no route fits.
        detail = f"{request.method} {request.url.path} is not offered here; /docs lists what is"
        return problem(error.status_code, title, detail if error.detail == title else error.detail, error.headers)

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
        ready = not isinstance(error, _NOT_READY)
        status = HTTPStatus.INTERNAL_SERVER_ERROR if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return problem(status, status.phrase, str(error))

    @app.exception_handler(Exception)
    async def _unforeseen(_request: Request, _error: Exception) -> JSONResponse:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return problem(status, status.phrase, "this answer failed; the program's log says why, and nothing is lost")
