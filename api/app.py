"""The HTTP application: routes, pages, problem documents, and headers that keep a browser safe."""

from importlib.metadata import version
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import RequestResponseEndpoint

from api import problems
from api.access import Installation
from api.pages import views
from api.routes import evidence, figures, health, measurements, plant

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(installation: Installation) -> FastAPI:
    """The application that serves one installation. It writes nothing and collects nothing."""
    app = FastAPI(
        title="Energy metrology gateway",
        version=version("energy-metrology-gateway"),
        summary="Readings, intervals and figures of an energy-using unit, each with its pedigree",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.installation = installation
    problems.install(app)
    # Loopback only, and only under its own names: a foreign page cannot reach it through a rebound name.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])

    @app.middleware("http")
    async def _headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    for router in (health.router, plant.router, measurements.router, figures.router, evidence.router, views.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=str(files("api.pages").joinpath("static"))), name="static")
    return app
